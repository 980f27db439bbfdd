package queue

import (
	"strings"
	"testing"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// BenchmarkLeaseAndComplete is a job's way through the queue, beside 1000 that
// wait: three synced transactions.
func BenchmarkLeaseAndComplete(b *testing.B) {
	q := newBench(b)
	for range 1000 {
		q.add(request(func(s *cairnv1.BuildSpec) { s.Priority = -1 }))
	}
	for b.Loop() {
		q.add(request())
		id, token := q.lease(worker())
		if _, err := q.Complete(b.Context(), result(id, token, envA)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLeaseInVain is a worker that finds no job among 10,000.
func BenchmarkLeaseInVain(b *testing.B) {
	q := newBench(b)
	for range 10_000 {
		q.add(request())
	}
	other := worker(func(w *cairnv1.LeaseBuildRequest) { w.Engines = []string{"buildah"} })
	for b.Loop() {
		if id, _ := q.lease(other); id != 0 {
			b.Fatal(id)
		}
	}
}

func BenchmarkRenew(b *testing.B) {
	q, id, token := leased(b)
	for b.Loop() {
		if status, _, err := q.Renew(b.Context(), id, token); status != LeaseHeld || err != nil {
			b.Fatal(status, err)
		}
	}
}

func BenchmarkAppendLog(b *testing.B) {
	q, id, token := leased(b)
	piece := []byte(strings.Repeat("x", 64<<10))
	b.SetBytes(int64(len(piece)))
	offset := int64(0)
	for b.Loop() {
		size, err := q.AppendLog(b.Context(), id, token, offset, piece)
		if err != nil {
			b.Fatal(err)
		}
		offset = size
	}
}
