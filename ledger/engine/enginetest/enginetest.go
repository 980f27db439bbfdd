// Package enginetest is the contract test of engine.Log: every driver passes
// it, and what is above the drivers relies on nothing else.
//
// Beyond the invariants of package engine it holds drivers to what the intake
// needs: leaves that one goroutine appends get indexes in the order of its
// calls, and the end of a submitter's context does not fail its leaf.
//
// The tree is judged by golang.org/x/mod/sumdb/tlog.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// Origin is the name of the logs that Run makes.
const Origin = "enginetest.example/log"

// Run tests a driver. For each test new is called once; open, which it
// returns, opens the same storage at each call. What open returned before may
// not have been closed: that is a crash.
func Run(t *testing.T, new func(t *testing.T) (open func() engine.Log)) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, open func() engine.Log)
	}{
		{"a new log is empty", newLog},
		{"indexes are dense and in the order of the calls", denseIndexes},
		{"the tree is RFC 6962's at every size", treeAtEverySize},
		{"a tile is found at every width it ever had", widths},
		{"what does not exist is not found", missing},
		{"a log that was closed opens as it was", reopened},
		{"a log that was not closed keeps what it acknowledged", crashed},
		{"the published checkpoint is the last one given", published},
		{"concurrent appends each get their own index", concurrent},
		{"a submitter that goes away does not fail its leaf", canceled},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, new(t)) })
	}
}

// tree is the tree that the log should be, and the log.
type tree struct {
	t       *testing.T
	open    func() engine.Log
	log     engine.Log
	crashed []engine.Log // opened before log, and not closed
	leaves  [][]byte
	hashes  []tlog.Hash // by tlog.StoredHashIndex
}

func (r *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = r.hashes[x]
	}
	return hs, nil
}

// leaf returns a leaf for each index; sizes differ, and each seventh is the same.
func leaf(i int) []byte {
	if i%7 == 0 {
		return []byte("the same leaf\n")
	}
	return bytes.Repeat(fmt.Appendf(nil, "leaf %d\n", i), i%7)
}

// grow appends n leaves and waits for all of them.
func (r *tree) grow(n int) {
	r.t.Helper()
	futures := make([]engine.Future, n)
	start := len(r.leaves)
	for i := range futures {
		futures[i] = r.log.Append(r.t.Context(), leaf(start+i))
	}
	for i, f := range futures {
		index, err := f()
		if err != nil {
			r.t.Fatalf("appending leaf %d: %v", start+i, err)
		}
		if index != uint64(start+i) {
			r.t.Fatalf("leaf %d got index %d", start+i, index)
		}
		if size := r.size(); size <= index {
			r.t.Fatalf("size is %d after index %d was answered", size, index)
		}
		r.expect(leaf(start + i))
	}
}

func (r *tree) expect(leaf []byte) {
	r.t.Helper()
	hs, err := tlog.StoredHashes(int64(len(r.leaves)), leaf, r)
	if err != nil {
		r.t.Fatal(err)
	}
	r.hashes = append(r.hashes, hs...)
	r.leaves = append(r.leaves, leaf)
}

func (r *tree) size() uint64 {
	r.t.Helper()
	size, err := r.log.Size(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return size
}

// check compares all tiles and bundles of the log with the tree.
func (r *tree) check() {
	r.t.Helper()
	if size := r.size(); size != uint64(len(r.leaves)) {
		r.t.Fatalf("size is %d, want %d", size, len(r.leaves))
	}
	for level := uint64(0); len(r.leaves)>>(8*level) > 0; level++ {
		for index := uint64(0); ; index++ {
			width := engine.TileWidthAt(level, index, uint64(len(r.leaves)))
			if width == 0 {
				break
			}
			r.checkTile(level, index, width)
		}
	}
}

// checkTile compares a tile, and at level 0 the bundle below it.
func (r *tree) checkTile(level, index uint64, width int) {
	r.t.Helper()
	want, err := tlog.ReadTileData(tlog.Tile{H: 8, L: int(level), N: int64(index), W: width}, r)
	if err != nil {
		r.t.Fatal(err)
	}
	got, err := r.log.Tile(r.t.Context(), level, index, width)
	if err != nil {
		r.t.Fatalf("reading tile %d/%d of width %d: %v", level, index, width, err)
	}
	if len(got)%tlog.HashSize != 0 || !bytes.HasPrefix(got, want) {
		r.t.Fatalf("tile %d/%d of width %d is not the tree's", level, index, width)
	}
	if level > 0 {
		return
	}
	rest, err := r.log.Entries(r.t.Context(), index, width)
	if err != nil {
		r.t.Fatalf("reading bundle %d of width %d: %v", index, width, err)
	}
	for i := range width {
		var entry []byte
		if entry, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			r.t.Fatalf("bundle %d of width %d ends at entry %d: %v", index, width, i, err)
		}
		if want := r.leaves[int(index)*engine.TileWidth+i]; !bytes.Equal(entry, want) {
			r.t.Fatalf("entry %d of bundle %d is %q, want %q", i, index, entry, want)
		}
	}
}

// publish publishes the tree, unsigned: an engine stores what it is given.
func (r *tree) publish() []byte {
	r.t.Helper()
	root, err := tlog.TreeHash(int64(len(r.leaves)), r)
	if err != nil {
		r.t.Fatal(err)
	}
	text := torchwood.Checkpoint{Origin: Origin, Tree: tlog.Tree{N: int64(len(r.leaves)), Hash: root}}.String()
	signed := []byte(text + "\n— " + Origin + " AAAAAAAA\n")
	if err := r.log.Publish(r.t.Context(), signed); err != nil {
		r.t.Fatalf("publishing size %d: %v", len(r.leaves), err)
	}
	return signed
}

// crash opens the log again without closing it.
func (r *tree) crash() {
	r.crashed = append(r.crashed, r.log)
	r.log = r.open()
}

// close closes the log, and what is left of those that crashed, so that they
// hold no resources. It publishes first, as Close wants.
func (r *tree) close() {
	r.t.Helper()
	r.publish()
	for _, log := range append(r.crashed, r.log) {
		if err := log.Close(); err != nil {
			r.t.Fatalf("closing the log: %v", err)
		}
	}
	r.crashed = nil
}

func opened(t *testing.T, open func() engine.Log) *tree {
	t.Helper()
	return &tree{t: t, open: open, log: open()}
}

func newLog(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	r.check()
	r.close()
}

func denseIndexes(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	for _, n := range []int{1, 1, 2, 40, 300} {
		r.grow(n)
	}
	r.check()
	r.close()
}

func treeAtEverySize(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	for _, size := range []int{1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 513, 800} {
		r.grow(size - len(r.leaves))
		r.check()
	}
	r.close()
}

func widths(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	sizes := []int{1, 5, 255, 256, 260, 600}
	for _, size := range sizes {
		r.grow(size - len(r.leaves))
		for _, then := range sizes {
			if then > size {
				break
			}
			last := uint64(then-1) / engine.TileWidth
			r.checkTile(0, last, engine.TileWidthAt(0, last, uint64(then)))
			if w := engine.TileWidthAt(1, 0, uint64(then)); w > 0 {
				r.checkTile(1, 0, w)
			}
		}
	}
	r.close()
}

func missing(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	r.grow(300)
	for _, at := range []struct{ level, index uint64 }{{0, 2}, {1, 1}, {2, 0}, {0, 1 << 40}} {
		if b, err := r.log.Tile(t.Context(), at.level, at.index, 1); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Tile(%d, %d) = %d bytes, %v, want ErrNotFound", at.level, at.index, len(b), err)
		}
	}
	if b, err := r.log.Entries(t.Context(), 2, 1); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Entries(2) = %d bytes, %v, want ErrNotFound", len(b), err)
	}
	r.close()
}

func reopened(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	for _, n := range []int{0, 3, 253, 1, 44} {
		r.grow(n)
		r.close()
		r.log = r.open()
		r.check()
	}
	r.close()
}

func crashed(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	for _, n := range []int{3, 253, 1, 44} {
		r.grow(n)
		r.crash()
		r.check()
	}
	r.close()
}

func published(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	for i, n := range []int{1, 0, 299} {
		r.grow(n)
		want := r.publish()
		for range 2 {
			got, err := r.log.Published(t.Context())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("publication %d: Published() = %q, %v, want %q", i, got, err, want)
			}
			r.crash()
		}
	}
	r.close()
}

func concurrent(t *testing.T, open func() engine.Log) {
	const goroutines, each = 16, 60
	r := opened(t, open)
	all := make([][]byte, goroutines*each)
	var mu sync.Mutex // guards all
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			last := -1
			for i := range each {
				text := fmt.Appendf(nil, "leaf %d of %d", i, g)
				index, err := r.log.Append(t.Context(), text)()
				if err != nil {
					t.Errorf("appending: %v", err)
					return
				}
				mu.Lock()
				if index >= uint64(len(all)) || all[index] != nil || int(index) <= last {
					t.Errorf("index %d is beyond the %d appended, given twice, or not after %d", index, len(all), last)
				} else {
					all[index] = text
				}
				mu.Unlock()
				last = int(index)
			}
		})
	}
	wg.Wait()
	if t.Failed() || slices.ContainsFunc(all, func(b []byte) bool { return b == nil }) {
		t.Fatal("the indexes are not dense")
	}
	for _, text := range all {
		r.expect(text)
	}
	r.check()
	r.close()
}

func canceled(t *testing.T, open func() engine.Log) {
	r := opened(t, open)
	ctx, cancel := context.WithCancel(t.Context())
	gone := r.log.Append(ctx, leaf(0))
	cancel()
	stays := r.log.Append(t.Context(), leaf(1))
	for i, f := range []engine.Future{gone, stays} {
		if index, err := f(); err != nil || index != uint64(i) {
			t.Fatalf("leaf %d got index %d, %v", i, index, err)
		}
		r.expect(leaf(i))
	}
	r.check()
	r.close()
}
