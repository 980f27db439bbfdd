package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// KeyChanges returns the entries from an index on that changed keys, at most limit,
// of one state of the index. It answers while the index is being rebuilt, too: that
// is done by who follows the keys.
func (x *PostgresIndex) KeyChanges(ctx context.Context, from uint64, limit int) (*KeyChanges, error) {
	var c *KeyChanges
	err := x.pool.View(ctx, func(tx pgx.Tx) (err error) {
		c, err = keyChanges(ctx, tx, from, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading which entries changed keys: %w", err)
	}
	return c, nil
}

func keyChanges(ctx context.Context, tx pgx.Tx, from uint64, limit int) (*KeyChanges, error) {
	size, err := sizeOfPostgres(tx.QueryRow(ctx, "SELECT version, size FROM index_head"))
	if err != nil {
		return nil, err
	}
	c := &KeyChanges{Size: size}
	if size == 0 {
		return c, nil
	}
	c.Last = &Entry{Index: size - 1}
	if err := tx.QueryRow(ctx, "SELECT leaf FROM entries WHERE idx = $1", size-1).Scan(&c.Last.Text); err != nil {
		return nil, fmt.Errorf("entry %d: %w", size-1, err)
	}
	if from >= size {
		return c, nil
	}
	rows, err := tx.Query(ctx, "SELECT idx, leaf FROM key_changes JOIN entries USING (idx) WHERE idx >= $1 ORDER BY idx LIMIT $2", from, limit)
	if err != nil {
		return nil, err
	}
	c.Entries, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Entry, err error) {
		err = row.Scan(&e.Index, &e.Text)
		return e, err
	})
	return c, err
}

// KeysAt is Keys, with the size of the index, of one state of it.
func (x *PostgresIndex) KeysAt(ctx context.Context) (size uint64, list []Key, standing []Endorsement, err error) {
	err = x.pool.View(ctx, func(tx pgx.Tx) (err error) {
		if size, err = sizeOfPostgres(tx.QueryRow(ctx, "SELECT version, size FROM index_head")); err != nil {
			return err
		}
		list, standing, err = keysOf(ctx, tx)
		return err
	})
	if err != nil {
		return 0, nil, nil, fmt.Errorf("reading keys: %w", err)
	}
	return size, list, standing, nil
}

// Keys implements Index.
func (x *PostgresIndex) Keys(ctx context.Context) ([]Key, []Endorsement, error) {
	_, list, standing, err := x.KeysAt(ctx)
	return list, standing, err
}

func keysOf(ctx context.Context, tx pgx.Tx) (list []Key, standing []Endorsement, err error) {
	if list, err = collect(ctx, tx, SelectKeys+"ORDER BY enrolled", ScanKey); err != nil {
		return nil, nil, err
	}
	standing, err = collect(ctx, tx, SelectEndorsements+"ORDER BY idx", ScanEndorsement)
	return list, standing, err
}
