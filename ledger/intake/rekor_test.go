package intake

import (
	"bytes"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// A Rekor entry needs no enrolment, is logged to the letter, and is indexed like
// any other, also by an intake that finds it in the log.
func TestRekorEntry(t *testing.T) {
	d := newDisk()
	r := open(t, d, true).start()
	raw := leaftest.HashedRekord(t, "alice", "hello")
	first := r.submit(raw)
	if !first.Created || first.Index != 0 || !bytes.Equal(d.leaves[0], raw) || !bytes.Equal(d.blobs[leaf.SHA256(raw)], raw) {
		t.Errorf("%+v; the log has %q", first, d.leaves[0])
	}
	if again := r.submit(raw); again.Created || again.Index != 0 || len(d.leaves) != 1 {
		t.Errorf("again: %+v, and the log has %d entries", again, len(d.leaves))
	}
	if other := r.submit(leaftest.HashedRekord(t, "alice", "other")); !other.Created || other.Index != 1 {
		t.Errorf("another artifact: %+v", other)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	d.index = nil
	open(t, d, false)
	wantIndexed(t, d)
}

func TestRekorEntryIsRefused(t *testing.T) {
	r := open(t, newDisk(), true).start()
	raw := leaftest.HashedRekord(t, "alice", "hello")
	for name, bad := range map[string][]byte{
		"another digest":   bytes.Replace(raw, []byte(`"digest":"L`), []byte(`"digest":"M`), 1),
		"a newline behind": append(bytes.Clone(raw), '\n'),
	} {
		if bytes.Equal(bad, raw) {
			t.Fatalf("%s: nothing is changed", name)
		}
		if res, err := r.Submit(t.Context(), bad, "127.0.0.1"); err == nil {
			t.Errorf("%s: taken as %+v", name, res)
		}
	}
	if n := len(r.disk.leaves); n != 0 {
		t.Errorf("the log has %d entries", n)
	}
}

// A key that was revoked signs nothing any more, also where it need not be
// enrolled; what it signed before is answered as before.
func TestRekorEntryOfARevokedKey(t *testing.T) {
	r := open(t, newDisk(), true).start()
	alice, err := attest.NewSigner(leaftest.P256(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	a := author{alice, t}
	before := leaftest.HashedRekord(t, "alice", "before")
	r.submit(before) // before it is enrolled
	r.submit(a.enrolment())
	r.submit(leaftest.HashedRekord(t, "alice", "between"))
	r.submit(a.revocation())
	_, err = r.Submit(t.Context(), leaftest.HashedRekord(t, "alice", "after"), "127.0.0.1")
	wantReason(t, "after the revocation", err, reason.KeyRevoked)
	if res := r.submit(before); res.Created || res.Index != 0 {
		t.Errorf("again: %+v", res)
	}
}

func TestRekorEntriesAreLimitedByKey(t *testing.T) {
	r := open(t, newDisk(), true, func(in *Intake) {
		in.limits = newLimiters(Limits{PerKey: Rate{PerSecond: 1 / time.Hour.Seconds(), Burst: 2}})
	}).start()
	r.submit(leaftest.HashedRekord(t, "alice", "1"))
	r.submit(leaftest.HashedRekord(t, "alice", "2"))
	_, err := r.Submit(t.Context(), leaftest.HashedRekord(t, "alice", "3"), "127.0.0.1")
	wantReason(t, "the third", err, reason.RateLimited)
	r.submit(leaftest.HashedRekord(t, "bob", "3"))
}
