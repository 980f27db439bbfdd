package engine_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// fullTiles are tiles in memory.
type fullTiles map[[2]uint64][]byte

func (f fullTiles) Tile(_ context.Context, level, index uint64, _ int) ([]byte, error) {
	b, ok := f[[2]uint64{level, index}]
	if !ok {
		return nil, fmt.Errorf("tile %d/%d: %w", level, index, engine.ErrNotFound)
	}
	return b, nil
}

func (f fullTiles) Entries(context.Context, uint64, int) ([]byte, error) {
	return nil, engine.ErrNotFound
}

// TestEdge compares roots and tiles with those of transparency-dev's compact
// ranges, beyond the third level of tiles, and has a tree that is loaded be the
// one that grew.
func TestEdge(t *testing.T) {
	t.Parallel()
	const size = 256*256 + 3*256 + 17
	full := make(fullTiles)
	tr := &engine.Edge{Full: func(level, index uint64, hashes []byte) error {
		full[[2]uint64{level, index}] = append([]byte(nil), hashes...)
		return nil
	}}
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	if tr.Root() != tlog.Hash(rfc6962.DefaultHasher.EmptyRoot()) {
		t.Error("the root of no entries is another")
	}
	for i := range size {
		hash := rfc6962.DefaultHasher.HashLeaf(fmt.Append(nil, i))
		if err := tr.Append(hash); err != nil {
			t.Fatal(err)
		}
		if err := r.Append(hash, nil); err != nil {
			t.Fatal(err)
		}
		n := i + 1
		if n > 600 && n%256 > 1 && n < size-300 {
			continue
		}
		want, err := r.GetRootHash(nil)
		if err != nil || tr.Root() != tlog.Hash(want) {
			t.Fatalf("the root of %d entries is another, %v", n, err)
		}
		if n%256 != 0 || n > 4*256 && n < 256*256 {
			continue
		}
		loaded := &engine.Edge{}
		if err := loaded.Load(t.Context(), full, uint64(n)); err != nil || loaded.Root() != tr.Root() {
			t.Fatalf("the tree of %d entries that was loaded is another, %v", n, err)
		}
	}
	if len(full) != 256+3+1 {
		t.Errorf("%d tiles are full", len(full))
	}
	widths := make(map[uint64]int)
	err := tr.Partial(func(level, index uint64, hashes []byte) error {
		widths[level] = len(hashes) / tlog.HashSize
		if want := engine.TileWidthAt(level, index, size); widths[level] != want {
			t.Errorf("tile %d/%d has %d hashes, want %d", level, index, widths[level], want)
		}
		return nil
	})
	if err != nil || len(widths) != 3 {
		t.Errorf("partial tiles %v, %v", widths, err)
	}
	if err := (&engine.Edge{}).Load(t.Context(), fullTiles{}, 512); err == nil {
		t.Error("a tree is loaded from nothing")
	}
}
