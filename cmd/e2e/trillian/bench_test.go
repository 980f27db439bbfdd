package trillian

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// benchLog returns a running log on the real Trillian, on PostgreSQL, which syncs.
func benchLog(b *testing.B) *process {
	b.Helper()
	e2etest.Interop(b)
	db := pgtest.Start(b)
	tr := peers.StartTrillianOnPostgreSQL(b, db.Database(b))
	return start(b, newConfig(b, dial(b, tr), db.Database(b)))
}

func benchLeaf(i int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 592), uint64(i)) }

// BenchmarkAppend appends one leaf at a time, which is the latency from a submission
// to a tree that may be signed.
func BenchmarkAppend(b *testing.B) {
	p := benchLog(b)
	i := 0
	for b.Loop() {
		if _, err := p.Append(b.Context(), benchLeaf(i))(); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkPlace places leaves 500 at a time. One operation is 500 leaves; leaves/s
// is until the tree has all.
func BenchmarkPlace(b *testing.B) {
	const each = 500
	p := benchLog(b)
	n := 0
	begin := time.Now()
	for b.Loop() {
		entries := make([]engine.Entry, each)
		for i := range entries {
			entries[i].Leaf = benchLeaf(n)
			n++
		}
		if _, err := p.Place(b.Context(), entries); err != nil {
			b.Fatal(err)
		}
	}
	awaitSize(b, p, uint64(n))
	b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "leaves/s")
}
