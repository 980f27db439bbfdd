package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// SQLiteIndex is an Index in a SQLite database. Its commits are not synced:
// what a crash takes is read again from the log.
type SQLiteIndex struct {
	w, r    *sql.DB
	find    *sql.Stmt
	first   *sql.Stmt // for rowsPerInsert terms
	text    *sql.Stmt
	entries *inserter
	terms   *inserter
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
	endorser    TEXT NOT NULL,
	revoked     INTEGER,
	withdrawn   INTEGER NOT NULL,
	changed     INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS endorsements (
	key      TEXT NOT NULL,
	endorser TEXT NOT NULL,
	idx      INTEGER NOT NULL,
	operator TEXT NOT NULL,
	url      TEXT NOT NULL,
	PRIMARY KEY (key, endorser)
) STRICT, WITHOUT ROWID`

// IndexVersion is that of the tables, as their file's user_version. An index of
// an earlier version is emptied when it is opened: the log has it all.
const IndexVersion = 2

// OpenSQLiteIndex opens the database at path and creates it if it is missing.
func OpenSQLiteIndex(ctx context.Context, path string) (*SQLiteIndex, error) {
	w, r, err := OpenSQLite(ctx, path, "NORMAL", "")
	if err != nil {
		return nil, err
	}
	x := &SQLiteIndex{w: w, r: r}
	err = InTx(ctx, w, createIndex(ctx))
	if err == nil {
		err = x.prepare(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), w.Close(), r.Close())
	}
	return x, nil
}

// createIndex creates the tables, in place of those of an earlier version.
func createIndex(ctx context.Context) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		var version int
		if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
			return fmt.Errorf("reading the version of the index: %w", err)
		}
		if version > IndexVersion {
			return fmt.Errorf("the index has version %d, and this program knows %d: it was written by a newer one", version, IndexVersion)
		}
		schema := indexSchema
		if version < IndexVersion {
			schema = "DROP TABLE IF EXISTS entries; DROP TABLE IF EXISTS terms; DROP TABLE IF EXISTS keys; DROP TABLE IF EXISTS endorsements;" +
				indexSchema + fmt.Sprintf("; PRAGMA user_version = %d", IndexVersion)
		}
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return fmt.Errorf("creating the tables of the index: %w", err)
		}
		return nil
	}
}

func (x *SQLiteIndex) prepare(ctx context.Context) (err error) {
	if x.entries, err = prepareInsert(ctx, x.w, "INSERT INTO entries (idx, leaf)", 2); err != nil {
		return err
	}
	if x.terms, err = prepareInsert(ctx, x.w, "INSERT INTO terms (term, idx)", 2); err != nil {
		return err
	}
	for stmt, query := range map[**sql.Stmt]string{
		&x.find:  "SELECT idx FROM terms WHERE term = ? AND idx >= ? ORDER BY idx LIMIT ?",
		&x.first: "SELECT term, min(idx) FROM terms WHERE term IN (?" + strings.Repeat(",?", rowsPerInsert-1) + ") GROUP BY term",
		&x.text:  "SELECT leaf FROM entries WHERE idx = ?",
	} {
		if *stmt, err = x.r.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
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
	err := InTx(ctx, x.w, func(tx *sql.Tx) error {
		size, err := sizeOf(ctx, tx)
		if err != nil {
			return err
		}
		if err := inOrder(entries, size); err != nil {
			return err
		}
		leaves := make([]any, 0, 2*len(entries))
		for i := range entries {
			e := &entries[i]
			leaves = append(leaves, e.Index, e.Text)
			if err := changeKeys(ctx, tx, e); err != nil {
				return err
			}
		}
		if err := x.entries.insert(ctx, tx, 2, leaves); err != nil {
			return err
		}
		rows := termRows(entries)
		terms := make([]any, 0, 2*len(rows))
		for i := range rows {
			terms = append(terms, rows[i].term[:], rows[i].idx)
		}
		return x.terms.insert(ctx, tx, 2, terms)
	})
	if err != nil {
		return fmt.Errorf("indexing %d entries: %w", len(entries), err)
	}
	return nil
}

func changeKeys(ctx context.Context, tx *sql.Tx, e *Entry) error {
	c := e.Keys
	if c == nil {
		return nil
	}
	k := &c.Key
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO keys
		(fingerprint, pem, operator, url, enrolled, endorser, revoked, withdrawn, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, keyRow(k)...); err != nil {
		return err
	}
	if c.Ended || c.Withdrawn != "" {
		if _, err := tx.ExecContext(ctx, "DELETE FROM endorsements WHERE key = ? AND (? OR endorser = ?)",
			string(k.Fingerprint), c.Ended, string(c.Withdrawn)); err != nil {
			return err
		}
	}
	if n := c.Endorsed; n != nil {
		_, err := tx.ExecContext(ctx, "INSERT INTO endorsements (key, endorser, idx, operator, url) VALUES (?, ?, ?, ?, ?)", endorsementRow(n)...)
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

// First implements Index.
func (x *SQLiteIndex) First(ctx context.Context, terms []Term) ([]uint64, error) {
	indexes := make([]uint64, len(terms))
	for start := 0; start < len(terms); start += rowsPerInsert {
		end := min(start+rowsPerInsert, len(terms))
		if err := x.firstOf(ctx, terms[start:end], indexes[start:end]); err != nil {
			return nil, fmt.Errorf("looking up entries: %w", err)
		}
	}
	return indexes, nil
}

// firstOf fills in the first entries of at most rowsPerInsert terms.
func (x *SQLiteIndex) firstOf(ctx context.Context, terms []Term, indexes []uint64) error {
	args := make([]any, rowsPerInsert)
	for i := range args {
		args[i] = terms[min(i, len(terms)-1)][:]
	}
	rows, err := x.first.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	found := make(map[Term]uint64)
	for rows.Next() {
		var t []byte
		var idx uint64
		if err := rows.Scan(&t, &idx); err != nil {
			return err
		}
		found[Term(t)] = idx
	}
	for i, t := range terms {
		indexes[i] = NoEntry
		if idx, ok := found[t]; ok {
			indexes[i] = idx
		}
	}
	return rows.Err()
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

// SelectKeys selects what ScanKey reads, and SelectEndorsements what
// ScanEndorsement does: for who reads the tables of an index directly.
const (
	SelectKeys         = "SELECT fingerprint, pem, operator, url, enrolled, endorser, revoked, withdrawn, changed FROM keys "
	SelectEndorsements = "SELECT key, endorser, idx, operator, url FROM endorsements "
)

// Key implements Index.
func (x *SQLiteIndex) Key(ctx context.Context, fp leaf.Fingerprint) (*Key, error) {
	k, err := ScanKey(x.r.QueryRowContext(ctx, SelectKeys+"WHERE fingerprint = ?", string(fp)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("key %s: %w", fp, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", fp, err)
	}
	return k, nil
}

// Keys implements Index.
func (x *SQLiteIndex) Keys(ctx context.Context) (list []Key, standing []Endorsement, err error) {
	// One state of the index for both.
	tx, err := x.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, fmt.Errorf("reading keys: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	err = each(ctx, tx, SelectKeys+"ORDER BY enrolled", func(row Row) error {
		k, err := ScanKey(row)
		if err == nil {
			list = append(list, *k)
		}
		return err
	})
	if err == nil {
		err = each(ctx, tx, SelectEndorsements+"ORDER BY idx", func(row Row) error {
			e, err := ScanEndorsement(row)
			if err == nil {
				standing = append(standing, *e)
			}
			return err
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading keys: %w", err)
	}
	return list, standing, nil
}

func each(ctx context.Context, tx *sql.Tx, query string, f func(Row) error) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Row is a row of an answer.
type Row interface{ Scan(...any) error }

// ScanKey reads a row of SelectKeys.
func ScanKey(row Row) (*Key, error) {
	var k Key
	var revoked sql.Null[uint64]
	if err := row.Scan(&k.Fingerprint, &k.PEM, &k.Operator, &k.URL, &k.Enrolled, &k.Endorser, &revoked, &k.Withdrawn, &k.Changed); err != nil {
		return nil, err
	}
	if revoked.Valid {
		k.Revoked = &revoked.V
	}
	return &k, nil
}

// ScanEndorsement reads a row of SelectEndorsements.
func ScanEndorsement(row Row) (*Endorsement, error) {
	var e Endorsement
	if err := row.Scan(&e.Key, &e.Endorser, &e.Index, &e.Operator, &e.URL); err != nil {
		return nil, err
	}
	return &e, nil
}

// Close implements Index.
func (x *SQLiteIndex) Close() error {
	return errors.Join(x.find.Close(), x.first.Close(), x.text.Close(), x.entries.close(), x.terms.close(), x.r.Close(), x.w.Close())
}
