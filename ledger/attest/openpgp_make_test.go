package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgpMaker is an Ed25519 key of OpenPGP that signs anything, also nonsense. It
// writes packets by itself, as RFC 9580 has them, so that what it makes is the same
// for ever, and checks what reads it.
type pgpMaker struct {
	version byte
	created uint32
	private ed25519.PrivateKey
}

const second = 1767268800 // day, in seconds

func newMaker(name string, version byte) *pgpMaker {
	seed := sha256.Sum256([]byte(name))
	return &pgpMaker{version, second, ed25519.NewKeyFromSeed(seed[:])}
}

// body is that of the key's packet.
func (m *pgpMaker) body() []byte {
	public := m.private.Public().(ed25519.PublicKey)
	b := binary.BigEndian.AppendUint32([]byte{m.version}, m.created)
	b = append(b, 27)
	if m.version == 6 {
		b = binary.BigEndian.AppendUint32(b, uint32(len(public)))
	}
	return append(b, public...)
}

// hashed is what signatures over the key hash of it.
func (m *pgpMaker) hashed() []byte {
	b := m.body()
	if m.version == 6 {
		return append(binary.BigEndian.AppendUint32([]byte{0x9b}, uint32(len(b))), b...)
	}
	return append(binary.BigEndian.AppendUint16([]byte{0x99}, uint16(len(b))), b...)
}

func (m *pgpMaker) fingerprint() []byte {
	if m.version == 6 {
		sum := sha256.Sum256(m.hashed())
		return sum[:]
	}
	sum := sha1.Sum(m.hashed())
	return sum[:]
}

func (m *pgpMaker) keyID() []byte {
	if m.version == 6 {
		return m.fingerprint()[:8]
	}
	return m.fingerprint()[12:]
}

// sub is a signature subpacket.
func sub(kind byte, data ...byte) []byte { return append([]byte{byte(len(data) + 1), kind}, data...) }

// sub4 is one with a number, of seconds mostly.
func sub4(kind byte, n uint32) []byte { return sub(kind, binary.BigEndian.AppendUint32(nil, n)...) }

func (m *pgpMaker) issuer() []byte { return sub(33, append([]byte{m.version}, m.fingerprint()...)...) }

// sigOf is a signature to be made.
type sigOf struct {
	kind     byte
	at       uint32   // seconds since second
	hashed   [][]byte // subpackets beside the time and the issuer
	unhashed [][]byte
	hash     byte // SHA-512 if 0
	bare     bool // neither time nor issuer
}

// sign returns the body of a signature packet over data.
func (m *pgpMaker) sign(s sigOf, data ...[]byte) []byte {
	if s.hash == 0 {
		s.hash = 10
	}
	hashed, unhashed := slices.Concat(s.hashed...), slices.Concat(s.unhashed...)
	if !s.bare {
		hashed = slices.Concat(sub4(2, second+s.at), m.issuer(), hashed)
	}
	b := []byte{m.version, s.kind, 27, s.hash}
	area := func(b, subpackets []byte) []byte {
		if m.version == 6 {
			b = binary.BigEndian.AppendUint32(b, uint32(len(subpackets)))
		} else {
			b = binary.BigEndian.AppendUint16(b, uint16(len(subpackets)))
		}
		return append(b, subpackets...)
	}
	b = area(b, hashed)
	suffix := binary.BigEndian.AppendUint32([]byte{m.version, 0xff}, uint32(len(b)))
	salt := bytes.Repeat([]byte{7}, 32)
	h := map[byte]crypto.Hash{2: crypto.SHA1, 8: crypto.SHA256, 10: crypto.SHA512}[s.hash].New()
	if m.version == 6 {
		h.Write(salt)
	}
	for _, d := range slices.Concat(data, [][]byte{b, suffix}) {
		h.Write(d)
	}
	digest := h.Sum(nil)
	b = area(b, unhashed)
	b = append(b, digest[:2]...)
	if m.version == 6 {
		b = append(append(b, byte(len(salt))), salt...)
	}
	return append(b, ed25519.Sign(m.private, digest)...)
}

func pgpPacket(tag byte, body []byte) []byte {
	var b bytes.Buffer
	if err := (&packet.OpaquePacket{Tag: tag, Contents: body}).Serialize(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Subpackets of the keys of these tests.
var (
	maySign    = sub(27, 0x02)
	mayCertify = sub(27, 0x01)
)

func userHashed(id string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0xb4}, uint32(len(id))), id...)
}

// user is a user id with signatures over it.
func (m *pgpMaker) user(id string, sigs ...sigOf) []byte {
	b := pgpPacket(13, []byte(id))
	for _, s := range sigs {
		b = append(b, pgpPacket(2, m.sign(s, m.hashed(), userHashed(id)))...)
	}
	return b
}

// primary is the primary key with signatures over it.
func (m *pgpMaker) primary(sigs ...sigOf) []byte {
	b := pgpPacket(6, m.body())
	for _, s := range sigs {
		b = append(b, pgpPacket(2, m.sign(s, m.hashed()))...)
	}
	return b
}

// subkey is a subkey with signatures over it.
func (m *pgpMaker) subkey(of *pgpMaker, sigs ...sigOf) []byte {
	b := pgpPacket(14, of.body())
	for _, s := range sigs {
		b = append(b, pgpPacket(2, m.sign(s, m.hashed(), of.hashed()))...)
	}
	return b
}

// back is the subpacket of a subkey's back signature.
func (m *pgpMaker) back(of *pgpMaker) []byte {
	return longSub(32, of.sign(sigOf{kind: 0x19}, m.hashed(), of.hashed()))
}

func longSub(kind byte, data []byte) []byte {
	return slices.Concat([]byte{0xff}, binary.BigEndian.AppendUint32(nil, uint32(len(data)+1)), []byte{kind}, data)
}

// binds is a binding of a subkey that signs.
func (m *pgpMaker) binds(of *pgpMaker, at uint32, more ...[]byte) sigOf {
	return sigOf{kind: 0x18, at: at, hashed: append([][]byte{maySign}, more...), unhashed: [][]byte{m.back(of)}}
}

// certifies is a certification of a user id, of a key that signs.
func certifies(at uint32, more ...[]byte) sigOf {
	return sigOf{kind: 0x13, at: at, hashed: append([][]byte{maySign}, more...)}
}

// detached is a document with signatures, in armor.
func detached(text string, sigs ...[]byte) []byte {
	b := []byte(text)
	for _, s := range sigs {
		b = append(b, armored("PGP SIGNATURE", pgpPacket(2, s))...)
	}
	return b
}

func armored(kind string, packets []byte) string {
	var b strings.Builder
	w, err := armor.Encode(&b, kind, nil)
	if err == nil {
		_, err = w.Write(packets)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.String() + "\n"
}

func makeKey(t testing.TB, packets ...[]byte) []byte {
	t.Helper()
	return []byte(armored("PGP PUBLIC KEY BLOCK", slices.Concat(packets...)))
}
