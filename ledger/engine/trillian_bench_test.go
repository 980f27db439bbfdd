package engine_test

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/engine"
)

// benchTrillian returns a log of size entries, which nobody runs.
func benchTrillian(b *testing.B, size int) *engine.Trillian {
	b.Helper()
	w := newWorld(b)
	p := w.run(b)
	entries := make([]engine.Entry, size)
	for i := range entries {
		entries[i].Leaf = benchLeaf(i)
	}
	if _, err := p.Place(b.Context(), entries); err != nil {
		b.Fatal(err)
	}
	awaitSize(b, p, uint64(size))
	p.kill()
	return p.Trillian
}

// BenchmarkTrillianTiles reads leaves from Trillian over gRPC, compares them with the
// sequence, proves them and makes their tiles, all in memory.
func BenchmarkTrillianTiles(b *testing.B) {
	const size = 50_000
	log := benchTrillian(b, size)
	n := 0
	for b.Loop() {
		if err := log.Rewrite(b.Context()); err != nil {
			b.Fatal(err)
		}
		n += size
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "leaves/s")
}

// BenchmarkTrillianEntries reads bundles of 256 entries from the bucket, which is in
// memory.
func BenchmarkTrillianEntries(b *testing.B) {
	const size = 20_000
	log := benchTrillian(b, size)
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := log.Entries(b.Context(), i%(size/engine.TileWidth), engine.TileWidth); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
