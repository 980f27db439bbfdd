package audittest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Author signs attestations.
type Author struct{ *attest.Signer }

// NewAuthor returns an author with a key of its own.
func NewAuthor() (*Author, error) {
	s, _, err := attest.GenerateEd25519()
	return &Author{s}, err
}

// ring is the keys that an author's own attestations verify with.
func (a *Author) ring() attest.Keyring { return attest.NewKeyring(a.Public) }

// Enrolment enrols the author's key.
func (a *Author) Enrolment(operator string) (Entry, error) {
	raw, err := attest.Enrol(a.Signer, operator, "")
	if err != nil {
		return Entry{}, err
	}
	return EntryOf(raw, a.ring())
}

// Revocation ends the use of the author's key.
func (a *Author) Revocation(why string) (Entry, error) {
	raw, err := attest.Revoke(a.Signer, why)
	if err != nil {
		return Entry{}, err
	}
	return EntryOf(raw, a.ring())
}

// Reproduction is the n-th reproduction, as rebuilders send them.
func (a *Author) Reproduction(n int) (Entry, error) {
	sum := sha256.Sum256(fmt.Appendf(nil, "artifact %d", n))
	digest := map[string]string{"sha256": hex.EncodeToString(sum[:])}
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
		Result:    leaf.Identical,
		Obtained:  attest.Built,
		Outputs:   []attest.ResourceDescriptor{{Name: "core-go", Digest: digest}},
		Rebuilder: attest.Builder{ID: "https://rebuilder.example", Operator: "https://operator.example/"},
		Environment: map[string]string{
			"os": "linux", "kernel": "6.12.9", "arch": "x86_64", "cpuVendor": "AuthenticAMD",
		},
	}, attest.ResourceDescriptor{
		Name:   "core-go",
		URI:    "pkg:oci/core-go@sha256:" + digest["sha256"] + "?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go",
		Digest: digest,
	})
	if err != nil {
		return Entry{}, err
	}
	raw, err := a.Sign(st)
	if err != nil {
		return Entry{}, err
	}
	return EntryOf(raw, a.ring())
}

// Endorsement endorses another's key.
func (a *Author) Endorsement(of *Author, operator string) (Entry, error) {
	raw, err := attest.Endorse(a.Signer, of.Public, operator, "")
	if err != nil {
		return Entry{}, err
	}
	return EntryOf(raw, a.ring())
}

// Withdrawal revokes another's key.
func (a *Author) Withdrawal(of *Author) (Entry, error) {
	raw, err := attest.RevokeOf(a.Signer, of.Public.Fingerprint, "")
	if err != nil {
		return Entry{}, err
	}
	return EntryOf(raw, a.ring())
}
