package intake

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

func TestBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuckets(Rate{PerSecond: 10, Burst: 3})
		allowed := func(name string, tries int) int {
			n := 0
			for range tries {
				if err := b.allow("key", name); err == nil {
					n++
				}
			}
			return n
		}
		if n := allowed("a", 10); n != 3 {
			t.Errorf("%d of a burst were allowed, want 3", n)
		}
		if n := allowed("b", 10); n != 3 {
			t.Errorf("%d of another's burst were allowed, want 3", n)
		}
		e := wantReason(t, "one too many", b.allow("key", "a"), reason.RateLimited)
		// Whoever waits as long as it is told to is let in.
		time.Sleep(e.RetryAfter)
		if err := b.allow("key", "a"); err != nil {
			t.Errorf("after waiting %v: %v", e.RetryAfter, err)
		}
		time.Sleep(time.Hour)
		if n := allowed("a", 10); n != 3 {
			t.Errorf("%d were allowed after an hour, want the burst of 3", n)
		}
		total := 0
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			total += allowed("a", 5)
		}
		if total < 99 || total > 101 {
			t.Errorf("%d were allowed in 10 s, want 100", total)
		}
	})
}

func TestNoLimit(t *testing.T) {
	for _, r := range []Rate{{}, {Burst: 1}} {
		b := newBuckets(r)
		for range 1000 {
			if err := b.allow("key", "a"); err != nil {
				t.Fatalf("%+v limits: %v", r, err)
			}
		}
	}
}

func TestBucketsAreBounded(t *testing.T) {
	b := newBuckets(Rate{PerSecond: 1, Burst: 1})
	for i := range trackedBuckets + 1000 {
		if err := b.allow("key", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.lru.Len(); n != trackedBuckets {
		t.Errorf("%d buckets are kept, want %d", n, trackedBuckets)
	}
}

func TestSubmitIsLimited(t *testing.T) {
	d, a, b := newDisk(), newAuthor(t), newAuthor(t)
	r := open(t, d, true).start()
	r.submit(a.enrolment())
	r.submit(b.enrolment())
	_ = r.stop()

	slow := Rate{PerSecond: 0.001, Burst: 2}
	t.Run("by key", func(t *testing.T) {
		r := open(t, d, true, func(in *Intake) { in.limits = newLimiters(Limits{PerKey: slow}) }).start()
		submit := func(raw []byte, addr string) error {
			_, err := r.Submit(t.Context(), raw, addr)
			return err
		}
		for i := range 2 {
			if err := submit(a.about(100+i), "10.0.0.1"); err != nil {
				t.Fatal(err)
			}
		}
		// Not from another address; a retry is no new entry.
		wantReason(t, "a third attestation", submit(a.about(102), "10.0.0.2"), reason.RateLimited)
		if err := submit(a.about(100), "10.0.0.1"); err != nil {
			t.Errorf("a retry: %v", err)
		}
		both, err := b.AddSignature(a.about(103))
		if err != nil {
			t.Fatal(err)
		}
		wantReason(t, "with another's signature", submit(both, "10.0.0.1"), reason.RateLimited)
		if err := submit(b.about(104), "10.0.0.1"); err != nil {
			t.Errorf("another key: %v", err)
		}
	})
	t.Run("by address", func(t *testing.T) {
		r := open(t, d, true, func(in *Intake) { in.limits = newLimiters(Limits{PerAddress: slow}) }).start()
		submit := func(raw []byte, addr string) error {
			_, err := r.Submit(t.Context(), raw, addr)
			return err
		}
		// What does not parse costs a token too: parsing is what is limited.
		wantReason(t, "nonsense", submit([]byte("nonsense"), "10.0.0.1"), reason.FormatUnknown)
		if err := submit(a.about(200), "10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		wantReason(t, "a third from one address", submit(b.about(201), "10.0.0.1"), reason.RateLimited)
		if err := submit(b.about(201), "10.0.0.2"); err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

func TestNetworkOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7",
		"::ffff:192.0.2.7":       "::ffff:192.0.2.7",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":    "2001:db8:1:2::/64",
		"fe80::1%eth0":           "fe80::/64",
		"":                       "",
		"a name, in a unix test": "a name, in a unix test",
	} {
		if got := networkOf(addr); got != want {
			t.Errorf("%q is of %q, want %q", addr, got, want)
		}
	}
}

// Who submits again what others signed does not use up what their keys may.
func TestRepetitionsAreNotTheKeys(t *testing.T) {
	d, a, p := newDisk(), newAuthor(t), pgptest.New(t, "somebody")
	r := open(t, d, true, func(in *Intake) {
		in.limits = newLimiters(Limits{PerKey: Rate{PerSecond: 1e-9, Burst: 2}})
	}).start()
	r.submit(a.enrolment())
	first := a.about(1)
	for range 10 {
		r.submit(first)
		p.Lives(1000 * time.Hour)
		r.submit(p.Public())
	}
	_, err := r.Submit(t.Context(), a.about(2), "127.0.0.1")
	wantReason(t, "a third entry", err, reason.RateLimited)
	r.submit(p.Sign(pgptest.Buildinfo(leaf.SHA256(nil), 1)))
}
