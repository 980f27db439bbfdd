package keys_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// signer returns the signer of a name.
func signer(t testing.TB, name string) *attest.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := attest.NewSigner(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// story is a log of what entries do to keys.
type story struct {
	*testing.T
	keys.History
	next uint64
}

// open opens an attestation by one of the signers.
func open(t testing.TB, raw []byte, err error, by *attest.Signer) *attest.Attestation {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	a, err := attest.Open(raw, attest.NewKeyring(by.Public))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// acted makes no two attestations the same.
var acted atomic.Int64

// act returns what an actor does to a key: "enrol", "endorse" or "revoke".
func act(t testing.TB, by, what, whom string) *attest.Attestation {
	t.Helper()
	s, key := signer(t, by), signer(t, whom)
	n := fmt.Sprintf("urn:%d", acted.Add(1))
	switch what {
	case "enrol":
		raw, err := attest.Enrol(s, "https://"+by+".example", n)
		return open(t, raw, err, s)
	case "endorse":
		raw, err := attest.Endorse(s, key.Public, "https://"+whom+".example/by/"+by, n)
		return open(t, raw, err, s)
	case "revoke":
		raw, err := attest.RevokeOf(s, key.Public.Fingerprint, n)
		return open(t, raw, err, s)
	}
	st, err := attest.NewStatement("https://example.com/test/v1", map[string]string{"what": what}, attest.ResourceDescriptor{
		Name: "artifact", Digest: map[string]string{"sha256": leaf.SHA256([]byte(what)).Hex()},
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Sign(st)
	return open(t, raw, err, s)
}

// log takes in the next entry, which must be refused for a reason, or for none.
func (s *story) log(by, what, whom string, want reason.Reason) *keys.Change {
	s.Helper()
	change, err := s.Apply(keys.EventOf(act(s, by, what, whom), s.next))
	e, _ := reason.Of(err)
	switch {
	case want == "" && err != nil:
		s.Fatalf("%d: %s may not %s %s: %v", s.next, by, what, whom, err)
	case want != "" && (e == nil || e.Reason != want):
		s.Fatalf("%d: %s may %s %s: %v, want %s", s.next, by, what, whom, err, want)
	}
	s.next++
	return change
}

func (s *story) stands(name string, index uint64, want keys.Standing, at uint64) {
	s.Helper()
	got, since := s.StandingAt(signer(s, name).Public.Fingerprint, index)
	if got != want || since != at {
		s.Errorf("%s has standing %d of %d at %d, want %d of %d", name, got, since, index, want, at)
	}
}

func TestSelf(t *testing.T) {
	s := &story{T: t, next: 1}
	s.log("a", "enrol", "a", "")
	s.log("a", "enrol", "a", "") // again
	s.log("a", "revoke", "a", "")
	s.log("a", "revoke", "a", reason.KeyRevoked)
	s.log("a", "enrol", "a", reason.KeyRevoked)
	s.stands("a", 1, keys.NotYet, 1)
	s.stands("a", 2, keys.Usable, 1)
	s.stands("a", 3, keys.Usable, 1) // the revocation itself
	s.stands("a", 4, keys.Revoked, 3)
	s.stands("a", 100, keys.Revoked, 3)
	s.stands("b", 100, keys.Unknown, 0)
	fp := signer(t, "a").Public.Fingerprint
	three := uint64(3)
	want := &keys.Key{
		Fingerprint: fp, PEM: signer(t, "a").Public.PEM, Operator: "https://a.example",
		Enrolled: 2, Revoked: &three, Changed: 3,
	}
	k, _ := s.Key(fp)
	want.URL = k.URL
	if diff := cmp.Diff(want, k); diff != "" {
		t.Errorf("key (-want +got):\n%s", diff)
	}
	if k, ok := s.Lookup(fp); !ok || k.Fingerprint != fp {
		t.Error("a revoked key is not found")
	}
}

func TestWithdrawal(t *testing.T) {
	s := &story{T: t}
	s.log("a", "enrol", "a", "")   // 0
	s.log("b", "enrol", "b", "")   // 1
	s.log("a", "endorse", "k", "") // 2
	s.log("b", "endorse", "k", "") // 3
	s.log("a", "endorse", "k", "") // 4: as before
	s.log("c", "endorse", "k", reason.KeyNotEnrolled)
	s.log("k", "endorse", "l", reason.KeyNotEnrolled)
	s.log("c", "revoke", "k", reason.KeyNotEnrolled)
	s.log("a", "revoke", "b", reason.RevokerNotAuthorised)
	s.log("a", "revoke", "l", reason.KeyNotEnrolled)
	s.next = 10
	k := s.log("a", "revoke", "k", "").Key
	if k.Revoked != nil || k.Endorser != signer(t, "b").Public.Fingerprint || k.Enrolled != 3 || k.Operator != "https://k.example/by/b" || k.Changed != 10 {
		t.Errorf("after the first withdrawal, the key is %+v", k)
	}
	s.log("a", "revoke", "k", reason.RevokerNotAuthorised) // 11
	k = s.log("b", "revoke", "k", "").Key                  // 12
	if k.Revoked == nil || *k.Revoked != 12 || !k.Withdrawn {
		t.Errorf("after the last withdrawal, the key is %+v", k)
	}
	s.log("a", "endorse", "k", "") // 13
	s.stands("k", 2, keys.NotYet, 2)
	s.stands("k", 3, keys.Usable, 2)
	s.stands("k", 12, keys.Usable, 2)
	s.stands("k", 13, keys.Withdrawn, 12)
	s.stands("k", 14, keys.Usable, 13)

	// It takes itself over.
	k = s.log("k", "enrol", "k", "").Key // 14
	if k.Endorser != "" || k.Enrolled != 14 || k.Operator != "https://k.example" {
		t.Errorf("once it enrolled itself, the key is %+v", k)
	}
	s.log("a", "revoke", "k", reason.RevokerNotAuthorised)
	s.log("a", "endorse", "k", "") // needless
	s.log("a", "revoke", "k", reason.RevokerNotAuthorised)
	s.log("k", "endorse", "l", "")
	s.log("k", "revoke", "k", "")
	s.log("a", "endorse", "k", reason.KeyRevoked)
	s.log("k", "endorse", "m", reason.KeyRevoked)
	s.log("k", "revoke", "l", reason.KeyRevoked)
	s.stands("l", s.next, keys.Usable, 18) // what was endorsed before stays so
}

// A key that nothing stands for may still end itself, for good.
func TestWithdrawnKeyRevokesItself(t *testing.T) {
	s := &story{T: t}
	s.log("a", "enrol", "a", "")
	s.log("a", "endorse", "k", "")
	s.log("a", "revoke", "k", "")
	s.log("k", "revoke", "k", "")
	s.log("a", "endorse", "k", reason.KeyRevoked)
	s.stands("k", 3, keys.Withdrawn, 2)
	s.stands("k", 4, keys.Revoked, 3)
}

func TestAllows(t *testing.T) {
	s := &story{T: t, next: 1}
	s.log("a", "enrol", "a", "")   // 1
	s.log("a", "endorse", "k", "") // 2
	s.log("a", "revoke", "k", "")  // 3
	s.log("a", "revoke", "a", "")  // 4
	for _, test := range []struct {
		by, what, whom string
		index          uint64
		want           keys.Standing // 0 if it may
	}{
		{"a", "attests", "", 1, keys.NotYet},
		{"a", "attests", "", 2, 0},
		{"a", "attests", "", 4, 0},
		{"a", "attests", "", 5, keys.Revoked},
		{"k", "attests", "", 2, keys.NotYet},
		{"k", "attests", "", 3, 0},
		{"k", "attests", "", 4, keys.Withdrawn},
		{"k", "enrol", "k", 1, 0},
		{"k", "enrol", "k", 5, 0},
		{"k", "revoke", "k", 5, 0},
		{"k", "endorse", "l", 4, keys.Withdrawn},
		{"a", "enrol", "a", 5, keys.Revoked},
		{"unknown", "attests", "", 5, 0},
	} {
		err := s.Allows(act(t, test.by, test.what, test.whom).Leaf, test.index)
		var not *keys.NotAllowed
		if got, _ := err.(*keys.NotAllowed); got != nil {
			not = got
		}
		if (not == nil) != (test.want == 0) || not != nil && not.Standing != test.want {
			t.Errorf("at %d, %s %s: %v, want %d", test.index, test.by, test.what, err, test.want)
		}
	}
}

// FuzzHistory has actors do anything to one another, and compares the answers of
// one history at every index with those of the histories that end there; and
// with what is admitted.
func FuzzHistory(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 100)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	names := []string{"a", "b", "c", "d"}
	f.Fuzz(func(t *testing.T, script []byte) {
		whole := new(keys.History)
		var at []*keys.History // a history of the first entries
		var leaves []*attest.Attestation
		for _, b := range script[:min(len(script), 60)] {
			by, whom := names[b&3], names[b>>2&3]
			what := []string{"enrol", "endorse", "revoke", "endorse"}[b>>4&3]
			if what != "revoke" && (what == "enrol") != (by == whom) {
				continue
			}
			a := act(t, by, what, whom)
			at = append(at, replay(t, leaves))
			index := uint64(len(leaves))
			admission := keys.NewAdmission(at[index])
			_, refused := admission.Admit(a)
			_, err := whole.Apply(keys.EventOf(a, index))
			if (err == nil) != (refused == nil) {
				t.Fatalf("entry %d: logged: %v, admitted: %v", index, err, refused)
			}
			leaves = append(leaves, a)
		}
		for i, h := range at {
			for _, name := range names {
				fp := signer(t, name).Public.Fingerprint
				was, _ := h.StandingAt(fp, uint64(i))
				is, _ := whole.StandingAt(fp, uint64(i))
				if is != was && (was != keys.Unknown || is != keys.NotYet) {
					t.Fatalf("%s had standing %d at %d, and has %d now", name, was, i, is)
				}
			}
		}
		wantRestored(t, whole, uint64(len(leaves)))
		wantAdmitted(t, leaves)
	})
}

func replay(t *testing.T, log []*attest.Attestation) *keys.History {
	t.Helper()
	h := new(keys.History)
	for i, a := range log {
		_, _ = h.Apply(keys.EventOf(a, uint64(i)))
	}
	return h
}

// wantRestored checks that a history outlives being written down.
func wantRestored(t *testing.T, h *keys.History, size uint64) {
	t.Helper()
	list, standing := h.Snapshot()
	restored, err := keys.Restore(size, list, standing)
	if err != nil {
		t.Fatalf("restoring: %v", err)
	}
	again, standingAgain := restored.Snapshot()
	if diff := cmp.Diff(list, again) + cmp.Diff(standing, standingAgain, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("restored (-before +after):\n%s", diff)
	}
	for _, k := range list {
		was, _ := h.StandingAt(k.Fingerprint, size)
		if is, _ := restored.StandingAt(k.Fingerprint, size); is != was {
			t.Fatalf("restored, key %s has standing %d, and had %d", k.Fingerprint, is, was)
		}
	}
}

// wantAdmitted admits all while nothing of it is in the log yet, and then settles
// it: that must accept the same as a log does.
func wantAdmitted(t *testing.T, log []*attest.Attestation) {
	t.Helper()
	h, reference := new(keys.History), new(keys.History)
	admission := keys.NewAdmission(h)
	var admitted []*attest.Attestation
	for i, a := range log {
		_, want := reference.Apply(keys.EventOf(a, uint64(i)))
		_, got := admission.Admit(a)
		if (got == nil) != (want == nil) {
			t.Fatalf("entry %d: logged: %v, admitted behind those that wait: %v", i, want, got)
		}
		if got == nil {
			admitted = append(admitted, a)
		}
		// Every third of them reaches the log.
		if i%3 == 2 && len(admitted) > 0 {
			settle(t, admission, admitted[0])
			admitted = admitted[1:]
		}
	}
	for _, a := range admitted {
		settle(t, admission, a)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		fp := signer(t, name).Public.Fingerprint
		want, _ := reference.StandingAt(fp, 1000)
		if got, _ := h.StandingAt(fp, 1000); got != want {
			t.Fatalf("%s has standing %d, want %d", name, got, want)
		}
		if admission.Newest(fp) != nil != (want != keys.Unknown) {
			t.Fatalf("%s is known to the admission: %v", name, admission.Newest(fp))
		}
	}
}

func settle(t *testing.T, a *keys.Admission, att *attest.Attestation) {
	t.Helper()
	if _, err := a.Apply(keys.EventOf(att, a.Next())); err != nil {
		t.Fatalf("what was admitted is refused by the log: %v", err)
	}
	a.Settle(att.Leaf.Identity())
}

func TestRestoreRefuses(t *testing.T) {
	a, k := signer(t, "a").Public, signer(t, "k").Public
	one := uint64(1)
	good := keys.Key{Fingerprint: a.Fingerprint, PEM: a.PEM, Operator: "https://a.example"}
	endorsed := keys.Key{Fingerprint: k.Fingerprint, PEM: k.PEM, Endorser: a.Fingerprint, Enrolled: 1}
	withdrawn := endorsed
	withdrawn.Revoked, withdrawn.Withdrawn = &one, true
	e := keys.Endorsement{Key: k.Fingerprint, Endorser: a.Fingerprint, Index: 1}
	for name, test := range map[string]struct {
		keys     []keys.Key
		standing []keys.Endorsement
		ok       bool
	}{
		"a key":                           {[]keys.Key{good}, nil, true},
		"an endorsed key":                 {[]keys.Key{good, endorsed}, []keys.Endorsement{e}, true},
		"a withdrawn key":                 {[]keys.Key{good, withdrawn}, nil, true},
		"another key's PEM":               {[]keys.Key{{Fingerprint: a.Fingerprint, PEM: k.PEM}}, nil, false},
		"no PEM":                          {[]keys.Key{{Fingerprint: a.Fingerprint}}, nil, false},
		"an endorsement missing":          {[]keys.Key{good, endorsed}, nil, false},
		"an endorsement that is over":     {[]keys.Key{good, withdrawn}, []keys.Endorsement{e}, false},
		"an endorsement twice":            {[]keys.Key{good, endorsed}, []keys.Endorsement{e, e}, false},
		"an endorsement of no key":        {[]keys.Key{good}, []keys.Endorsement{e}, false},
		"an endorsement of who needs non": {[]keys.Key{good}, []keys.Endorsement{{Key: a.Fingerprint, Endorser: k.Fingerprint}}, false},
	} {
		if _, err := keys.Restore(2, test.keys, test.standing); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key whose signatures do not say its fingerprint is found by its other key
// ids, however many keys were enrolled since; others among the last 32 only.
func TestKeysAreFound(t *testing.T) {
	s := &story{T: t}
	s.log("first", "enrol", "first", "")
	for i := range 40 {
		name := fmt.Sprint("k", i)
		s.log(name, "enrol", name, "")
	}
	first := signer(t, "first").Public
	ids := first.KeyIDs()
	if len(ids) == 0 {
		t.Fatal("the key has no other key ids")
	}
	for _, id := range ids {
		if got := s.Hinted(id); len(got) != 1 || got[0].Fingerprint != first.Fingerprint {
			t.Errorf("key id %s: %v", id, got)
		}
		if got := s.HintedAt(id, []leaf.Fingerprint{first.Fingerprint}, 1); len(got) != 1 {
			t.Errorf("key id %s at 1: %v", id, got)
		}
		if got := s.HintedAt(id, []leaf.Fingerprint{first.Fingerprint}, 0); len(got) != 0 {
			t.Errorf("key id %s at 0: %v", id, got)
		}
	}
	if got := s.Candidates(); len(got) != 32 || got[31].Fingerprint != signer(t, "k39").Public.Fingerprint {
		t.Errorf("%d candidates", len(got))
	}
}

// A ledger at work does not keep what keys were: one that is updated often would
// take all its memory. An audit does.
func TestWhatKeysWere(t *testing.T) {
	p := pgptest.New(t, "somebody")
	for _, present := range []bool{false, true} {
		h := new(keys.History)
		if present {
			keys.NewAdmission(h)
		}
		for i := range uint64(5) {
			p.Lives(1000 * time.Hour)
			a, err := attest.Open(p.Public(), attest.NewKeyring())
			if err == nil {
				_, err = h.Apply(keys.EventOf(a, i))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		newest, _ := h.Lookup(p.Fingerprint())
		if was, ok := h.LookupAt(p.Fingerprint(), 1); ok == present || ok && was == newest {
			t.Errorf("of the present alone: %v; it is known what the key was: %v", present, ok)
		}
		if is, _ := h.LookupAt(p.Fingerprint(), 5); is != newest {
			t.Error("it is not known what the key is")
		}
	}
}
