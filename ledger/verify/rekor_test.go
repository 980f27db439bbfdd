package verify_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/verify"
)

// rekored makes the entry of interest one of Rekor's.
func rekored(change func(w *world)) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.text = leaftest.HashedRekord(t, "alice", "hello")
		w.attestation, w.proofLeaf, w.proofKeys = w.text, w.text, nil
		change(w)
	}
}

// spoilt is the entry with another digest, which its key did not sign.
func spoilt(text []byte) []byte {
	return bytes.Replace(text, []byte(`"digest":"L`), []byte(`"digest":"M`), 1)
}

func TestEntryOfRekor(t *testing.T) {
	testEntries(t, []entryCase{
		{"as it is", rekored(func(*world) {}), verify.Proven, 0, ".......", ""},
		{"the proof alone", rekored(func(w *world) { w.attestation = nil }), verify.Proven, 0, ".......", ""},
		{"the entry, and a proof without hints", rekored(func(w *world) { w.proofLeaf = nil }), verify.Proven, 0, ".......", ""},
		{"neither", rekored(func(w *world) { w.attestation, w.proofLeaf = nil, nil }), verify.Unproven, 3, "...----", "there is no attestation to derive it from"},
		{"an empty file", rekored(func(w *world) { w.attestation = []byte{} }), verify.Refuted, 1, "....F--", "the attestation hashes to"},
		{"another entry", rekored(func(w *world) { w.attestation = spoilt(w.text) }), verify.Refuted, 1, "....F--", "the attestation hashes to"},
		{"a signature that does not verify", rekored(func(w *world) {
			w.text = spoilt(w.text)
			w.attestation, w.proofLeaf = w.text, w.text
		}), verify.Refuted, 1, "......F", "does not verify with the key in the entry"},
		{"such a one, by the proof alone", rekored(func(w *world) {
			w.text = spoilt(w.text)
			w.attestation, w.proofLeaf = nil, w.text
		}), verify.Refuted, 1, "......F", "does not verify with the key in the entry"},
	})
}

// rekor logs an entry that a person's key signed.
func (l *ledger) rekor(name, artifact string) {
	l.t.Helper()
	l.entries = append(l.entries, mustOpen(l.t, leaftest.HashedRekord(l.t, name, artifact)))
}

// A Rekor entry in a bundle does not rest on an enrolment, but no key signs after
// its revocation.
func TestOpenOfRekorEntries(t *testing.T) {
	l := newLedger(t)
	key, err := attest.NewSigner(leaftest.P256(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	l.rekor("alice", "before it is enrolled")
	l.rekor("bob", "never enrolled")
	env, err := attest.Enrol(key, "https://alice.example", "")
	if err != nil {
		t.Fatal(err)
	}
	l.log(env, key)
	l.rekor("alice", "after")
	ev := l.open(l.policy())
	var ids []int64
	for _, c := range ev.Claims() {
		ids = append(ids, c.Index)
	}
	if !slices.Equal(ids, []int64{0, 1, 3}) {
		t.Errorf("claims %v", ids)
	}
	if got := ev.About(digestOf("after")); len(got) != 1 || got[0].Index != 3 {
		t.Errorf("about the artifact: %+v", got)
	}
	if env, err = attest.Revoke(key, "lost"); err != nil {
		t.Fatal(err)
	}
	l.log(env, key)
	l.rekor("alice", "after it is revoked")
	if _, err := verify.Open(l.bundle(), l.policy(), now); err == nil {
		t.Error("an entry after the revocation of its key is believed")
	}
}
