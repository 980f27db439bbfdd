package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// key returns a key as its enrolment at an index gives it.
func key(i int, operator string, enrolled uint64) *store.Key {
	return &store.Key{
		Fingerprint: fingerprint(i), PEM: "PEM of " + string(fingerprint(i)),
		Operator: operator, URL: operator + "/about", Enrolled: enrolled,
	}
}

func enrols(t *testing.T, index, i int, operator string) store.Entry {
	t.Helper()
	e := entry(t, index)
	e.Enrols = key(i, operator, uint64(index))
	return e
}

func revokes(t *testing.T, index, i int) store.Entry {
	t.Helper()
	e := entry(t, index)
	e.Revokes = fingerprint(i)
	return e
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
	keys, err := x.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []leaf.Fingerprint
	for _, k := range keys {
		got = append(got, k.Fingerprint)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("keys (-want +got):\n%s", diff)
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

	// The latest enrolment is what counts; the first revocation is.
	add(t, x, revokes(t, 3, 2), enrols(t, 4, 1, "https://other.example"), revokes(t, 5, 2), revokes(t, 6, 3))
	wantKey(t, x, key(1, "https://other.example", 4))
	revoked := key(2, "https://two.example", 2)
	at := uint64(3)
	revoked.Revoked = &at
	wantKey(t, x, revoked)
	wantKeys(t, x, fingerprint(2), fingerprint(1))

	// In one batch as in many.
	add(t, x, enrols(t, 7, 4, "https://four.example"), revokes(t, 8, 4))
	both := key(4, "https://four.example", 7)
	then := uint64(8)
	both.Revoked = &then
	wantKey(t, x, both)
	closeIndex(t, x)

	x = open()
	wantKey(t, x, both)
	wantKeys(t, x, fingerprint(2), fingerprint(1), fingerprint(4))
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
