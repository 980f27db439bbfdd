package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// rowsPerInsert is how many rows one INSERT statement takes; few large
// statements cost a fraction of many small ones.
const rowsPerInsert = 64

// openSQLite opens a database for one writer and a few readers. sync is
// SQLite's synchronous pragma: FULL makes a commit durable, NORMAL may lose the
// latest commits in a power loss but never mixes them up.
func openSQLite(ctx context.Context, path, sync, schema string) (w, r *sql.DB, err error) {
	open := func(mode string, conns int, pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_pragma": append(pragmas, "busy_timeout(10000)"), "_txlock": {"immediate"}, "mode": {mode}}
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db, nil
	}
	w, err = open("rwc", 1, "journal_mode(WAL)", "synchronous("+sync+")", "wal_autocheckpoint(4000)", "cache_size(-65536)")
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if _, err := w.ExecContext(ctx, schema); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("creating tables in %s: %w", path, err), w.Close())
	}
	r, err = open("ro", 4, "query_only(1)", "cache_size(-16384)")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening %s for reading: %w", path, err), w.Close())
	}
	return w, r, nil
}

// inTx runs f in a transaction of w.
func inTx(ctx context.Context, w *sql.DB, f func(*sql.Tx) error) error {
	tx, err := w.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// insertRows runs prefix with one group of placeholders for each row.
func insertRows(ctx context.Context, tx *sql.Tx, prefix string, rows [][]any) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsPerInsert)
		group := "(?" + strings.Repeat(",?", len(rows[0])-1) + ")"
		args := make([]any, 0, n*len(rows[0]))
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		if _, err := tx.ExecContext(ctx, prefix+" VALUES "+group+strings.Repeat(","+group, n-1), args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// SQLiteBlobs is Blobs in a SQLite database.
type SQLiteBlobs struct {
	w, r *sql.DB
	get  *sql.Stmt
}

const blobsSchema = `CREATE TABLE IF NOT EXISTS blobs (
	id     INTEGER PRIMARY KEY,
	sha256 BLOB NOT NULL UNIQUE,
	bytes  BLOB NOT NULL
) STRICT`

// OpenSQLiteBlobs opens the database at path and creates it if it is missing.
func OpenSQLiteBlobs(ctx context.Context, path string) (*SQLiteBlobs, error) {
	w, r, err := openSQLite(ctx, path, "FULL", blobsSchema)
	if err != nil {
		return nil, err
	}
	get, err := r.PrepareContext(ctx, "SELECT bytes FROM blobs WHERE sha256 = ?")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), w.Close(), r.Close())
	}
	return &SQLiteBlobs{w: w, r: r, get: get}, nil
}

// Put implements Blobs.
func (s *SQLiteBlobs) Put(ctx context.Context, blobs []Blob) error {
	rows := make([][]any, 0, len(blobs))
	for _, b := range blobs {
		rows = append(rows, []any{b.Digest.Bytes(), b.Bytes})
	}
	err := inTx(ctx, s.w, func(tx *sql.Tx) error {
		return insertRows(ctx, tx, "INSERT OR IGNORE INTO blobs (sha256, bytes)", rows)
	})
	if err != nil {
		return fmt.Errorf("storing %d attestations: %w", len(blobs), err)
	}
	return nil
}

// Get implements Blobs.
func (s *SQLiteBlobs) Get(ctx context.Context, digest leaf.Digest) ([]byte, error) {
	var b []byte
	err := s.get.QueryRowContext(ctx, digest.Bytes()).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("attestation %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading attestation %s: %w", digest, err)
	}
	return b, nil
}

// Close implements Blobs.
func (s *SQLiteBlobs) Close() error { return errors.Join(s.get.Close(), s.r.Close(), s.w.Close()) }
