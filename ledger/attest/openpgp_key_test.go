package attest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// retold are ways to write an RSA signature otherwise, which anybody can.
var retold = map[string]func(body []byte) []byte{
	"as it was": bytes.Clone,
	"a longer number": func(body []byte) []byte {
		at := len(body) - 2 - 3072/8
		n := append(binary.BigEndian.AppendUint16(nil, 3072+8), 0)
		return append(append(bytes.Clone(body[:at]), n...), body[at+2:]...)
	},
	"more that is not hashed": func(body []byte) []byte {
		at := 6 + int(binary.BigEndian.Uint16(body[4:]))
		n := binary.BigEndian.Uint16(body[at:])
		more := append(binary.BigEndian.AppendUint16(nil, n+3), sub(99, 'x')...)
		return append(append(bytes.Clone(body[:at]), more...), body[at+2:]...)
	},
}

// However its signatures are written, and whichever copies of them there are, a key
// has one form.
func TestOpenPGPCanonical(t *testing.T) {
	text := mustRead(t, filepath.Join(goldenDir, "key-rsa3072.asc"))
	want, err := attest.ParsePublicKey(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	packets, err := io.ReadAll(block.Body)
	if err != nil {
		t.Fatal(err)
	}
	for name, retell := range retold {
		var again, both []byte
		in := packet.NewOpaqueReader(bytes.NewReader(packets))
		for {
			p, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, pgpPacket(p.Tag, p.Contents)...)
			if p.Tag == 2 {
				p.Contents = retell(p.Contents)
				both = append(both, pgpPacket(p.Tag, p.Contents)...)
			}
			again = append(again, pgpPacket(p.Tag, p.Contents)...)
		}
		for _, b := range [][]byte{again, both} {
			if got, err := attest.ParsePublicKey(makeKey(t, b)); err != nil || got.PEM != want.PEM {
				t.Errorf("%s: another key: %v", name, err)
			}
		}
	}
}

// numbered are as many user ids, or certifications of one, as are wanted.
func numbered(n int, one func(i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = append(b, one(i)...)
	}
	return b
}

// A union that would not be read again is refused.
func TestOpenPGPMergeLimits(t *testing.T) {
	read := func(more []byte) *attest.PublicKey {
		k, err := attest.ParsePublicKey(makeKey(t, alicesKey, more))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for name, tt := range map[string]struct {
		half func(side string, i int) []byte
		n    int
	}{
		"more than 64 user ids": {func(side string, i int) []byte { return alice4.user(side+strconv.Itoa(i), certifies(0)) }, 40},
		"more than 64 subkeys": {func(side string, i int) []byte {
			k := newMaker(side+strconv.Itoa(i), 4)
			return alice4.subkey(k, alice4.binds(k, 0))
		}, 40},
		"more than 256 signatures": {func(side string, _ int) []byte {
			var sigs []sigOf
			for i := range 140 {
				sigs = append(sigs, certifies(uint32(i), sub(99, side[0])))
			}
			return alice4.user("b", sigs...)
		}, 1},
	} {
		a := read(numbered(tt.n, func(i int) []byte { return tt.half("a", i) }))
		b := read(numbered(tt.n, func(i int) []byte { return tt.half("b", i) }))
		_, err := a.Merge(b)
		checkReason(t, name, err, reason.KeyUnsupported, name)
	}
	// As if SHA-1 were broken for good.
	twin, err := attest.ParsePublicKey(makeKey(t, bob4.primary(), bob4.user("bob", certifies(0))))
	if err != nil {
		t.Fatal(err)
	}
	twin.Fingerprint = read(nil).Fingerprint
	_, err = read(nil).Merge(twin)
	checkReason(t, "a twin", err, reason.KeyUnsupported, "two OpenPGP keys with the fingerprint")
}

// crowd is a keyring in which many keys have every key id.
type crowd struct {
	attest.Keyring
	keys []*attest.PublicKey
}

func (c crowd) Hinted(string) []*attest.PublicKey { return c.keys }

func TestOpenPGPNamesakes(t *testing.T) {
	raw := detached(plainText, alice4.sign(sigOf{bare: true, hashed: [][]byte{sub4(2, second)}, unhashed: [][]byte{sub(16, alice4.keyID()...)}}, []byte(plainText)))
	c := crowd{Keyring: attest.NewKeyring()}
	add := func(m *pgpMaker) {
		k, err := attest.ParsePublicKey(makeKey(t, m.primary(), m.user("a", certifies(0))))
		if err != nil {
			t.Fatal(err)
		}
		c.keys = append(c.keys, k)
	}
	add(alice4)
	for i := 0; ; i++ {
		// Keys are tried by fingerprint.
		m := newMaker(strconv.Itoa(i), 4)
		if bytes.Compare(m.fingerprint(), alice4.fingerprint()) > 0 {
			continue
		}
		_, sigs, err := attest.OpenSigned(raw, c)
		if len(c.keys) <= 8 {
			if err != nil || len(sigs) != 1 {
				t.Fatalf("among %d: %v", len(c.keys), err)
			}
		} else {
			checkReason(t, "nine", err, reason.KeyNotEnrolled, "enrol it as it is now")
			return
		}
		add(m)
	}
}

// One statement in two packets, both of which verify, is one statement.
func TestOpenPGPOneStatement(t *testing.T) {
	binding := func(at uint32) []byte {
		back := laptop4.sign(sigOf{kind: 0x19, at: at}, alice4.hashed(), laptop4.hashed())
		return alice4.subkey(laptop4, sigOf{kind: 0x18, hashed: [][]byte{maySign}, unhashed: [][]byte{longSub(32, back)}})
	}
	var keys []*attest.PublicKey
	for _, more := range [][]byte{binding(0), binding(1), append(binding(1), binding(0)...)} {
		k, err := attest.ParsePublicKey(makeKey(t, alicesKey, more))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	checkMerges(t, "two back signatures", keys...)
	if keys[0].PEM == keys[1].PEM || len(keys[2].PEM) != len(keys[0].PEM) {
		t.Error("both back signatures are kept, or neither is told from the other")
	}
}

// A revocation needs no user id beside it.
func TestOpenPGPBareRevocation(t *testing.T) {
	a := mustOpen(t, alice4.primary(revokes(0x20, 0, 2, 'l', 'o', 's', 't')), attest.NewKeyring())
	if a.Leaf.Kind != leaf.KindRevoke || a.Revocation == nil || a.Revocation.Reason != "lost" {
		t.Errorf("%s, %+v", a.Leaf.Kind, a.Revocation)
	}
}
