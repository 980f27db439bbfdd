package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Index tests a driver of store.Index. For each test new is called once; open,
// which it returns, opens the same storage at each call.
func Index(t *testing.T, new func(t *testing.T) (open func() store.Index)) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, open func() store.Index)
	}{
		{"a new index is empty", indexEmpty},
		{"entries are found by all their terms", indexTerms},
		{"the first entry of many terms is found at once", indexFirst},
		{"pages follow each other", indexPages},
		{"entries come in the order asked for", indexEntries},
		{"entries out of order are refused as a whole", indexOutOfOrder},
		{"an Add that was given up changed nothing or all", indexCanceled},
		{"keys are enrolled and revoked", indexKeys},
		{"keys are endorsed", indexEndorsements},
		{"an index that was closed opens as it was", indexReopened},
		{"after a crash the index is whole as far as it goes", indexCrashed},
		{"readers see whole batches", indexReaders},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, new(t)) })
	}
}

func digest(format string, args ...any) leaf.Digest {
	return leaf.SHA256(fmt.Appendf(nil, format, args...))
}

func fingerprint(i int) leaf.Fingerprint { return leaf.Fingerprint(digest("key %d", i)) }

// entry returns an entry of two subjects, one of which is an output too; the
// other is shared by every third entry, the name by every fifth.
func entry(t *testing.T, index int) store.Entry {
	t.Helper()
	own, shared := digest("subject %d", index), digest("shared %d", index%3)
	subjects := []leaf.Digest{own, shared}
	if shared < own {
		subjects = []leaf.Digest{shared, own}
	}
	l := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Claim: leaf.ClaimReproduction, Result: leaf.Different,
		Envelope: digest("envelope %d", index), Payload: digest("payload %d", index),
		Keys:     []leaf.Fingerprint{fingerprint(index % 2)},
		Names:    []leaf.Digest{digest("name %d", index%5)},
		Subjects: subjects,
		Outputs:  []leaf.Digest{own},
	}
	text, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return store.Entry{Index: uint64(index), Text: text, Leaf: l}
}

// entries returns the entries from and up to, without the last.
func entries(t *testing.T, from, to int) []store.Entry {
	t.Helper()
	var es []store.Entry
	for i := from; i < to; i++ {
		es = append(es, entry(t, i))
	}
	return es
}

func add(t *testing.T, x store.Index, es ...store.Entry) {
	t.Helper()
	if err := x.Add(t.Context(), es); err != nil {
		t.Fatalf("adding %d entries: %v", len(es), err)
	}
}

func wantSize(t *testing.T, x store.Index, want int) {
	t.Helper()
	if size, err := x.Size(t.Context()); err != nil || size != uint64(want) {
		t.Fatalf("Size() = %d, %v, want %d", size, err, want)
	}
}

func wantFound(t *testing.T, x store.Index, what string, term store.Term, from, limit int, want ...uint64) {
	t.Helper()
	got, err := x.Find(t.Context(), term, uint64(from), limit)
	if err != nil {
		t.Fatalf("finding %s: %v", what, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s from %d, at most %d (-want +got):\n%s", what, from, limit, diff)
	}
}

func closeIndex(t *testing.T, x store.Index) {
	t.Helper()
	if err := x.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
}

// wantWhole checks that an index holds the first size entries and nothing else.
func wantWhole(t *testing.T, x store.Index, size int) {
	t.Helper()
	wantSize(t, x, size)
	for _, e := range entries(t, 0, size) {
		got, err := x.Entries(t.Context(), []uint64{e.Index})
		if err != nil || len(got) != 1 || string(got[0].Text) != string(e.Text) {
			t.Fatalf("Entries(%d) = %v, %v", e.Index, got, err)
		}
		wantFound(t, x, "an envelope", store.EnvelopeTerm(e.Leaf.Envelope), 0, 10, e.Index)
	}
	next := entry(t, size)
	wantFound(t, x, "what was not added", store.EnvelopeTerm(next.Leaf.Envelope), 0, 10)
}

func indexEmpty(t *testing.T, open func() store.Index) {
	x := open()
	wantWhole(t, x, 0)
	add(t, x)
	wantWhole(t, x, 0)
	if list, standing, err := x.Keys(t.Context()); err != nil || len(list)+len(standing) != 0 {
		t.Errorf("Keys() = %v, %v, %v, want none", list, standing, err)
	}
	if es, err := x.Entries(t.Context(), nil); err != nil || len(es) != 0 {
		t.Errorf("Entries() = %v, %v, want none", es, err)
	}
	closeIndex(t, x)
}

func indexTerms(t *testing.T, open func() store.Index) {
	x := open()
	add(t, x, entries(t, 0, 7)...)
	e := entry(t, 4)
	for _, test := range []struct {
		what string
		term store.Term
		want []uint64
	}{
		{"its envelope", store.EnvelopeTerm(e.Leaf.Envelope), []uint64{4}},
		{"its leaf hash", store.LeafTerm(leaf.Hash(e.Text)), []uint64{4}},
		{"its identity", store.IdentityTerm(e.Leaf.Identity()), []uint64{4}},
		{"its own subject, which is its output", store.DigestTerm(digest("subject 4")), []uint64{4}},
		{"a subject of every third", store.DigestTerm(digest("shared 1")), []uint64{1, 4}},
		{"a name of every fifth", store.NameTerm(digest("name 1")), []uint64{1, 6}},
		{"a key of every second", store.KeyTerm(fingerprint(0)), []uint64{0, 2, 4, 6}},
		{"its payload, which is no term", store.DigestTerm(e.Leaf.Payload), nil},
		{"its envelope, taken for a digest", store.DigestTerm(e.Leaf.Envelope), nil},
		{"its name, taken for a digest", store.DigestTerm(digest("name 4")), nil},
	} {
		wantFound(t, x, test.what, test.term, 0, 100, test.want...)
	}
	closeIndex(t, x)
}

func indexFirst(t *testing.T, open func() store.Index) {
	x := open()
	es := entries(t, 0, 150)
	add(t, x, es...)
	missing := store.DigestTerm(digest("missing"))
	for _, n := range []int{0, 1, 2, 63, 64, 65, 128, 150} {
		var terms []store.Term
		var want []uint64
		for i := range n {
			// From the last to the first, every third missing, every seventh
			// in many entries and every eleventh asked for twice.
			e := es[len(es)-1-i]
			terms, want = append(terms, store.IdentityTerm(e.Leaf.Identity())), append(want, e.Index)
			if i%3 == 0 {
				terms, want = append(terms, missing), append(want, store.NoEntry)
			}
			if i%7 == 0 {
				terms, want = append(terms, store.DigestTerm(digest("shared %d", i%3))), append(want, uint64(i%3))
			}
			if i%11 == 0 {
				terms, want = append(terms, terms[len(terms)-1]), append(want, want[len(want)-1])
			}
		}
		got, err := x.First(t.Context(), terms)
		if err != nil || len(got) != len(want) {
			t.Fatalf("First of %d terms = %d indexes, %v", len(terms), len(got), err)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("First of %d terms: %d is at %d, want %d", len(terms), i, got[i], want[i])
			}
		}
	}
	closeIndex(t, x)
}

func indexPages(t *testing.T, open func() store.Index) {
	x := open()
	add(t, x, entries(t, 0, 200)...)
	add(t, x, entries(t, 200, 333)...)
	term := store.DigestTerm(digest("shared 0"))
	var got []uint64
	for from := uint64(0); ; {
		page, err := x.Find(t.Context(), term, from, 7)
		if err != nil || len(page) > 7 {
			t.Fatalf("a page of %d entries, %v", len(page), err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, page...)
		from = page[len(page)-1] + 1
	}
	if len(got) != 111 {
		t.Fatalf("%d entries found, want 111", len(got))
	}
	for i, index := range got {
		if index != uint64(3*i) {
			t.Fatalf("entry %d of the pages is %d, want %d", i, index, 3*i)
		}
	}
	wantFound(t, x, "a page that begins between two", term, 4, 2, 6, 9)
	wantFound(t, x, "a page beyond the end", term, 333, 2)
	closeIndex(t, x)
}

func indexEntries(t *testing.T, open func() store.Index) {
	x := open()
	es := entries(t, 0, 5)
	add(t, x, es...)
	got, err := x.Entries(t.Context(), []uint64{3, 0, 3})
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Entry{{Index: 3, Text: es[3].Text}, {Index: 0, Text: es[0].Text}, {Index: 3, Text: es[3].Text}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if got, err := x.Entries(t.Context(), []uint64{1, 5}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Entries with one beyond the end = %v, %v, want ErrNotFound", got, err)
	}
	closeIndex(t, x)
}

func indexOutOfOrder(t *testing.T, open func() store.Index) {
	x := open()
	add(t, x, entries(t, 0, 3)...)
	enrols := entry(t, 3)
	enrols.Keys = &keys.Change{Key: store.Key{Fingerprint: fingerprint(9), PEM: "pem", Operator: "https://nine.example"}}
	for name, bad := range map[string][]store.Entry{
		"an entry that is there":       {entry(t, 2)},
		"a gap":                        {entry(t, 4)},
		"a gap within":                 {enrols, entry(t, 5)},
		"one twice":                    {enrols, enrols},
		"from the start":               entries(t, 0, 5),
		"in the wrong order":           {entry(t, 4), enrols},
		"one beyond any size of a log": {entry(t, 1<<40)},
	} {
		if err := x.Add(t.Context(), bad); !errors.Is(err, store.ErrOutOfOrder) {
			t.Errorf("adding %s: error %v, want ErrOutOfOrder", name, err)
		}
		wantWhole(t, x, 3)
		if _, err := x.Key(t.Context(), fingerprint(9)); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: the key of a refused entry is there: %v", name, err)
		}
	}
	add(t, x, entries(t, 3, 6)...)
	wantWhole(t, x, 6)
	closeIndex(t, x)
}

func indexCanceled(t *testing.T, open func() store.Index) {
	x := open()
	add(t, x, entries(t, 0, 3)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	size := 300
	if err := x.Add(ctx, entries(t, 3, 300)); err != nil {
		size = 3
	}
	wantWhole(t, x, size)
	closeIndex(t, x)
}
