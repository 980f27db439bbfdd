package engine_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	mathrand "math/rand/v2"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/ledger/engine"
)

// benchLog returns a log of size entries on disk.
func benchLog(b *testing.B, size int) *engine.Tessera {
	b.Helper()
	ctx := context.Background()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // Tessera logs each of its steps
	skey, _, err := note.GenerateKey(rand.Reader, "localhost/bench")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		b.Fatal(err)
	}
	log, err := engine.OpenTessera(ctx, b.TempDir(), signer)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		// The log closes only when all of it is published.
		benchPublish(b, log, signer)
		_ = log.Close()
	})
	var pending []engine.Future
	for i := range size {
		pending = append(pending, log.Append(ctx, benchLeaf(i)))
		if len(pending) == 1024 || i == size-1 {
			pending = benchAwait(b, pending)
		}
	}
	return log
}

// benchLeaf returns 500 bytes that no other leaf has.
func benchLeaf(i int) []byte { return binary.BigEndian.AppendUint64(make([]byte, 492), uint64(i)) }

func benchAwait(b *testing.B, pending []engine.Future) []engine.Future {
	b.Helper()
	for _, index := range pending {
		if _, err := index(); err != nil {
			b.Fatal(err)
		}
	}
	return pending[:0]
}

func benchPublish(b *testing.B, log *engine.Tessera, signer note.Signer) {
	b.Helper()
	ctx := context.Background()
	size, err := log.Size(ctx)
	if err != nil {
		b.Fatal(err)
	}
	root, err := engine.NewProver(log).Root(ctx, size, size)
	if err != nil {
		b.Fatal(err)
	}
	text := torchwood.Checkpoint{Origin: signer.Name(), Tree: tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		b.Fatal(err)
	}
	if err := log.Publish(ctx, signed); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkProverInclusion proves random entries of a tree that is not a power
// of two: with all tiles in memory, and with none.
func BenchmarkProverInclusion(b *testing.B) {
	const size = 20_000
	ctx := context.Background()
	log := benchLog(b, size)
	prove := func(b *testing.B, p *engine.Prover) {
		b.Helper()
		if _, err := p.Inclusion(ctx, mathrand.Uint64N(size), size, size); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cached", func(b *testing.B) {
		p := engine.NewProver(log)
		for range 5000 {
			prove(b, p)
		}
		b.ReportAllocs()
		for b.Loop() {
			prove(b, p)
		}
	})
	b.Run("cached on all cores", func(b *testing.B) {
		p := engine.NewProver(log)
		for range 5000 {
			prove(b, p)
		}
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				prove(b, p)
			}
		})
	})
	b.Run("uncached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			prove(b, engine.NewProver(log))
		}
	})
}

// BenchmarkProverRoot is what each publication computes.
func BenchmarkProverRoot(b *testing.B) {
	const size = 20_000
	p := engine.NewProver(benchLog(b, size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Root(context.Background(), size, size); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTesseraAppend appends as the intake does: many at a time, all of
// them awaited. One operation is one entry.
func BenchmarkTesseraAppend(b *testing.B) {
	ctx := context.Background()
	log := benchLog(b, 1)
	pending := make([]engine.Future, 0, 1024)
	n := 0
	for b.Loop() {
		n++
		pending = append(pending, log.Append(ctx, benchLeaf(n)))
		if len(pending) == cap(pending) {
			pending = benchAwait(b, pending)
		}
	}
	benchAwait(b, pending)
}
