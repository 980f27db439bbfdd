package client_test

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// cosign logs what somebody signed again, with another signature added.
func (w *ladder) cosign(t *testing.T, word, who, of string) {
	t.Helper()
	b, err := w.client.Collect(t.Context(), tool, nil, nil, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(w.words(b), of)
	var signed, own dsse.Envelope
	if err := json.Unmarshal(b.Entries[i].Attestation, &signed); err != nil {
		t.Fatal(err)
	}
	payload, err := signed.DecodeB64Payload()
	if err != nil {
		t.Fatal(err)
	}
	var st attest.Statement
	if err := json.Unmarshal(payload, &st); err != nil {
		t.Fatal(err)
	}
	raw, err := w.signers[who].Sign(&st)
	if err == nil {
		err = json.Unmarshal(raw, &own)
	}
	if err != nil || own.Payload != signed.Payload {
		t.Fatalf("%v: %s was to be signed, %s is", err, signed.Payload, own.Payload)
	}
	signed.Signatures = append(signed.Signatures, own.Signatures...)
	if raw, err = json.Marshal(&signed); err != nil {
		t.Fatal(err)
	}
	w.add(t, word, raw)
}

func (w *ladder) enrolAgain(t *testing.T, who string) {
	t.Helper()
	raw, err := attest.Enrol(w.signers[who], "https://another.example/", "")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, who+" again", raw)
}

// TestCollectKeysThatAreEnrolledAgain: a key whose enrolment is repeated signed
// before it, and whoever has one must not make the evidence of all others
// worthless.
func TestCollectKeysThatAreEnrolledAgain(t *testing.T) {
	w := newLadder(t)
	w.enrolAgain(t, "mallory")
	b, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if words := w.words(b); !slices.Contains(words, "mallory") {
		t.Errorf("the first enrolment is not in %q", words)
	}
	if _, err := verify.Open(b, w.policy, time.Time{}); err != nil {
		t.Error(err)
	}
}

// TestCollectWhatStrangersSignToo: anybody can log what a rebuilder signed again,
// with a signature of their own beside it. It is carried once.
func TestCollectWhatStrangersSignToo(t *testing.T) {
	w := newLadder(t)
	w.cosign(t, "nobody signs too", "nobody", "alice builds tool")
	w.enrolAgain(t, "nobody")
	pol, err := policy.Parse(fmt.Appendf(nil, "log %s\nquorum none\nrebuilder alice %s operator=https://alice.example/\nrebuild-quorum alice\n",
		w.log.VKey(), w.signers["alice"].Public.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.client.Collect(t.Context(), tool, nil, pol, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if words := w.words(b); !slices.Equal(words, []string{"alice", "alice builds compiler", "alice builds tool"}) {
		t.Errorf("the bundle has %q", words)
	}
}

// TestCollectByAllDigests: somebody may dissent about an artifact by another of
// its digests than it was asked about.
func TestCollectByAllDigests(t *testing.T) {
	w := newLadder(t)
	sum := sha512.Sum512([]byte("tool"))
	both, other := resource("tool", ""), attest.ResourceDescriptor{Name: "tool", Digest: map[string]string{"sha512": hex.EncodeToString(sum[:])}}
	both.Digest["sha512"] = other.Digest["sha512"]
	for word, subject := range map[string]attest.ResourceDescriptor{"by both": both, "by the other": other} {
		st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
			Result: leaf.Different, Rebuilder: attest.Builder{ID: "https://bob.example/rebuilder"},
		}, subject)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := w.signers["bob"].Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		w.add(t, word, raw)
	}
	b, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if words := w.words(b); !slices.Contains(words, "by the other") {
		t.Errorf("the bundle has %q", words)
	}
}

// TestClaimsBy: who is not heard costs nothing.
func TestClaimsBy(t *testing.T) {
	w := newLadder(t)
	mallory := w.signers["mallory"].Public.Fingerprint
	w.log.Tamper = func(_ string, m proto.Message) {
		if r, ok := m.(*cairnv1.GetAttestationResponse); ok && strings.Contains(r.GetEntry().GetLeaf(), string(mallory)) {
			t.Errorf("entry %d is read", r.GetEntry().GetIndex())
		}
	}
	found, err := w.client.ClaimsBy(t.Context(), &cairnv1.ListAttestationsRequest{Digest: string(tool)}, w.policy, func(keys []leaf.Fingerprint) bool {
		return !slices.Contains(keys, mallory)
	})
	if err != nil || len(found.Logged) != 2 {
		t.Errorf("claims %+v, error %v", found, err)
	}
}
