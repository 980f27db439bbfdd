package attest_test

import (
	"slices"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// An owner's revocation counts also over SHA-1: old programs made them in store, and
// gpg heeds them. Whoever could forge one could do no more than end the key's use.
func TestOpenPGPRevocationOverSHA1(t *testing.T) {
	sha1 := func(s sigOf) sigOf { s.hash = 2; return s }
	revocation := func(by *pgpMaker, s sigOf) []byte { return pgpPacket(2, by.sign(s, alice4.hashed())) }
	rest := slices.Concat(alice4.user("alice", certifies(0)))
	for _, tt := range []struct {
		name string
		sig  []byte
		kind leaf.Kind
	}{
		{"none", nil, leaf.KindEnrol},
		{"the owner's", revocation(alice4, sha1(revokes(0x20, 9, 2))), leaf.KindRevoke},
		{"another's", revocation(mallory, sha1(revokes(0x20, 9, 2))), leaf.KindEnrol},
		{"over SHA-256", revocation(alice4, sigOf{kind: 0x20, hash: 8}), leaf.KindRevoke},
		{"by the owner, not a revocation", revocation(alice4, sha1(sigOf{kind: 0x1f})), leaf.KindEnrol},
	} {
		a := mustOpen(t, makeKey(t, slices.Concat(alice4.primary(), tt.sig, rest)), attest.NewKeyring())
		if a.Leaf.Kind != tt.kind || a.Keys[0].Revoked() != (tt.kind == leaf.KindRevoke) {
			t.Errorf("%s: %s, want %s", tt.name, a.Leaf.Kind, tt.kind)
		}
	}
	// A subkey, too.
	for _, old := range []bool{false, true} {
		gone := revokes(0x28, 8, 2)
		if old {
			gone = sha1(gone)
		}
		k, err := attest.ParsePublicKey(makeKey(t, slices.Concat(alice4.primary(), rest, alice4.subkey(laptop4, alice4.binds(laptop4, 0), gone))))
		if err != nil {
			t.Fatal(err)
		}
		raw := detached(plainText, laptop4.sign(sigOf{at: 5}, []byte(plainText)))
		if _, _, err := attest.OpenSigned(raw, attest.NewKeyring(k)); err == nil {
			t.Errorf("old %t: a revoked subkey signs", old)
		}
	}
}
