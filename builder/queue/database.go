package queue

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// version is the schema's, in SQLite's user_version.
const version = 1

// A job's message holds all that is shown of it, but for the size of its log,
// which changes most often. The columns repeat what is searched for. wake is, of
// a queued job, when its pause ends, and of a leased one, when its lease ends,
// in nanoseconds since 1970.
const schema = `
CREATE TABLE IF NOT EXISTS meta (
	one       INTEGER PRIMARY KEY CHECK (one = 1),
	origin    TEXT NOT NULL,
	scanned   INTEGER NOT NULL,
	log_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	request  TEXT UNIQUE,
	state    TEXT NOT NULL,
	package  TEXT NOT NULL,
	platform TEXT NOT NULL,
	engine   TEXT NOT NULL,
	tree     TEXT NOT NULL,
	priority INTEGER NOT NULL,
	wake     INTEGER NOT NULL,
	token    TEXT NOT NULL,
	ended    TEXT NOT NULL,
	build    BLOB NOT NULL,
	log_size INTEGER NOT NULL DEFAULT 0,
	log_kept INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_by_turn ON jobs (priority DESC, id, wake, platform, engine, tree) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, id);
CREATE INDEX IF NOT EXISTS jobs_by_wake ON jobs (state, wake);
CREATE INDEX IF NOT EXISTS jobs_with_log ON jobs (id) WHERE log_kept > 0;
CREATE INDEX IF NOT EXISTS jobs_by_package ON jobs (package, id);
CREATE TABLE IF NOT EXISTS excluded (
	job INTEGER NOT NULL,
	who TEXT NOT NULL,
	PRIMARY KEY (job, who)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
	job   INTEGER NOT NULL,
	start INTEGER NOT NULL,
	bytes BLOB NOT NULL,
	PRIMARY KEY (job, start)
) STRICT`

// openDatabase opens a database for one writer and a few readers. A commit is
// durable.
func openDatabase(ctx context.Context, path string) (w, r *sql.DB, err error) {
	open := func(mode string, conns int, pragmas ...string) (*sql.DB, error) {
		v := url.Values{"_pragma": append(pragmas, "busy_timeout(10000)"), "_txlock": {"immediate"}, "mode": {mode}}
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+v.Encode())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db, nil
	}
	if w, err = open("rwc", 1, "journal_mode(WAL)", "synchronous(FULL)"); err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := migrate(ctx, w); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), w.Close())
	}
	if r, err = open("ro", 4, "query_only(1)"); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening %s for reading: %w", path, err), w.Close())
	}
	return w, r, nil
}

func migrate(ctx context.Context, w *sql.DB) error {
	var found int
	if err := w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found > version {
		return fmt.Errorf("its schema has version %d, this ledger knows up to %d: run the newer ledger", found, version)
	}
	if _, err := w.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("creating tables: %w", err)
	}
	_, err := w.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
	return err
}

// tx is a transaction that writes.
type tx struct {
	*sql.Tx
	q     *Queue
	now   time.Time
	woken []int64 // to wake once it is committed
}

// job is a row of jobs.
type job struct {
	*cairnv1.Build
	wake  time.Time
	token string // of the lease that holds it
	ended string // token of the lease that last ended by its worker's word
	kept  int64  // bytes of the log that are there
}

// write runs f in a transaction, in which no lease has outlived its time. It
// goes on if ctx ends, so that its outcome is always known.
func (q *Queue) write(ctx context.Context, f func(*tx) error) error {
	return q.inTx(ctx, func(t *tx) error {
		if err := t.expire(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		return f(t)
	})
}

func (q *Queue) inTx(ctx context.Context, f func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sqlTx, err := q.w.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	t := &tx{Tx: sqlTx, q: q, now: q.cfg.Now()}
	if err := f(t); err != nil {
		return errors.Join(err, t.Rollback())
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	q.wake(t.woken...)
	return nil
}

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

const jobColumns = "build, wake, token, ended, log_size, log_kept"

func loadJob(ctx context.Context, db queryer, id int64) (*job, error) {
	j, err := scanJob(db.QueryRowContext(ctx, "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading build %d: %w", id, err)
	}
	return j, nil
}

func scanJob(row interface{ Scan(...any) error }) (*job, error) {
	var raw []byte
	var wake int64
	j := &job{Build: &cairnv1.Build{}}
	var size int64
	if err := row.Scan(&raw, &wake, &j.token, &j.ended, &size, &j.kept); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(raw, j.Build); err != nil {
		return nil, err
	}
	j.wake, j.LogSize = time.Unix(0, wake), size
	return j, nil
}

func (t *tx) load(ctx context.Context, id int64) (*job, error) { return loadJob(ctx, t, id) }

// forEach calls f for each job that a query gives the number of.
func (t *tx) forEach(ctx context.Context, query string, args []any, f func(*job) error) error {
	rows, err := t.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range ids {
		j, err := t.load(ctx, id)
		if err != nil {
			return err
		}
		if err := f(j); err != nil {
			return err
		}
	}
	return nil
}

// save writes back what may change of a job.
func (t *tx) save(ctx context.Context, j *job) error {
	raw, err := proto.Marshal(j.Build)
	if err != nil {
		return err
	}
	t.woken = append(t.woken, j.Id)
	if j.State == StateQueued && !j.wake.After(t.now) {
		t.woken = append(t.woken, anyJob)
	}
	_, err = t.ExecContext(ctx, "UPDATE jobs SET state = ?, wake = ?, token = ?, ended = ?, build = ? WHERE id = ?",
		j.State, j.wake.UnixNano(), j.token, j.ended, raw, j.Id)
	if err != nil {
		return fmt.Errorf("writing build %d: %w", j.Id, err)
	}
	return nil
}

// hold makes the lease that holds j last its full length from now.
func (t *tx) hold(j *job) {
	j.wake = t.now.Add(t.q.cfg.Lease)
	j.LeaseEndTime = timestamppb.New(j.wake)
}

// release puts j back into the queue, not to be given out before wake.
func (t *tx) release(j *job, wake time.Time) {
	j.State, j.token, j.LeaseEndTime = StateQueued, "", nil
	j.wake = wake
	j.NotBefore = nil
	if wake.After(t.now) {
		j.NotBefore = timestamppb.New(wake)
	}
}

// end puts j into a state that it keeps.
func (t *tx) end(j *job, state string) {
	j.State, j.token, j.LeaseEndTime, j.NotBefore = state, "", nil, nil
	j.wake = t.now
	j.EndTime = timestamppb.New(t.now)
}

// fail ends an attempt that came to nothing.
func (t *tx) fail(j *job, f *cairnv1.BuildFailure) {
	j.Failure = f
	if f.GetRetryable() && j.Attempts < j.MaxAttempts {
		t.release(j, t.now.Add(t.q.backoff(j.Attempts)))
		return
	}
	t.end(j, StateFailed)
}

// expire ends the leases that have run out, and pulls in times that lie further
// ahead than the clock can have set them.
func (t *tx) expire(ctx context.Context) error {
	now, lease := t.now.UnixNano(), t.q.latestLease(t.now)
	err := t.forEach(ctx, "SELECT id FROM jobs WHERE state = 'leased' AND wake <= ?", []any{now}, func(j *job) error {
		t.fail(j, &cairnv1.BuildFailure{
			Kind: "LEASE_EXPIRED", Retryable: true,
			Message: fmt.Sprintf("worker %s did not renew its lease", j.Worker),
		})
		return t.save(ctx, j)
	})
	if err != nil {
		return err
	}
	err = t.forEach(ctx, "SELECT id FROM jobs WHERE state = 'leased' AND wake > ?", []any{lease.UnixNano()}, func(j *job) error {
		t.hold(j)
		return t.save(ctx, j)
	})
	if err != nil {
		return err
	}
	pause := t.q.latestPause(t.now).UnixNano()
	return t.forEach(ctx, "SELECT id FROM jobs WHERE state = 'queued' AND wake > ?", []any{pause}, func(j *job) error {
		t.release(j, t.now)
		return t.save(ctx, j)
	})
}

// same compares secrets.
func same(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// holds checks that a token is that of the lease which holds j.
func (j *job) holds(token string) error {
	if j.State == StateLeased && same(j.token, token) {
		return nil
	}
	return reason.Errorf(reason.LeaseLost, "this lease of build %d has ended; the build is %s", j.Id, j.State)
}
