package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Record is one checkpoint that the witness cosigned: what it saw and why it
// believed it.
type Record struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	// Time is the cosignature's, in seconds since 1970. Size, Root and Time are
	// all that a cosignature says.
	Time int64
	// Note is the checkpoint with the log's verified signatures, canonical.
	Note []byte
	// Proof shows that the tree extends the one of size Old, which was cosigned
	// before. Old is -1 in a record that an operator adopted: how the witness
	// came to it is not known any more.
	Old   int64
	Proof []tlog.Hash
}

// Advance makes the record that decide returns the latest of its origin. decide
// gets the latest until now, or nil, and why the origin is refused, or nil; it
// runs inside the transaction. Its error is returned as it is, and then nothing
// is changed.
//
// A record of the same tree as the latest only moves its time: what was checked
// when it was first cosigned is kept.
func (db *DB) Advance(ctx context.Context, origin string, decide func(last *Record, refused *Refusal) (*Record, error)) error {
	return db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		refused, err := scanRefusal(tx.StmtContext(ctx, db.stmts.refusal).QueryRowContext(ctx, origin).Scan)
		if err != nil {
			return err
		}
		last, err := db.latest(ctx, tx, origin)
		if err != nil {
			return err
		}
		next, err := decide(last, refused)
		if err != nil {
			return err
		}
		return db.advance(ctx, tx, last, next)
	})
}

func (db *DB) advance(ctx context.Context, tx *sql.Tx, last, next *Record) error {
	if last != nil {
		// The callers have checked this: the database does so again, since
		// nothing else here could be undone.
		if next.Size < last.Size || next.Time < last.Time || next.Size == last.Size && next.Root != last.Root {
			return fmt.Errorf("storing size %d of %s after size %d: the state would go back", next.Size, next.Origin, last.Size)
		}
		if next.Size == last.Size {
			_, err := tx.ExecContext(ctx, "UPDATE cosigned SET time = ? WHERE origin = ? AND size = ?", next.Time, next.Origin, next.Size)
			return err
		}
	}
	return db.insertRecord(ctx, tx, next)
}

func (db *DB) insertRecord(ctx context.Context, tx *sql.Tx, r *Record) error {
	proof := make([]byte, 0, len(r.Proof)*tlog.HashSize)
	for _, h := range r.Proof {
		proof = append(proof, h[:]...)
	}
	_, err := tx.StmtContext(ctx, db.stmts.insert).ExecContext(ctx, r.Origin, r.Size, r.Root[:], r.Time, r.Note, r.Old, proof)
	if err != nil {
		return fmt.Errorf("storing size %d of %s: %w", r.Size, r.Origin, err)
	}
	return nil
}

const recordColumns = "SELECT origin, size, root, time, note, old, proof FROM cosigned"

func scanRecord(scan func(...any) error) (*Record, error) {
	var r Record
	var root, proof []byte
	if err := scan(&r.Origin, &r.Size, &root, &r.Time, &r.Note, &r.Old, &proof); err != nil {
		return nil, err
	}
	if len(root) != tlog.HashSize || len(proof)%tlog.HashSize != 0 {
		return nil, fmt.Errorf("record of size %d of %s is damaged", r.Size, r.Origin)
	}
	r.Root = tlog.Hash(root)
	for ; len(proof) > 0; proof = proof[tlog.HashSize:] {
		r.Proof = append(r.Proof, tlog.Hash(proof[:tlog.HashSize]))
	}
	return &r, nil
}

func oneRecord(row *sql.Row, origin string) (*Record, error) {
	r, err := scanRecord(row.Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
	}
	return r, nil
}

const (
	latestQuery = recordColumns + " WHERE origin = ? ORDER BY size DESC LIMIT 1"
	atQuery     = recordColumns + " WHERE origin = ? AND size = ?"
	insertQuery = "INSERT INTO cosigned (origin, size, root, time, note, old, proof) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

func (db *DB) latest(ctx context.Context, tx *sql.Tx, origin string) (*Record, error) {
	return oneRecord(tx.StmtContext(ctx, db.stmts.latest).QueryRowContext(ctx, origin), origin)
}

// Latest returns the latest record of an origin, or nil if nothing of it was
// ever cosigned.
func (db *DB) Latest(ctx context.Context, origin string) (*Record, error) {
	return oneRecord(db.stmts.latest.QueryRowContext(ctx, origin), origin)
}

// CosignedAt returns the record of a size, or nil.
func (db *DB) CosignedAt(ctx context.Context, origin string, size int64) (*Record, error) {
	return oneRecord(db.stmts.at.QueryRowContext(ctx, origin, size), origin)
}

// Chain returns the records of sizes from ≤ size ≤ to, smallest first, at most
// limit of them.
func (db *DB) Chain(ctx context.Context, origin string, from, to int64, limit int) (records []*Record, err error) {
	rows, err := db.db.QueryContext(ctx, recordColumns+" WHERE origin = ? AND size BETWEEN ? AND ? ORDER BY size LIMIT ?",
		origin, from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRecord(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// Roots returns the roots of the records of sizes from ≤ size ≤ to, by size, at
// most limit of the smallest.
func (db *DB) Roots(ctx context.Context, origin string, from, to int64, limit int) (roots map[int64]tlog.Hash, err error) {
	rows, err := db.db.QueryContext(ctx, "SELECT size, root FROM cosigned WHERE origin = ? AND size BETWEEN ? AND ? ORDER BY size LIMIT ?",
		origin, from, to, limit)
	if err != nil {
		return nil, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	roots = make(map[int64]tlog.Hash)
	for rows.Next() {
		var size int64
		var root []byte
		if err := rows.Scan(&size, &root); err != nil {
			return nil, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
		}
		if len(root) != tlog.HashSize {
			return nil, fmt.Errorf("record of size %d of %s is damaged", size, origin)
		}
		roots[size] = tlog.Hash(root)
	}
	return roots, rows.Err()
}

// Back returns the size of the record that is n records before the last of at
// most a size, or of the first if there are not so many; 0 if there is none.
func (db *DB) Back(ctx context.Context, origin string, size int64, n int) (int64, error) {
	var back sql.NullInt64
	err := db.db.QueryRowContext(ctx,
		"SELECT min(size) FROM (SELECT size FROM cosigned WHERE origin = ? AND size <= ? ORDER BY size DESC LIMIT ?)",
		origin, size, n+1).Scan(&back)
	if err != nil {
		return 0, fmt.Errorf("reading what was cosigned of %s: %w", origin, err)
	}
	return back.Int64, nil
}

// Thin deletes the records of an origin from before a time, but the last of
// each hour and the latest. A busy log has its witness cosign many times a
// second: nobody keeps all of that for ever.
func (db *DB) Thin(ctx context.Context, origin string, before int64) error {
	err := db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM cosigned WHERE origin = ?1 AND time < ?2 AND size NOT IN (
			SELECT max(size) FROM cosigned WHERE origin = ?1 GROUP BY time / 3600)`, origin, before)
		return err
	})
	if err != nil {
		return fmt.Errorf("thinning what was cosigned of %s: %w", origin, err)
	}
	return nil
}
