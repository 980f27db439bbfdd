package engine

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds of what is read and tiled at a time, while the tiles are far behind
// Trillian's tree: of leaves, and of what they have in memory.
const (
	chunkLeaves = 64 * TileWidth
	chunkBytes  = 16 << 20
)

// state is the tree that is tiled.
type state struct {
	loaded bool
	edge   Edge
	bundle []byte    // the entries of the last bundle, while it is not full
	next   uint64    // the sequence is known to have given out the indexes below it
	public tlog.Tree // the checkpoint that was published when the state was loaded
}

// lock waits for the right to change the state.
func (t *Trillian) lock(ctx context.Context) error {
	select {
	case t.work <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the tiles to be written: %w", context.Cause(ctx))
	}
}

func (t *Trillian) unlock() { <-t.work }

// advance writes the tiles of what Trillian has integrated, and returns the size.
func (t *Trillian) advance(ctx context.Context) (uint64, error) {
	if err := t.lock(ctx); err != nil {
		return 0, err
	}
	defer t.unlock()
	if err := t.failure(); err != nil {
		return 0, err
	}
	if !t.state.loaded {
		if err := t.load(ctx); err != nil {
			return 0, t.settle(err)
		}
	}
	root, err := t.logs.root(ctx)
	if err != nil {
		return 0, err
	}
	if err := t.check(ctx, root); err != nil {
		return 0, t.settle(err)
	}
	for begin := t.state.edge.Size(); t.state.edge.Size() < uint64(root.N); {
		if err := t.extend(ctx, root); err != nil {
			return 0, t.settle(err)
		}
		if size := t.state.edge.Size(); uint64(root.N)-begin > 4*chunkLeaves {
			t.cfg.Log.Info("writing tiles", "size", size, "of", root.N)
		}
	}
	return t.size.Load(), nil
}

// check compares Trillian's tree with what is tiled, and with how far the sequence
// is.
func (t *Trillian) check(ctx context.Context, root tlog.Tree) error {
	size := t.state.edge.Size()
	switch held := max(size, t.size.Load(), uint64(t.state.public.N)); {
	case uint64(root.N) < held:
		return fmt.Errorf("%w: Trillian's tree has %d leaves, and %d are tiled or published: "+
			"its database is an older copy: restore the newest one, or have the leaves added again from the tiles", ErrContradiction, root.N, held)
	case uint64(root.N) == size && root.Hash != t.state.edge.Root():
		return fmt.Errorf("%w: at size %d Trillian's tree has the root %s, and the tiles have %s", ErrContradiction, size, root.Hash, t.state.edge.Root())
	}
	if uint64(root.N) <= t.state.next {
		return nil
	}
	next, err := t.cfg.Sequence.Next(ctx)
	if err != nil {
		return fmt.Errorf("reading how far the sequence is: %w", err)
	}
	if uint64(root.N) > next {
		return fmt.Errorf("%w: Trillian's tree has %d leaves, and only %d indexes were given out: "+
			"the database of the sequence is an older copy: restore the newest one", ErrContradiction, root.N, next)
	}
	t.state.next = next
	return nil
}

// load sets the state to the published checkpoint, unless what this process tiled
// itself is larger.
func (t *Trillian) load(ctx context.Context) error {
	public, err := t.publishedTree(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	s := state{loaded: true, public: public, edge: t.state.edge, bundle: t.state.bundle}
	raise(&t.published, uint64(public.N))
	if uint64(public.N) > s.edge.Size() {
		s.bundle = nil
		err := s.edge.Load(ctx, t, uint64(public.N))
		if err == nil {
			s.bundle, err = t.lastBundle(ctx, uint64(public.N))
		}
		switch {
		case errors.Is(err, ErrNotFound):
			t.cfg.Log.Warn("tiles are missing in the bucket: writing all of them again", "error", err)
			s.edge, s.bundle = Edge{}, nil
		case err != nil:
			return err
		case s.edge.Root() != public.Hash:
			return fmt.Errorf("%w: at size %d the tiles have the root %s, and the published checkpoint has %s", ErrContradiction, public.N, s.edge.Root(), public.Hash)
		}
	}
	t.state = s
	t.setSize(s.edge.Size())
	return nil
}

// lastBundle returns the entries of a tree's last bundle, if it is not full.
func (t *Trillian) lastBundle(ctx context.Context, size uint64) ([]byte, error) {
	width := int(size % TileWidth)
	if width == 0 {
		return nil, nil
	}
	b, err := t.Entries(ctx, size/TileWidth, width)
	if err != nil {
		return nil, err
	}
	return cutBundle(b, width)
}

// extend reads the next leaves from Trillian, and writes the tiles with them, if
// they are of Trillian's tree.
func (t *Trillian) extend(ctx context.Context, root tlog.Tree) error {
	from := t.state.edge.Size()
	end := min(uint64(root.N), from/chunkLeaves*chunkLeaves+chunkLeaves)
	if public := uint64(t.state.public.N); from < public {
		end = min(end, public)
	}
	leaves, err := t.logs.leaves(ctx, from, end, chunkBytes)
	if err != nil {
		return err
	}
	end = from + uint64(len(leaves))
	g := growth{edge: t.state.edge.Clone(), bundle: append([]byte(nil), t.state.bundle...)}
	if err := g.add(leaves); err != nil {
		return fmt.Errorf("%w: Trillian's leaves from %d on: %w", ErrContradiction, from, err)
	}
	if err := t.prove(ctx, g.edge.Root(), end, root); err != nil {
		return err
	}
	if err := t.compare(ctx, from, g.hashes); err != nil {
		return err
	}
	// A tree that is not the last of this round is not shown: nobody asks for its
	// partial tiles.
	if end == uint64(root.N) {
		g.finish()
	}
	if err := t.cfg.Bucket.Put(ctx, g.objects); err != nil {
		return fmt.Errorf("writing tiles: %w", err)
	}
	t.state.edge, t.state.bundle = g.edge, g.bundle
	t.forgetFed(end)
	if end == uint64(root.N) {
		t.setSize(end)
	}
	return nil
}

// growth is a tree with more leaves, and the objects that it adds.
type growth struct {
	edge    Edge
	bundle  []byte
	hashes  []tlog.Hash // of the leaves
	objects []Object
}

func (g *growth) add(leaves [][]byte) error {
	g.edge.Full = func(level, index uint64, hashes []byte) error {
		g.put(int(level), index, hashes, TileWidth)
		if level == 0 {
			g.put(bundleLevel, index, g.bundle, TileWidth)
			g.bundle = nil
		}
		return nil
	}
	for _, leaf := range leaves {
		hash := tlog.Hash(rfc6962.DefaultHasher.HashLeaf(leaf))
		g.hashes = append(g.hashes, hash)
		var err error
		if g.bundle, err = torchwood.AppendTileEntry(g.bundle, leaf); err != nil {
			return err
		}
		if err := g.edge.Append(hash[:]); err != nil {
			return err
		}
	}
	return nil
}

// finish adds the partial tiles and the partial bundle.
func (g *growth) finish() {
	if len(g.bundle) > 0 {
		g.put(bundleLevel, g.edge.Size()/TileWidth, g.bundle, int(g.edge.Size()%TileWidth))
	}
	_ = g.edge.Partial(func(level, index uint64, hashes []byte) error {
		g.put(int(level), index, hashes, len(hashes)/hashSize)
		return nil
	})
}

// put adds a tile or a bundle. What is there is replaced: it may be of a tree that
// was never shown.
func (g *growth) put(level int, index uint64, b []byte, width int) {
	g.objects = append(g.objects, Object{Key: tilePath(level, index, width), Bytes: b, CacheControl: "public, max-age=31536000, immutable"})
}

// prove checks that the tree of a size with the hash that its leaves have is what
// Trillian's tree began with, and the published one, if it is of that size.
func (t *Trillian) prove(ctx context.Context, hash tlog.Hash, size uint64, root tlog.Tree) error {
	if size == uint64(t.state.public.N) && hash != t.state.public.Hash {
		return fmt.Errorf("%w: Trillian's leaves at size %d have the root %s, and the published checkpoint has %s",
			ErrContradiction, size, hash, t.state.public.Hash)
	}
	if size == uint64(root.N) {
		if hash != root.Hash {
			return fmt.Errorf("%w: Trillian's tree of size %d has the root %s, and its leaves on the tiles below have %s",
				ErrContradiction, size, root.Hash, hash)
		}
		return nil
	}
	hashes, err := t.logs.consistency(ctx, size, uint64(root.N))
	if err != nil {
		return err
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, size, uint64(root.N), hashes, hash[:], root.Hash[:]); err != nil {
		return fmt.Errorf("%w: Trillian's leaves at size %d do not lead to its tree of size %d: %w", ErrContradiction, size, root.N, err)
	}
	return nil
}

// compare compares the leaves that Trillian has from an index on with those of the
// sequence, of which some may have been trimmed.
func (t *Trillian) compare(ctx context.Context, from uint64, hashes []tlog.Hash) error {
	end := from + uint64(len(hashes))
	for i := from; i < end; {
		if hash, ok := t.fedHash(i); ok {
			if hash != hashes[i-from] {
				return otherLeaf(i)
			}
			i++
			continue
		}
		leaves, err := t.cfg.Sequence.Read(ctx, i, int(min(end-i, readLeaves)))
		switch {
		case errors.Is(err, ErrNotFound):
			if i, err = t.untrimmed(ctx, i, end); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("reading the sequence from %d on: %w", i, err)
		case len(leaves) == 0:
			return fmt.Errorf("%w: Trillian has leaf %d, whose index was not given out", ErrContradiction, i)
		}
		for _, leaf := range leaves {
			if tlog.Hash(rfc6962.DefaultHasher.HashLeaf(leaf)) != hashes[i-from] {
				return otherLeaf(i)
			}
			i++
		}
	}
	return nil
}

func otherLeaf(index uint64) error {
	return fmt.Errorf("%w: Trillian's leaf %d is not the one that the index was given to: its database, or that of the sequence, is an older copy", ErrContradiction, index)
}

// untrimmed returns the first index in a range that the sequence has the leaf of, or
// the end of the range.
func (t *Trillian) untrimmed(ctx context.Context, from, end uint64) (uint64, error) {
	var failed error
	n := sort.Search(int(end-from), func(i int) bool {
		_, err := t.cfg.Sequence.Read(ctx, from+uint64(i), 1)
		if err != nil && !errors.Is(err, ErrNotFound) {
			failed = err
		}
		return err == nil
	})
	return from + uint64(n), failed
}

// setSize shows a tree whose tiles are there.
func (t *Trillian) setSize(size uint64) {
	if size <= t.size.Load() {
		return
	}
	t.size.Store(size)
	t.mu.Lock()
	t.broadcast()
	t.mu.Unlock()
	t.cfg.Grew(size)
}
