package attest

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"filippo.io/edwards25519"
)

// preparedKeys is kept, since preparing them is most of the work.
var preparedKeys = make(map[string]*prepared)

// agree fails unless a prepared key, its own check and crypto/ed25519 say the
// same of a signature.
func agree(t *testing.T, pub, msg, sig []byte) bool {
	t.Helper()
	p := preparedKeys[string(pub)]
	if p == nil {
		a, err := new(edwards25519.Point).SetBytes(pub)
		if err != nil {
			return false
		}
		p = &prepared{PublicKey: pub, minusA: newMultiples(a.Negate(a))}
		preparedKeys[string(pub)] = p
	}
	want := ed25519.Verify(pub, msg, sig)
	// accepts alone: what it wrongly refused would be hidden by the second look.
	if got := p.accepts(msg, sig); got != want {
		t.Errorf("key %x, message %x, signature %x: %v, crypto/ed25519 says %v", pub, msg, sig, got, want)
	}
	if p.verify(msg, sig) != want {
		t.Error("the second look says otherwise")
	}
	return want
}

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func TestPreparedKeyVerifiesTheSame(t *testing.T) {
	for seed := range byte(4) {
		key := testKey(seed)
		pub, msg := key.Public().(ed25519.PublicKey), []byte{seed, 1, 2}
		sig := ed25519.Sign(key, msg)
		if !agree(t, pub, msg, sig) {
			t.Fatal("a good signature is refused")
		}
		for bit := range len(sig) * 8 {
			if bit%7 != int(seed) {
				continue
			}
			flipped := bytes.Clone(sig)
			flipped[bit/8] ^= 1 << (bit % 8)
			if agree(t, pub, msg, flipped) {
				t.Errorf("bit %d may be flipped", bit)
			}
		}
		if agree(t, pub, append(msg, 0), sig) || agree(t, pub, msg, sig[:63]) || agree(t, pub, msg, nil) {
			t.Error("another message or length is accepted")
		}
	}
}

// Points of small order and encodings that are not canonical are where
// implementations differ.
func TestPreparedKeyAgreesAtTheEdges(t *testing.T) {
	order := []byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
	}
	zero, one := make([]byte, 32), append([]byte{1}, make([]byte, 31)...)
	minusOne := append([]byte{0xec}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)
	large := append([]byte{0xee}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)        // 1, not canonical
	negative := append([]byte{1}, append(make([]byte, 30), 0x80)...)                      // 1, with a sign
	small := append([]byte{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f}, zero[:24]...) // perhaps a point, perhaps not
	points := [][]byte{zero, one, minusOne, large, negative, small, testKey(1).Public().(ed25519.PublicKey)}
	accepted := 0
	for _, a := range points {
		for _, r := range points {
			for _, s := range [][]byte{zero, one, order, minusOne} {
				for m := range byte(8) {
					if agree(t, a, []byte{m}, append(bytes.Clone(r), s...)) {
						accepted++
					}
				}
			}
		}
	}
	if accepted == 0 {
		t.Error("none of the odd signatures verifies: the test does not reach the edges")
	}
	// S and S plus the group's order.
	key := testKey(2)
	sig := ed25519.Sign(key, []byte("m"))
	carry := 0
	for i := range order {
		carry += int(sig[32+i]) + int(order[i])
		sig[32+i] = byte(carry)
		carry >>= 8
	}
	if agree(t, key.Public().(ed25519.PublicKey), []byte("m"), sig) {
		t.Error("an S that is not canonical is accepted")
	}
}

func TestPrepareLeavesOtherKeysAlone(t *testing.T) {
	s, _, err := GenerateP256()
	if err != nil {
		t.Fatal(err)
	}
	if s.Public.Prepare() != s.Public {
		t.Error("a P-256 key was prepared")
	}
	e, _, err := GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	p := e.Public.Prepare()
	sig, err := e.sign([]byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Fingerprint != e.Public.Fingerprint || p.PEM != e.Public.PEM || !p.Verify([]byte("m"), sig) || p.Verify([]byte("n"), sig) {
		t.Error("the prepared key is another")
	}
}

func FuzzPreparedKey(f *testing.F) {
	key := testKey(3)
	f.Add([]byte(key.Public().(ed25519.PublicKey)), []byte("m"), ed25519.Sign(key, []byte("m")))
	f.Fuzz(func(t *testing.T, pub, msg, sig []byte) {
		if len(pub) == ed25519.PublicKeySize {
			clear(preparedKeys)
			agree(t, pub, msg, sig)
		}
	})
}
