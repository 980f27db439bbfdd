package client_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// TestCollectRekorEntries collects entries of Rekor's, by keys that are not
// enrolled, were enrolled later, and enrolled twice.
func TestCollectRekorEntries(t *testing.T) {
	w := newLadder(t)
	late, err := attest.NewSigner(leaftest.P256(t, "late"))
	if err != nil {
		t.Fatal(err)
	}
	w.signers["late"] = late
	early, err := attest.NewSigner(leaftest.P256(t, "early"))
	if err != nil {
		t.Fatal(err)
	}
	w.signers["early"] = early
	w.enrol(t, "early", "early")
	w.add(t, "early signs tool", leaftest.HashedRekord(t, "early", "tool"))
	w.add(t, "stranger signs tool", leaftest.HashedRekord(t, "stranger", "tool"))
	w.add(t, "late signs tool", leaftest.HashedRekord(t, "late", "tool"))
	w.enrol(t, "late", "late")
	w.build(t, "late builds tool", "late", "tool")
	again, err := attest.Enrol(late, "https://moved.example/", "")
	if err != nil {
		t.Fatal(err)
	}
	w.add(t, "late again", again)
	b, err := w.client.Collect(t.Context(), tool, nil, w.policy, client.CollectOptions{Everybody: true})
	if err != nil {
		t.Fatal(err)
	}
	words := w.words(b)
	for _, want := range []string{"stranger signs tool", "late signs tool", "late", "late builds tool", "late again"} {
		if !slices.Contains(words, want) {
			t.Errorf("%q is not collected: %q", want, words)
		}
	}
	if !slices.Contains(words, "early signs tool") || slices.Contains(words, "early") {
		t.Errorf("an entry that brings its key is not collected, or the key's enrolment is: %q", words)
	}
	if _, err := verify.Open(b, w.policy, time.Now()); err != nil {
		t.Error(err)
	}
	found, err := w.client.Claims(t.Context(), &cairnv1.ListAttestationsRequest{Digest: string(tool)}, w.policy)
	if err != nil {
		t.Fatal(err)
	}
	operators := make(map[int64][]string)
	for _, l := range found.Logged {
		operators[l.Index] = l.Operators
	}
	want := []string{"https://moved.example/"}
	if d := cmp.Diff([][]string{nil, want}, [][]string{operators[w.index["stranger signs tool"]], operators[w.index["late builds tool"]]}); d != "" {
		t.Error(d)
	}
}

func TestSubmitRekorEntry(t *testing.T) {
	w := newLadder(t)
	raw := leaftest.HashedRekord(t, "stranger", "released")
	for _, created := range []bool{true, false} {
		s, err := w.client.Submit(t.Context(), raw, nil, w.policy)
		if err != nil {
			t.Fatal(err)
		}
		if s.Leaf.Rekor != string(raw) || s.Answer.GetCreated() != created || len(s.Keys) != 0 {
			t.Errorf("created %t, keys %v, leaf %+v", s.Answer.GetCreated(), s.Keys, s.Leaf)
		}
	}
}
