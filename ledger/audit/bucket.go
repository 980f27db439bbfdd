package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
)

// writtenAtOnce bounds the entries whose tiles and bundles a ledger writes to its
// bucket at once, in no order: a crash takes any of them and leaves the others.
const writtenAtOnce = 256 * engine.TileWidth

// bucketAhead returns what Copy.Unpublished is of a directory that does not say how
// far it is written, as a mirror's does: a ledger's bucket. What stands behind the
// published tree there is believed to be of the log if it follows closely.
func (d dir) bucketAhead() func() uint64 {
	var size, next uint64 // of the entries in bundles without a gap; the first bundle that was not full
	return func() uint64 {
		if size == 0 {
			signed, err := d.Read(context.Background(), "checkpoint", checkpoint.MaxNote)
			if err != nil {
				return 0
			}
			c, err := client.VerifyCheckpoint(string(signed), nil)
			if err != nil {
				return 0
			}
			size = uint64(c.N)
			next = size / engine.TileWidth
		}
		width := d.bundleWidth(next)
		for ; width == engine.TileWidth; width = d.bundleWidth(next) {
			next++
		}
		size = max(size, next*engine.TileWidth+width)
		return size + writtenAtOnce
	}
}

// bundleWidth returns how many entries the widest bundle of an index has, 0 if there
// is none.
func (d dir) bundleWidth(index uint64) (width uint64) {
	path := filepath.Join(d.root, filepath.FromSlash(torchwood.TilePath(
		tlog.Tile{H: torchwood.TileHeight, L: -1, N: int64(index), W: engine.TileWidth})))
	if _, err := os.Lstat(path); err == nil {
		return engine.TileWidth
	}
	partial, err := os.ReadDir(path + ".p")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0 // it is listed with the other files
	}
	for _, e := range partial {
		if w, err := strconv.ParseUint(e.Name(), 10, 8); err == nil {
			width = max(width, w)
		}
	}
	return width
}
