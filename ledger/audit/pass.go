package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// The most bytes of a bundle: a tlog-tiles entry has at most 65,535.
const maxBundle = engine.TileWidth * (2 + 65535)

// batch is the entries of one bundle.
type batch struct {
	start  uint64   // index of the first
	texts  [][]byte // nil where the entry is lost or is not a leaf
	leaves []*leaf.Leaf
	raws   [][]byte // their attestations, nil where they are missing
}

// pass streams the entries through the tree, and hands them to those who check
// what they say.
func (a *auditor) pass(ctx context.Context) error {
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	read := make(chan *batch, a.o.Workers)
	g.Go(func() error {
		defer close(read)
		return a.stream(ctx, read)
	})
	fetched := make(chan *batch, a.o.Workers)
	g.Go(func() error {
		defer close(fetched)
		return a.fetch(ctx, read, fetched)
	})
	for range a.o.Workers {
		g.Go(func() error {
			for b := range fetched {
				a.checkAttestations(b)
			}
			return nil
		})
	}
	err := g.Wait()
	a.report.PassSeconds = time.Since(began).Seconds()
	a.report.Coverage.Signatures = !a.o.NoSignatures
	a.report.Coverage.Certificates = !a.o.NoSignatures && a.unasked.Load() == 0
	a.report.Counts.Keys.Store(uint64(a.ring.Count()))
	return err
}

// send gives b to out unless ctx ends first.
func send[T any](ctx context.Context, out chan<- T, b T) error {
	select {
	case out <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stream reads the bundles up to the audited size.
func (a *auditor) stream(ctx context.Context, out chan<- *batch) error {
	streamCtx, stop := context.WithCancel(ctx)
	defer stop() // ends who reads the archive ahead
	a.tree.full = a.becameFull(ctx)
	a.notes = a.openNotes(streamCtx, a.archiveStart())
	if err := a.compareNotes(); err != nil {
		return err
	}
	for n := a.tree.size() / engine.TileWidth; a.tree.size() < a.end.N(); n++ {
		b, err := a.bundle(ctx, n)
		if errors.Is(err, errLost) {
			a.broke = true
			break
		}
		if err != nil {
			return err
		}
		if err := send(ctx, out, b); err != nil {
			return err
		}
		if n%progressEvery == 0 {
			a.tell("the log")
		}
	}
	if a.tree.size() == a.end.N() {
		if err := a.checkEdges(ctx); err != nil {
			return err
		}
		a.compareEnd()
	}
	a.tell("the log")
	return a.drainNotes(ctx)
}

// errLost says that the hashes of a bundle are not to be had.
var errLost = errors.New("the entries of a bundle are lost")

// bundle checks the next bundle and its tile, and adds its entries to the tree.
func (a *auditor) bundle(ctx context.Context, n uint64) (*batch, error) {
	start := n * engine.TileWidth
	width := engine.TileWidthAt(0, n, a.end.N())
	texts, err := a.readBundle(ctx, n, width)
	if err != nil {
		return nil, err
	}
	tile, err := a.readTile(ctx, 0, n, width)
	if err != nil {
		return nil, err
	}
	computed := make([]byte, 0, tileSize)
	for _, text := range texts {
		computed = append(computed, leaf.Hash(text)...)
	}
	hashes, err := a.reconcile(ctx, n, computed, tile, width)
	if err != nil {
		return nil, err
	}
	b := &batch{start: start, texts: make([][]byte, width), leaves: make([]*leaf.Leaf, width)}
	for i := range width {
		hash := hashes[i*hashSize : (i+1)*hashSize]
		if i < len(texts) && bytes.Equal(computed[i*hashSize:(i+1)*hashSize], hash) {
			a.parse(b, i, texts[i])
		}
		if err := a.tree.append(hash); err != nil {
			return nil, err
		}
		if err := a.compareNotes(); err != nil {
			return nil, err
		}
	}
	if a.tileErr != nil {
		return nil, a.tileErr
	}
	if a.tree.size()%engine.TileWidth == 0 {
		a.aligned = a.tree.hashes()
	}
	if b.start < a.start() { // entries that an earlier run checked
		skip := int(min(a.start()-b.start, uint64(width)))
		b.start, b.texts, b.leaves = b.start+uint64(skip), b.texts[skip:], b.leaves[skip:]
	}
	a.report.Counts.Entries.Add(uint64(len(b.texts)))
	return b, a.ids.add(b)
}

func (a *auditor) parse(b *batch, i int, text []byte) {
	l, err := leaf.Parse(text)
	if err != nil {
		a.find(Corrupt, "entry-malformed", entry(b.start+uint64(i)), "%v", err)
		return
	}
	b.texts[i], b.leaves[i] = text, l
}

func entry(i uint64) string { return fmt.Sprintf("entry %d", i) }

// readBundle returns the entries of a bundle that can be read, from its first.
func (a *auditor) readBundle(ctx context.Context, n uint64, width int) ([][]byte, error) {
	path := tilePath(-1, n, width)
	data, named, err := a.readGrown(ctx, -1, n, width, maxBundle)
	what, damaged := damageOf(err)
	switch {
	case isMissing(err):
		a.find(Incomplete, "bundle-missing", path, "the entries %d to %d are not there", n*engine.TileWidth, n*engine.TileWidth+uint64(width)-1)
		return nil, nil
	case damaged:
		a.find(Corrupt, "file-unreadable", path, "%s", what)
		return nil, nil
	case err != nil:
		return nil, err
	}
	texts := make([][]byte, 0, width)
	for len(data) > 0 && len(texts) < named {
		text, rest, err := torchwood.ReadTileEntry(data)
		if err != nil {
			break
		}
		texts, data = append(texts, text), rest
	}
	switch {
	case len(texts) < named:
		a.find(Corrupt, "bundle-truncated", path, "%d entries can be read, want %d", len(texts), named)
	case len(data) > 0:
		a.find(Corrupt, "bundle-trailing", path, "%d bytes follow the last entry", len(data))
	}
	return texts[:min(width, len(texts))], nil
}

// readGrown reads a tile or bundle of a width, or the full one, which a log may
// have instead once it has grown. It returns the width that the file is named
// by.
func (a *auditor) readGrown(ctx context.Context, level int, n uint64, width int, limit int64) (data []byte, named int, err error) {
	data, err = a.Read(ctx, tilePath(level, n, width), limit)
	if isMissing(err) && width < engine.TileWidth {
		width = engine.TileWidth
		data, err = a.Read(ctx, tilePath(level, n, width), limit)
	}
	return data, width, err
}

// readTile returns the hashes of a tile, and nil if it is not to be had.
func (a *auditor) readTile(ctx context.Context, level int, n uint64, width int) ([]byte, error) {
	path := tilePath(level, n, width)
	data, named, err := a.readGrown(ctx, level, n, width, tileSize)
	what, damaged := damageOf(err)
	switch {
	case isMissing(err):
		a.find(Incomplete, "tile-missing", path, "the tile is not there")
		return nil, nil
	case damaged:
		a.find(Corrupt, "file-unreadable", path, "%s", what)
		return nil, nil
	case err != nil:
		return nil, err
	case len(data) != named*hashSize:
		a.find(Corrupt, "tile-length", path, "%d bytes, want %d", len(data), named*hashSize)
		return nil, nil
	}
	a.report.Counts.Tiles.Add(1)
	return data[:width*hashSize], nil
}

// reconcile returns the leaf hashes of a bundle. If the entries and the tile
// disagree, the tree above decides which of them is damaged.
func (a *auditor) reconcile(ctx context.Context, n uint64, leaves, tile []byte, width int) ([]byte, error) {
	whole := len(leaves) == width*hashSize
	switch {
	case whole && (tile == nil || bytes.Equal(leaves, tile)):
		return leaves, nil
	case tile == nil:
		a.find(Incomplete, "log-lost", tilePath(-1, n, width), "neither the entries nor their tile can be read: the log was checked up to here")
		return nil, errLost
	}
	if whole {
		above, err := a.above(ctx, n, width)
		if err != nil {
			return nil, err
		}
		root, err := a.rootOf(leaves, width)
		if err != nil {
			return nil, err
		}
		byTile, err := a.rootOf(tile, width)
		if err != nil {
			return nil, err
		}
		if above == nil || root == *above || byTile != *above {
			a.find(Corrupt, "tile-differs", tilePath(0, n, width), "hash %d is not that of its entry", firstDifference(leaves, tile))
			return leaves, nil
		}
	}
	a.nameEntries(n, leaves, tile)
	return tile, nil
}

// above returns what the tree above a bundle has for it: its hash in the tile
// of the next level, or for the last the audited root.
func (a *auditor) above(ctx context.Context, n uint64, width int) (*tlog.Hash, error) {
	if width < engine.TileWidth {
		return &a.end.tree.Hash, nil
	}
	i := n / engine.TileWidth
	tile, _, err := a.readGrown(ctx, 1, i, engine.TileWidthAt(1, i, a.end.N()), tileSize)
	if _, damaged := damageOf(err); damaged || isMissing(err) {
		return nil, nil
	}
	at := int(n%engine.TileWidth) * hashSize
	if err != nil || len(tile) < at+hashSize {
		return nil, err
	}
	h := tlog.Hash(tile[at : at+hashSize])
	return &h, nil
}

// rootOf returns what above has if a bundle's leaves have the given hashes.
func (a *auditor) rootOf(hashes []byte, width int) (tlog.Hash, error) {
	if width < engine.TileWidth {
		return a.tree.rootWith(hashes)
	}
	return subtree(hashes)
}

// nameEntries reports the entries that are not those of the tree.
func (a *auditor) nameEntries(n uint64, leaves, tile []byte) {
	places := make(map[string]int)
	for i := 0; i < len(tile); i += hashSize {
		places[string(tile[i:i+hashSize])] = i / hashSize
	}
	for i := 0; i < len(leaves); i += hashSize {
		have := string(leaves[i : i+hashSize])
		if have == string(tile[i:i+hashSize]) {
			continue
		}
		what := "it does not hash to its leaf in the tree"
		if j, ok := places[have]; ok {
			what = fmt.Sprintf("it belongs at %d", n*engine.TileWidth+uint64(j))
		}
		a.find(Corrupt, "entry-differs", entry(n*engine.TileWidth+uint64(i/hashSize)), "%s", what)
	}
}

func firstDifference(x, y []byte) int {
	for i := 0; i < len(x) && i < len(y); i++ {
		if x[i] != y[i] {
			return i / hashSize
		}
	}
	return min(len(x), len(y)) / hashSize
}

// becameFull compares a rebuilt tile; those of level 0 were compared with their
// entries.
func (a *auditor) becameFull(ctx context.Context) func(level, index uint64, hashes []byte) {
	return func(level, index uint64, hashes []byte) {
		if level > 0 && a.tileErr == nil {
			a.tileErr = a.compareTile(ctx, level, index, hashes)
		}
	}
}

// compareTile compares a rebuilt tile above level 0 with the stored one.
func (a *auditor) compareTile(ctx context.Context, level, index uint64, hashes []byte) error {
	width := len(hashes) / hashSize
	tile, err := a.readTile(ctx, int(level), index, width)
	if err != nil || tile == nil || bytes.Equal(tile, hashes) {
		return err
	}
	a.find(Corrupt, "tile-differs", tilePath(int(level), index, width), "hash %d is not that of the tree below", firstDifference(hashes, tile))
	return nil
}

// checkEdges compares the tiles at the right edge of the audited tree.
func (a *auditor) checkEdges(ctx context.Context) error {
	for level := uint64(1); level < maxLevels; level++ {
		if hashes := a.tree.edge[level]; len(hashes) > 0 {
			if err := a.compareTile(ctx, level, a.end.N()>>((level+1)*tileHeight), hashes); err != nil {
				return err
			}
		}
	}
	return nil
}
