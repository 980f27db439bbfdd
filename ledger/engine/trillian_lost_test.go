package engine_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/trillian"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// TestTrillianLostFullTiles has full tiles vanish: they are made from Trillian's
// leaves, of the published tree, until all are written again.
func TestTrillianLostFullTiles(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 800)
	awaitSize(t, p, 800)
	publish(t, p, checkTree(t, p, want))
	want = append(want, place(t, p, "unpublished", 300)...)
	awaitSize(t, p, 1100)
	if err := p.Rewrite(t.Context()); err == nil {
		t.Error("the tiles of a log that is being run were written again")
	}
	p.kill()
	before := w.bucket.Keys()
	lost := []string{"tile/0/000", "tile/0/002", "tile/0/003", "tile/entries/001", "tile/entries/003"}
	if err := w.bucket.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	log := w.open()
	checkTree(t, log, want[:800])
	for _, width := range []int{1, 255, 256} {
		if b, err := log.Tile(t.Context(), 0, 3, width); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("a tile that is not of the published tree: %d bytes, %v", len(b), err)
		}
		if b, err := log.Tile(t.Context(), 0, 2, width); err != nil || len(b) != 256*32 {
			t.Errorf("a tile at width %d: %d bytes, %v", width, len(b), err)
		}
	}
	w.server.ForgeLeaf(func(l *trillian.LogLeaf) { l.LeafValue = bytes.ToUpper(l.LeafValue) })
	if b, err := log.Entries(t.Context(), 1, 256); !errors.Is(err, engine.ErrContradiction) {
		t.Errorf("a bundle of other leaves: %d bytes, %v", len(b), err)
	}
	w.server.ForgeLeaf(nil)
	if err := log.Rewrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	missing := make(map[string]bool)
	for _, key := range before {
		missing[key] = !strings.Contains(key, ".p/")
	}
	for _, key := range w.bucket.Keys() {
		delete(missing, key)
	}
	for key, full := range missing {
		if full {
			t.Errorf("%s is still missing", key)
		}
	}
	if diff := cmp.Diff(want, leaves(t, log, 1100)); diff != "" {
		t.Errorf("the entries differ:\n%s", diff)
	}
}

// TestTrillianLostTilesOfAnotherTree has all tiles vanish, and Trillian's leaves be
// others than those that were published.
func TestTrillianLostTilesOfAnotherTree(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 600)
	awaitSize(t, p, 600)
	publish(t, p, tlog.Tree{N: 500, Hash: treeOf(t, want[:499]).Hash})
	p.kill()
	var lost []string
	for _, key := range w.bucket.Keys() {
		if key != "checkpoint" {
			lost = append(lost, key)
		}
	}
	if err := w.bucket.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	contradicts(t, w.run(t), "at size 500 have the root")
}
