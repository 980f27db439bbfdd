package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// maxLevels is how many levels of tiles a tree can have.
const maxLevels = 64 / tileHeight

// bundleLevel is the level that tlog.Tile has for entry bundles.
const bundleLevel = -1

// Edge is the right edge of a Merkle tree that is built from its leaves: of every
// level of tiles, the hashes of the last tile, if it is not full. The zero value
// is the edge of the empty tree.
type Edge struct {
	// Full is called with each tile that becomes full, which it may keep.
	Full func(level, index uint64, hashes []byte) error

	size   uint64
	levels [maxLevels][]byte
}

// Size returns the number of leaves.
func (e *Edge) Size() uint64 { return e.size }

// Clone returns a copy that grows by itself.
func (e *Edge) Clone() Edge {
	c := *e
	for level, hashes := range e.levels {
		c.levels[level] = append([]byte(nil), hashes...)
	}
	return c
}

// Load makes e the edge of a tree of a size, from the tree's tiles. A partial tile
// that is not there is computed from the full ones below it. The caller compares
// Root with what the tree's is.
func (e *Edge) Load(ctx context.Context, r TileReader, size uint64) error {
	loaded := Edge{Full: e.Full, size: size}
	for level := range uint64(maxLevels) {
		index := size >> (tileHeight * (level + 1))
		width := TileWidthAt(level, index, size)
		if width == 0 {
			continue
		}
		hashes, err := loadTile(ctx, r, level, index, width)
		if level > 0 && (errors.Is(err, ErrNotFound) || errors.Is(err, fs.ErrNotExist)) {
			hashes = nil
			for i := range uint64(width) {
				var below []byte
				if below, err = loadTile(ctx, r, level-1, index*TileWidth+i, TileWidth); err != nil {
					break
				}
				hashes = append(hashes, perfect(below)...)
			}
		}
		if err != nil {
			return fmt.Errorf("loading the edge of the tree of size %d: %w", size, err)
		}
		loaded.levels[level] = append([]byte(nil), hashes...)
	}
	*e = loaded
	return nil
}

// loadTile returns a tile of exactly a width.
func loadTile(ctx context.Context, r TileReader, level, index uint64, width int) ([]byte, error) {
	hashes, err := r.Tile(ctx, level, index, width)
	if err == nil && len(hashes) < width*hashSize {
		err = fmt.Errorf("it has %d bytes, want %d", len(hashes), width*hashSize)
	}
	if err != nil {
		return nil, fmt.Errorf("reading tile %d/%d: %w", level, index, err)
	}
	return hashes[:width*hashSize], nil
}

// Append adds the hash of the next leaf. After an error of Full, e is of no use.
func (e *Edge) Append(hash []byte) error {
	index := e.size
	e.size++
	for level := range e.levels {
		e.levels[level] = append(e.levels[level], hash...)
		if len(e.levels[level]) < TileWidth*hashSize {
			return nil
		}
		index /= TileWidth
		if err := e.Full(uint64(level), index, e.levels[level]); err != nil {
			return err
		}
		hash = perfect(e.levels[level])
		e.levels[level] = nil
	}
	return nil
}

// Partial calls f with each tile at the edge, none of which is full.
func (e *Edge) Partial(f func(level, index uint64, hashes []byte) error) error {
	for level, hashes := range e.levels {
		if len(hashes) == 0 {
			continue
		}
		if err := f(uint64(level), e.size>>(tileHeight*(level+1)), hashes); err != nil {
			return err
		}
	}
	return nil
}

// Root returns the root of the tree.
func (e *Edge) Root() tlog.Hash {
	var nodes [][]byte // perfect subtrees, from the left
	for level := maxLevels - 1; level >= 0; level-- {
		rest := e.levels[level]
		for width := TileWidth / 2; width > 0; width /= 2 {
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

// tilePath returns where C2SP tlog-tiles has a tile, or, at bundleLevel, a bundle.
func tilePath(level int, index uint64, width int) string {
	return torchwood.TilePath(tlog.Tile{H: tileHeight, L: level, N: int64(index), W: width})
}

// cutBundle returns the first entries of a bundle, which must have that many.
func cutBundle(bundle []byte, width int) ([]byte, error) {
	rest := bundle
	for i := range width {
		var err error
		if _, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, fmt.Errorf("entry %d of the bundle: %w", i, err)
		}
	}
	return bundle[:len(bundle)-len(rest)], nil
}
