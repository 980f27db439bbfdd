package e2e

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// listed is an answer of GET /v1/attestations.
type listed struct {
	Entries []struct {
		Index    int64 `json:",string"`
		Leaf     string
		Envelope string
	}
	NextPageToken string
	Checkpoint    string
	CompleteUpTo  int64 `json:",string"`
}

// list reads all pages of a query.
func list(t *testing.T, r *rest, query url.Values, size int) (indexes []int64, pages int) {
	t.Helper()
	query.Set("page_size", fmt.Sprint(size))
	for {
		var l listed
		if err := r.get(t.Context(), "/v1/attestations?"+query.Encode(), &l); err != nil {
			t.Fatal(err)
		}
		pages++
		if len(l.Entries) > size || l.Checkpoint == "" {
			t.Fatalf("a page of %d entries, want at most %d, with checkpoint %q", len(l.Entries), size, l.Checkpoint)
		}
		for _, e := range l.Entries {
			if e.Index >= l.CompleteUpTo {
				t.Fatalf("entry %d is beyond the checkpoint of %d", e.Index, l.CompleteUpTo)
			}
			indexes = append(indexes, e.Index)
		}
		if l.NextPageToken == "" {
			return indexes, pages
		}
		query.Set("page_token", l.NextPageToken)
	}
}

func TestPagesOfAList(t *testing.T) {
	p := start(t, t.TempDir())
	c := newCrew(t, p, 3)
	c.work(t.Context(), t, p, 12, 120)
	if err := newRPC(t, p).published(t.Context(), 123); err != nil {
		t.Fatal(err)
	}
	byKey := make(map[*author][]int64)
	var all []int64
	for _, e := range c.history.entries {
		all = append(all, e.ack.index)
		for _, a := range c.authors {
			if containsKey(e.ack.leaf, string(a.signer.Public.Fingerprint)) {
				byKey[a] = append(byKey[a], e.ack.index)
			}
		}
	}
	slices.Sort(all)
	r := newREST(t, p)
	for _, size := range []int{1, 7, 122, 123, 124, 1000} {
		got, pages := list(t, r, url.Values{}, size)
		if diff := cmp.Diff(all, got); diff != "" {
			t.Errorf("all entries, %d a page (-want +got):\n%s", size, diff)
		}
		if want := (len(all) + size - 1) / size; pages != want {
			t.Errorf("%d pages of %d, want %d", pages, size, want)
		}
		for a, want := range byKey {
			slices.Sort(want)
			got, _ := list(t, r, url.Values{"key": {string(a.signer.Public.Fingerprint)}}, size)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries of a key, %d a page (-want +got):\n%s", size, diff)
			}
		}
	}
	// A token stays right while the log grows.
	var first listed
	if err := r.get(t.Context(), "/v1/attestations?page_size=50", &first); err != nil {
		t.Fatal(err)
	}
	if _, err := r.submit(t.Context(), c.authors[0].attestation(), ""); err != nil {
		t.Fatal(err)
	}
	got, _ := list(t, r, url.Values{"page_token": {first.NextPageToken}}, 1000)
	if diff := cmp.Diff(append(all[50:], 123), got); diff != "" {
		t.Errorf("the pages after the first (-want +got):\n%s", diff)
	}
}

func containsKey(leaf, fingerprint string) bool {
	return slices.Contains(strings.Split(leaf, "\n"), "key "+fingerprint)
}

// TestUnhintedSignature logs an attestation whose keyid says nothing, and then
// enrols more keys than are tried without a hint. It must stay readable.
func TestUnhintedSignature(t *testing.T) {
	p := start(t, t.TempDir())
	r := newREST(t, p)
	a := enrolled(t, r)
	raw := a.unhinted()
	if _, err := r.submit(t.Context(), raw, ""); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		if _, err := r.submit(t.Context(), newAuthor(t).enrolment(t), "sequenced"); err != nil {
			t.Fatal(err)
		}
	}
	if err := newRPC(t, p).published(t.Context(), 42); err != nil {
		t.Fatal(err)
	}
	got, err := r.attestation(t.Context(), envelopeOf(raw))
	if err != nil || string(got) != string(raw) {
		t.Errorf("reading it back: %v", err)
	}
}
