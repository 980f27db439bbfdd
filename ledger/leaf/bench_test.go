package leaf_test

import (
	"fmt"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// benchReproduction is the leaf of one reproduction by one key, which is what most
// entries are.
func benchReproduction() *leaf.Leaf {
	d := leaf.SHA256([]byte("artifact"))
	return &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse",
		Envelope: leaf.SHA256([]byte("envelope")), Payload: leaf.SHA256([]byte("payload")),
		Claim: leaf.ClaimReproduction, Result: leaf.Identical,
		Keys:     []leaf.Fingerprint{leaf.Fingerprint(leaf.SHA256([]byte("key")))},
		Names:    []leaf.Digest{leaf.NameHash("pkg:oci/core-go")},
		Subjects: []leaf.Digest{d},
		Outputs:  []leaf.Digest{d},
	}
}

// benchLargest is the largest leaf that is within all limits.
func benchLargest() *leaf.Leaf {
	l := benchReproduction()
	l.Keys, l.Names, l.Subjects = nil, nil, nil
	for i := range leaf.MaxKeys {
		l.Keys = append(l.Keys, leaf.Fingerprint(fmt.Sprintf("sha256:%064x", i)))
	}
	for i := range leaf.MaxNames {
		l.Names = append(l.Names, leaf.Digest(fmt.Sprintf("sha256:%064x", i)))
	}
	for i := range leaf.MaxDigests / 2 {
		l.Subjects = append(l.Subjects, leaf.Digest(fmt.Sprintf("sha256:%064x", i)))
	}
	for i := range leaf.MaxDigests / 2 {
		l.Subjects = append(l.Subjects, leaf.Digest(fmt.Sprintf("sha512:%0128x", i)))
	}
	l.Outputs = l.Subjects
	return l
}

func benchEach(b *testing.B, f func(b *testing.B, l *leaf.Leaf, text []byte)) {
	for name, l := range map[string]*leaf.Leaf{"reproduction": benchReproduction(), "largest": benchLargest()} {
		text, err := l.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			f(b, l, text)
		})
	}
}

func BenchmarkMarshal(b *testing.B) {
	benchEach(b, func(b *testing.B, l *leaf.Leaf, _ []byte) {
		for b.Loop() {
			if _, err := l.Marshal(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	benchEach(b, func(b *testing.B, _ *leaf.Leaf, text []byte) {
		for b.Loop() {
			if _, err := leaf.Parse(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkIdentity(b *testing.B) {
	benchEach(b, func(b *testing.B, l *leaf.Leaf, _ []byte) {
		for b.Loop() {
			l.Identity()
		}
	})
}

func BenchmarkHash(b *testing.B) {
	benchEach(b, func(b *testing.B, _ *leaf.Leaf, text []byte) {
		for b.Loop() {
			leaf.Hash(text)
		}
	})
}
