package verify_test

import (
	"fmt"
	"testing"

	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/verify"
)

// wide logs n entries: artifacts that a and b obtained, each from the one before.
func wide(tb testing.TB, n int) *ledger {
	l := newLedger(tb, "a", "b", "c")
	word, from := "hex0", "seed:hex0"
	for i := 0; len(l.entries) < n-2; i++ {
		word = fmt.Sprintf("link%d", i)
		l.builds("a", word, from, "source:source")
		l.rebuilds("b", word, word, from, "source:source")
		from = "toolchain:" + word
	}
	l.builds("a", "app", from)
	l.builds("b", "app", from)
	return l
}

// BenchmarkOpen opens a bundle of 1000 entries under one checkpoint.
func BenchmarkOpen(b *testing.B) {
	l := wide(b, 1000)
	file, pol := l.bundle(), l.quorum(2)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verify.Open(file, pol, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(file.Entries)), "µs/entry")
}

// BenchmarkArtifact decides about the last of 500 artifacts.
func BenchmarkArtifact(b *testing.B) {
	l := wide(b, 1000)
	pol := l.quorum(2)
	ev := l.open(pol)
	b.ReportAllocs()
	for b.Loop() {
		if r := verify.Artifact(verify.Question{Artifact: digestOf("app"), Policy: pol, At: now}, ev); !r.Accepted {
			b.Fatal(r.Reasons)
		}
	}
}

// BenchmarkBundle is all of cairn verify --bundle but reading the file, for an
// artifact with 200 ancestors that two operators obtained.
func BenchmarkBundle(b *testing.B) {
	l := wide(b, 3+2*201)
	pol := l.quorum(2)
	file, err := l.bundle().Marshal()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		parsed, err := bundle.Parse(file)
		if err != nil {
			b.Fatal(err)
		}
		ev, err := verify.Open(parsed, pol, now)
		if err != nil {
			b.Fatal(err)
		}
		r := verify.Artifact(verify.Question{Artifact: digestOf("app"), Policy: pol, At: now}, ev)
		if !r.Accepted || r.Counts.Artifacts < 201 {
			b.Fatal(r.Counts, r.Reasons)
		}
	}
}
