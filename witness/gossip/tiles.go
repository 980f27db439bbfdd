package gossip

import (
	"context"
	"fmt"
	"net/http"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness/evidence"
)

// tileBytes is the size of a full tile.
const tileBytes = torchwood.TileWidth * tlog.HashSize

// tileReader reads a log's tiles over HTTP. What it returns is checked by its
// user, against the root of a tree.
type tileReader struct {
	ctx  context.Context
	node *Node
	url  string
}

var _ tlog.TileReader = (*tileReader)(nil)

// Height implements tlog.TileReader.
func (r *tileReader) Height() int { return torchwood.TileHeight }

// SaveTiles implements tlog.TileReader. Comparisons are rare: nothing is kept.
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements tlog.TileReader.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := r.read(t)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// read returns a tile. A log may drop a partial tile once there is the full
// one, of which it is the beginning.
func (r *tileReader) read(t tlog.Tile) ([]byte, error) {
	want := t.W * tlog.HashSize
	full := t
	full.W = torchwood.TileWidth
	for _, t := range []tlog.Tile{t, full} {
		status, data, err := r.node.get(r.ctx, r.url+"/"+torchwood.TilePath(t), tileBytes)
		if err != nil {
			return nil, err
		}
		if status == http.StatusOK && len(data) >= want {
			return data[:want], nil
		}
	}
	return nil, fmt.Errorf("the log has no tile %s", torchwood.TilePath(t))
}

// prefix reads from the log's tiles which prefix of a size a tree has. It fails
// unless the tiles are those of the tree.
func (n *Node) prefix(ctx context.Context, url string, tree tlog.Tree, size int64) (*evidence.Prefix, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	hashes := tlog.TileHashReader(tree, &tileReader{ctx, n, url})
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return nil, fmt.Errorf("reading the tree of size %d from tiles: %w", size, err)
	}
	proof, err := tlog.ProveTree(tree.N, size, hashes)
	if err != nil {
		return nil, fmt.Errorf("reading the proof from size %d to %d from tiles: %w", size, tree.N, err)
	}
	return &evidence.Prefix{AltRoot: root, Proof: proof}, nil
}
