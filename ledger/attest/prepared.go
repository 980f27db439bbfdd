package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"sync"

	"filippo.io/edwards25519"
)

// Prepare returns the key in a form that verifies signatures in about half the
// time, for whoever has thousands of them by one key to verify. It takes 1.3 MiB,
// and as long as 50 verifications. The very same signatures verify: what the
// prepared form does not accept, crypto/ed25519 decides about. Keys other than
// Ed25519 are returned as they are.
func (k *PublicKey) Prepare() *PublicKey {
	pub, ok := k.key.(ed25519.PublicKey)
	if !ok {
		return k
	}
	a, err := new(edwards25519.Point).SetBytes(pub)
	if err != nil {
		return k // no signature verifies with it
	}
	p := *k
	p.key = &prepared{PublicKey: pub, minusA: newMultiples(a.Negate(a))}
	return &p
}

// prepared is an Ed25519 key with the multiples of its negated point.
type prepared struct {
	ed25519.PublicKey
	minusA *multiples
}

// multiples has j·256^i of a point at [i][j-1], so that a multiple of the point
// is the sum of one of them for each byte of the scalar, and no doublings.
// Everything in it is public, so that it does not matter what the time of using
// it depends on.
type multiples [32][255]edwards25519.Point

func newMultiples(p *edwards25519.Point) *multiples {
	var m multiples
	base := new(edwards25519.Point).Set(p)
	for i := range m {
		row := &m[i]
		row[0].Set(base)
		for j := 1; j < len(row); j++ {
			row[j].Add(&row[j-1], base)
		}
		base.Add(&row[len(row)-1], base)
	}
	return &m
}

// addTo adds the multiple by a scalar, of 32 bytes in little-endian order.
func (m *multiples) addTo(sum *edwards25519.Point, scalar []byte) {
	for i, b := range scalar {
		if b > 0 {
			sum.Add(sum, &m[i][b-1])
		}
	}
}

var ofGenerator = sync.OnceValue(func() *multiples { return newMultiples(edwards25519.NewGeneratorPoint()) })

// verify is RFC 8032's check as crypto/ed25519 does it: R, as it is encoded,
// must be S·B - k·A.
func (p *prepared) verify(msg, sig []byte) bool {
	return p.accepts(msg, sig) || ed25519.Verify(p.PublicKey, msg, sig)
}

func (p *prepared) accepts(msg, sig []byte) bool {
	if len(sig) != ed25519.SignatureSize {
		return false
	}
	h := sha512.New()
	h.Write(sig[:32])
	h.Write(p.PublicKey)
	h.Write(msg)
	var sum [sha512.Size]byte
	k, err := new(edwards25519.Scalar).SetUniformBytes(h.Sum(sum[:0]))
	if err != nil {
		return false
	}
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(sig[32:])
	if err != nil {
		return false
	}
	r := edwards25519.NewIdentityPoint()
	ofGenerator().addTo(r, s.Bytes())
	p.minusA.addTo(r, k.Bytes())
	return bytes.Equal(r.Bytes(), sig[:32])
}
