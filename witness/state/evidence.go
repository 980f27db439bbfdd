package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// MaxEvidence is how many records of one kind are kept for one origin. One
// proves the point: more only show how far it went.
const MaxEvidence = 16

// Evidence is one stored evidence. What it says is in its text; the rest is for
// finding it.
type Evidence struct {
	Hash   [32]byte // SHA-256 of Text
	Origin string
	Kind   string
	// Subject is equal for texts that say the same in another encoding, or with
	// other signatures. Of them the first is kept.
	Subject [32]byte
	Text    []byte
	Time    int64
	Cleared bool // by an operator, after it was found
}

// AddEvidence stores an evidence and, in the same transaction, the refusal that
// follows from it, if one is given. It reports whether the evidence is new and
// was stored: it is not if its subject is known, or if MaxEvidence of its kind
// are held; the refusal is only stored with it.
func (db *DB) AddEvidence(ctx context.Context, e Evidence, r *Refusal) (added bool, err error) {
	err = db.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var held int
		err := tx.QueryRowContext(ctx, "SELECT count(*) FROM evidence WHERE origin = ? AND kind = ?", e.Origin, e.Kind).Scan(&held)
		if err != nil || held >= MaxEvidence {
			return err
		}
		res, err := tx.ExecContext(ctx,
			"INSERT OR IGNORE INTO evidence (hash, origin, kind, subject, text, time, cleared) VALUES (?, ?, ?, ?, ?, ?, 0)",
			e.Hash[:], e.Origin, e.Kind, e.Subject[:], e.Text, e.Time)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			return err
		}
		added = true
		if r == nil {
			return nil
		}
		return refuse(ctx, tx, *r)
	})
	if err != nil {
		return false, fmt.Errorf("storing evidence about %s: %w", e.Origin, err)
	}
	return added, nil
}

const evidenceColumns = "SELECT hash, origin, kind, subject, text, time, cleared FROM evidence"

// EvidenceByHash returns an evidence, or nil.
func (db *DB) EvidenceByHash(ctx context.Context, hash [32]byte) (*Evidence, error) {
	list, err := db.evidence(ctx, " WHERE hash = ?", hash[:])
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// Evidence returns all evidence about an origin, oldest first. There are at
// most MaxEvidence of each kind.
func (db *DB) Evidence(ctx context.Context, origin string) ([]*Evidence, error) {
	return db.evidence(ctx, " WHERE origin = ? ORDER BY time, hash", origin)
}

func (db *DB) evidence(ctx context.Context, where string, args ...any) (list []*Evidence, err error) {
	rows, err := db.db.QueryContext(ctx, evidenceColumns+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e Evidence
		var hash, subject []byte
		if err := rows.Scan(&hash, &e.Origin, &e.Kind, &subject, &e.Text, &e.Time, &e.Cleared); err != nil {
			return nil, fmt.Errorf("reading evidence: %w", err)
		}
		copy(e.Hash[:], hash)
		copy(e.Subject[:], subject)
		list = append(list, &e)
	}
	return list, rows.Err()
}
