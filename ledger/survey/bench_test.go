package survey

import (
	"context"
	"fmt"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	benchPackages   = 35_000
	benchRebuilders = 8
)

func benchName(i int) string {
	return fmt.Sprintf("pkg:deb/debian/package-%05d@1.%d-%d?arch=amd64", i, i%40, i%3)
}

// fillDistribution fills a table with the packages of a distribution.
func fillDistribution(b testing.TB) *filled {
	b.Helper()
	f := newFilled(b, benchRebuilders)
	list := make([]*said, 0, benchPackages*benchRebuilders)
	for i := range benchPackages {
		for who := range benchRebuilders {
			w := Obtained
			if (i+who)%97 == 0 {
				w = Different
			}
			list = append(list, word(fmt.Sprint("r", who), benchName(i), leaf.SHA256([]byte(benchName(i))), w))
		}
	}
	begun := time.Now()
	f.says(list...)
	took := time.Since(begun)
	begun = time.Now()
	for i := range benchPackages {
		f.judges(leaf.SHA256([]byte(benchName(i))), ranks[(i*7)%len(ranks)], never)
	}
	b.Logf("%.0f entries/s were taken, and %.0f verdicts/s", float64(len(list))/took.Seconds(), benchPackages/time.Since(begun).Seconds())
	return f
}

// BenchmarkSurvey asks a table. What it takes to read and verify attestations is not in
// it.
func BenchmarkSurvey(b *testing.B) {
	f := fillDistribution(b)
	ctx := context.Background()
	for name, ask := range map[string]func() error{
		"first-page": func() error { _, err := f.Packages(ctx, Filter{}); return err },
		"page-by-name": func() error {
			_, err := f.Packages(ctx, Filter{ByName: true, From: "0 " + benchName(20_000)})
			return err
		},
		"rare-arch":     func() error { _, err := f.Packages(ctx, Filter{Arch: "riscv64"}); return err },
		"new-state":     func() error { f.glanced = nil; _, err := f.Packages(ctx, Filter{}); return err },
		"text":          func() error { clear(f.counted); _, err := f.Packages(ctx, Filter{Text: "-0123"}); return err },
		"text-of-all":   func() error { clear(f.counted); _, err := f.Packages(ctx, Filter{Text: "debian"}); return err },
		"strip":         func() error { f.glanced = nil; _, err := f.Strip(ctx); return err },
		"find":          func() error { _, err := f.Find(ctx, "package-3", 20); return err },
		"package":       func() error { _, err := f.Package(ctx, benchName(123)); return err },
		"profile":       func() error { _, err := f.Profile(ctx, keyOf("r1")); return err },
		"summary":       func() error { _, err := f.Summary(ctx); return err },
		"distributions": func() error { _, err := f.Distributions(ctx); return err },
		"disagreements": func() error { _, err := f.Disagreements(ctx, 0, 50); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// signedLog is a log of attestations in memory.
type signedLog struct {
	noKeys
	entries []store.Entry
	answers map[string]*cairnv1.GetAttestationResponse
}

// Entries implements store.Index.
func (l *signedLog) Entries(_ context.Context, indexes []uint64) ([]store.Entry, error) {
	list := make([]store.Entry, len(indexes))
	for i, index := range indexes {
		list[i] = l.entries[index]
	}
	return list, nil
}

// add signs and logs a reproduction of an artifact.
func (l *signedLog) add(b *testing.B, s *attest.Signer, name string) {
	b.Helper()
	st, err := attest.NewStatement(attest.PredicateReproduction,
		&attest.Reproduction{Result: leaf.Identical, Obtained: attest.Built, Rebuilder: attest.Builder{ID: "https://somebody.example"}},
		attest.ResourceDescriptor{URI: name, Digest: map[string]string{"sha256": leaf.SHA256([]byte(name)).Hex()}})
	if err != nil {
		b.Fatal(err)
	}
	raw, err := s.Sign(st)
	if err != nil {
		b.Fatal(err)
	}
	att, err := attest.Open(raw, attest.NewKeyring(s.Public))
	if err != nil {
		b.Fatal(err)
	}
	l.entries = append(l.entries, store.Entry{Index: uint64(len(l.entries)), Text: att.Text})
	l.answers[att.Leaf.Envelope.Hex()] = &cairnv1.GetAttestationResponse{
		Attestation: raw, Entry: &cairnv1.Entry{Leaf: string(att.Text)},
		Keys: []*cairnv1.Key{{Fingerprint: string(s.Public.Fingerprint), PublicKey: s.Public.PEM}},
	}
}

// BenchmarkFollow follows a log: it verifies each attestation, and takes in what it
// says. What it takes the ledger to read it from storage is not in it.
func BenchmarkFollow(b *testing.B) {
	l := &signedLog{answers: make(map[string]*cairnv1.GetAttestationResponse)}
	const size, signers = 4096, 8
	var keys []*attest.Signer
	for range signers {
		s, _, err := attest.GenerateEd25519()
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, s)
	}
	for i := range size {
		l.add(b, keys[i%signers], benchName(i/signers))
	}
	for b.Loop() {
		b.StopTimer()
		f := newFilled(b, signers)
		for i, key := range keys { // in place of those that cannot sign
			f.heard[i].Key, f.ids[key.Public.Fingerprint] = key.Public.Fingerprint, int64(i)+1
		}
		f.cfg.Index = l
		f.cfg.Client = client.NewLocal("a log", func(_ context.Context, req proto.Message) (proto.Message, error) {
			return l.answers[req.(*cairnv1.GetAttestationRequest).GetEnvelope()], nil
		})
		published := &checkpoint.Published{Checkpoint: torchwood.Checkpoint{Tree: tlog.Tree{N: size}}, At: f.now}
		f.cfg.Latest = func() (*checkpoint.Published, error) { return published, nil }
		b.StartTimer()
		if err := f.follow(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
