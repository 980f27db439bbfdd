package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// SQLiteIndex is an Index in a SQLite database. Its commits are not synced:
// what a crash takes is read again from the log.
type SQLiteIndex struct {
	w, r *sql.DB
	find *sql.Stmt
	text *sql.Stmt
}

const indexSchema = `
CREATE TABLE IF NOT EXISTS entries (
	idx  INTEGER PRIMARY KEY,
	leaf BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS terms (
	term BLOB NOT NULL,
	idx  INTEGER NOT NULL,
	PRIMARY KEY (term, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
	fingerprint TEXT PRIMARY KEY,
	pem         TEXT NOT NULL,
	operator    TEXT NOT NULL,
	url         TEXT NOT NULL,
	enrolled    INTEGER NOT NULL,
	revoked     INTEGER
) STRICT`

// OpenSQLiteIndex opens the database at path and creates it if it is missing.
func OpenSQLiteIndex(ctx context.Context, path string) (*SQLiteIndex, error) {
	w, r, err := openSQLite(ctx, path, "NORMAL", indexSchema)
	if err != nil {
		return nil, err
	}
	x := &SQLiteIndex{w: w, r: r}
	x.find, err = r.PrepareContext(ctx, "SELECT idx FROM terms WHERE term = ? AND idx >= ? ORDER BY idx LIMIT ?")
	if err == nil {
		x.text, err = r.PrepareContext(ctx, "SELECT leaf FROM entries WHERE idx = ?")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), x.Close())
	}
	return x, nil
}

// Size implements Index.
func (x *SQLiteIndex) Size(ctx context.Context) (uint64, error) { return sizeOf(ctx, x.w) }

type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func sizeOf(ctx context.Context, q queryer) (uint64, error) {
	var size uint64
	if err := q.QueryRowContext(ctx, "SELECT coalesce(max(idx)+1, 0) FROM entries").Scan(&size); err != nil {
		return 0, fmt.Errorf("reading the size of the index: %w", err)
	}
	return size, nil
}

// Add implements Index.
func (x *SQLiteIndex) Add(ctx context.Context, entries []Entry) error {
	err := inTx(ctx, x.w, func(tx *sql.Tx) error {
		size, err := sizeOf(ctx, tx)
		if err != nil {
			return err
		}
		var leaves, found [][]any
		for i := range entries {
			e := &entries[i]
			if e.Index != size+uint64(i) {
				return fmt.Errorf("entry %d is out of order, want %d", e.Index, size+uint64(i))
			}
			leaves = append(leaves, []any{e.Index, e.Text})
			for _, t := range terms(e) {
				found = append(found, []any{t[:], e.Index})
			}
			if err := changeKeys(ctx, tx, e); err != nil {
				return err
			}
		}
		if err := insertRows(ctx, tx, "INSERT INTO entries (idx, leaf)", leaves); err != nil {
			return err
		}
		return insertRows(ctx, tx, "INSERT OR IGNORE INTO terms (term, idx)", found)
	})
	if err != nil {
		return fmt.Errorf("indexing %d entries: %w", len(entries), err)
	}
	return nil
}

func changeKeys(ctx context.Context, tx *sql.Tx, e *Entry) error {
	if k := e.Enrols; k != nil {
		_, err := tx.ExecContext(ctx, `INSERT INTO keys (fingerprint, pem, operator, url, enrolled) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (fingerprint) DO UPDATE SET operator = excluded.operator, url = excluded.url, enrolled = excluded.enrolled`,
			string(k.Fingerprint), k.PEM, k.Operator, k.URL, e.Index)
		return err
	}
	if e.Revokes != "" {
		_, err := tx.ExecContext(ctx, "UPDATE keys SET revoked = ? WHERE fingerprint = ? AND revoked IS NULL", e.Index, string(e.Revokes))
		return err
	}
	return nil
}

// Find implements Index.
func (x *SQLiteIndex) Find(ctx context.Context, t Term, from uint64, limit int) ([]uint64, error) {
	rows, err := x.find.QueryContext(ctx, t[:], from, limit)
	if err != nil {
		return nil, fmt.Errorf("looking up entries: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var indexes []uint64
	for rows.Next() {
		var i uint64
		if err := rows.Scan(&i); err != nil {
			return nil, fmt.Errorf("looking up entries: %w", err)
		}
		indexes = append(indexes, i)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("looking up entries: %w", err)
	}
	return indexes, nil
}

// Entries implements Index.
func (x *SQLiteIndex) Entries(ctx context.Context, indexes []uint64) ([]Entry, error) {
	entries := make([]Entry, 0, len(indexes))
	for _, i := range indexes {
		e := Entry{Index: i}
		err := x.text.QueryRowContext(ctx, i).Scan(&e.Text)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("entry %d: %w", i, ErrNotFound)
		}
		if err != nil {
			return nil, fmt.Errorf("reading entry %d: %w", i, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

const selectKey = "SELECT fingerprint, pem, operator, url, enrolled, revoked FROM keys "

// Key implements Index.
func (x *SQLiteIndex) Key(ctx context.Context, fp leaf.Fingerprint) (*Key, error) {
	k, err := scanKey(x.r.QueryRowContext(ctx, selectKey+"WHERE fingerprint = ?", string(fp)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("key %s: %w", fp, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", fp, err)
	}
	return k, nil
}

// Keys implements Index.
func (x *SQLiteIndex) Keys(ctx context.Context) ([]Key, error) {
	rows, err := x.r.QueryContext(ctx, selectKey+"ORDER BY enrolled")
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var keys []Key
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		keys = append(keys, *k)
	}
	return keys, rows.Err()
}

func scanKey(row interface{ Scan(...any) error }) (*Key, error) {
	var k Key
	var revoked sql.Null[uint64]
	if err := row.Scan(&k.Fingerprint, &k.PEM, &k.Operator, &k.URL, &k.Enrolled, &revoked); err != nil {
		return nil, err
	}
	if revoked.Valid {
		k.Revoked = &revoked.V
	}
	return &k, nil
}

// Close implements Index.
func (x *SQLiteIndex) Close() error {
	var errs []error
	for _, s := range []*sql.Stmt{x.find, x.text} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(append(errs, x.r.Close(), x.w.Close())...)
}
