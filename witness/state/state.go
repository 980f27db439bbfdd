// Package state is what a witness must not forget, in one SQLite database:
// every checkpoint it cosigned, what it refuses, what it has not been able to
// compare yet, and the evidence it holds.
//
// Invariants:
//   - When a call that changes something returns nil, the change is on disk
//     (synchronous=FULL). If it returns an error the caller must not act as if
//     the change had been made, nor as if it had not.
//   - Of one origin, the sizes and times of cosigned checkpoints never
//     decrease, and one size has one root. They are compared and stored in one
//     immediate transaction.
//   - One process at a time holds the database; a second one fails to open it.
//   - After a commit has failed, nobody knows what is on disk (a failed fsync
//     leaves the page cache and the disk in disagreement): every later change
//     is refused until the process is started again.
//   - What others can make it store is bounded in number, per origin.
package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Errors that callers tell apart.
var (
	// ErrMissing is wrapped by Open if there is no database.
	ErrMissing = errors.New("the witness's state is missing")
	// ErrBroken is wrapped by every change after a commit has failed.
	ErrBroken = errors.New("the witness's state cannot be written any more")
)

const schema = `
CREATE TABLE IF NOT EXISTS meta (
	key   TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS cosigned (
	origin TEXT NOT NULL,
	size   INTEGER NOT NULL,
	root   BLOB NOT NULL,
	time   INTEGER NOT NULL,
	note   BLOB NOT NULL,
	old    INTEGER NOT NULL,
	proof  BLOB NOT NULL,
	PRIMARY KEY (origin, size)
) STRICT;
CREATE TABLE IF NOT EXISTS refusal (
	origin TEXT PRIMARY KEY,
	cause  TEXT NOT NULL,
	detail TEXT NOT NULL,
	time   INTEGER NOT NULL,
	adopt_size INTEGER,
	adopt_root BLOB,
	adopt_time INTEGER,
	adopt_note BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS pending (
	origin TEXT NOT NULL,
	size   INTEGER NOT NULL,
	root   BLOB NOT NULL,
	note   BLOB NOT NULL,
	source TEXT NOT NULL,
	first  INTEGER NOT NULL,
	opened INTEGER NOT NULL,
	PRIMARY KEY (origin, size, root)
) STRICT;
CREATE TABLE IF NOT EXISTS seen (
	origin  TEXT NOT NULL,
	witness TEXT NOT NULL,
	size    INTEGER NOT NULL,
	time    INTEGER NOT NULL,
	root    BLOB NOT NULL,
	note    BLOB NOT NULL,
	PRIMARY KEY (origin, witness, size, time, root)
) STRICT;
CREATE TABLE IF NOT EXISTS evidence (
	hash    BLOB PRIMARY KEY,
	origin  TEXT NOT NULL,
	kind    TEXT NOT NULL,
	subject BLOB NOT NULL UNIQUE,
	text    BLOB NOT NULL,
	time    INTEGER NOT NULL,
	cleared INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS evidence_by_origin ON evidence (origin, kind);
`

// Stage is a moment in a transaction at which a test may make it fail.
type Stage string

// The stages at which Options.Fault is asked.
const (
	BeforeCommit Stage = "before commit"
	// AfterCommit is the moment at which the change is durable and nobody knows.
	AfterCommit Stage = "after commit"
)

// Options are for tests. The zero Options are for everyone else.
type Options struct {
	// Fault, if not nil, is called at each stage of each change; an error makes
	// the change fail there, as a crash at that moment would.
	Fault func(Stage) error
}

// DB is a witness's state. Its methods may be called concurrently.
type DB struct {
	db    *sql.DB
	path  string
	fault func(Stage) error
	// stmts are the statements of each request to cosign.
	stmts struct{ latest, at, refusal, insert *sql.Stmt }

	brokenOnce sync.Once
	broken     chan struct{} // closed by the first failed commit
	cause      error         // set before broken is closed
}

// Open opens an existing database. It fails with ErrMissing if there is none,
// and if another process holds it.
func Open(ctx context.Context, path string, o Options) (*DB, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening %s: %w", path, ErrMissing)
	}
	return open(ctx, path, "rw", o)
}

// Create makes a new database, and fails if there is one already.
func Create(ctx context.Context, path string, o Options) (*DB, error) {
	// Exclusively, so that two processes that start together do not both
	// believe that they are the first.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("creating the witness's state: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("creating the witness's state: %w", err)
	}
	return open(ctx, path, "rw", o)
}

// OpenMemory returns an empty database that is lost when it is closed. It is
// for tests and simulations: nothing in it is durable.
func OpenMemory(ctx context.Context, o Options) (*DB, error) {
	return open(ctx, "", "memory", o)
}

func open(ctx context.Context, path, mode string, o Options) (*DB, error) {
	// The driver sorts pragmas by name. The lock must be exclusive before the
	// log is opened, else the locks of a second process are let in: "main."
	// puts the journal's mode behind the lock's.
	q := url.Values{
		"_pragma": {"locking_mode(EXCLUSIVE)", "main.journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(500)"},
		"_txlock": {"immediate"},
		"mode":    {mode},
	}
	sqlDB, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("opening the witness's state %s: %w", path, err)
	}
	// One connection: it holds the lock, and its transactions are a queue.
	sqlDB.SetMaxOpenConns(1)
	sqlDB.SetMaxIdleConns(1)
	db := &DB{db: sqlDB, path: path, fault: o.Fault, broken: make(chan struct{})}
	if db.fault == nil {
		db.fault = func(Stage) error { return nil }
	}
	if _, err := sqlDB.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(
			fmt.Errorf("opening the witness's state %s (does another process hold it?): %w", path, err), sqlDB.Close())
	}
	if err := db.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the witness's state %s: %w", path, err), sqlDB.Close())
	}
	return db, nil
}

func (db *DB) prepare(ctx context.Context) (err error) {
	for stmt, query := range map[**sql.Stmt]string{
		&db.stmts.latest: latestQuery, &db.stmts.at: atQuery, &db.stmts.refusal: refusalQuery, &db.stmts.insert: insertQuery,
	} {
		if *stmt, err = db.db.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// Broken is closed once a commit has failed. The process should then end.
func (db *DB) Broken() <-chan struct{} { return db.broken }

// Close releases the database.
func (db *DB) Close() error {
	if err := db.db.Close(); err != nil {
		return fmt.Errorf("closing the witness's state %s: %w", db.path, err)
	}
	return nil
}

// change runs f in an immediate transaction and commits it. If f fails, nothing
// is changed.
func (db *DB) change(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	select {
	case <-db.broken:
		return fmt.Errorf("%w: %w", ErrBroken, db.cause)
	default:
	}
	// A client that goes away must not leave a commit of which nobody knows
	// whether it happened.
	ctx = context.WithoutCancel(ctx)
	tx, err := db.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	if err := f(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := db.fault(BeforeCommit); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	err = tx.Commit()
	if err == nil {
		err = db.fault(AfterCommit)
	}
	if err != nil {
		err = fmt.Errorf("committing: %w", err)
		db.brokenOnce.Do(func() {
			db.cause = err
			close(db.broken)
		})
		return err
	}
	return nil
}

// Meta returns a value that SetMeta stored, or "".
func (db *DB) Meta(ctx context.Context, key string) (string, error) {
	var value string
	err := db.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = ?", key).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	return value, nil
}

// SetMeta stores a value.
func (db *DB) SetMeta(ctx context.Context, key, value string) error {
	err := db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing %s: %w", key, err)
	}
	return nil
}
