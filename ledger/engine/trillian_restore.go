package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// Restore gives Trillian the leaves of a published tree that it lacks, after its
// database was lost or replaced by an older copy. They are read from the bucket, and
// first of all compared with the tree, which the caller must have by a signed
// checkpoint. The config may name a new tree. Restore returns when Trillian's signer
// has integrated them; it is not for a log that is being run.
func (t *Trillian) Restore(ctx context.Context, published tlog.Tree) error {
	if t.started.Load() {
		return errors.New("restoring Trillian's tree: the log is being run")
	}
	again := t.retrier("restoring Trillian's tree")
	for {
		err := t.restore(ctx, published)
		if err == nil {
			return nil
		}
		if err := again.wait(ctx, err); err != nil {
			return fmt.Errorf("restoring Trillian's tree: %w", err)
		}
	}
}

func (t *Trillian) restore(ctx context.Context, published tlog.Tree) error {
	root, err := t.logs.root(ctx)
	if err != nil {
		return err
	}
	if root.N < published.N {
		if err := t.compareBundles(ctx, root, published); err != nil {
			return err
		}
		if err := t.feedBundles(ctx, uint64(root.N), published); err != nil {
			return err
		}
		if root, err = t.awaitRoot(ctx, published.N); err != nil {
			return err
		}
	}
	if root.N == published.N {
		if root.Hash != published.Hash {
			return fmt.Errorf("%w: Trillian's tree of size %d has the root %s, and the published one has %s", ErrContradiction, root.N, root.Hash, published.Hash)
		}
		return nil
	}
	hashes, err := t.logs.consistency(ctx, uint64(published.N), uint64(root.N))
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(published.N), uint64(root.N), hashes, published.Hash[:], root.Hash[:]); err != nil {
		return fmt.Errorf("%w: Trillian's tree of size %d does not extend the published one of size %d: %w", ErrContradiction, root.N, published.N, err)
	}
	return nil
}

// compareBundles checks that the bundles from where Trillian's tree ends lead from
// that tree to the published one.
func (t *Trillian) compareBundles(ctx context.Context, root, published tlog.Tree) error {
	edge := Edge{Full: func(uint64, uint64, []byte) error { return nil }}
	from := uint64(root.N) / TileWidth * TileWidth
	if err := edge.Load(ctx, t, from); err != nil {
		return err
	}
	check := func(tree tlog.Tree, what, then string) error {
		if got := edge.Root(); edge.Size() == uint64(tree.N) && got != tree.Hash {
			return fmt.Errorf("%w: at size %d the bucket's entries have the root %s, and %s has %s: %s", ErrContradiction, tree.N, got, what, tree.Hash, then)
		}
		return nil
	}
	const another, other = "have another tree made", "restore the bucket"
	if err := check(root, "Trillian's tree", another); err != nil {
		return err
	}
	err := t.bundles(ctx, from, published, func(leaves [][]byte) error {
		for _, leaf := range leaves {
			if err := edge.Append(rfc6962.DefaultHasher.HashLeaf(leaf)); err != nil {
				return err
			}
			if edge.Size() != uint64(root.N) {
				continue
			}
			if err := check(root, "Trillian's tree", another); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return check(published, "the published checkpoint", other)
}

// feedBundles adds the published leaves from an index on.
func (t *Trillian) feedBundles(ctx context.Context, from uint64, published tlog.Tree) error {
	next := from / TileWidth * TileWidth
	return t.bundles(ctx, next, published, func(leaves [][]byte) error {
		first := next
		next += uint64(len(leaves))
		if first < from {
			leaves, first = leaves[from-first:], from
		}
		for len(leaves) > 0 {
			n := fits(leaves)
			if err := t.logs.add(ctx, first, leaves[:n]); err != nil {
				return err
			}
			leaves, first = leaves[n:], first+uint64(n)
		}
		if next%chunkLeaves == 0 {
			t.cfg.Log.Info("giving Trillian the leaves that it lost", "next", next, "of", published.N)
		}
		return nil
	})
}

// bundles calls each with the leaves of every bundle of a tree, from an index on
// that begins one.
func (t *Trillian) bundles(ctx context.Context, from uint64, tree tlog.Tree, each func(leaves [][]byte) error) error {
	for ; from < uint64(tree.N); from += TileWidth {
		index := from / TileWidth
		width := TileWidthAt(0, index, uint64(tree.N))
		rest, err := t.Entries(ctx, index, width)
		if err != nil {
			return err
		}
		leaves := make([][]byte, width)
		for i := range leaves {
			if leaves[i], rest, err = torchwood.ReadTileEntry(rest); err != nil {
				return fmt.Errorf("entry %d of bundle %d: %w", i, index, err)
			}
		}
		if err := each(leaves); err != nil {
			return err
		}
	}
	return nil
}

// awaitRoot waits until Trillian's tree has a size.
func (t *Trillian) awaitRoot(ctx context.Context, size int64) (tlog.Tree, error) {
	for {
		root, err := t.logs.root(ctx)
		if err != nil || root.N >= size {
			return root, err
		}
		select {
		case <-ctx.Done():
			return root, fmt.Errorf("waiting for Trillian to integrate %d leaves, of which it has %d: is a signer running? %w", size, root.N, context.Cause(ctx))
		case <-time.After(t.cfg.Poll):
		}
	}
}
