// Package bundle is the file that holds all evidence about an artifact and its
// ancestry: attestations with the proofs that they are logged, and the keys that
// signed them. It holds no policy: whom to believe is the verifier's own.
package bundle

import (
	"errors"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Bundle is evidence that was collected about an artifact.
type Bundle struct {
	Artifact leaf.Digest // what it was collected about
	Names    []string    // canonical purls under which it was asked for, sorted
	Entries  []Entry     // ascending by index, each once
}

// Entry is one entry of a log: about the artifact, about something in its
// ancestry, or the enrolment of a key that signed one of these.
type Entry struct {
	Index       int64
	Attestation []byte // as it was submitted
	// Proof is a C2SP tlog-proof with the leaf and the signers' keys as extra.
	Proof []byte
}

// Parse reads a bundle. It verifies nothing.
func Parse([]byte) (*Bundle, error) { return nil, errors.New("parsing a bundle: not written yet") }

// Marshal returns the bundle's one encoding.
func (b *Bundle) Marshal() ([]byte, error) {
	return nil, errors.New("writing a bundle: not written yet")
}
