// Package queue keeps a ledger's queue of builds: who wants what built, which
// worker holds it, and what became of it. Queue is the state, Service its face
// over gRPC, and Follower queues the reproductions that logged builds ask for.
//
// Invariants:
//   - What a call returned is durable: every change is one synced transaction,
//     and a crash at any moment leaves the state before it or after it.
//   - A job is queued, leased, done, failed or cancelled, and leaves the last
//     three never. At most one lease holds it.
//   - A job ends under the lease that holds it, or because it is cancelled, or
//     because its attempts are spent. A lease that has ended cannot change it.
//   - A lease that is not renewed ends within its length, whatever the clock
//     does: a time that lies further ahead than any can is a clock that jumped.
//   - All is bounded: the jobs that are open, those that are kept, their logs,
//     and who waits.
//
// What the queue says is not evidence: nothing that is verified depends on it.
package queue

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
)

// Config is how a Queue behaves. Zero values take the defaults.
type Config struct {
	// Path is the database; it is made if it is missing.
	Path string
	// Origin is the log that the queue belongs to. A database of another log is
	// refused: it names entries by their index.
	Origin string
	// Lease is how long a lease lasts without renewal: 30 s.
	Lease time.Duration
	// MinBackoff is the pause after a job's first failed attempt: 5 s. It doubles
	// with each, up to MaxBackoff, 10 min; up to a quarter is added at random.
	MinBackoff, MaxBackoff time.Duration
	// MaxOpen is how many jobs may be queued or leased: 10,000.
	MaxOpen int
	// MaxKept is how many jobs are kept at all: 100,000. The oldest that have
	// ended go first.
	MaxKept int
	// MaxLog is how many bytes of one job's log are kept: 16 MiB, of which a
	// quarter is the head and the rest the tail.
	MaxLog int64
	// MaxLogs is how many bytes of logs are kept at all: 4 GiB.
	MaxLogs int64
	// Now is the clock.
	Now func() time.Time
}

func (c *Config) setDefaults() {
	c.Lease = cmp.Or(c.Lease, 30*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, 5*time.Second)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 10*time.Minute)
	c.MaxOpen = cmp.Or(c.MaxOpen, 10_000)
	c.MaxKept = cmp.Or(c.MaxKept, 100_000)
	c.MaxLog = cmp.Or(c.MaxLog, 16<<20)
	c.MaxLogs = cmp.Or(c.MaxLogs, 4<<30)
	if c.Now == nil {
		c.Now = time.Now
	}
}

// The states of a job.
const (
	StateQueued    = "queued"
	StateLeased    = "leased"
	StateDone      = "done"
	StateFailed    = "failed"
	StateCancelled = "cancelled"
)

// Ended reports whether a job in this state stays in it.
func Ended(state string) bool {
	return state == StateDone || state == StateFailed || state == StateCancelled
}

// tick is how often leases and pauses are looked at when nothing else happens.
const tick = time.Second

// Queue is a queue of builds. It may be used concurrently; its database belongs
// to one process.
type Queue struct {
	cfg   Config
	forms *forms
	w, r  *sql.DB

	mu       sync.Mutex
	watchers map[int64]*watcher // by job; anyJob for jobs that became ready
	ticked   time.Time          // the clock at the last tick
}

// anyJob is the watcher's key for jobs that can be leased.
const anyJob = 0

// Open opens a queue. The leases it finds are renewed once: while the ledger
// was away, nobody could.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	cfg.setDefaults()
	w, r, err := openDatabase(ctx, cfg.Path)
	if err != nil {
		return nil, err
	}
	q := &Queue{cfg: cfg, forms: newForms(), w: w, r: r, watchers: make(map[int64]*watcher), ticked: cfg.Now()}
	if err := q.adopt(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", cfg.Path, err), q.Close())
	}
	return q, nil
}

// Close closes the database.
func (q *Queue) Close() error { return errors.Join(q.r.Close(), q.w.Close()) }

// adopt checks whose database this is, and renews the leases in it.
func (q *Queue) adopt(ctx context.Context) error {
	return q.inTx(ctx, func(t *tx) error {
		var origin string
		err := t.QueryRowContext(ctx, "SELECT origin FROM meta").Scan(&origin)
		if errors.Is(err, sql.ErrNoRows) {
			_, err = t.ExecContext(ctx, "INSERT INTO meta (one, origin, scanned, log_bytes) VALUES (1, ?, 0, 0)", q.cfg.Origin)
			return err
		}
		if err != nil {
			return err
		}
		if origin != q.cfg.Origin {
			return fmt.Errorf("it is the queue of log %q, not of %q: give another file", origin, q.cfg.Origin)
		}
		return t.forEach(ctx, "SELECT id FROM jobs WHERE state = ?", []any{StateLeased}, func(j *job) error {
			t.hold(j)
			return t.save(ctx, j)
		})
	})
}

// Run ends leases and pauses in time, until ctx is done. Failures of storage
// are given to warn, and tried again.
func (q *Queue) Run(ctx context.Context, warn func(error)) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := q.Tick(ctx); err != nil && ctx.Err() == nil {
			warn(fmt.Errorf("looking at the leases of builds: %w", err))
		}
	}
}

// Tick ends the leases that have run out, and wakes who waits for a job whose
// pause is over. It writes only if there is something to end.
func (q *Queue) Tick(ctx context.Context) error {
	now := q.cfg.Now()
	q.mu.Lock()
	last := q.ticked
	q.ticked = now
	q.mu.Unlock()
	var due, ready bool
	err := q.r.QueryRowContext(ctx, `SELECT
		EXISTS (SELECT 1 FROM jobs WHERE state = 'leased' AND (wake <= ?1 OR wake > ?2))
		OR EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND wake > ?3),
		EXISTS (SELECT 1 FROM jobs WHERE state = 'queued' AND wake > ?4 AND wake <= ?1)`,
		now.UnixNano(), q.latestLease(now).UnixNano(), q.latestPause(now).UnixNano(), last.UnixNano()).Scan(&due, &ready)
	if err != nil {
		return err
	}
	if ready {
		q.wake(anyJob)
	}
	if due {
		return q.write(ctx, func(*tx) error { return nil })
	}
	return nil
}

// Times beyond these were not set by the clock as it is now.
func (q *Queue) latestLease(now time.Time) time.Time { return now.Add(q.cfg.Lease) }
func (q *Queue) latestPause(now time.Time) time.Time { return now.Add(q.cfg.MaxBackoff * 5 / 4) }

// backoff is the pause after a number of attempts.
func (q *Queue) backoff(attempts int32) time.Duration {
	d := q.cfg.MinBackoff
	for i := int32(1); i < attempts && d < q.cfg.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, q.cfg.MaxBackoff)
	return d + rand.N(d/4+1) // so that what failed together does not return together
}

// watcher is a channel that is closed when something happens, and how many wait
// for it.
type watcher struct {
	c chan struct{}
	n int
}

// watch returns a channel that is closed when the job changes or its log grows.
// stop must be called, also after that.
func (q *Queue) watch(id int64) (changed <-chan struct{}, stop func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, ok := q.watchers[id]
	if !ok {
		w = &watcher{c: make(chan struct{})}
		q.watchers[id] = w
	}
	w.n++
	return w.c, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if w.n--; w.n == 0 && q.watchers[id] == w {
			delete(q.watchers, id)
		}
	}
}

func (q *Queue) wake(ids ...int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if w, ok := q.watchers[id]; ok {
			close(w.c)
			delete(q.watchers, id)
		}
	}
}

func notFound(id int64) error {
	return reason.Errorf(reason.BuildNotFound, "there is no build %d", id)
}
