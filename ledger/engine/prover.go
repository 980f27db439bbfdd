package engine

import (
	"context"
	"fmt"
	"math/bits"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// cachedTiles bounds the Prover's memory: 16 KiB each at most.
const cachedTiles = 4096

const (
	hashSize   = 32
	tileHeight = 8
)

// Prover computes roots and proofs from a log's tiles, which it caches. A tile
// of a Merkle tree only grows to the right, so a cached tile stays right for
// every smaller tree.
//
// Its methods take the size of a tree that is known to be in storage; sizes and
// indexes asked for must be within it. They may be called concurrently.
type Prover struct {
	tiles TileReader

	mu    sync.Mutex // guards cache; not held while a tile is read
	cache *lru.Cache[tileID, *cachedTile]
}

type tileID struct{ level, index uint64 }

// cachedTile is a tile with the hashes of all its complete subtrees.
type cachedTile struct {
	width  int
	load   sync.Once
	levels [tileHeight + 1][]byte // levels[h] is the hashes of subtrees of height h
	err    error
}

// NewProver returns a Prover that reads from tiles.
func NewProver(tiles TileReader) *Prover {
	cache, err := lru.New[tileID, *cachedTile](cachedTiles)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &Prover{tiles: tiles, cache: cache}
}

// Root returns the root hash of the tree of the given size.
func (p *Prover) Root(ctx context.Context, size, tree uint64) ([]byte, error) {
	if size > tree {
		return nil, fmt.Errorf("computing root: size %d is beyond the tree of %d", size, tree)
	}
	if size == 0 {
		return rfc6962.DefaultHasher.EmptyRoot(), nil
	}
	hashes, err := p.nodes(ctx, compact.RangeNodes(0, size, nil), tree)
	if err != nil {
		return nil, fmt.Errorf("computing root of size %d: %w", size, err)
	}
	root := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		root = rfc6962.DefaultHasher.HashChildren(hashes[i], root)
	}
	return root, nil
}

// Inclusion returns the proof that the leaf at index is in the tree of the
// given size, from the leaf's sibling up.
func (p *Prover) Inclusion(ctx context.Context, index, size, tree uint64) ([][]byte, error) {
	nodes, err := proof.Inclusion(index, size)
	if err != nil {
		return nil, fmt.Errorf("proving inclusion: %w", err)
	}
	return p.prove(ctx, nodes, size, tree)
}

// Consistency returns the proof that the tree of size to extends that of size
// from.
func (p *Prover) Consistency(ctx context.Context, from, to, tree uint64) ([][]byte, error) {
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("proving consistency: %w", err)
	}
	return p.prove(ctx, nodes, to, tree)
}

func (p *Prover) prove(ctx context.Context, nodes proof.Nodes, size, tree uint64) ([][]byte, error) {
	if size > tree {
		return nil, fmt.Errorf("proving: size %d is beyond the tree of %d", size, tree)
	}
	hashes, err := p.nodes(ctx, nodes.IDs, tree)
	if err != nil {
		return nil, fmt.Errorf("proving in the tree of size %d: %w", size, err)
	}
	return nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
}

// LeafHash returns the hash of the leaf at index.
func (p *Prover) LeafHash(ctx context.Context, index, tree uint64) ([]byte, error) {
	return p.node(ctx, compact.NewNodeID(0, index), tree)
}

func (p *Prover) nodes(ctx context.Context, ids []compact.NodeID, tree uint64) ([][]byte, error) {
	hashes := make([][]byte, len(ids))
	for i, id := range ids {
		h, err := p.node(ctx, id, tree)
		if err != nil {
			return nil, err
		}
		hashes[i] = h
	}
	return hashes, nil
}

// node returns the hash of a complete subtree.
func (p *Prover) node(ctx context.Context, id compact.NodeID, tree uint64) ([]byte, error) {
	level := uint64(id.Level) / tileHeight
	height := id.Level % tileHeight
	inTile := id.Index & (1<<(tileHeight-height) - 1)
	tid := tileID{level, id.Index >> (tileHeight - height)}

	t, err := p.tile(ctx, tid, int((inTile+1)<<height), tree)
	if err != nil {
		return nil, err
	}
	hashes := t.levels[height]
	end := (inTile + 1) * hashSize
	if end > uint64(len(hashes)) {
		return nil, fmt.Errorf("tile %d/%d has no hash %d of height %d", tid.level, tid.index, inTile, height)
	}
	return hashes[end-hashSize : end : end], nil
}

// tile returns the tile with at least the given width.
func (p *Prover) tile(ctx context.Context, id tileID, width int, tree uint64) (*cachedTile, error) {
	p.mu.Lock()
	t, ok := p.cache.Get(id)
	if !ok || t.width < width {
		t = &cachedTile{width: TileWidthAt(id.level, id.index, tree)}
		p.cache.Add(id, t)
	}
	p.mu.Unlock()
	if t.width < width {
		return nil, fmt.Errorf("tile %d/%d has %d hashes in the tree of %d, want %d", id.level, id.index, t.width, tree, width)
	}

	t.load.Do(func() { t.err = p.read(context.WithoutCancel(ctx), id, t) })
	if t.err != nil {
		p.forget(id, t)
		return nil, t.err
	}
	return t, nil
}

// forget removes a tile that could not be read, so that it is tried again.
func (p *Prover) forget(id tileID, t *cachedTile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now, ok := p.cache.Peek(id); ok && now == t {
		p.cache.Remove(id)
	}
}

// TileWidthAt returns how many hashes a tile has in a tree of a given size; for
// level 0 it is also how many entries the bundle of that index has.
func TileWidthAt(level, index, tree uint64) int {
	if level > 63/tileHeight {
		return 0
	}
	hashes := tree >> (level * tileHeight)
	if full := hashes >> tileHeight; index < full {
		return TileWidth
	} else if index > full {
		return 0
	}
	return int(hashes % TileWidth)
}

func (p *Prover) read(ctx context.Context, id tileID, t *cachedTile) error {
	b, err := p.tiles.Tile(ctx, id.level, id.index, t.width)
	if err != nil {
		return err
	}
	if len(b) < t.width*hashSize {
		return fmt.Errorf("tile %d/%d has %d bytes, want %d", id.level, id.index, len(b), t.width*hashSize)
	}
	t.levels[0] = b[: t.width*hashSize : t.width*hashSize]
	for h := 1; h <= bits.Len(uint(t.width))-1; h++ {
		below := t.levels[h-1]
		above := make([]byte, 0, len(below)/2)
		for i := 0; i+2*hashSize <= len(below); i += 2 * hashSize {
			above = append(above, rfc6962.DefaultHasher.HashChildren(below[i:i+hashSize], below[i+hashSize:i+2*hashSize])...)
		}
		t.levels[h] = above
	}
	return nil
}
