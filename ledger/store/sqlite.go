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

// OpenSQLite opens a database for one writer and a few readers. sync is
// SQLite's synchronous pragma: FULL makes a commit durable, NORMAL may lose the
// latest commits in a power loss but never mixes them up.
func OpenSQLite(ctx context.Context, path, sync, schema string) (w, r *sql.DB, err error) {
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
	w, err = open("rwc", 1, "journal_mode(WAL)", "synchronous("+sync+")", "wal_autocheckpoint(4000)", "cache_size(-32768)")
	if err != nil {
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if _, err := w.ExecContext(ctx, schema); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("creating tables in %s: %w", path, err), w.Close())
	}
	r, err = open("ro", 4, "query_only(1)", "cache_size(-4096)")
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening %s for reading: %w", path, err), w.Close())
	}
	return w, r, nil
}

// InTx runs f in a transaction of w.
func InTx(ctx context.Context, w *sql.DB, f func(*sql.Tx) error) error {
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

// inserter inserts rows of a fixed number of columns, many to a statement.
type inserter struct{ one, many *sql.Stmt }

// prepareInsert prepares an insertion of rows of the given number of columns.
func prepareInsert(ctx context.Context, w *sql.DB, prefix string, columns int) (*inserter, error) {
	group := "(?" + strings.Repeat(",?", columns-1) + ")"
	one, err := w.PrepareContext(ctx, prefix+" VALUES "+group)
	if err != nil {
		return nil, err
	}
	many, err := w.PrepareContext(ctx, prefix+" VALUES "+group+strings.Repeat(","+group, rowsPerInsert-1))
	if err != nil {
		return nil, errors.Join(err, one.Close())
	}
	return &inserter{one, many}, nil
}

// insert inserts rows, given one after the other, in tx.
func (in *inserter) insert(ctx context.Context, tx *sql.Tx, columns int, values []any) error {
	many, one := tx.StmtContext(ctx, in.many), tx.StmtContext(ctx, in.one)
	for len(values) >= rowsPerInsert*columns {
		if _, err := many.ExecContext(ctx, values[:rowsPerInsert*columns]...); err != nil {
			return err
		}
		values = values[rowsPerInsert*columns:]
	}
	for len(values) > 0 {
		if _, err := one.ExecContext(ctx, values[:columns]...); err != nil {
			return err
		}
		values = values[columns:]
	}
	return nil
}

func (in *inserter) close() error { return errors.Join(in.one.Close(), in.many.Close()) }

// SQLiteBlobs is Blobs in a SQLite database.
type SQLiteBlobs struct {
	w, r *sql.DB
	get  *sql.Stmt
	put  *inserter
}

const blobsSchema = `CREATE TABLE IF NOT EXISTS blobs (
	id     INTEGER PRIMARY KEY,
	sha256 BLOB NOT NULL UNIQUE,
	bytes  BLOB NOT NULL
) STRICT`

// OpenSQLiteBlobs opens the database at path and creates it if it is missing.
func OpenSQLiteBlobs(ctx context.Context, path string) (*SQLiteBlobs, error) {
	w, r, err := OpenSQLite(ctx, path, "FULL", blobsSchema)
	if err != nil {
		return nil, err
	}
	s := &SQLiteBlobs{w: w, r: r}
	s.get, err = r.PrepareContext(ctx, "SELECT bytes FROM blobs WHERE sha256 = ?")
	if err == nil {
		s.put, err = prepareInsert(ctx, w, "INSERT OR IGNORE INTO blobs (sha256, bytes)", 2)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), w.Close(), r.Close())
	}
	return s, nil
}

// Put implements Blobs.
func (s *SQLiteBlobs) Put(ctx context.Context, blobs []Blob) error {
	values := make([]any, 0, 2*len(blobs))
	for _, b := range blobs {
		values = append(values, b.Digest.Bytes(), b.Bytes)
	}
	err := InTx(ctx, s.w, func(tx *sql.Tx) error { return s.put.insert(ctx, tx, 2, values) })
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
func (s *SQLiteBlobs) Close() error {
	return errors.Join(s.get.Close(), s.put.close(), s.r.Close(), s.w.Close())
}
