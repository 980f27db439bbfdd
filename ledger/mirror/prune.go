package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// putFull has the batch write a tile or bundle, and remembers the full ones.
func (c *copier) putFull(t tlog.Tile, data []byte) error {
	if t.W == engine.TileWidth {
		c.full = append(c.full, t)
	}
	return c.batch.Put(torchwood.TilePath(t), data)
}

// prune deletes the partial tiles and bundles of those that became full with the
// batch, and are durable, as C2SP tlog-tiles allows: who asks for one of these
// then asks for the full one. It goes before the progress, so that a run that is
// cut short here comes here again.
func (c *copier) prune(ctx context.Context) error {
	for _, t := range c.full {
		if err := c.prunePartial(ctx, t); err != nil {
			return fmt.Errorf("deleting the partial tiles of %s: %w", torchwood.TilePath(t), err)
		}
	}
	c.full = nil
	return nil
}

// prunePartial deletes what the mirror wrote beside a full tile: what is not as it
// would write it is not its own, and stays for an audit to find.
func (c *copier) prunePartial(ctx context.Context, t tlog.Tile) error {
	full := torchwood.TilePath(t)
	dir := filepath.Join(c.dir, filepath.FromSlash(full)) + ".p"
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	whole, err := c.local.read(ctx, t)
	if err != nil {
		return err
	}
	for _, f := range files {
		w, err := strconv.Atoi(f.Name())
		if err != nil || strconv.Itoa(w) != f.Name() || w < 1 || w >= engine.TileWidth || !f.Type().IsRegular() {
			continue
		}
		partial := t
		partial.W = w
		want, err := cut(whole, partial)
		if err != nil {
			return err
		}
		have, err := c.local.Read(ctx, path.Join(full+".p", f.Name()), int64(len(want)))
		if errors.Is(err, ErrTooLong) || err == nil && !bytes.Equal(have, want) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	// A directory that holds more stays.
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		return err
	}
	return os.Remove(dir)
}
