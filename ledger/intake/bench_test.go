package intake_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// benchRing returns the keyring of an intake with a number of enrolled keys,
// and their fingerprints.
func benchRing(b *testing.B, n int) (*keys.History, []leaf.Fingerprint) {
	b.Helper()
	ctx := context.Background()
	index, err := store.OpenSQLiteIndex(ctx, filepath.Join(b.TempDir(), "index.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = index.Close() })
	var entries []store.Entry
	var fps []leaf.Fingerprint
	for i := range n {
		s, _, err := attest.GenerateEd25519()
		if err != nil {
			b.Fatal(err)
		}
		env, err := attest.Enrol(s, "https://operator.example/", "")
		if err != nil {
			b.Fatal(err)
		}
		att, err := attest.Open(env, attest.NewKeyring())
		if err != nil {
			b.Fatal(err)
		}
		fps = append(fps, s.Public.Fingerprint)
		entries = append(entries, store.Entry{Index: uint64(i), Text: att.Text, Leaf: att.Leaf, Keys: &keys.Change{Key: store.Key{
			Fingerprint: s.Public.Fingerprint, PEM: s.Public.PEM, Operator: att.Enrolment.Operator, Enrolled: uint64(i),
		}}})
	}
	if err := index.Add(ctx, entries); err != nil {
		b.Fatal(err)
	}
	in, err := intake.New(ctx, intake.Config{Index: index})
	if err != nil {
		b.Fatal(err)
	}
	return in.Keyring(), fps
}

// BenchmarkKeyringLookup is one look-up of each submission, from all cores.
func BenchmarkKeyringLookup(b *testing.B) {
	ring, fps := benchRing(b, 1000)
	unknown := leaf.Fingerprint("sha256:" + strings.Repeat("0", 64))
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, ok := ring.Lookup(fps[i%len(fps)]); !ok {
					b.Error("an enrolled key is not found")
					return
				}
			}
		})
	})
	b.Run("unknown", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, ok := ring.Lookup(unknown); ok {
					b.Error("an unknown key is found")
					return
				}
			}
		})
	})
}
