package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// TestCollectEndorsements has a key sign while it rests on one endorsement, on
// another, and on itself: the evidence shows why each might be logged.
func TestCollectEndorsements(t *testing.T) {
	w := newLadder(t)
	k, _, err := attest.GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	w.signers["k"] = k
	endorse := func(by string) {
		raw, err := attest.Endorse(w.signers[by], k.Public, "https://k.example/by/"+by, "")
		if err != nil {
			t.Fatal(err)
		}
		w.add(t, by+" endorses", raw)
	}
	withdraw := func(by string) {
		raw, err := attest.RevokeOf(w.signers[by], k.Public.Fingerprint, "")
		if err != nil {
			t.Fatal(err)
		}
		w.add(t, by+" withdraws", raw)
	}
	rebuild := func(word string) {
		w.rebuild(t, word, "k", "tool", leaf.Identical, attest.Built, "tool", resource(word, "source"))
	}
	endorse("mallory")
	endorse("alice")
	rebuild("by alice and mallory")
	withdraw("mallory")
	endorse("bob")
	rebuild("by alice and bob")
	withdraw("alice")
	rebuild("by bob")
	check := func(want ...string) {
		t.Helper()
		w.wantEvidence(t, k.Public.Fingerprint, want)
	}
	check("mallory endorses", "mallory withdraws", "bob endorses", "bob", "by bob")
	withdraw("bob")
	check("mallory endorses", "mallory withdraws", "bob endorses", "bob withdraws")
	w.enrol(t, "k", "k")
	rebuild("by itself")
	check("mallory endorses", "bob endorses", "k", "by itself")
	raw, err := attest.Revoke(k, "done")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, "k revokes", raw)
	check("k", "k revokes", "bob endorses")
}

// wantEvidence collects the evidence about tool, which must have these entries and
// say whose a key is.
func (w *ladder) wantEvidence(t *testing.T, key leaf.Fingerprint, want []string) {
	t.Helper()
	b, err := w.client.Collect(t.Context(), leaf.SHA256([]byte("tool")), nil, w.policy, client.CollectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := w.words(b)
	for _, word := range want {
		if !slices.Contains(got, word) {
			t.Errorf("the evidence lacks %q: %q", word, got)
		}
	}
	ev, err := verify.Open(b, w.policy, time.Now())
	if err != nil {
		t.Fatalf("the evidence does not verify: %v", err)
	}
	if _, ok := ev.Operator(key); !ok {
		t.Error("the evidence does not say whose key it is")
	}
}
