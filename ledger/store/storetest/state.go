package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// key returns a key as its enrolment at an index gives it.
func key(i int, operator string, enrolled uint64) *store.Key {
	return &store.Key{
		Fingerprint: fingerprint(i), PEM: "PEM of " + string(fingerprint(i)),
		Operator: operator, URL: operator + "/about", Enrolled: enrolled, Changed: enrolled,
	}
}

// changes returns an entry that does something to a key.
func changes(t *testing.T, index int, c keys.Change) store.Entry {
	t.Helper()
	e := entry(t, index)
	e.Keys = &c
	return e
}

func enrols(t *testing.T, index, i int, operator string) store.Entry {
	t.Helper()
	return changes(t, index, keys.Change{Key: *key(i, operator, uint64(index)), Ended: true})
}

// ended returns a key that an entry ended.
func ended(k store.Key, at uint64, withdrawn bool) *store.Key {
	k.Revoked, k.Withdrawn, k.Changed = &at, withdrawn, at
	return &k
}

// endorsed returns a key that another endorsed, and the endorsement.
func endorsed(i, by int, operator string, index uint64) (*store.Key, *store.Endorsement) {
	k := key(i, operator, index)
	k.Endorser = fingerprint(by)
	return k, &store.Endorsement{Key: k.Fingerprint, Endorser: k.Endorser, Index: index, Operator: operator, URL: k.URL}
}

func wantKey(t *testing.T, x store.Index, want *store.Key) {
	t.Helper()
	got, err := x.Key(t.Context(), want.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("key (-want +got):\n%s", diff)
	}
}

func wantKeys(t *testing.T, x store.Index, want ...leaf.Fingerprint) {
	t.Helper()
	list, _, err := x.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []leaf.Fingerprint
	for _, k := range list {
		got = append(got, k.Fingerprint)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("keys (-want +got):\n%s", diff)
	}
}

func wantStanding(t *testing.T, x store.Index, want ...store.Endorsement) {
	t.Helper()
	_, got, err := x.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("endorsements (-want +got):\n%s", diff)
	}
}

func indexKeys(t *testing.T, open func() store.Index) {
	x := open()
	add(t, x, enrols(t, 0, 1, "https://one.example"), entry(t, 1), enrols(t, 2, 2, "https://two.example"))
	wantKey(t, x, key(1, "https://one.example", 0))
	wantKeys(t, x, fingerprint(1), fingerprint(2))
	if _, err := x.Key(t.Context(), fingerprint(3)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Key of one that is not enrolled: %v, want ErrNotFound", err)
	}

	// What the latest entry makes of a key is what it is.
	revoked := ended(*key(2, "https://two.example", 2), 3, false)
	add(t, x, changes(t, 3, keys.Change{Key: *revoked, Ended: true}), enrols(t, 4, 1, "https://other.example"))
	wantKey(t, x, key(1, "https://other.example", 4))
	wantKey(t, x, revoked)
	wantKeys(t, x, fingerprint(2), fingerprint(1))

	// In one batch as in many.
	both := ended(*key(4, "https://four.example", 5), 6, false)
	add(t, x, enrols(t, 5, 4, "https://four.example"), changes(t, 6, keys.Change{Key: *both, Ended: true}))
	wantKey(t, x, both)
	closeIndex(t, x)

	x = open()
	wantKey(t, x, both)
	wantKeys(t, x, fingerprint(2), fingerprint(1), fingerprint(4))
	wantStanding(t, x)
	closeIndex(t, x)
}

func indexEndorsements(t *testing.T, open func() store.Index) {
	x := open()
	first, by2 := endorsed(1, 2, "https://two.example", 0)
	_, by3 := endorsed(1, 3, "https://three.example", 1)
	other, by2too := endorsed(4, 2, "https://two.example", 2)
	add(t, x,
		changes(t, 0, keys.Change{Key: *first, Endorsed: by2}),
		changes(t, 1, keys.Change{Key: *first, Endorsed: by3}),
		changes(t, 2, keys.Change{Key: *other, Endorsed: by2too}))
	wantKey(t, x, first)
	wantStanding(t, x, *by2, *by3, *by2too)

	// One is withdrawn, of one key; and may be given again.
	second, _ := endorsed(1, 3, "https://three.example", 1)
	second.Changed = 3
	add(t, x, changes(t, 3, keys.Change{Key: *second, Withdrawn: fingerprint(2)}))
	wantKey(t, x, second)
	wantStanding(t, x, *by3, *by2too)
	gone := ended(*other, 4, true)
	add(t, x, changes(t, 4, keys.Change{Key: *gone, Withdrawn: fingerprint(2)}))
	wantKey(t, x, gone)
	again, by2again := endorsed(4, 2, "https://two.example", 5)
	add(t, x, changes(t, 5, keys.Change{Key: *again, Endorsed: by2again}))
	wantKey(t, x, again)
	wantStanding(t, x, *by3, *by2again)
	closeIndex(t, x)

	x = open()
	add(t, x, enrols(t, 6, 1, "https://one.example"))
	wantKey(t, x, key(1, "https://one.example", 6))
	wantStanding(t, x, *by2again)
	closeIndex(t, x)
}

func indexReopened(t *testing.T, open func() store.Index) {
	x := open()
	size := 0
	for _, n := range []int{1, 64, 65, 130} {
		add(t, x, entries(t, size, size+n)...)
		size += n
		closeIndex(t, x)
		x = open()
		wantWhole(t, x, size)
	}
	closeIndex(t, x)
}

func indexCrashed(t *testing.T, open func() store.Index) {
	var crashed []store.Index
	for range 4 {
		x := open()
		size, err := x.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		wantWhole(t, x, int(size))
		add(t, x, entries(t, int(size), int(size)+70)...)
		crashed = append(crashed, x)
	}
	for _, x := range crashed {
		closeIndex(t, x)
	}
}

// indexReaders looks for the entries of one key, every second one, while they
// are added.
func indexReaders(t *testing.T, open func() store.Index) {
	const batches, width = 30, 40
	x := open()
	added := make(chan error, 1)
	go func() {
		for i := range batches {
			if err := x.Add(t.Context(), entries(t, width*i, width*i+width)); err != nil {
				added <- err
				return
			}
		}
		added <- nil
	}()
	for done := false; !done; {
		select {
		case err := <-added:
			if err != nil {
				t.Fatalf("adding: %v", err)
			}
			done = true
		default:
		}
		found, err := x.Find(t.Context(), store.KeyTerm(fingerprint(0)), 0, width*batches)
		if err != nil {
			t.Fatal(err)
		}
		if len(found)%(width/2) != 0 {
			t.Fatalf("%d entries found, which is part of a batch", len(found))
		}
		if _, err := x.Entries(t.Context(), found); err != nil {
			t.Fatalf("reading what was found: %v", err)
		}
		size, err := x.Size(t.Context())
		if err != nil || size%width != 0 || size < uint64(2*len(found)) {
			t.Fatalf("size is %d, %v, after %d of every second entry were found", size, err, len(found))
		}
	}
	wantWhole(t, x, width*batches)
	closeIndex(t, x)
}
