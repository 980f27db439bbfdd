package cluster

import (
	"context"
	"fmt"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

const addNotes = `WITH held AS (SELECT FROM lease WHERE epoch = $1 FOR UPDATE),
added AS (INSERT INTO checkpoints (seq, size, root, note)
  SELECT $2 + n - 1, size, root, note FROM unnest($3::bigint[], $4::bytea[], $5::bytea[]) WITH ORDINALITY AS w (size, root, note, n)
  WHERE EXISTS (SELECT FROM held) AND (SELECT coalesce(max(seq) + 1, 0) FROM checkpoints) = $2::bigint RETURNING true)
SELECT EXISTS (SELECT FROM held), EXISTS (SELECT FROM added)`

// Adopt adds notes to the archive that were published before the log was one of
// several processes, byte for byte. There must be as many before them as seq says. It
// fails with ErrLost if somebody else has taken over.
func (t *Term) Adopt(ctx context.Context, seq uint64, notes [][]byte) error {
	if len(notes) == 0 {
		return nil
	}
	sizes, roots := make([]int64, len(notes)), make([][]byte, len(notes))
	for i, signed := range notes {
		tree, err := treeOf(signed)
		if err != nil {
			return fmt.Errorf("archiving checkpoint %d: %w", seq+uint64(i), err)
		}
		sizes[i], roots[i] = tree.N, tree.Hash[:]
	}
	if err := t.Lost(); err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	var held, added bool
	err := t.c.pool.QueryRow(asking, addNotes, t.epoch, seq, sizes, roots, notes).Scan(&held, &added)
	switch {
	case err != nil:
		return fmt.Errorf("archiving %d checkpoints: %w", len(notes), postgres.Classify(ctx, err))
	case !held:
		t.lose(t.over())
		return t.Lost()
	case !added:
		return fmt.Errorf("%w: the archive in the database does not have %d checkpoints", checkpoint.ErrRollback, seq)
	}
	return nil
}
