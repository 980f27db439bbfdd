package audit

import (
	"fmt"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

const (
	hashSize   = 32
	tileHeight = 8
	tileSize   = engine.TileWidth * hashSize
	maxLevels  = 8 // 8·8 = 64 bits
)

// tree is the Merkle tree of the leaves so far, and of every level the hashes
// of the tile at its right edge.
type tree struct {
	r    *compact.Range
	edge [maxLevels][]byte
	// full is called with each tile that became full.
	full func(level, index uint64, hashes []byte)
}

var ranges = compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}

func newTree(full func(level, index uint64, hashes []byte)) *tree {
	return &tree{r: ranges.NewEmptyRange(0), full: full}
}

func (t *tree) size() uint64 { return t.r.End() }

// append adds the hash of the next leaf.
func (t *tree) append(hash []byte) error {
	i := t.size()
	t.add(0, i, hash)
	return t.r.Append(hash, func(id compact.NodeID, hash []byte) {
		if id.Level%tileHeight == 0 && id.Level/tileHeight < maxLevels {
			t.add(uint64(id.Level/tileHeight), id.Index, hash)
		}
	})
}

func (t *tree) add(level, index uint64, hash []byte) {
	if t.edge[level] == nil {
		t.edge[level] = make([]byte, 0, tileSize)
	}
	t.edge[level] = append(t.edge[level], hash...)
	if len(t.edge[level]) == tileSize {
		t.full(level, index/engine.TileWidth, t.edge[level])
		t.edge[level] = t.edge[level][:0]
	}
}

// hashes returns the hashes of the compact range.
func (t *tree) hashes() [][]byte { return append([][]byte(nil), t.r.Hashes()...) }

func (t *tree) root() tlog.Hash {
	if t.size() == 0 {
		return tlog.Hash(rfc6962.DefaultHasher.EmptyRoot())
	}
	root, err := t.r.GetRootHash(nil)
	if err != nil {
		return tlog.Hash{} // only for a range that does not begin at 0
	}
	return tlog.Hash(root)
}

// rootWith returns the root with further leaves.
func (t *tree) rootWith(hashes []byte) (tlog.Hash, error) {
	r, err := ranges.NewRange(0, t.size(), append([][]byte(nil), t.r.Hashes()...))
	if err != nil {
		return tlog.Hash{}, err
	}
	for ; len(hashes) > 0; hashes = hashes[hashSize:] {
		if err := r.Append(hashes[:hashSize], nil); err != nil {
			return tlog.Hash{}, err
		}
	}
	root, err := r.GetRootHash(nil)
	return tlog.Hash(root), err
}

// subtree returns the root of a full tile's hashes.
func subtree(hashes []byte) (tlog.Hash, error) {
	return newTree(func(uint64, uint64, []byte) {}).rootWith(hashes)
}

// restore continues a tree of a size, which is a multiple of the tile width,
// from its compact range and the tiles at its right edge. It fails if these
// contradict each other.
func (t *tree) restore(size uint64, hashes [][]byte, edge func(level, index uint64, width int) ([]byte, error)) error {
	r, err := ranges.NewRange(0, size, hashes)
	if err != nil {
		return err
	}
	fromEdge := newTree(t.full)
	for level := uint64(1); level < maxLevels && size>>(level*tileHeight) > 0; level++ {
		nodes := size >> (level * tileHeight)
		width := int(nodes % engine.TileWidth)
		if width == 0 {
			continue
		}
		tile, err := edge(level, nodes/engine.TileWidth, width)
		if err != nil {
			return err
		}
		fromEdge.edge[level] = append(make([]byte, 0, tileSize), tile[:width*hashSize]...)
	}
	if err := fromEdge.matches(size, hashes); err != nil {
		return err
	}
	t.r, t.edge = r, fromEdge.edge
	return nil
}

// matches checks that the tiles at the edge give the compact range's hashes.
func (t *tree) matches(size uint64, hashes [][]byte) error {
	for i, id := range compact.RangeNodes(0, size, nil) {
		level := id.Level / tileHeight
		first := (id.Index << (id.Level % tileHeight)) % engine.TileWidth * hashSize
		last := first + hashSize<<(id.Level%tileHeight)
		if level >= maxLevels || uint64(len(t.edge[level])) < last {
			return fmt.Errorf("the tile at the edge of level %d is too short", level)
		}
		h, err := subtree(t.edge[level][first:last])
		if err != nil || string(h[:]) != string(hashes[i]) {
			return fmt.Errorf("the tile at the edge of level %d is another", level)
		}
	}
	return nil
}

// tilePath returns the path of a tile, or of a bundle for level -1.
func tilePath(level int, index uint64, width int) string {
	return torchwood.TilePath(tlog.Tile{H: tileHeight, L: level, N: int64(index), W: width})
}
