package audit

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store"
)

// sequenced is how far behind the size of its storage a ledger may have files:
// those of a batch that a crash cut short.
const sequenced = 4 * engine.TileWidth

// checkFiles looks at every file of the copy: nothing may stand there but what a
// log of this size has. That is
//
//   - the tiles and bundles of the audited tree, which the pass compared;
//   - narrower versions of them, .p/<width>, that are prefixes of them: those of
//     earlier checkpoints, which tlog-tiles lets a log delete, and Tessera does;
//   - what is ahead of the checkpoint of a ledger, or of a mirror whose copying
//     is under way or was cut short;
//   - in a ledger's own directory, the files that Tessera left in the making when
//     it was killed. A mirror's are below its index.
func (a *auditor) checkFiles(ctx context.Context) error {
	err := a.Files(ctx, func(f File) error {
		a.report.Counts.Files.Add(1)
		if f.Problem != "" {
			a.find(Corrupt, "file-irregular", f.Path, "%s", f.Problem)
			return nil
		}
		return a.checkFile(ctx, f)
	})
	if errors.Is(err, ErrUnlisted) {
		return nil
	}
	a.report.Coverage.FilesListed = err == nil
	return err
}

func (a *auditor) checkFile(ctx context.Context, f File) error {
	dir, name, _ := strings.Cut(f.Path, "/")
	switch {
	case f.Path == "checkpoint":
		return nil
	case dir == checkpoint.ArchiveDir:
		if !a.isSegment(name) {
			a.find(Corrupt, "file-stray", f.Path, "no segment of the archive has this name, or it stands behind the last")
		}
		return nil
	case dir == store.AttestationsDir && isAttestationPath(name), dir == mirrorIndexDir && isIndexPath(name):
		return nil // those that matter are read elsewhere
	case dir != "tile" && a.inTheMaking(f.Path, func(path string) bool { return path == "checkpoint" }):
		return nil
	case dir != "tile":
		a.find(Corrupt, "file-stray", f.Path, "no file of a log has this name")
		return nil
	}
	t, err := torchwood.ParseTilePath(f.Path)
	if err != nil || torchwood.TilePath(t) != f.Path {
		if !a.inTheMaking(f.Path, isTilePath) {
			a.find(Corrupt, "file-stray", f.Path, "no tile or bundle has this name")
		}
		return nil
	}
	return a.checkTileFile(ctx, f, t)
}

// isSegment reports whether a segment of this name was read.
func (a *auditor) isSegment(name string) bool {
	for n := a.past.position.Segment; ; n-- {
		if checkpoint.SegmentName(n) == name {
			return true
		}
		if n == 0 {
			// A ledger that runs may have begun one since.
			return a.Unpublished != nil && checkpoint.SegmentName(a.past.position.Segment+1) == name
		}
	}
}

// inTheMaking reports whether a file is one that Tessera left in the making: it
// has up to ten digits behind the name that it was to get.
func (a *auditor) inTheMaking(path string, isName func(string) bool) bool {
	digits := len(path) - len(strings.TrimRight(path, "0123456789"))
	for cut := 1; cut <= min(digits, 10) && a.Kind == Ledger; cut++ {
		if isName(path[:len(path)-cut]) {
			a.report.Counts.Leftover.Add(1)
			return true
		}
	}
	return false
}

func isTilePath(path string) bool {
	t, err := torchwood.ParseTilePath(path)
	return err == nil && torchwood.TilePath(t) == path
}

// checkTileFile checks that a tile or bundle belongs to the tree.
func (a *auditor) checkTileFile(ctx context.Context, f File, t tlog.Tile) error {
	level, index := uint64(max(t.L, 0)), uint64(t.N)
	stored := engine.TileWidthAt(level, index, a.end.N())
	if t.W > stored {
		if level >= maxLevels || index > 1<<48 || index*engine.TileWidth+uint64(t.W) > a.mostStored()>>(level*tileHeight) {
			a.find(Corrupt, "file-stray", f.Path, "the tree of %d entries has no such tile", a.end.N())
			return nil
		}
		a.report.Counts.Unpublished.Add(1)
		return nil
	}
	if t.W == stored {
		return nil // the pass compared it
	}
	return a.checkPrefix(ctx, f, t, stored)
}

// mostStored is the size of the largest tree of which files may be there.
func (a *auditor) mostStored() uint64 {
	switch {
	case a.Unpublished == nil:
		return 0
	case a.Kind == Ledger:
		return a.Unpublished() + sequenced
	}
	return a.Unpublished()
}

// checkPrefix checks that a narrower version of a tile or bundle is its prefix.
func (a *auditor) checkPrefix(ctx context.Context, f File, t tlog.Tile, stored int) error {
	limit := int64(tileSize)
	if t.L < 0 {
		limit = maxBundle
	}
	narrow, err := a.Read(ctx, f.Path, limit)
	what, damaged := damageOf(err)
	switch {
	case isMissing(err):
		return nil // deleted since it was listed
	case damaged:
		a.find(Corrupt, "file-unreadable", f.Path, "%s", what)
		return nil
	case err != nil:
		return err
	}
	whole, _, err := a.readGrown(ctx, t.L, uint64(t.N), stored, limit)
	if _, damaged := damageOf(err); damaged || isMissing(err) {
		return nil // which was found before
	}
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(whole, narrow) || !hasWidth(t, narrow) {
		a.find(Corrupt, "tile-differs", f.Path, "it is not what the full one begins with")
	}
	return nil
}

// hasWidth reports whether a tile or bundle has as many hashes or entries as its
// name says.
func hasWidth(t tlog.Tile, data []byte) bool {
	if t.L >= 0 {
		return len(data) == t.W*hashSize
	}
	for range t.W {
		_, rest, err := torchwood.ReadTileEntry(data)
		if err != nil {
			return false
		}
		data = rest
	}
	return len(data) == 0
}
