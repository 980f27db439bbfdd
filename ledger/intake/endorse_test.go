package intake

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

func (a author) endorses(b author) []byte  { return mustEndorse(a, b, "https://endorsed.example") }
func (a author) withdraws(b author) []byte { return mustRevokeOf(a, b, "") }

func mustRevokeOf(a, b author, why string) []byte {
	a.t.Helper()
	raw, err := attest.RevokeOf(a.Signer, b.Public.Fingerprint, why)
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

func mustEndorse(a, b author, operator string) []byte {
	a.t.Helper()
	raw, err := attest.Endorse(a.Signer, b.Public, operator, "")
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// renamed changes the key id of an envelope.
func renamed(t *testing.T, raw []byte, from, to string) []byte {
	t.Helper()
	after := bytes.Replace(raw, []byte(from), []byte(to), 1)
	if bytes.Equal(raw, after) {
		t.Fatalf("the envelope has no %s", from)
	}
	return after
}

// queue is what is submitted at once, before any of it is indexed.
type queue []struct {
	name   string
	raw    []byte
	reason reason.Reason
}

// logged submits all of it, and checks that what is not refused is logged in
// this order, from the next index on. An intake beside others keeps no order of
// what is submitted at once: there each is submitted once the one before is indexed.
func (q queue) logged(t *testing.T, d *disk) {
	t.Helper()
	if d.shared {
		q.loggedInTurn(t, d)
		return
	}
	r := open(t, d, false)
	var answers []<-chan outcome
	for _, w := range q {
		answers = append(answers, r.queued(t.Context(), w.raw))
	}
	next := uint64(len(d.leaves))
	r.start()
	for i, w := range q {
		o := <-answers[i]
		if w.reason != "" {
			wantReason(t, w.name, o.err, w.reason)
			continue
		}
		if o.err != nil || o.res.Index != next {
			t.Fatalf("%s: %+v, %v, want index %d", w.name, o.res, o.err, next)
		}
		next++
	}
	_ = r.stop()
}

func (q queue) loggedInTurn(t *testing.T, d *disk) {
	t.Helper()
	r := open(t, d, true).start()
	next := uint64(len(d.leaves))
	for _, w := range q {
		if w.reason != "" {
			_, err := r.Submit(t.Context(), w.raw, "127.0.0.1")
			wantReason(t, w.name, err, w.reason)
			continue
		}
		if res := r.submit(w.raw); res.Index != next {
			t.Fatalf("%s: %+v, want index %d", w.name, res, next)
		}
		next++
	}
	_ = r.stop()
}

// What was admitted decides, whether or not it is in the log yet: nothing of a
// key follows the withdrawal of its last endorsement.
func TestNothingFollowsAWithdrawal(t *testing.T) { inEachMode(t, testNothingFollowsAWithdrawal) }

func testNothingFollowsAWithdrawal(t *testing.T, newDisk func() *disk) {
	d, a, b, k := newDisk(), newAuthor(t), newAuthor(t), newAuthor(t)
	r := open(t, d, true).start()
	for _, raw := range [][]byte{a.enrolment(), b.enrolment(), a.endorses(k), b.endorses(k)} {
		r.submit(raw)
	}
	_ = r.stop()
	queue{
		{"while both stand", k.about(1), ""},
		{"the first withdrawal", a.withdraws(k), ""},
		{"the first withdrawal again, in other words", mustRevokeOf(a, k, "again"), reason.RevokerNotAuthorised},
		{"while one stands", k.about(2), ""},
		{"the last withdrawal", b.withdraws(k), ""},
		{"after it", k.about(3), reason.KeyRevoked},
		{"by another", a.about(4), ""},
		{"an endorser's key, by who did not endorse it", b.withdraws(a), reason.RevokerNotAuthorised},
	}.logged(t, d)

	// The same once it is indexed, by a process that reads the index, and by one
	// that rebuilds it.
	for _, left := range []int{len(d.leaves), len(d.leaves), 3, 0} {
		d.index = d.index[:min(left, len(d.index))]
		r = open(t, d, true).start()
		_, err := r.Submit(t.Context(), k.about(9), "127.0.0.1")
		wantReason(t, "after the last withdrawal", err, reason.KeyRevoked)
		_ = r.stop()
	}

	// It may enrol itself; from then on its endorsers are nothing to it.
	r = open(t, d, true).start()
	r.submit(k.enrolment())
	_ = r.stop()
	queue{
		{"once it enrolled itself", k.about(3), ""},
		{"a withdrawal of what does not matter", mustRevokeOf(b, k, "late"), reason.RevokerNotAuthorised},
		{"its own revocation", k.revocation(), ""},
		{"after that", k.about(5), reason.KeyRevoked},
		{"an endorsement of it", mustEndorse(a, k, "https://again.example"), reason.KeyRevoked},
	}.logged(t, d)
}

// An endorsement counts only by a key that enrolled itself and may sign.
func TestWhoEndorses(t *testing.T) { inEachMode(t, testWhoEndorses) }

func testWhoEndorses(t *testing.T, newDisk func() *disk) {
	d, a, k, l := newDisk(), newAuthor(t), newAuthor(t), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_, err := r.Submit(t.Context(), k.endorses(l), "127.0.0.1")
	wantReason(t, "an endorsement by an unknown key", err, reason.KeyNotEnrolled)
	r.submit(a.endorses(k))
	_, err = r.Submit(t.Context(), k.endorses(l), "127.0.0.1")
	wantReason(t, "an endorsement by an endorsed key", err, reason.KeyNotEnrolled)
	_, err = r.Submit(t.Context(), l.about(1), "127.0.0.1")
	wantReason(t, "a key that was endorsed in vain", err, reason.KeyNotEnrolled)
	_ = r.stop()
	queue{
		{"the endorser's revocation", a.revocation(), ""},
		{"an endorsement by it", a.endorses(l), reason.KeyRevoked},
		{"a withdrawal by it", a.withdraws(k), reason.KeyRevoked},
		{"what it endorsed before", k.about(1), ""},
	}.logged(t, d)
}

// A key whose signatures name it by another of its key ids is found, however many
// were enrolled since.
func TestKeysAreFoundByTheirOtherIDs(t *testing.T) { inEachMode(t, testKeysAreFoundByTheirOtherIDs) }

func testKeysAreFoundByTheirOtherIDs(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	for range 40 {
		r.submit(newAuthor(t).enrolment())
	}
	raw := renamed(t, a.about(1), string(a.Public.Fingerprint), a.Public.KeyIDs()[0])
	if res := r.submit(raw); res.Index != 41 {
		t.Errorf("%+v", res)
	}
	_, err := r.Submit(t.Context(), renamed(t, a.about(2), string(a.Public.Fingerprint), "nobody"), "127.0.0.1")
	wantReason(t, "a key id of nobody", err, reason.KeyNotEnrolled)
}

// What was taken is read back, however many keys came between: an endorsement that
// names no key is by the key that its leaf names.
func TestAnEndorsementWithoutAKeyIDIsReadBack(t *testing.T) {
	d, a, k := newDisk(), newAuthor(t), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_ = r.stop()
	var q queue
	for range 40 {
		q = append(q, queue{{"an enrolment", newAuthor(t).enrolment(), ""}}...)
	}
	nameless := renamed(t, a.endorses(k), string(a.Public.Fingerprint), "")
	append(q, queue{{"the endorsement", nameless, ""}}...).logged(t, d)

	for _, left := range []int{1, 0} {
		d.index = d.index[:left]
		r = open(t, d, true).start()
		r.submit(k.about(1 + left))
		_ = r.stop()
	}
}

// A key that is as large as it may become can still be revoked, but not grow.
func TestALargeOpenPGPKeyIsRevoked(t *testing.T) { inEachMode(t, testALargeOpenPGPKeyIsRevoked) }

func testALargeOpenPGPKeyIsRevoked(t *testing.T, newDisk func() *disk) {
	d, p := newDisk(), pgptest.New(t, "somebody")
	r := open(t, d, true).start()
	r.submit(p.Public())
	var err error
	for n := 0; err == nil; n++ {
		if n > attest.MaxPGPOwn {
			t.Fatal("it grows without end")
		}
		p.Lives(time.Duration(1000+n) * time.Hour)
		_, err = r.Submit(t.Context(), p.Public(), "127.0.0.1")
	}
	wantReason(t, "growing over the limit", err, reason.EnrolmentInvalid)
	p.Revoke()
	r.submit(p.Public())
	_, err = r.Submit(t.Context(), p.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1)), "127.0.0.1")
	wantReason(t, "after its revocation", err, reason.KeyRevoked)
}

// Whoever submits a copy of a key again says nothing new about it.
func TestACopyOfAnOpenPGPKeyChangesNothing(t *testing.T) {
	inEachMode(t, testACopyOfAnOpenPGPKeyChangesNothing)
}

func testACopyOfAnOpenPGPKeyChangesNothing(t *testing.T, newDisk func() *disk) {
	d, p := newDisk(), pgptest.New(t, "somebody")
	old := p.Public()
	p.AddSubkey()
	r := open(t, d, true).start()
	r.submit(p.Public())
	before, _ := r.Keyring().Key(p.Fingerprint())
	if res := r.submit(old); res.Index != 1 {
		t.Fatalf("%+v", res)
	}
	after, _ := r.Keyring().Key(p.Fingerprint())
	if !before.Equal(after) {
		t.Errorf("a copy changes entry %d, changed by %d, to %d, changed by %d", before.Enrolled, before.Changed, after.Enrolled, after.Changed)
	}
}

// twins are two OpenPGP keys that sign with the same subkey, so that who signed is
// whichever is known, and of both the first.
func twins(t *testing.T) (first, second *pgptest.Key) {
	t.Helper()
	first, second = pgptest.New(t, "one"), pgptest.New(t, "another")
	if first.Fingerprint() > second.Fingerprint() {
		first, second = second, first
	}
	second.AddSubkey()
	first.Shares(second)
	return first, second
}

// The bytes of an attestation are logged once, whoever they turn out to be signed
// by: they are asked for by their digest, and an answer about another entry looks
// as if the ledger lied.
func TestBytesAreLoggedOnce(t *testing.T) { inEachMode(t, testBytesAreLoggedOnce) }

func testBytesAreLoggedOnce(t *testing.T, newDisk func() *disk) {
	d := newDisk()
	first, second := twins(t)
	r := open(t, d, true).start()
	r.submit(second.Public())
	raw := second.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1))
	before := r.submit(raw)
	r.submit(first.Public())
	att, err := attest.Open(raw, r.Keyring())
	if err != nil || att.Leaf.Keys[0] != first.Fingerprint() {
		t.Fatalf("the keys are no twins: %v", err)
	}
	if after := r.submit(raw); after.Created || after.Index != before.Index || !bytes.Equal(after.Leaf, before.Leaf) {
		t.Errorf("logged as\n%s and then as %d\n%s", before.Leaf, after.Index, after.Leaf)
	}
}

// So it is while the first submission is under way.
func TestBytesAreUnderWayOnce(t *testing.T) { inEachMode(t, testBytesAreUnderWayOnce) }

func testBytesAreUnderWayOnce(t *testing.T, newDisk func() *disk) {
	r := open(t, newDisk(), false)
	first, second := twins(t)
	raw := second.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1))
	var atts []*attest.Attestation
	for _, block := range [][]byte{second.Public(), first.Public()} {
		enrolment, err := attest.Open(block, attest.NewKeyring())
		if err != nil {
			t.Fatal(err)
		}
		att, err := attest.Open(raw, attest.NewKeyring(enrolment.Keys...))
		if err != nil {
			t.Fatal(err)
		}
		atts = append(atts, att)
	}
	c, isNew := r.join(atts[0])
	if same, again := r.join(atts[1]); !isNew || again || same != c {
		t.Error("the same bytes are under way twice")
	}
	r.finish(c, nil)
	if _, isNew = r.join(atts[1]); !isNew {
		t.Error("what is done is still under way")
	}
}

// The keys of an index are those of one that is rebuilt, from wherever it was lost.
func TestRebuiltKeysAreTheSame(t *testing.T) { inEachMode(t, testRebuiltKeysAreTheSame) }

func testRebuiltKeysAreTheSame(t *testing.T, newDisk func() *disk) {
	for seed := range uint64(4) {
		d, random := newDisk(), rand.New(rand.NewPCG(seed, 3))
		authors, owners := []author{newAuthor(t), newAuthor(t), newAuthor(t)}, []*pgptest.Key{pgptest.New(t, "a"), pgptest.New(t, "b")}
		r := open(t, d, true).start()
		for n := range 100 {
			a, b, p := authors[random.IntN(3)], authors[random.IntN(3)], owners[random.IntN(2)]
			raw := [][]byte{a.enrolment(), mustEndorse(a, b, fmt.Sprint("https://", n)), mustRevokeOf(a, b, fmt.Sprint(n)), p.Public(), p.Public()}[random.IntN(5)]
			switch random.IntN(8) {
			case 0:
				p.AddSubkey()
			case 1:
				p.Lives(time.Duration(n) * time.Hour)
			case 2:
				if n > 80 {
					p.Revoke()
				}
			}
			if _, err := r.Submit(t.Context(), raw, "127.0.0.1"); err != nil {
				continue // as it may be
			}
			r.await("indexed", func() bool { return r.Pending() == 0 })
		}
		_ = r.stop()
		want, standing := r.Keyring().Snapshot()
		if len(d.index) < 10 {
			t.Errorf("only %d entries were taken", len(d.index))
		}
		for left := len(d.index); left >= 0; left -= 1 + random.IntN(5) {
			d.index = d.index[:left]
			list, again := open(t, d, false).Keyring().Snapshot()
			if diff := cmp.Diff(want, list) + cmp.Diff(standing, again, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("seed %d, of an index of %d entries (-before +after):\n%s", seed, left, diff)
			}
		}
	}
}
