package bucket_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
)

// What a batch of submissions brings.
const (
	benchBatch = 1024
	benchSize  = 2 << 10
)

// benchKey is where the n-th attestation of a benchmark stands.
func benchKey(n uint64) string {
	return store.AttestationPath(leaf.SHA256(binary.BigEndian.AppendUint64(nil, n)))
}

func benchObjects(from uint64, n int) []bucket.Object {
	objects := make([]bucket.Object, n)
	for i := range objects {
		data := bytes.Repeat([]byte{byte(i)}, benchSize)
		objects[i] = bucket.Object{Key: benchKey(from + uint64(i)), Bytes: data, Once: true}
	}
	return objects
}

// BenchmarkPut durably writes batches to a directory. One operation is one batch.
func BenchmarkPut(b *testing.B) {
	bk := buckettest.Dir(b, b.TempDir())
	var n uint64
	for b.Loop() {
		if err := bk.Put(b.Context(), benchObjects(n, benchBatch)); err != nil {
			b.Fatal(err)
		}
		n += benchBatch
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkPutParallel does so from several goroutines, as a ledger's intake and
// its publisher do.
func BenchmarkPutParallel(b *testing.B) {
	bk := buckettest.Dir(b, b.TempDir())
	var n atomic.Uint64
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := bk.Put(b.Context(), benchObjects(n.Add(benchBatch), benchBatch)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(n.Load())/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkGet reads attestations from a directory.
func BenchmarkGet(b *testing.B) {
	bk := buckettest.Dir(b, b.TempDir())
	if err := bk.Put(b.Context(), benchObjects(0, benchBatch)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bk.Get(b.Context(), benchKey(rand.Uint64N(benchBatch)), benchSize); err != nil {
			b.Fatal(err)
		}
	}
}
