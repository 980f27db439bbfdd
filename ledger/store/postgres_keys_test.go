package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// TestKeyChanges asks, after each entry, which ones changed keys.
func TestKeyChanges(t *testing.T) {
	x := openPostgresIndex(t, openPool(t, pgtest.Database(t)))
	first, err := x.KeyChanges(t.Context(), 0, 10)
	if want := (&store.KeyChanges{}); err != nil || !cmp.Equal(first, want) {
		t.Errorf("of an empty index: %+v, %v", first, err)
	}
	var changed, last []store.Entry
	for n := range uint64(12) {
		e := testEntry(t, n)
		if n%3 == 1 {
			fp := leaf.Fingerprint(leaf.SHA256(e.Text))
			e.Keys = &keys.Change{Key: store.Key{Fingerprint: fp, PEM: "a key", Enrolled: n, Changed: n}}
		}
		if err := x.Add(t.Context(), []store.Entry{e}); err != nil {
			t.Fatal(err)
		}
		read := store.Entry{Index: n, Text: e.Text}
		last = append(last, read)
		if e.Keys != nil {
			changed = append(changed, read)
		}
		for from := range n + 3 {
			for _, limit := range []int{1, 2, 10} {
				want := &store.KeyChanges{Size: n + 1, Last: &last[n]}
				for _, c := range changed {
					if c.Index >= from && len(want.Entries) < limit {
						want.Entries = append(want.Entries, c)
					}
				}
				got, err := x.KeyChanges(t.Context(), from, limit)
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
					t.Fatalf("of %d entries, at most %d from %d on: %v (-want +got):\n%s", n+1, limit, from, err, diff)
				}
			}
		}
	}
	size, list, _, err := x.KeysAt(t.Context())
	if err != nil || size != 12 || len(list) != len(changed) {
		t.Errorf("the keys at size %d are %d, %v; want %d at size 12", size, len(list), err, len(changed))
	}
}
