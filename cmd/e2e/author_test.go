package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
)

// author makes signed attestations that nobody made before.
type author struct {
	signer *attest.Signer
	name   string
	next   atomic.Int64
}

func newAuthor(t *testing.T) *author {
	t.Helper()
	signer, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	return &author{signer: signer, name: string(signer.Public.Fingerprint)[7:19]}
}

// enrolled returns an author whose key the ledger knows.
func enrolled(t *testing.T, by transport) *author {
	t.Helper()
	a := newAuthor(t)
	if _, err := by.submit(t.Context(), a.enrolment(t), ""); err != nil {
		t.Fatalf("enrolling: %v", err)
	}
	return a
}

func (a *author) enrolment(t *testing.T) []byte {
	t.Helper()
	raw, err := attest.Enrol(a.signer, "https://"+a.name+".example", "")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (a *author) revocation(t *testing.T) []byte {
	t.Helper()
	raw, err := attest.Revoke(a.signer, "lost")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// attestation returns an attestation that is about something new.
func (a *author) attestation() []byte {
	subject := fmt.Sprintf("%s-%d", a.name, a.next.Add(1))
	sum := sha256.Sum256([]byte(subject))
	return a.sign(fmt.Sprintf(
		`{"_type":%q,"subject":[{"name":%q,"digest":{"sha256":%q}}],"predicateType":"https://example.com/test/v1","predicate":{}}`,
		attest.StatementV1, subject, hex.EncodeToString(sum[:])))
}

// sign signs a statement as it is, whatever it says.
func (a *author) sign(statement string) []byte {
	raw, err := a.signer.SignPayload(attest.TypeStatement, []byte(statement))
	if err != nil {
		panic(err) // Ed25519 in memory does not fail
	}
	return raw
}

// unhinted returns an attestation whose keyid is empty.
func (a *author) unhinted() []byte {
	return bytes.Replace(a.attestation(), []byte(a.signer.Public.Fingerprint), nil, 1)
}

func envelopeOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
