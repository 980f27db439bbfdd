package mirror

import (
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// tree is the right edge of a Merkle tree that is built from its leaves: of
// every level of tiles, the hashes of the last tile, if it is not full.
type tree struct {
	size uint64
	edge [maxLevels][]byte
	// full is called with each tile that became full.
	full func(level, index uint64, hashes []byte) error
}

// load reads the edge of a tree whose size is a multiple of a tile's width, from
// the full tiles below it.
func (t *tree) load(ctx context.Context, r engine.TileReader, size uint64) error {
	t.size = size
	for level := uint64(1); level < maxLevels; level++ {
		hashes := size >> (8 * level)
		for i := hashes / engine.TileWidth * engine.TileWidth; i < hashes; i++ {
			b, err := r.Tile(ctx, level-1, i, engine.TileWidth)
			if err == nil && len(b) != engine.TileWidth*hashSize {
				err = fmt.Errorf("it has %d bytes", len(b))
			}
			if err != nil {
				return fmt.Errorf("reading tile %d/%d of the copy: %w", level-1, i, err)
			}
			t.edge[level] = append(t.edge[level], perfect(b)...)
		}
	}
	return nil
}

// append adds the hash of the next leaf.
func (t *tree) append(hash []byte) error {
	index := t.size
	t.size++
	for level := range t.edge {
		t.edge[level] = append(t.edge[level], hash...)
		if len(t.edge[level]) < engine.TileWidth*hashSize {
			return nil
		}
		index /= engine.TileWidth
		if err := t.full(uint64(level), index, t.edge[level]); err != nil {
			return err
		}
		hash = perfect(t.edge[level])
		t.edge[level] = nil
	}
	return nil
}

// partial calls f with each tile at the edge that is not full.
func (t *tree) partial(f func(level, index uint64, hashes []byte) error) error {
	for level, hashes := range t.edge {
		if len(hashes) == 0 {
			continue
		}
		if err := f(uint64(level), t.size>>(8*(level+1)), hashes); err != nil {
			return err
		}
	}
	return nil
}

// root returns the root of the tree.
func (t *tree) root() tlog.Hash {
	var nodes [][]byte // perfect subtrees, from the left
	for level := maxLevels - 1; level >= 0; level-- {
		rest := t.edge[level]
		for width := engine.TileWidth / 2; width > 0; width /= 2 {
			if len(rest)/hashSize >= width {
				nodes = append(nodes, perfect(rest[:width*hashSize]))
				rest = rest[width*hashSize:]
			}
		}
	}
	if len(nodes) == 0 {
		return tlog.Hash(rfc6962.DefaultHasher.EmptyRoot())
	}
	root := nodes[len(nodes)-1]
	for i := len(nodes) - 2; i >= 0; i-- {
		root = rfc6962.DefaultHasher.HashChildren(nodes[i], root)
	}
	return tlog.Hash(root)
}

// perfect returns the root over hashes, whose number is a power of two.
func perfect(hashes []byte) []byte {
	for len(hashes) > hashSize {
		above := make([]byte, 0, len(hashes)/2)
		for ; len(hashes) > 0; hashes = hashes[2*hashSize:] {
			above = append(above, rfc6962.DefaultHasher.HashChildren(hashes[:hashSize], hashes[hashSize:2*hashSize])...)
		}
		hashes = above
	}
	return hashes
}
