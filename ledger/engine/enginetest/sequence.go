package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/engine"
	logged "github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Storage is where a sequence under test is kept.
type Storage struct {
	// Open returns the sequence as a further process has it.
	Open func() engine.Sequence
	// Index is the index of the entries that leave the queue.
	Index store.Index
	// Crash ends the storage as a power loss does, and starts it again.
	Crash func()
}

// SequenceContract tests a driver of engine.Sequence. For each test new is called once.
func SequenceContract(t *testing.T, new func(t *testing.T) *Storage) {
	for _, test := range []struct {
		name string
		f    func(*sequence)
	}{
		{"indexes are dense and in the order of the entries", placeInOrder},
		{"an entry that any term tells is known keeps its index", placeKnown},
		{"an entry is known also after it left the queue", placeTrimmed},
		{"two entries of one call see each other", placeWithin},
		{"what follows a change that it does not know is not placed", placeStale},
		{"a change is remembered after it left the queue", placeStaleTrimmed},
		{"what follows more than there is is refused as a whole", placeAhead},
		{"leaves are read in pages until they are trimmed", readAndTrim},
		{"what the index does not have is not trimmed", trimTooMuch},
		{"a placement is signalled", placements},
		{"what was answered outlives crashes", placeCrashed},
		{"the same entries placed by many at once are placed once", placeConcurrently},
	} {
		t.Run(test.name, func(t *testing.T) {
			storage := new(t)
			test.f(&sequence{T: t, Storage: storage, Sequence: storage.Open()})
		})
	}
}

// sequence is a sequence under test, and the leaves that it should have.
type sequence struct {
	*testing.T
	*Storage
	engine.Sequence
	leaves [][]byte
}

// placeable returns the n-th of a series of entries, none of which has a term of
// another, as the intake makes them.
func placeable(n int) engine.Entry { return placeableAs(n, n) }

// placeableAs returns an entry with the identity of one entry and the bytes of
// another.
func placeableAs(identity, envelope int) engine.Entry {
	digest := func(format string, n int) logged.Digest { return logged.SHA256(fmt.Appendf(nil, format, n)) }
	l := &logged.Leaf{
		Kind: logged.KindAttestation, Format: "dsse", Claim: logged.ClaimReproduction, Result: logged.Identical,
		Envelope: digest("envelope %d", envelope), Payload: digest("payload %d", identity),
		Keys:     []logged.Fingerprint{logged.Fingerprint(digest("key %d", 0))},
		Subjects: []logged.Digest{digest("subject %d", identity)},
	}
	text, err := l.Marshal()
	if err != nil {
		panic(err) // a mistake of this function
	}
	return engine.Entry{Leaf: text, Terms: [][32]byte{store.IdentityTerm(l.Identity()), store.EnvelopeTerm(l.Envelope)}}
}

func placeables(from, to int) []engine.Entry {
	var es []engine.Entry
	for i := from; i < to; i++ {
		es = append(es, placeable(i))
	}
	return es
}

// place places entries in s by one of its processes, and checks what became of them.
func (s *sequence) place(by engine.Sequence, entries []engine.Entry, want ...engine.Placed) {
	s.Helper()
	got, err := by.Place(s.Context(), entries)
	if err != nil {
		s.Fatalf("placing %d entries: %v", len(entries), err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Fatalf("placed (-want +got):\n%s", diff)
	}
	for i := range got {
		if got[i].Created {
			s.leaves = append(s.leaves, entries[i].Leaf)
		}
	}
	s.check()
}

// created is what becomes of a new entry, at an index.
func created(index int, e engine.Entry) engine.Placed {
	return engine.Placed{Index: uint64(index), Leaf: e.Leaf, Created: true}
}

// known is what becomes of an entry that is there as another one.
func known(index int, as engine.Entry) engine.Placed {
	return engine.Placed{Index: uint64(index), Leaf: as.Leaf}
}

// grow places n further entries, alone in a call.
func (s *sequence) grow(n int) {
	s.Helper()
	var want []engine.Placed
	from := len(s.leaves)
	entries := placeables(from, from+n)
	for i, e := range entries {
		want = append(want, created(from+i, e))
	}
	s.place(s.Sequence, entries, want...)
}

// check reads the next index, and all leaves from the first that is in the queue.
func (s *sequence) check() {
	s.Helper()
	if next, err := s.Next(s.Context()); err != nil || next != uint64(len(s.leaves)) {
		s.Fatalf("Next() = %d, %v, want %d", next, err, len(s.leaves))
	}
}

func (s *sequence) wantLeaves(from, limit, to int) {
	s.Helper()
	got, err := s.Read(s.Context(), uint64(from), limit)
	if err != nil {
		s.Fatalf("reading from %d: %v", from, err)
	}
	if diff := cmp.Diff(s.leaves[from:to], append([][]byte{}, got...)); diff != "" {
		s.Fatalf("leaves from %d (-want +got):\n%s", from, diff)
	}
}

// index adds all leaves that are placed to the index.
func (s *sequence) index() {
	s.Helper()
	size, err := s.Index.Size(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	var entries []store.Entry
	for i := int(size); i < len(s.leaves); i++ {
		l, err := logged.Parse(s.leaves[i])
		if err != nil {
			s.Fatal(err)
		}
		entries = append(entries, store.Entry{Index: uint64(i), Text: s.leaves[i], Leaf: l})
	}
	if err := s.Index.Add(s.Context(), entries); err != nil {
		s.Fatal(err)
	}
}

// trim indexes what is placed and removes what is below an index.
func (s *sequence) trim(below int) {
	s.Helper()
	s.index()
	if err := s.Trim(s.Context(), uint64(below)); err != nil {
		s.Fatal(err)
	}
}

func placeInOrder(s *sequence) {
	s.check()
	s.place(s.Sequence, nil)
	for _, n := range []int{1, 2, 300, 1} {
		s.grow(n)
	}
	s.wantLeaves(0, 1000, len(s.leaves))
}

func placeKnown(s *sequence) {
	s.grow(5)
	other := s.Open()
	es := placeables(0, 6)
	s.place(other, es, known(0, es[0]), known(1, es[1]), known(2, es[2]), known(3, es[3]), known(4, es[4]), created(5, es[5]))
	s.place(s.Sequence, []engine.Entry{placeableAs(2, 90), placeableAs(91, 3)}, known(2, es[2]), known(3, es[3]))
	// One term of each of two entries: the first of them is the one.
	s.place(other, []engine.Entry{placeableAs(4, 1), placeableAs(1, 4)}, known(1, es[1]), known(1, es[1]))
	// Their other terms are nobody's yet.
	s.place(s.Sequence, []engine.Entry{placeableAs(91, 90)}, created(6, placeableAs(91, 90)))
}

func placeTrimmed(s *sequence) {
	s.grow(6)
	s.trim(4)
	other := s.Open()
	es := placeables(0, 7)
	s.place(other, es, known(0, es[0]), known(1, es[1]), known(2, es[2]), known(3, es[3]), known(4, es[4]), known(5, es[5]), created(6, es[6]))
	s.place(other, []engine.Entry{placeableAs(2, 90), placeableAs(91, 3)}, known(2, es[2]), known(3, es[3]))
	s.place(other, []engine.Entry{placeableAs(6, 1), placeableAs(1, 5)}, known(1, es[1]), known(1, es[1]))
	s.trim(7)
	s.place(other, es[:1], known(0, es[0]))
	s.wantLeaves(7, 10, 7)
}

func placeWithin(s *sequence) {
	a, b := placeable(0), placeableAs(1, 0)
	twice := placeable(2)
	twice.Terms = append(twice.Terms, twice.Terms...)
	s.place(s.Sequence, []engine.Entry{a, b, a, twice, twice, placeableAs(2, 1)},
		created(0, a), known(0, a), known(0, a), created(1, twice), known(1, twice), known(1, twice))
	s.wantLeaves(0, 10, 2)
}

// marking returns an entry that marks what the n-th of a series of hashes names, and
// following one that follows it and knows the entries below seen.
func marking(e, n int) engine.Entry {
	m := placeable(e)
	m.Marks = [][32]byte{{byte(n)}}
	return m
}

func following(e, seen int, ns ...int) engine.Entry {
	f := placeable(e)
	f.Seen = uint64(seen)
	for _, n := range ns {
		f.Follows = append(f.Follows, [32]byte{byte(n)})
	}
	return f
}

func stale(index int) engine.Placed { return engine.Placed{Index: uint64(index), Stale: true} }

func placeStale(s *sequence) {
	other := s.Open()
	s.place(s.Sequence, []engine.Entry{marking(0, 1), marking(1, 2)}, created(0, marking(0, 1)), created(1, marking(1, 2)))
	s.place(other, []engine.Entry{following(2, 0, 1), following(2, 0, 3, 2, 1), following(2, 1, 2)}, stale(0), stale(1), stale(1))
	s.place(other, []engine.Entry{following(2, 1, 1, 3)}, created(2, placeable(2)))
	// It is known, whatever it follows.
	s.place(other, []engine.Entry{following(2, 0, 1)}, known(2, placeable(2)))
	// The latest mark counts, also within a call; what is not placed marks nothing.
	ignored := following(4, 0, 1)
	ignored.Marks = [][32]byte{{3}}
	s.place(s.Sequence, []engine.Entry{
		following(3, 3, 1), marking(5, 1), following(6, 3, 1), ignored, marking(7, 1), following(6, 3, 1), following(8, 3, 3),
	}, created(3, placeable(3)), created(4, placeable(5)), stale(4), stale(4), created(5, placeable(7)), stale(5), created(6, placeable(8)))
	s.place(other, []engine.Entry{following(6, 5, 1), following(6, 6, 1)}, stale(5), created(7, placeable(6)))
	// A known entry marks nothing anew.
	s.place(other, []engine.Entry{marking(0, 1), following(9, 6, 1)}, known(0, placeable(0)), created(8, placeable(9)))
}

func placeStaleTrimmed(s *sequence) {
	s.place(s.Sequence, []engine.Entry{marking(0, 1), placeable(1)}, created(0, placeable(0)), created(1, placeable(1)))
	s.trim(2)
	s.place(s.Open(), []engine.Entry{following(2, 0, 1), following(2, 1, 1)}, stale(0), created(2, placeable(2)))
}

func placeAhead(s *sequence) {
	s.grow(2)
	if got, err := s.Place(s.Context(), []engine.Entry{placeable(2), following(3, 3, 1)}); err == nil {
		s.Errorf("placed %v", got)
	}
	s.check()
	s.wantLeaves(0, 10, 2)
	s.grow(1) // the entry that was placed with it was not
}

func readAndTrim(s *sequence) {
	s.grow(10)
	s.wantLeaves(0, 4, 4)
	s.wantLeaves(4, 4, 8)
	s.wantLeaves(8, 4, 10)
	s.wantLeaves(9, 0, 10)
	s.wantLeaves(10, 4, 10)
	s.trim(0)
	s.wantLeaves(0, 2, 2)
	s.trim(6)
	s.trim(3) // trims nothing further
	for _, from := range []uint64{0, 5} {
		if got, err := s.Read(s.Context(), from, 10); !errors.Is(err, engine.ErrNotFound) {
			s.Errorf("Read(%d) = %d leaves, %v, want ErrNotFound", from, len(got), err)
		}
	}
	s.wantLeaves(6, 10, 10)
	s.grow(3)
	s.wantLeaves(6, 10, 13)
	s.trim(13)
	s.wantLeaves(13, 10, 13)
	s.grow(1)
	s.wantLeaves(13, 10, 14)
}

func trimTooMuch(s *sequence) {
	s.grow(4)
	s.index()
	s.grow(2)
	if err := s.Trim(s.Context(), 5); err == nil {
		s.Error("a leaf was trimmed that the index does not have")
	}
	s.wantLeaves(0, 10, 6)
}

func placements(s *sequence) {
	signals := s.Open().Placements()
	for from, deadline := 0, s.Context().Done(); from < 3; {
		s.grow(1)
		select {
		case <-signals:
			from++
		case <-deadline:
			s.Fatal("no placement was signalled")
		}
	}
}

func placeCrashed(s *sequence) {
	for range 2 {
		s.grow(40)
		s.trim(len(s.leaves) - 20)
		s.grow(5)
		s.Crash()
		s.check()
		s.wantLeaves(len(s.leaves)-25, 100, len(s.leaves))
		var want []engine.Placed
		es := placeables(0, len(s.leaves))
		for i, e := range es {
			want = append(want, known(i, e))
		}
		s.place(s.Sequence, es, want...)
	}
}

// placeConcurrently has goroutines at two processes place entries of which each is
// placed by several of them, one after the other in different orders.
func placeConcurrently(s *sequence) {
	const goroutines, batches, width, distinct = 8, 12, 20, 300
	processes := []engine.Sequence{s.Sequence, s.Open()}
	var mu sync.Mutex // guards the following
	indexes, made := make(map[int]uint64), make(map[int]int)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for b := range batches {
				var ns []int
				var entries []engine.Entry
				for i := range width {
					n := ((b*width+i)*(2*g+1) + 7*g) % distinct
					ns, entries = append(ns, n), append(entries, placeable(n))
				}
				placed, err := processes[g%2].Place(s.Context(), entries)
				if err != nil {
					s.Errorf("placing: %v", err)
					return
				}
				mu.Lock()
				for i, p := range placed {
					if index, ok := indexes[ns[i]]; ok && index != p.Index || !bytes.Equal(p.Leaf, entries[i].Leaf) || p.Stale {
						s.Errorf("entry %d is at %d: %+v", ns[i], index, p)
					}
					indexes[ns[i]] = p.Index
					if p.Created {
						made[ns[i]]++
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.leaves = make([][]byte, len(indexes))
	for n, index := range indexes {
		if index >= uint64(len(s.leaves)) || s.leaves[index] != nil || made[n] != 1 {
			s.Fatalf("entry %d was made %d times, at %d of %d", n, made[n], index, len(indexes))
		}
		s.leaves[index] = placeable(n).Leaf
	}
	s.check()
	s.wantLeaves(0, distinct, len(s.leaves))
}
