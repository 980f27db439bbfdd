package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// MaxPending is how many checkpoints of one origin wait to be compared. Only
// the log itself can make them, and one that is never explained is an alarm
// already.
const MaxPending = 64

// Pending is a checkpoint that the log signed and that could not be shown yet
// to agree, or not to agree, with what this witness cosigned.
type Pending struct {
	Origin string
	Size   int64
	Root   tlog.Hash
	Note   []byte // with the log's signatures
	Source string // who showed it, for people
	First  int64  // when it was first seen, in seconds since 1970
	Opened int64  // when it became an open challenge; 0 if it has not
}

// AddPending stores a checkpoint, unless it is known or MaxPending of its origin
// are stored. It reports whether it is stored now.
func (db *DB) AddPending(ctx context.Context, p Pending) (stored bool, err error) {
	err = db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var others int
		err := tx.QueryRowContext(ctx, "SELECT count(*) FROM pending WHERE origin = ? AND NOT (size = ? AND root = ?)",
			p.Origin, p.Size, p.Root[:]).Scan(&others)
		if err != nil || others >= MaxPending {
			return err
		}
		stored = true
		_, err = tx.ExecContext(ctx,
			"INSERT OR IGNORE INTO pending (origin, size, root, note, source, first, opened) VALUES (?, ?, ?, ?, ?, ?, 0)",
			p.Origin, p.Size, p.Root[:], p.Note, p.Source, p.First)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("storing an unexplained checkpoint of %s: %w", p.Origin, err)
	}
	return stored, nil
}

// OpenChallenge records since when a pending checkpoint has been a challenge.
func (db *DB) OpenChallenge(ctx context.Context, p Pending, at int64) error {
	return db.changePending(ctx, p, "UPDATE pending SET opened = ?4 WHERE origin = ?1 AND size = ?2 AND root = ?3 AND opened = 0", at)
}

// Resolve forgets a pending checkpoint.
func (db *DB) Resolve(ctx context.Context, p Pending) error {
	return db.changePending(ctx, p, "DELETE FROM pending WHERE origin = ?1 AND size = ?2 AND root = ?3")
}

func (db *DB) changePending(ctx context.Context, p Pending, query string, args ...any) error {
	err := db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, append([]any{p.Origin, p.Size, p.Root[:]}, args...)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("changing an unexplained checkpoint of %s: %w", p.Origin, err)
	}
	return nil
}

// PendingOf returns the pending checkpoints of an origin, smallest first.
func (db *DB) PendingOf(ctx context.Context, origin string) (list []Pending, err error) {
	rows, err := db.db.QueryContext(ctx,
		"SELECT origin, size, root, note, source, first, opened FROM pending WHERE origin = ? ORDER BY size, root", origin)
	if err != nil {
		return nil, fmt.Errorf("reading the unexplained checkpoints of %s: %w", origin, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Pending
		var root []byte
		if err := rows.Scan(&p.Origin, &p.Size, &root, &p.Note, &p.Source, &p.First, &p.Opened); err != nil {
			return nil, fmt.Errorf("reading the unexplained checkpoints of %s: %w", origin, err)
		}
		copy(p.Root[:], root)
		list = append(list, p)
	}
	return list, rows.Err()
}

// MaxSeen is how many cosigned checkpoints are kept for each witness and origin.
const MaxSeen = 64

// Seen is a checkpoint that some witness cosigned, as it was shown to us.
type Seen struct {
	Origin  string
	Witness string // key ID, as evidence.KeyID makes it
	Size    int64
	Root    tlog.Hash
	Time    int64
	Note    []byte // with the signatures of the log and of that witness
}

// AddSeen stores what witnesses cosigned, and forgets the oldest above MaxSeen.
func (db *DB) AddSeen(ctx context.Context, list []Seen) error {
	err := db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, s := range list {
			_, err := tx.ExecContext(ctx,
				"INSERT OR IGNORE INTO seen (origin, witness, size, time, root, note) VALUES (?, ?, ?, ?, ?, ?)",
				s.Origin, s.Witness, s.Size, s.Time, s.Root[:], s.Note)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `DELETE FROM seen WHERE origin = ?1 AND witness = ?2 AND rowid NOT IN (
				SELECT rowid FROM seen WHERE origin = ?1 AND witness = ?2 ORDER BY size DESC, time DESC LIMIT ?3)`,
				s.Origin, s.Witness, MaxSeen)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing what witnesses cosigned: %w", err)
	}
	return nil
}

// SeenOf returns what witnesses were seen to cosign of an origin, smallest
// first.
func (db *DB) SeenOf(ctx context.Context, origin string) (list []Seen, err error) {
	rows, err := db.db.QueryContext(ctx,
		"SELECT origin, witness, size, time, root, note FROM seen WHERE origin = ? ORDER BY size, time", origin)
	if err != nil {
		return nil, fmt.Errorf("reading what witnesses cosigned of %s: %w", origin, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s Seen
		var root []byte
		if err := rows.Scan(&s.Origin, &s.Witness, &s.Size, &s.Time, &root, &s.Note); err != nil {
			return nil, fmt.Errorf("reading what witnesses cosigned of %s: %w", origin, err)
		}
		copy(s.Root[:], root)
		list = append(list, s)
	}
	return list, rows.Err()
}
