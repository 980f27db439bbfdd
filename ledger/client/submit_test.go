package client_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/clienttest"
	"github.com/cairnlog/cairn/ledger/policy"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// TestSubmit submits with the signer's key at hand, and without.
func TestSubmit(t *testing.T) {
	w := newLadder(t)
	s := w.signers["alice"]
	st, err := attest.NewStatement(attest.PredicateProvenance, &attest.Provenance{
		BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildTypeStageX},
		RunDetails:      attest.RunDetails{Builder: attest.Builder{ID: "https://alice.example"}},
	}, resource("submitted", ""))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	key := &cairnv1.Key{Fingerprint: string(s.Public.Fingerprint), PublicKey: s.Public.PEM}
	first, err := w.client.Submit(t.Context(), raw, []*cairnv1.Key{key}, w.policy)
	if err != nil || !first.Answer.GetCreated() || first.Checkpoint.N != int64(len(w.index))+1 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := w.client.Submit(t.Context(), append(raw, ' '), nil, w.policy)
	if err != nil {
		t.Fatal(err)
	}
	if again.Answer.GetCreated() || again.Answer.GetIndex() != first.Answer.GetIndex() || again.Leaf.Envelope != first.Leaf.Envelope ||
		len(again.Keys) != 1 || again.Keys[0].GetFingerprint() != key.GetFingerprint() {
		t.Errorf("again: %+v, keys %v", again.Answer, again.Keys)
	}

	// With another's key it is not what was submitted, and another log's policy is
	// not satisfied.
	var misbehaved *client.MisbehaviourError
	other := w.signers["bob"].Public
	if _, err := w.client.Submit(t.Context(), raw, []*cairnv1.Key{{Fingerprint: string(other.Fingerprint), PublicKey: other.PEM}}, w.policy); !errors.As(err, &misbehaved) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := w.client.Submit(t.Context(), raw, nil, policyOfAnother(t)); !errors.As(err, &misbehaved) {
		t.Errorf("another's policy: %v", err)
	}
	unlogged, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = unlogged.Sign(st); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Submit(t.Context(), raw, nil, w.policy); err == nil {
		t.Error("the attestation of a key that is not enrolled was logged")
	}
}

func policyOfAnother(t *testing.T) *policy.Policy {
	t.Helper()
	l, err := clienttest.New("log.example/ladder")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(l)
	t.Cleanup(srv.Close)
	p, err := policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
