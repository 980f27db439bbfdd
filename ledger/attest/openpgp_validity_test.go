package attest_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

const days = 24 * 60 * 60

var (
	alice4, alice6 = newMaker("alice", 4), newMaker("alice", 6)
	mallory        = newMaker("mallory", 4)
	laptop4        = newMaker("laptop", 4)
	laptop6        = newMaker("laptop", 6)

	young = &pgpMaker{4, second + 5*days, newMaker("young", 4).private}

	revokes = func(kind byte, at uint32, why ...byte) sigOf {
		s := sigOf{kind: kind, at: at}
		if len(why) > 0 {
			s.hashed = [][]byte{sub(29, why...)}
		}
		return s
	}
	alicesKey = slices.Concat(alice4.primary(), alice4.user("alice", certifies(0)))
)

// keyCase says what a signature by a key is worth some days after it was made:
// nothing, with these words, or good if they are empty.
type keyCase struct {
	name  string
	key   []byte
	by    *pgpMaker
	after uint32
	want  string
}

var keyCases = []keyCase{
	{"a plain key", alicesKey, alice4, 1, ""},
	{"version 6", slices.Concat(alice6.primary(sigOf{kind: 0x1f, hashed: [][]byte{maySign}}), alice6.user("alice", sigOf{kind: 0x13})), alice6, 1, ""},
	{"version 6, whose user ids say nothing", slices.Concat(alice6.primary(sigOf{kind: 0x1f, hashed: [][]byte{sub4(9, 2*days), maySign}}), alice6.user("alice", certifies(5))), alice6, 3, "expired"},
	{"version 6, whose issuer is only hinted at", alice6.primary(sigOf{kind: 0x1f, bare: true, hashed: [][]byte{sub4(2, second), maySign}, unhashed: [][]byte{alice6.issuer()}}), alice6, 1, ""},
	{"before it was made", slices.Concat(young.primary(), young.user("a", certifies(5*days))), young, 4, "was made only at 2026-01-06"},
	{"a subkey before it was made", slices.Concat(alicesKey, alice4.subkey(young, alice4.binds(young, 5*days))), young, 4, "was made only at 2026-01-06"},
	{"no user id, a statement of its own", alice4.primary(sigOf{kind: 0x1f, hashed: [][]byte{maySign}}), alice4, 1, ""},
	{"no flags at all", slices.Concat(alice4.primary(), alice4.user("a", sigOf{kind: 0x13})), alice4, 1, ""},
	{"the newest statement shortens", slices.Concat(alice4.primary(), alice4.user("a", certifies(0), certifies(9*days, sub4(9, 5*days)))), alice4, 6, "expired"},
	{"the newest statement extends", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 5*days)), certifies(9*days, sub4(9, 20*days)))), alice4, 6, ""},
	{"in the second in which it expires", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 5*days)))), alice4, 5, "expired"},
	{"two statements in a second, one of them stricter", slices.Concat(alice4.primary(), alice4.user("a", certifies(0)), alice4.user("b", certifies(0, sub4(9, 5*days)))), alice4, 6, "expired"},
	{"the stricter of two ends", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 9*days))), alice4.user("b", certifies(0, sub4(9, 5*days)))), alice4, 6, "expired"},
	{"the stricter of two ends, first", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 5*days))), alice4.user("b", certifies(0, sub4(9, 9*days)))), alice4, 6, "expired"},
	{"a statement that has ended", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 5*days)), certifies(1*days, sub4(3, 2*days)))), alice4, 6, "expired"},
	{"all statements have ended", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(3, 2*days)))), alice4, 6, "no user id or statement"},
	{"a user id that was disowned", slices.Concat(alice4.primary(), alice4.user("a", certifies(0)), alice4.user("b", certifies(1, sub4(9, 5*days)), revokes(0x30, 2*days, 32))), alice4, 6, ""},
	{"a user id that was disowned later", slices.Concat(alice4.primary(), alice4.user("a", certifies(0)), alice4.user("b", certifies(1, sub4(9, 5*days)), revokes(0x30, 9*days, 32))), alice4, 6, "expired"},
	{"all user ids are disowned", slices.Concat(alice4.primary(), alice4.user("a", certifies(0), revokes(0x30, 2*days, 32))), alice4, 6, "no user id or statement"},
	{"disowned, and certified again", slices.Concat(alice4.primary(), alice4.user("a", certifies(0), revokes(0x30, 2*days, 32), certifies(3*days))), alice4, 6, ""},
	{"a key that only certifies", slices.Concat(alice4.primary(), alice4.user("a", sigOf{kind: 0x13, hashed: [][]byte{mayCertify}}), alice4.subkey(laptop4, alice4.binds(laptop4, 0))), alice4, 1, "other uses"},
	{"retired later", slices.Concat(alice4.primary(revokes(0x20, 5*days, 3)), alice4.user("a", certifies(0))), alice4, 4, ""},
	{"retired", slices.Concat(alice4.primary(revokes(0x20, 5*days, 3)), alice4.user("a", certifies(0))), alice4, 5, "was revoked at 2026-01-06"},
	{"compromised later", slices.Concat(alice4.primary(revokes(0x20, 5*days, 3), revokes(0x20, 7*days, 2)), alice4.user("a", certifies(0))), alice4, 4, "as of always"},
	{"revoked for no reason", slices.Concat(alice4.primary(revokes(0x20, 5*days)), alice4.user("a", certifies(0))), alice4, 4, "as of always"},
	{"somebody else's revocation", slices.Concat(alice4.primary(), pgpPacket(2, mallory.sign(revokes(0x20, 0), alice4.hashed())), alice4.user("a", certifies(0))), alice4, 4, ""},

	{"a subkey", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0))), laptop4, 1, ""},
	{"a subkey of version 6", slices.Concat(alice6.primary(sigOf{kind: 0x1f, hashed: [][]byte{mayCertify}}), alice6.subkey(laptop6, alice6.binds(laptop6, 0))), laptop6, 1, ""},
	{"a subkey of a key that has expired", slices.Concat(alice4.primary(), alice4.user("a", certifies(0, sub4(9, 5*days))), alice4.subkey(laptop4, alice4.binds(laptop4, 0))), laptop4, 6, "expired"},
	{"a subkey that has expired", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0, sub4(9, 5*days)))), laptop4, 6, "expired"},
	{"a subkey that was extended", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0, sub4(9, 5*days)), alice4.binds(laptop4, 8*days, sub4(9, 50*days)))), laptop4, 6, ""},
	{"a subkey whose binding has ended", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0, sub4(3, 5*days)))), laptop4, 6, "other uses"},
	{"a subkey that is bound for other uses since", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0), sigOf{kind: 0x18, at: days, hashed: [][]byte{sub(27, 0x0c)}})), laptop4, 6, "other uses"},
	{"a subkey that is retired later", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0), revokes(0x28, 5*days, 1))), laptop4, 4, ""},
	{"a subkey that is retired", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0), revokes(0x28, 5*days, 1), alice4.binds(laptop4, 6*days))), laptop4, 5, "was revoked at"},
	{"a subkey that is compromised", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0), revokes(0x28, 5*days, 2))), laptop4, 1, "as of always"},
	{"a subkey with a reason that is not known", slices.Concat(alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0), revokes(0x28, 5*days, 99))), laptop4, 1, "as of always"},
}

func TestOpenPGPValidity(t *testing.T) {
	const text = "text\n"
	for _, tt := range keyCases {
		key, err := attest.ParsePublicKey(makeKey(t, tt.key))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		raw := detached(text, tt.by.sign(sigOf{at: tt.after * days}, []byte(text)))
		_, sigs, err := attest.OpenSigned(raw, attest.NewKeyring(key))
		checkReason(t, tt.name, err, reason.KeyNotValid, tt.want)
		if tt.want == "" && len(sigs) == 1 && (sigs[0].Key != key.Fingerprint || !sigs[0].Made.Equal(day.AddDate(0, 0, int(tt.after)))) {
			t.Errorf("%s: %+v", tt.name, sigs)
		}
		checkMerges(t, tt.name, key)
	}
}

// dropped are parts of a key of which nothing is kept.
var dropped = map[string][]byte{
	"a subkey without a back signature": alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign}}),
	"somebody else's back signature": alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign},
		unhashed: [][]byte{longSub(32, mallory.sign(sigOf{kind: 0x19}, alice4.hashed(), laptop4.hashed()))}}),
	"a back signature over another key": alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign},
		unhashed: [][]byte{mallory.back(laptop4)}}),
	"a back signature over SHA-1": alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign},
		unhashed: [][]byte{longSub(32, laptop4.sign(sigOf{kind: 0x19, hash: 2}, alice4.hashed(), laptop4.hashed()))}}),
	"two back signatures": alice4.subkey(laptop4, alice4.binds(laptop4, 0, alice4.back(laptop4))),
	"a back signature that is none": alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign},
		unhashed: [][]byte{longSub(32, alice4.sign(sigOf{kind: 0x13}, alice4.hashed()))}}),
	"a subkey that encrypts":              alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{sub(27, 0x0c)}}),
	"a subkey without flags":              alice4.subkey(laptop4, sigOf{kind: 0x18}),
	"a subkey without a binding":          alice4.subkey(laptop4),
	"a subkey with nothing but an end":    alice4.subkey(laptop4, revokes(0x28, 0)),
	"a subkey of another version":         alice4.subkey(laptop6, alice4.binds(laptop6, 0)),
	"a subkey that mallory bound":         append(pgpPacket(14, laptop4.body()), pgpPacket(2, mallory.sign(mallory.binds(laptop4, 0), alice4.hashed(), laptop4.hashed()))...),
	"a subkey of an unknown kind":         append(pgpPacket(14, []byte{4, 0, 0, 0, 0, 99}), pgpPacket(2, []byte{4})...),
	"a user id that nobody certified":     alice4.user("b"),
	"a user id that mallory certified":    append(alice4.user("b"), pgpPacket(2, mallory.sign(certifies(0), alice4.hashed(), userHashed("b")))...),
	"a user id that was only disowned":    alice4.user("b", revokes(0x30, 0)),
	"a certification of another user id":  append(alice4.user("b"), pgpPacket(2, alice4.sign(certifies(0), alice4.hashed(), userHashed("c")))...),
	"a binding of a user id":              alice4.user("b", sigOf{kind: 0x18}),
	"a certification over SHA-1":          alice4.user("b", sigOf{kind: 0x13, hash: 2}),
	"a certification that is not for all": alice4.user("b", certifies(0, sub(4, 0))),
	"one with an empty limit":             alice4.user("b", certifies(0, sub(4))),
	"one with a critical notation":        alice4.user("b", certifies(0, sub(0x80|20, 0, 0, 0, 0, 0, 1, 0, 1, 'a', 'b'))),
	"one with an unknown critical limit":  alice4.user("b", certifies(0, sub(0x80|99))),
	"one that says twice when":            alice4.user("b", certifies(0, sub4(2, second))),
	"one that does not say when":          alice4.user("b", sigOf{kind: 0x13, bare: true, hashed: [][]byte{alice4.issuer()}}),
	"one that does not say who":           alice4.user("b", sigOf{kind: 0x13, bare: true, hashed: [][]byte{sub4(2, second)}}),
	"one that names two keys":             alice4.user("b", sigOf{kind: 0x13, unhashed: [][]byte{sub(16, mallory.keyID()...)}}),
	"a photograph":                        append(pgpPacket(17, []byte("\x02\x01x")), pgpPacket(2, alice4.sign(certifies(0), alice4.hashed()))...),
	"much of mallory's":                   bytes.Repeat(pgpPacket(2, mallory.sign(certifies(0), alice4.hashed(), userHashed("alice"))), 300),
	"a signature of no key":               pgpPacket(2, []byte("x")),
	"trust, padding and a marker":         slices.Concat(pgpPacket(12, []byte("x")), pgpPacket(21, []byte("x")), pgpPacket(10, []byte("PGP"))),
}

func TestOpenPGPDropped(t *testing.T) {
	plain, err := attest.ParsePublicKey(makeKey(t, alicesKey))
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range dropped {
		key, err := attest.ParsePublicKey(makeKey(t, alicesKey, more))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if key.PEM != plain.PEM {
			t.Errorf("%s: it was kept:\n%s", name, key.PEM)
		}
	}
	kept, err := attest.ParsePublicKey(makeKey(t, alicesKey, alice4.subkey(laptop4, alice4.binds(laptop4, 0)), alice4.user("b", certifies(0))))
	if err != nil || kept.PEM == plain.PEM || len(kept.KeyIDs()) != 4 {
		t.Errorf("nothing is ever kept: %v", err)
	}
}

// checkMerges checks the laws of Merge between a key and others that share its
// fingerprint.
func checkMerges(t testing.TB, name string, keys ...*attest.PublicKey) {
	t.Helper()
	merge := func(a, b *attest.PublicKey) *attest.PublicKey {
		m, err := a.Merge(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return m
	}
	for _, a := range keys {
		again, err := attest.ParsePublicKey([]byte(a.PEM))
		if err != nil || again.PEM != a.PEM || again.Fingerprint != a.Fingerprint || again.Digest() != a.Digest() {
			t.Fatalf("%s: the canonical form is read otherwise: %v\n%s", name, err, a.PEM)
		}
		if merge(a, again).PEM != a.PEM {
			t.Errorf("%s: merging with itself changes it", name)
		}
		for _, b := range keys {
			ab := merge(a, b)
			if ab.PEM != merge(b, a).PEM || merge(ab, a).PEM != ab.PEM {
				t.Errorf("%s: merging depends on the order", name)
			}
			for _, c := range keys {
				if merge(ab, c).PEM != merge(a, merge(b, c)).PEM {
					t.Errorf("%s: merging depends on the grouping", name)
				}
			}
		}
	}
}
