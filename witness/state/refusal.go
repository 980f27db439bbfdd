package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Cause is why an origin is refused.
type Cause string

// The causes.
const (
	// CauseEvidence is that there is evidence that the log, or this very
	// witness, signed what it must not. Detail is the evidence's hash.
	CauseEvidence Cause = "evidence"
	// CauseRollback is that a peer showed a cosignature by this witness of
	// which its state knows nothing. Detail says which.
	CauseRollback Cause = "rollback"
)

// Refusal stops all cosigning of an origin, until an operator clears it.
type Refusal struct {
	Origin string
	Cause  Cause
	Detail string
	Time   int64
	// Adopt is what was cosigned and forgotten; clearing the refusal makes it
	// the latest record. Nil if there is nothing to adopt.
	Adopt *Record
}

const refusalQuery = "SELECT origin, cause, detail, time, adopt_size, adopt_root, adopt_time, adopt_note FROM refusal WHERE origin = ?"

func scanRefusal(scan func(...any) error) (*Refusal, error) {
	var r Refusal
	var size, at sql.NullInt64
	var root, note []byte
	err := scan(&r.Origin, &r.Cause, &r.Detail, &r.Time, &size, &root, &at, &note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what is refused: %w", err)
	}
	if size.Valid {
		if len(root) != tlog.HashSize {
			return nil, fmt.Errorf("refusal of %s is damaged", r.Origin)
		}
		r.Adopt = &Record{Origin: r.Origin, Size: size.Int64, Root: tlog.Hash(root), Time: at.Int64, Note: note, Old: -1}
	}
	return &r, nil
}

// Refused returns why an origin is refused, or nil.
func (db *DB) Refused(ctx context.Context, origin string) (*Refusal, error) {
	return scanRefusal(db.stmts.refusal.QueryRowContext(ctx, origin).Scan)
}

// Refuse stops the cosigning of an origin. An earlier refusal stays as it is,
// except that the largest record to adopt is kept.
func (db *DB) Refuse(ctx context.Context, r Refusal) error {
	err := db.change(ctx, func(ctx context.Context, tx *sql.Tx) error { return refuse(ctx, tx, r) })
	if err != nil {
		return fmt.Errorf("storing the refusal of %s: %w", r.Origin, err)
	}
	return nil
}

func refuse(ctx context.Context, tx *sql.Tx, r Refusal) error {
	_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO refusal (origin, cause, detail, time) VALUES (?, ?, ?, ?)",
		r.Origin, r.Cause, r.Detail, r.Time)
	if err != nil || r.Adopt == nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE refusal SET adopt_size = ?2, adopt_root = ?3, adopt_time = ?4, adopt_note = ?5
		WHERE origin = ?1 AND (adopt_size IS NULL OR adopt_size < ?2)`,
		r.Origin, r.Adopt.Size, r.Adopt.Root[:], r.Adopt.Time, r.Adopt.Note)
	return err
}

// Clear lets an origin be cosigned again. What was cosigned and forgotten is
// adopted; evidence is kept, and does not refuse the origin a second time. It
// returns the refusal that was cleared, or nil if there was none.
func (db *DB) Clear(ctx context.Context, origin string) (cleared *Refusal, err error) {
	err = db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		if cleared, err = scanRefusal(tx.StmtContext(ctx, db.stmts.refusal).QueryRowContext(ctx, origin).Scan); err != nil || cleared == nil {
			return err
		}
		if err := db.adopt(ctx, tx, cleared.Adopt); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE evidence SET cleared = 1 WHERE origin = ?", origin); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM refusal WHERE origin = ?", origin)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("clearing the refusal of %s: %w", origin, err)
	}
	return cleared, nil
}

// adopt makes a forgotten record the latest, unless it is not larger. Its time
// must not lie before what was signed since.
func (db *DB) adopt(ctx context.Context, tx *sql.Tx, r *Record) error {
	if r == nil {
		return nil
	}
	last, err := db.latest(ctx, tx, r.Origin)
	if err != nil || last != nil && last.Size >= r.Size {
		return err
	}
	if last != nil {
		r.Time = max(r.Time, last.Time)
	}
	return db.insertRecord(ctx, tx, r)
}
