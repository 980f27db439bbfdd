package intake

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// submits submits and returns what becomes of it.
func (r *rig) submits(raw []byte) <-chan outcome {
	answer := make(chan outcome, 1)
	go func() {
		res, err := r.Submit(r.t.Context(), raw, "127.0.0.1")
		answer <- outcome{res, err}
	}()
	return answer
}

// follows indexes all that the log has.
func (r *rig) follows() {
	r.t.Helper()
	size, _ := log{r.disk}.Size(r.t.Context())
	if err := r.Follow(r.t.Context(), size); err != nil {
		r.t.Fatal(err)
	}
}

// What one intake acknowledged and indexed counts at once at the others.
func TestOthersAreHeard(t *testing.T) {
	d, a, k, p := newSharedDisk(), newAuthor(t), newAuthor(t), pgptest.New(t, "somebody")
	there, here := open(t, d, true).start(), open(t, d, false).start()
	there.submit(a.enrolment())
	if res := <-here.submits(a.about(1)); res.err != nil || res.res.Index != 1 {
		t.Fatalf("a key that was enrolled at another intake: %+v", res)
	}
	there.follows()
	there.submit(a.endorses(k))
	there.submit(a.withdraws(k))
	if o := <-here.submits(k.about(1)); o.err == nil {
		t.Fatal("a key whose endorsement was withdrawn elsewhere signs")
	}
	there.submit(mustEndorse(a, k, "https://again.example"))
	if o := <-here.submits(k.about(1)); o.err != nil {
		t.Errorf("a key that was endorsed again elsewhere: %v", o.err)
	}
	there.submit(p.Public())
	p.AddSubkey()
	there.submit(p.Public())
	if o := <-here.submits(p.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1))); o.err != nil {
		t.Errorf("a part of a key that was enrolled elsewhere: %v", o.err)
	}
	there.follows()
	_, err := here.Submit(t.Context(), newAuthor(t).about(1), "127.0.0.1")
	wantReason(t, "a key that nobody enrolled", err, reason.KeyNotEnrolled)

	want, standing := there.Keyring().Snapshot()
	got, again := here.Keyring().Snapshot()
	if diff := cmp.Diff(want, got) + cmp.Diff(standing, again, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the keys of the two (-there +here):\n%s", diff)
	}
}

// TestNothingFollowsWhatAnotherRevoked revokes a key at one intake while it signs
// at others, over and over: the log must have nothing of it behind the revocation,
// however late the others learn of it.
func TestNothingFollowsWhatAnotherRevoked(t *testing.T) {
	for round := range 20 {
		d, a, k := newSharedDisk(), newAuthor(t), newAuthor(t)
		there := open(t, d, true).start()
		there.submit(a.enrolment())
		end := k.revocation()
		if round%2 == 0 {
			there.submit(k.enrolment())
		} else {
			there.submit(a.endorses(k))
			end = a.withdraws(k)
		}
		others := []*rig{open(t, d, false).start(), open(t, d, false).start()}
		var wg sync.WaitGroup
		begun := make(chan struct{}, 1)
		for i, r := range others {
			wg.Go(func() {
				for n := range 40 {
					o := <-r.submits(k.about(1000*i + n))
					if o.err != nil {
						wantReason(t, "behind the revocation", o.err, reason.KeyRevoked)
					}
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		<-begun
		revoked := there.submit(end)
		wg.Wait()
		for i := revoked.Index + 1; i < uint64(len(d.leaves)); i++ {
			if bytes.Contains(d.leaves[i], []byte("key "+k.Public.Fingerprint+"\n")) {
				t.Fatalf("entry %d follows the revocation in entry %d:\n%s", i, revoked.Index, d.leaves[i])
			}
		}
	}
}

// An intake that has not heard of a revocation has its entry refused by the log; it
// learns of it once it is indexed, and only then tells who submitted.
func TestALateIntakeIsToldByTheLog(t *testing.T) {
	d, a := newSharedDisk(), newAuthor(t)
	there, here := open(t, d, false).start(), open(t, d, false).start()
	<-there.submits(a.enrolment())
	there.follows()
	if o := <-here.submits(a.about(0)); o.err != nil {
		t.Fatal(o.err)
	}
	if o := <-there.submits(a.revocation()); o.err != nil {
		t.Fatal(o.err)
	}
	answer := here.submits(a.about(1))
	here.await("refused by the log", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.refused > 0
	})
	select {
	case o := <-answer:
		t.Fatalf("answered before the revocation is indexed: %+v", o)
	default:
	}
	there.follows()
	wantReason(t, "behind the revocation", (<-answer).err, reason.KeyRevoked)
}

// Who waits for entries that are never indexed is told to come back, and does not
// hold up others.
func TestUnsettledKeys(t *testing.T) {
	d, a, b := newSharedDisk(), newAuthor(t), newAuthor(t)
	synctest.Test(t, func(t *testing.T) {
		r := open(t, d, false).start()
		for _, who := range []author{a, b} {
			<-r.submits(who.enrolment())
		}
		r.follows()
		<-r.submits(a.revocation())
		// The index never gets as far as the revocation.
		unheard := r.submits(a.about(1))
		for n := range 2 * maxPlacing {
			if o := <-r.submits(b.about(n)); o.err != nil {
				t.Errorf("by another key: %v", o.err)
			}
		}
		select {
		case o := <-unheard:
			t.Errorf("answered at once: %+v", o)
		default:
		}
		if e := wantReason(t, "of a key that changes", (<-unheard).err, reason.KeyUnsettled); e.RetryAfter <= 0 {
			t.Error("the refusal does not say when to come back")
		}
		_ = r.stop()
	})
}

// Enrolments by several intakes at once all come through, whoever else enrols the
// same keys.
func TestEnrolmentsAtOnce(t *testing.T) {
	const intakes, keys = 4, 12
	d := newSharedDisk()
	leader := open(t, d, true).start()
	rigs := []*rig{leader}
	for range intakes - 1 {
		r := open(t, d, false)
		r.cfg.Grew = leader.cfg.Grew
		rigs = append(rigs, r.start())
	}
	authors := make([]author, keys)
	for i := range authors {
		authors[i] = newAuthor(t)
	}
	shared := pgptest.New(t, "somebody")
	first := shared.Public()
	shared.AddSubkey()
	second := shared.Public()
	var wg sync.WaitGroup
	for i, r := range rigs {
		for n, a := range authors {
			for _, raw := range [][]byte{a.enrolment(), mustEnrol(a, fmt.Sprint("https://", i)), first, second} {
				wg.Go(func() {
					if o := <-r.submits(raw); o.err != nil {
						t.Errorf("intake %d, key %d: %v", i, n, o.err)
					}
				})
			}
		}
	}
	wg.Wait()
	leader.follows()
	if n := leader.Keyring().Count(); n != keys+1 {
		t.Errorf("%d keys are enrolled, want %d", n, keys+1)
	}
	if parts := len(leader.Keyring().Of(&leaf.Leaf{Keys: []leaf.Fingerprint{shared.Fingerprint()}}).Hinted("")); parts != 0 {
		t.Errorf("%d keys without an id", parts)
	}
}

// The same attestation at several intakes at once is one entry, created once.
func TestDuplicatesAtOnce(t *testing.T) {
	const kinds = 30
	d, a := newSharedDisk(), newAuthor(t)
	leader := open(t, d, true).start()
	leader.submit(a.enrolment())
	rigs := []*rig{leader, open(t, d, false).start(), open(t, d, false).start()}
	var mu sync.Mutex
	created, indexes := make(map[int]int), make(map[int]map[uint64]bool)
	var wg sync.WaitGroup
	for k := range kinds {
		raw := a.about(k)
		mu.Lock()
		indexes[k] = make(map[uint64]bool)
		mu.Unlock()
		for i, r := range rigs {
			again := encodings(raw)[i]
			wg.Go(func() {
				o := <-r.submits(again)
				mu.Lock()
				defer mu.Unlock()
				if o.err != nil {
					t.Errorf("attestation %d: %v", k, o.err)
					return
				}
				if o.res.Created {
					created[k]++
				}
				indexes[k][o.res.Index] = true
			})
		}
	}
	wg.Wait()
	for k := range kinds {
		if created[k] != 1 || len(indexes[k]) != 1 {
			t.Errorf("attestation %d was created %d times, at %v", k, created[k], indexes[k])
		}
	}
}

// TestStorageThatIsAway has storage fail for a moment at each step. Who submitted
// is told to come back, the intake goes on, and a retry has one entry.
func TestStorageThatIsAway(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   func(*disk, fault)
		is      fault
		created bool // whether the retry adds the entry
	}{
		{"no bytes are stored", func(d *disk, f fault) { d.put = f }, away, true},
		{"bytes are stored, but nobody says so", func(d *disk, f fault) { d.put = f }, unheard, true},
		{"nothing is placed", func(d *disk, f fault) { d.place = f }, away, true},
		{"it is placed, but nobody says so", func(d *disk, f fault) { d.place = f }, unheard, false},
		{"the index does not answer", func(d *disk, f fault) { d.look = f }, away, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, a := newSharedDisk(), newAuthor(t)
			r := open(t, d, true).start()
			r.submit(a.enrolment())
			test.fault(d, test.is)
			for _, raw := range [][]byte{a.about(1), a.about(2)} {
				_, err := r.Submit(t.Context(), raw, "127.0.0.1")
				wantReason(t, "while storage is away", err, reason.StorageUnavailable)
			}
			if d.look != works {
				_, err := r.Submit(t.Context(), newAuthor(t).about(1), "127.0.0.1")
				wantReason(t, "a key of which it is not known whether it is enrolled", err, reason.StorageUnavailable)
			}
			test.fault(d, works)
			if res := r.submit(a.about(1)); res.Index != 1 || res.Created != test.created {
				t.Errorf("the retry: %+v, want index 1 and created %v", res, test.created)
			}
			if err := r.stop(); err != nil || r.Pending() != 0 || r.bytes.Load() != 0 {
				t.Errorf("%v; %d submissions and %d bytes are under way at the end", err, r.Pending(), r.bytes.Load())
			}
		})
	}
}

// A failure that will not pass by itself halts an intake beside others, too.
func TestBrokenStorageHaltsBesideOthers(t *testing.T) {
	for name, breaks := range map[string]func(*disk){
		"bytes": func(d *disk) { d.put = lost }, "place": func(d *disk) { d.place = kept }, "index": func(d *disk) { d.look = lost },
	} {
		d, a := newSharedDisk(), newAuthor(t)
		r := open(t, d, true).start()
		r.submit(a.enrolment())
		breaks(d)
		_, err := r.Submit(t.Context(), a.about(1), "127.0.0.1")
		wantReason(t, name, err, reason.LedgerHalted)
		if err := r.stop(); err == nil {
			t.Errorf("%s: Run ends without an error", name)
		}
	}
}

// rival indexes what it is asked to before the index is written to.
type rival struct {
	sharedIndex
	before func()
}

func (x *rival) Add(ctx context.Context, es []store.Entry) error {
	if f := x.before; f != nil {
		x.before = nil
		f()
	}
	size, _ := x.Size(ctx)
	if es[0].Index != size {
		return fmt.Errorf("entry %d is out of order, want %d", es[0].Index, size)
	}
	return x.sharedIndex.Add(ctx, es)
}

// Two that follow the log at once, as when a publisher is replaced that does not
// know it yet, index each entry once, and have the same keys.
func TestTwoFollow(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 5))
		d, a, k := newSharedDisk(), newAuthor(t), newAuthor(t)
		old, young := open(t, d, false).start(), open(t, d, false)
		x := &rival{sharedIndex: sharedIndex{index{disk: d}}}
		old.cfg.Index, old.others.keys.index = x, x
		<-old.submits(a.enrolment())
		for n := range 12 {
			raw := [][]byte{a.about(n), mustEndorse(a, k, fmt.Sprint("https://", n)), mustRevokeOf(a, k, fmt.Sprint(n))}[random.IntN(3)]
			old.follows()
			<-old.submits(raw) // refused or not
			for i := range random.IntN(80) {
				d.grow(filler(t, 1000*n+i))
			}
			part := uint64(len(d.index) + random.IntN(len(d.leaves)-len(d.index)+1))
			x.before = func() {
				if err := young.Follow(t.Context(), part); err != nil {
					t.Error(err)
				}
			}
			old.follows()
			wantIndexed(t, d)
		}
		if err := old.Follow(t.Context(), 1); err != nil {
			t.Errorf("a log that is not known as far as the index: %v", err)
		}
		_ = old.stop()
		want, standing := open(t, d, false).Keyring().Snapshot()
		young.follows()
		if err := young.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, r := range []*rig{old, young} {
			got, again := r.Keyring().Snapshot()
			if diff := cmp.Diff(want, got) + cmp.Diff(standing, again, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d (-index +intake):\n%s", seed, diff)
			}
		}
	}
}

// An intake that was away for long learns of all keys.
func TestManyKeysSince(t *testing.T) {
	const many = keysBatch + 20
	d := newSharedDisk()
	there, here := open(t, d, false).start(), open(t, d, false)
	var answers []<-chan outcome
	for range many {
		answers = append(answers, there.submits(newAuthor(t).enrolment()))
	}
	for _, a := range answers {
		if o := <-a; o.err != nil {
			t.Fatal(o.err)
		}
	}
	there.follows()
	if err := here.CatchUp(t.Context()); err != nil || here.Keyring().Count() != many {
		t.Errorf("%d of %d keys are known, %v", here.Keyring().Count(), many, err)
	}
}

// An index that others wrote must be of this log.
func TestFollowComparesWhatOthersIndexed(t *testing.T) {
	d := newSharedDisk()
	for i := range 10 {
		d.grow(filler(t, i))
	}
	r := open(t, d, false)
	other := newSharedDisk()
	for i := range 12 {
		other.grow(filler(t, 100+i))
	}
	open(t, other, false)
	r.cfg.Log, r.cfg.Prover = sharedLog{log{other}}, engine.NewProver(log{other})
	r.others.indexed = 0
	if err := r.Follow(t.Context(), 12); err == nil {
		t.Error("an index of another log is extended")
	}
}

// Of what an index could not be told, nothing is left in the keys.
func TestAnIndexThatFailsBesideOthers(t *testing.T) {
	d, a := newSharedDisk(), newAuthor(t)
	r := open(t, d, false).start()
	<-r.submits(a.enrolment())
	d.add = lost
	if err := r.Follow(t.Context(), 1); err == nil {
		t.Fatal("what is not indexed is followed")
	}
	d.add = works
	if err := r.CatchUp(t.Context()); err != nil || r.Keyring().Count() != 0 {
		t.Errorf("%d keys are known of an empty index, %v", r.Keyring().Count(), err)
	}
	r.follows()
	if r.Keyring().Count() != 1 || d.index[0].Keys == nil {
		t.Error("the enrolment is lost")
	}
}

func TestSeveralNeedAnIndexThatTellsThem(t *testing.T) {
	d := newSharedDisk()
	_, err := New(t.Context(), Config{Log: sharedLog{log{d}}, Index: index{disk: d}})
	if err == nil {
		t.Error("an index that does not tell which entries changed keys is taken")
	}
}

// A submission whose OpenPGP key became known better meanwhile is held to that.
func TestTheKeyGrowsBeforeItIsPlaced(t *testing.T) {
	d, p := newSharedDisk(), pgptest.New(t, "somebody")
	r := open(t, d, true).start()
	r.submit(p.Public())
	raw := p.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1))
	att, err := attest.Open(raw, r.Keyring())
	if err != nil {
		t.Fatal(err)
	}
	p.Revoke()
	r.submit(p.Public())
	c, _ := r.join(att)
	if _, err := r.footing(c); err == nil {
		t.Error("a key that was revoked signs")
	}
	r.finish(c, nil)
}
