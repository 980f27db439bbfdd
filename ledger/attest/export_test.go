package attest

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// AddDocument makes OpenPGP containers take one more document, which begins with
// prefix, and is its own subject.
func AddDocument(t testing.TB, format, prefix string) {
	before := documents
	t.Cleanup(func() { documents = before })
	documents = append(documents[:len(documents):len(documents)], document{
		format: format,
		is:     func(p []byte) bool { return len(p) >= len(prefix) && string(p[:len(prefix)]) == prefix },
		read: func(a *Attestation, p []byte) error {
			a.Claim = Claim{
				Claim: "other", Result: "-",
				Subjects: []Resource{{Name: string(p), Digests: map[string]string{"sha256": leaf.SHA256(p).Hex()}}},
			}
			return nil
		},
	})
}
