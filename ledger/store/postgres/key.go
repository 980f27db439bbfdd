package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrOtherKey is wrapped by the error of BindKey for a key that is not the log's.
var ErrOtherKey = errors.New("the log of the database is signed by another key")

// BindKey makes a verifier key the log's, if the log has none yet, and fails with
// ErrOtherKey if it has another: two keys with one name must not both sign it. It
// fails with ErrNoLog if there is no log.
func (p *Pool) BindKey(ctx context.Context, vkey string) error {
	var bound string
	err := p.InTx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "UPDATE log SET vkey = coalesce(vkey, $1) RETURNING vkey", vkey).Scan(&bound)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNoLog
	}
	if err == nil && bound != vkey {
		err = fmt.Errorf("%w, %s: give every front end that one", ErrOtherKey, bound)
	}
	if err != nil {
		return fmt.Errorf("comparing the key %s with the log's: %w", vkey, err)
	}
	return nil
}
