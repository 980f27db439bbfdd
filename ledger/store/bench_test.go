package store_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

const benchBatch = 256

// benchDigest returns the n-th of a series of distinct digests.
func benchDigest(n uint64) leaf.Digest { return leaf.SHA256(binary.BigEndian.AppendUint64(nil, n)) }

// BenchmarkBlobsPut commits batches of attestations durably. One operation is
// one batch.
func BenchmarkBlobsPut(b *testing.B) {
	ctx := context.Background()
	blobs, err := store.OpenSQLiteBlobs(ctx, filepath.Join(b.TempDir(), "blobs.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = blobs.Close() }()
	content := make([]byte, 1200)
	batch := make([]store.Blob, benchBatch)
	var n uint64
	for b.Loop() {
		for i := range batch {
			n++
			batch[i] = store.Blob{Digest: benchDigest(n), Bytes: content}
		}
		if err := blobs.Put(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}

// benchEntry is an entry about one of a hundred names.
func benchEntry(b *testing.B, index uint64) store.Entry {
	b.Helper()
	l := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Envelope: benchDigest(index), Payload: benchDigest(index | 1<<32),
		Claim: leaf.ClaimReproduction, Result: leaf.Identical,
		Keys:     []leaf.Fingerprint{leaf.Fingerprint(benchDigest(1<<33 | index%64))},
		Names:    []leaf.Digest{benchDigest(1<<34 | index%100)},
		Subjects: []leaf.Digest{benchDigest(1<<35 | index)},
		Outputs:  []leaf.Digest{benchDigest(1<<35 | index)},
	}
	text, err := l.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	return store.Entry{Index: index, Text: text, Leaf: l}
}

func benchEntries(b *testing.B, from uint64, n int) []store.Entry {
	b.Helper()
	entries := make([]store.Entry, 0, n)
	for i := range n {
		entries = append(entries, benchEntry(b, from+uint64(i)))
	}
	return entries
}

func benchIndex(b *testing.B) *store.SQLiteIndex {
	b.Helper()
	x, err := store.OpenSQLiteIndex(context.Background(), filepath.Join(b.TempDir(), "index.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.Close() })
	return x
}

// BenchmarkIndexAdd indexes batches of entries. One operation is one batch.
func BenchmarkIndexAdd(b *testing.B) { benchAdd(b, benchIndex(b)) }

// BenchmarkPostgresIndexAdd does the same in PostgreSQL.
func BenchmarkPostgresIndexAdd(b *testing.B) { benchAdd(b, benchPostgresIndex(b)) }

func benchPostgresIndex(b *testing.B) store.Index {
	return openPostgresIndex(b, openPool(b, pgtest.Start(b).Database(b)))
}

func benchAdd(b *testing.B, x store.Index) {
	ctx := context.Background()
	var n uint64
	for b.Loop() {
		b.StopTimer()
		batch := benchEntries(b, n, benchBatch)
		n += benchBatch
		b.StartTimer()
		if err := x.Add(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkFirst looks up what a batch of submissions may be known by, of which
// nothing is, among 20,480 entries. One operation is one batch.
func BenchmarkFirst(b *testing.B) {
	for _, driver := range []struct {
		name string
		open func(*testing.B) store.Index
	}{
		{"sqlite", func(b *testing.B) store.Index { return benchIndex(b) }},
		{"postgres", benchPostgresIndex},
	} {
		b.Run(driver.name, func(b *testing.B) {
			x := driver.open(b)
			if err := x.Add(b.Context(), benchEntries(b, 0, 80*benchBatch)); err != nil {
				b.Fatal(err)
			}
			terms := make([]store.Term, 2*benchBatch)
			for b.Loop() {
				for i := range terms {
					terms[i] = store.EnvelopeTerm(benchDigest(1<<40 | rand.Uint64()))
				}
				found, err := x.First(b.Context(), terms)
				if err != nil || found[0] != store.NoEntry {
					b.Fatalf("got %v, %v", found, err)
				}
			}
		})
	}
}

// BenchmarkIndexFind looks entries up, of which there are 20,480: what every
// submission does once, almost always in vain.
func BenchmarkIndexFind(b *testing.B) {
	ctx := context.Background()
	x := benchIndex(b)
	const size = 80 * benchBatch
	for from := uint64(0); from < size; from += 16 * benchBatch {
		if err := x.Add(ctx, benchEntries(b, from, 16*benchBatch)); err != nil {
			b.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		term  func() store.Term
		limit int
		want  int
	}{
		{"known", func() store.Term { return store.EnvelopeTerm(benchDigest(rand.Uint64N(size))) }, 1, 1},
		{"unknown", func() store.Term { return store.EnvelopeTerm(benchDigest(1<<40 | rand.Uint64())) }, 1, 0},
		{"page", func() store.Term { return store.NameTerm(benchDigest(1<<34 | rand.Uint64N(100))) }, 100, 100},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				found, err := x.Find(ctx, tt.term(), 0, tt.limit)
				if err != nil || len(found) != tt.want {
					b.Fatalf("got %d entries and error %v, want %d", len(found), err, tt.want)
				}
			}
		})
	}
}
