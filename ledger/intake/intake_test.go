package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

func wantReason(t *testing.T, what string, err error, want reason.Reason) *reason.Error {
	t.Helper()
	e, ok := reason.Of(err)
	if !ok || e.Reason != want {
		t.Fatalf("%s: %v, want %s", what, err, want)
	}
	return e
}

// encodings returns one attestation in several encodings: the same payload and
// keys, other bytes.
func encodings(raw []byte) [][]byte {
	return [][]byte{
		raw,
		append([]byte("\n  "), raw...),
		append(bytes.Clone(raw), '\n'),
		bytes.ReplaceAll(raw, []byte(`","`), []byte("\",\n\"")),
		bytes.Replace(raw, []byte(`"keyid":"sha256:`), []byte(`"keyid":"`), 1),
	}
}

func TestSubmit(t *testing.T) { inEachMode(t, testSubmit) }

func testSubmit(t *testing.T, newDisk func() *disk) {
	r, a := open(t, newDisk(), true).start(), newAuthor(t)
	for i, raw := range [][]byte{a.enrolment(), a.about(1), a.about(2)} {
		res := r.submit(raw)
		if res.Index != uint64(i) || !res.Created || !bytes.Equal(res.Leaf, r.disk.leaves[i]) {
			t.Fatalf("submission %d: %+v", i, res)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := r.Pending(); n != 0 {
		t.Errorf("%d submissions are pending at the end", n)
	}
}

func TestSameAttestationIsOneEntry(t *testing.T) { inEachMode(t, testSameAttestationIsOneEntry) }

func testSameAttestationIsOneEntry(t *testing.T, newDisk func() *disk) {
	r, a := open(t, newDisk(), true).start(), newAuthor(t)
	r.submit(a.enrolment())
	raw := a.about(1)
	first := r.submit(raw)
	for i, again := range encodings(raw) {
		res := r.submit(again)
		if res.Created || res.Index != first.Index || !bytes.Equal(res.Leaf, first.Leaf) {
			t.Errorf("encoding %d: %+v, want the first answer", i, res)
		}
		if _, ok := r.disk.blobs[leaf.SHA256(again)]; ok != (i == 0) {
			t.Errorf("encoding %d: stored is %v", i, ok)
		}
	}
	if n := len(r.disk.leaves); n != 2 {
		t.Errorf("the log has %d entries, want 2", n)
	}
	// The same payload by more keys is another entry.
	b := newAuthor(t)
	r.submit(b.enrolment())
	both, err := b.AddSignature(raw)
	if err != nil {
		t.Fatal(err)
	}
	if res := r.submit(both); !res.Created || res.Index != 3 {
		t.Errorf("with another signature: %+v, want an entry of its own", res)
	}
}

// TestSameAttestationWhileItIsUnderWay holds the first submission back at each
// stage.
func TestSameAttestationWhileItIsUnderWay(t *testing.T) {
	for _, stage := range []string{"before it is appended", "before it is indexed"} {
		t.Run(stage, func(t *testing.T) {
			d, a := newDisk(), newAuthor(t)
			r := open(t, d, true).start()
			r.submit(a.enrolment())
			_ = r.stop()

			r = open(t, d, false)
			raw := a.about(1)
			waiting := []<-chan outcome{r.queued(t.Context(), raw)}
			if stage == "before it is indexed" {
				r.start()
				<-r.calls[onlyCall(r)].done
			}
			for _, again := range encodings(raw) {
				answer := make(chan outcome, 1)
				go func() {
					res, err := r.Submit(t.Context(), again, "127.0.0.1")
					answer <- outcome{res, err}
				}()
				waiting = append(waiting, answer)
			}
			if stage == "before it is appended" {
				r.start()
			}
			for i, w := range waiting {
				o := <-w
				if o.err != nil || o.res.Index != 1 || o.res.Created != (i == 0) {
					t.Errorf("submission %d: %+v, %v", i, o.res, o.err)
				}
			}
			if n := len(d.leaves); n != 2 {
				t.Errorf("the log has %d entries, want 2", n)
			}
		})
	}
}

func onlyCall(r *rig) [32]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.calls {
		return id
	}
	return [32]byte{}
}

func TestConcurrentDuplicates(t *testing.T) { inEachMode(t, testConcurrentDuplicates) }

func testConcurrentDuplicates(t *testing.T, newDisk func() *disk) {
	const kinds, copies = 40, 8
	r, a := open(t, newDisk(), true).start(), newAuthor(t)
	r.submit(a.enrolment())
	var mu sync.Mutex // guards created and indexes
	created := make(map[int]int)
	indexes := make(map[int]map[uint64]bool)
	var wg sync.WaitGroup
	for k := range kinds {
		all := encodings(a.about(k))
		for c := range copies {
			wg.Go(func() {
				res, err := r.Submit(t.Context(), all[c%len(all)], "127.0.0.1")
				if err != nil {
					t.Errorf("submitting: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if res.Created {
					created[k]++
				}
				if indexes[k] == nil {
					indexes[k] = make(map[uint64]bool)
				}
				indexes[k][res.Index] = true
			})
		}
	}
	wg.Wait()
	for k := range kinds {
		if created[k] != 1 || len(indexes[k]) != 1 {
			t.Errorf("attestation %d was created %d times, at %v", k, created[k], indexes[k])
		}
	}
	if n := len(r.disk.leaves); n != 1+kinds {
		t.Errorf("the log has %d entries, want %d", n, 1+kinds)
	}
}

func TestBytesAreStoredBeforeTheirLeaf(t *testing.T) {
	inEachMode(t, testBytesAreStoredBeforeTheirLeaf)
}

func testBytesAreStoredBeforeTheirLeaf(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	for i := range 20 {
		r.submit(a.about(i))
	}
	for i, event := range d.events {
		what, text, _ := strings.Cut(event, " ")
		if what != "append" {
			continue
		}
		at := slices.IndexFunc(d.leaves, func(l []byte) bool { return string(leaf.SHA256(l)) == text })
		l, err := leaf.Parse(d.leaves[at])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(d.events[:i], "put "+string(l.Envelope)) {
			t.Errorf("leaf %d was appended before its bytes were stored", at)
		}
	}
}

func TestNothingFollowsARevocation(t *testing.T) { inEachMode(t, testNothingFollowsARevocation) }

func testNothingFollowsARevocation(t *testing.T, newDisk func() *disk) {
	d, a, b := newDisk(), newAuthor(t), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	r.submit(b.enrolment())
	before := a.about(1)
	both, err := b.AddSignature(a.about(3))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.stop()

	// All in one batch, and none of it indexed.
	queue{
		{"before the revocation", before, ""},
		{"the revocation", a.revocation(), ""},
		{"after the revocation", a.about(2), reason.KeyRevoked},
		{"with a key that was not revoked beside it", both, reason.KeyRevoked},
		{"an enrolment of the same key", mustEnrol(a, "https://again.example"), reason.KeyRevoked},
		{"another revocation", mustRevoke(a, "again"), reason.KeyRevoked},
		{"by another key", b.about(4), ""},
	}.logged(t, d)

	// The same once it is indexed, and by a process that reads it back.
	for range 2 {
		r = open(t, d, true).start()
		if res := r.submit(before); res.Created || res.Index != 2 {
			t.Errorf("a retry of what was logged before the revocation: %+v", res)
		}
		_, err := r.Submit(t.Context(), a.about(9), "127.0.0.1")
		wantReason(t, "after the revocation", err, reason.KeyRevoked)
		_ = r.stop()
	}
}

func TestOnlyTheKeyItselfRevokes(t *testing.T) { inEachMode(t, testOnlyTheKeyItselfRevokes) }

func testOnlyTheKeyItselfRevokes(t *testing.T, newDisk func() *disk) {
	r, a, b := open(t, newDisk(), true).start(), newAuthor(t), newAuthor(t)
	r.submit(a.enrolment())
	r.submit(b.enrolment())
	forged, err := b.SignPayload("application/vnd.cairn.revoke.v1+json", fmt.Appendf(nil, `{"key":%q}`, a.Public.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Submit(t.Context(), forged, "127.0.0.1")
	wantReason(t, "a revocation by another key", err, reason.RevokerNotAuthorised)
	r.submit(a.about(1))
}

func TestQueueFull(t *testing.T) { inEachMode(t, testQueueFull) }

func testQueueFull(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_ = r.stop()

	r = open(t, d, true, func(in *Intake) { in.queue = make(chan *call, 3) })
	var answers []<-chan outcome
	for i := range 3 {
		answers = append(answers, r.queued(t.Context(), a.about(i)))
	}
	for range 2 {
		_, err := r.Submit(t.Context(), a.about(3), "127.0.0.1")
		if e := wantReason(t, "a fourth submission", err, reason.Overloaded); e.RetryAfter <= 0 {
			t.Error("the refusal does not say when to come back")
		}
	}
	if n := r.Pending(); n != 3 {
		t.Errorf("%d submissions are pending, want 3", n)
	}
	r.start()
	for _, answer := range answers {
		if o := <-answer; o.err != nil {
			t.Error(o.err)
		}
	}
	if res := r.submit(a.about(3)); res.Index != 4 || !res.Created {
		t.Errorf("a retry after the overload: %+v", res)
	}
}

// TestBytesAreBounded has submitters go away: what they left in the queue
// still counts.
func TestBytesAreBounded(t *testing.T) { inEachMode(t, testBytesAreBounded) }

func testBytesAreBounded(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_ = r.stop()

	r = open(t, d, true)
	held := int64(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range 4 {
		raw := a.about(i)
		held += int64(len(raw))
		answer := r.queued(ctx, raw)
		if i == 3 {
			cancel()
			wantReason(t, "who went away", (<-answer).err, reason.DeadlinePassed)
		}
	}
	if got := r.bytes.Load(); got != held {
		t.Errorf("%d bytes are under way, want the %d in the queue", got, held)
	}
	r.bytes.Add(r.cfg.MaxBytes)
	_, err := r.Submit(t.Context(), a.about(5), "127.0.0.1")
	wantReason(t, "with too many bytes under way", err, reason.Overloaded)
	r.bytes.Add(-r.cfg.MaxBytes)

	// What was given up is logged all the same, and then lets go of its bytes.
	r.start()
	if res := r.submit(a.about(3)); res.Index != 4 {
		t.Errorf("a retry of who went away: %+v, want index 4", res)
	}
	_, err = r.Submit(t.Context(), newAuthor(t).about(1), "127.0.0.1")
	wantReason(t, "a refused submission", err, reason.KeyNotEnrolled)
	_ = r.stop()
	if got := r.bytes.Load(); got != 0 {
		t.Errorf("%d bytes are under way at the end", got)
	}
}

func TestRunDrains(t *testing.T) { inEachMode(t, testRunDrains) }

func testRunDrains(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_ = r.stop()

	r = open(t, d, true)
	var answers []<-chan outcome
	for i := range 10 {
		answers = append(answers, r.queued(t.Context(), a.about(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for i, answer := range answers {
		if o := <-answer; o.err != nil || o.res.Index != uint64(1+i) {
			t.Errorf("submission %d: %+v, %v", i, o.res, o.err)
		}
	}
}

func mustEnrol(a author, operator string) []byte {
	a.t.Helper()
	raw, err := a.SignPayload("application/vnd.cairn.enrol.v1+json",
		fmt.Appendf(nil, `{"publicKey":%q,"operator":%q}`, a.Public.PEM, operator))
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

func mustRevoke(a author, why string) []byte {
	a.t.Helper()
	raw, err := a.SignPayload("application/vnd.cairn.revoke.v1+json",
		fmt.Appendf(nil, `{"key":%q,"reason":%q}`, a.Public.Fingerprint, why))
	if err != nil {
		a.t.Fatal(err)
	}
	return raw
}

// TestStorageFailureHalts breaks each write of a submission, both ways. The
// submitter must learn no index, nothing may follow, and a process that starts
// afterwards must find out what happened.
func TestStorageFailureHalts(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   func(*disk)
		created bool // whether the retry adds the entry
		stored  bool
	}{
		{"bytes are lost", func(d *disk) { d.put = lost }, true, false},
		{"bytes are kept, but fail", func(d *disk) { d.put = kept }, true, true},
		{"the leaf is lost", func(d *disk) { d.append = lost }, true, true},
		{"the leaf is kept, but fails", func(d *disk) { d.append = kept }, false, true},
		{"the index cannot be read", func(d *disk) { d.look = lost }, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, a := newDisk(), newAuthor(t)
			r := open(t, d, true).start()
			r.submit(a.enrolment())
			r.submit(a.about(0))
			raw := a.about(1)
			test.fault(d)
			for _, raw := range [][]byte{raw, a.about(2), a.about(0)} {
				_, err := r.Submit(t.Context(), raw, "127.0.0.1")
				wantReason(t, "a submission to broken storage", err, reason.LedgerHalted)
			}
			if err := r.stop(); !errors.Is(err, errBroken) || !errors.Is(r.Err(), errBroken) {
				t.Errorf("Run() = %v, Err() = %v, want %v", err, r.Err(), errBroken)
			}
			if err := r.Follow(t.Context(), uint64(len(d.leaves))); !errors.Is(err, errBroken) {
				t.Errorf("Follow() = %v after the failure: what storage shows would be signed", err)
			}
			if _, ok := d.blobs[leaf.SHA256(raw)]; ok != test.stored {
				t.Errorf("the bytes are stored: %v, want %v", ok, test.stored)
			}

			d.put, d.append, d.look = works, works, works
			r = open(t, d, true).start()
			res := r.submit(raw)
			if res.Index != 2 || res.Created != test.created {
				t.Errorf("the retry: %+v, want index 2 and created %v", res, test.created)
			}
			if !bytes.Equal(d.blobs[leaf.SHA256(raw)], raw) {
				t.Error("the bytes are not stored after the retry")
			}
		})
	}
}

func TestHaltAnswersWhoWaits(t *testing.T) { inEachMode(t, testHaltAnswersWhoWaits) }

func testHaltAnswersWhoWaits(t *testing.T, newDisk func() *disk) {
	d, a := newDisk(), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	_ = r.stop()

	r = open(t, d, true)
	waiting := r.queued(t.Context(), a.about(1))
	r.Halt(errBroken)
	wantReason(t, "who was queued", (<-waiting).err, reason.LedgerHalted)
	if err := r.start().stop(); !errors.Is(err, errBroken) {
		t.Errorf("Run() = %v, want %v", err, errBroken)
	}
	if len(d.leaves) != 1 {
		t.Errorf("%d leaves were appended after the halt", len(d.leaves)-1)
	}
}
