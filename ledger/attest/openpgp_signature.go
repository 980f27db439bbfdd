package attest

import (
	"bytes"
	"crypto/elliptic"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/cryptobyte"
	_ "golang.org/x/crypto/sha3" // of which version 6 signatures may be

	"github.com/cairnlog/cairn/ledger/reason"
)

// OpenPGP packet types that are read (RFC 9580, section 5).
const (
	tagSignature     = 2
	tagOnePass       = 4
	tagSecretKey     = 5
	tagPublicKey     = 6
	tagSecretSubkey  = 7
	tagCompressed    = 8
	tagMarker        = 10
	tagLiteral       = 11
	tagTrust         = 12
	tagUserID        = 13
	tagPublicSubkey  = 14
	tagUserAttribute = 17
	tagPadding       = 21
)

// Signature subpackets that are looked at (RFC 9580, section 5.2.3.7).
const (
	subCreated           = 2
	subExportable        = 4
	subTrust             = 5
	subRegexp            = 6
	subIssuer            = 16
	subNotation          = 20
	subEmbedded          = 32
	subIssuerFingerprint = 33
)

// critical marks a subpacket that must be understood.
const critical = 0x80

// single are the subpackets that may be there only once: that say when, until
// when, what for, why, and by whom.
var single = map[byte]bool{subCreated: true, 3: true, subExportable: true, 9: true, subIssuer: true,
	27: true, 29: true, subEmbedded: true, subIssuerFingerprint: true}

// pgpHashes are the hash functions that count, by their id; weakHashes those that
// are refused by name.
var (
	pgpHashes  = map[byte]bool{8: true, 9: true, 10: true, 11: true, 12: true, 14: true}
	weakHashes = map[byte]string{1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
)

// pgpSignature is a signature packet of version 4 or 6 (RFC 9580, section 5.2).
//
// Anybody can change a packet's unhashed subpackets, and the encoding of its
// numbers, without breaking it. So body has no unhashed subpackets but the back
// signature of a subkey, and every number in its shortest form.
//
// The library that parses the packet only ever gets body: it would allocate what
// a length claims before it looks, and index into empty subpackets.
type pgpSignature struct {
	*packet.Signature
	body   []byte // of the packet
	stated int    // body[:stated] is what the signer states

	fingerprint string        // of the issuer, in lower-case hex; may be empty
	keyID       string        // of the issuer, in lower-case hex
	back        *pgpSignature // the subkey's, embedded in its binding; or nil
}

// pgpFields are the parts of a signature packet's body.
type pgpFields struct {
	head             []byte // version, type, and the ids of key algorithm and hash
	hashed, unhashed []byte
	tag              []byte
	salt             []byte // of version 6
	material         []byte
}

func errMalformed(format string, args ...any) error {
	return reason.Errorf(reason.EnvelopeMalformed, "malformed OpenPGP signature: "+format, args...)
}

// hashSHA1 is the id of SHA-1.
const hashSHA1 = 2

// revokes reports whether signatures of a type end something. They are heeded also
// over SHA-1: old programs made them in store, and whoever could forge one could do
// no more than end what it is about.
func revokes(t packet.SignatureType) bool {
	return t == packet.SigTypeKeyRevocation || t == packet.SigTypeSubkeyRevocation || t == packet.SigTypeCertificationRevocation
}

// parsePGPSignature reads the body of a signature packet. A signature that is too
// weak to count, or has a critical subpacket that is not known, is refused.
func parsePGPSignature(body []byte) (*pgpSignature, error) {
	f, err := splitPGPSignature(body)
	if err != nil {
		return nil, err
	}
	heeded := f.head[3] == hashSHA1 && revokes(packet.SignatureType(f.head[1]))
	if name, ok := weakHashes[f.head[3]]; ok && !heeded {
		return nil, reason.Errorf(reason.SignatureTooWeak, "an OpenPGP signature over %s counts for nothing: sign with SHA-256 or better, in gpg with --digest-algo SHA512", name)
	}
	if !pgpHashes[f.head[3]] && !heeded {
		return nil, errMalformed("unknown hash algorithm %d", f.head[3])
	}
	if f.material, err = canonicalMaterial(f.head[2], f.material); err != nil {
		return nil, err
	}
	s := new(pgpSignature)
	unhashed, err := s.readSubpackets(f)
	if err != nil {
		return nil, err
	}
	if err := s.rebuild(f, unhashed); err != nil {
		return nil, err
	}
	return s, nil
}

func splitPGPSignature(body []byte) (*pgpFields, error) {
	f := new(pgpFields)
	s := cryptobyte.String(body)
	if !s.ReadBytes(&f.head, 4) {
		return nil, errMalformed("%d bytes", len(body))
	}
	v6 := f.head[0] == 6
	if !v6 && f.head[0] != 4 {
		return nil, reason.Errorf(reason.SignatureInvalid, "an OpenPGP signature of version %d cannot be read: want 4 or 6", f.head[0])
	}
	area := func(out *[]byte) bool {
		if v6 {
			var n uint32
			return s.ReadUint32(&n) && uint64(n) <= uint64(len(s)) && s.ReadBytes(out, int(n))
		}
		return s.ReadUint16LengthPrefixed((*cryptobyte.String)(out))
	}
	ok := area(&f.hashed) && area(&f.unhashed) && s.ReadBytes(&f.tag, 2) &&
		(!v6 || s.ReadUint8LengthPrefixed((*cryptobyte.String)(&f.salt)))
	if !ok {
		return nil, errMalformed("it is cut short")
	}
	f.material = s
	return f, nil
}

// canonicalMaterial returns the numbers of a signature in their shortest form.
func canonicalMaterial(algorithm byte, material []byte) ([]byte, error) {
	numbers, size := 0, 0
	switch packet.PublicKeyAlgorithm(algorithm) {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		numbers = 1
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		numbers = 2
	case packet.PubKeyAlgoEd25519:
		size = 64
	case packet.PubKeyAlgoEd448:
		size = 114
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoElGamal:
		return nil, reason.Errorf(reason.SignatureTooWeak, "an OpenPGP signature by a DSA or ElGamal key counts for nothing: sign with RSA, ECDSA or EdDSA")
	default:
		return nil, errMalformed("unknown key algorithm %d", algorithm)
	}
	s := cryptobyte.String(material)
	var b cryptobyte.Builder
	for range numbers {
		var length uint16
		var n []byte
		if !s.ReadUint16(&length) || !s.ReadBytes(&n, (int(length)+7)/8) {
			return nil, errMalformed("it is cut short")
		}
		n = bytes.TrimLeft(n, "\x00")
		length = 0
		if len(n) > 0 {
			length = uint16(8*(len(n)-1) + bits.Len8(n[0]))
		}
		b.AddUint16(length)
		b.AddBytes(n)
	}
	if len(s) != size {
		return nil, errMalformed("%d bytes follow it", len(s)-size)
	}
	b.AddBytes(s)
	return b.BytesOrPanic(), nil
}

// readSubpackets checks the subpackets, notes the issuer, and returns the unhashed
// ones that are kept: what says who made it, and the back signature.
func (s *pgpSignature) readSubpackets(f *pgpFields) (kept []byte, err error) {
	hashed, err := packet.OpaqueSubpackets(f.hashed)
	if err != nil {
		return nil, errMalformed("%w", err)
	}
	unhashed, err := packet.OpaqueSubpackets(f.unhashed)
	if err != nil {
		return nil, errMalformed("%w", err)
	}
	seen := make(map[byte]bool)
	for _, p := range hashed {
		kind := p.SubType &^ critical
		// What is there twice, programs may read differently.
		if seen[kind] && single[kind] {
			return nil, errMalformed("two subpackets of type %d", kind)
		}
		seen[kind] = true
		if err := s.readHashed(p, f); err != nil {
			return nil, err
		}
	}
	if !seen[subCreated] {
		return nil, errMalformed("it does not say when it was made")
	}
	for _, p := range unhashed {
		switch p.SubType &^ critical {
		case subIssuer, subIssuerFingerprint:
			err = s.readIssuer(p)
		case subEmbedded:
			err = s.readBack(p, f)
		}
		if err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	switch {
	case s.keyID == "" || f.head[0] == 6 && s.fingerprint == "":
		return nil, reason.Errorf(reason.SignatureInvalid, "an OpenPGP signature does not say which key made it")
	case f.head[0] == 6 && !seen[subIssuerFingerprint]:
		writeSubpacket(&b, subIssuerFingerprint, append([]byte{6}, fromHex(s.fingerprint)...))
	case f.head[0] == 4 && !seen[subIssuer]:
		writeSubpacket(&b, subIssuer, fromHex(s.keyID))
	}
	if s.back != nil && !seen[subEmbedded] {
		writeSubpacket(&b, subEmbedded, s.back.body)
	}
	return b.Bytes(), nil
}

// fromHex decodes what was encoded here.
func fromHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("attest: no hex: " + s)
	}
	return b
}

func (s *pgpSignature) readHashed(p *packet.OpaqueSubpacket, f *pgpFields) error {
	kind := p.SubType &^ critical
	switch kind {
	case subTrust, subRegexp, subNotation:
		// A notation is of the signer's own making, so that none is known. The
		// others limit what a signature is for.
		if p.SubType&critical != 0 {
			return reason.Errorf(reason.SignatureInvalid, "an OpenPGP signature has a critical subpacket of type %d, which is not understood", kind)
		}
	case subExportable:
		if !bytes.Equal(p.Contents, []byte{1}) {
			return reason.Errorf(reason.SignatureInvalid, "an OpenPGP signature is not for others: it is not exportable")
		}
	case subEmbedded:
		return s.readBack(p, f)
	case subIssuer, subIssuerFingerprint:
		return s.readIssuer(p)
	}
	return nil
}

// readIssuer notes who made the signature; subpackets that contradict each other
// are refused.
func (s *pgpSignature) readIssuer(p *packet.OpaqueSubpacket) error {
	c := p.Contents
	fingerprint, keyID := "", ""
	switch {
	case p.SubType&^critical == subIssuer && len(c) == 8:
		keyID = hex.EncodeToString(c)
	case len(c) == 21 && c[0] == 4:
		fingerprint, keyID = hex.EncodeToString(c[1:]), hex.EncodeToString(c[13:])
	case len(c) == 33 && c[0] == 6:
		fingerprint, keyID = hex.EncodeToString(c[1:]), hex.EncodeToString(c[1:9])
	default:
		return errMalformed("an issuer of %d bytes", len(c))
	}
	if s.keyID != "" && s.keyID != keyID || s.fingerprint != "" && fingerprint != "" && s.fingerprint != fingerprint {
		return reason.Errorf(reason.SignatureInvalid, "an OpenPGP signature names two keys, %s and %s, as having made it", s.keyID, keyID)
	}
	s.keyID = keyID
	if fingerprint != "" {
		s.fingerprint = fingerprint
	}
	return nil
}

// readBack reads the signature that is embedded in another: only that of a subkey
// over its primary key may be, and none is embedded in that.
func (s *pgpSignature) readBack(p *packet.OpaqueSubpacket, f *pgpFields) (err error) {
	c := p.Contents
	if s.back != nil || packet.SignatureType(f.head[1]) != packet.SigTypeSubkeyBinding ||
		len(c) < 2 || packet.SignatureType(c[1]) != packet.SigTypePrimaryKeyBinding {
		return errMalformed("a signature is embedded in it that is no back signature, or a second one")
	}
	if s.back, err = parsePGPSignature(c); err != nil {
		return fmt.Errorf("reading a back signature: %w", err)
	}
	return nil
}

// rebuild makes the packet's body with these unhashed subpackets, and has the
// library parse it.
func (s *pgpSignature) rebuild(f *pgpFields, unhashed []byte) error {
	if f.head[0] == 4 && len(unhashed) > 0xffff {
		return errMalformed("its back signature is too long")
	}
	var b cryptobyte.Builder
	b.AddBytes(f.head)
	area := func(subpackets []byte) {
		if f.head[0] == 6 {
			b.AddUint32(uint32(len(subpackets)))
		} else {
			b.AddUint16(uint16(len(subpackets)))
		}
		b.AddBytes(subpackets)
	}
	area(f.hashed)
	s.stated = len(b.BytesOrPanic())
	area(unhashed)
	b.AddBytes(f.tag)
	if f.head[0] == 6 {
		b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(f.salt) })
	}
	b.AddBytes(f.material)
	s.body = b.BytesOrPanic()
	p, err := (&packet.OpaquePacket{Tag: tagSignature, Contents: s.body}).Parse()
	if err != nil {
		return reason.Errorf(reason.SignatureInvalid, "reading an OpenPGP signature: %w", err)
	}
	sig, ok := p.(*packet.Signature)
	if !ok {
		return errMalformed("it is a %T", p)
	}
	s.Signature = sig
	return nil
}

// writeSubpacket writes a subpacket with a length of five bytes.
func writeSubpacket(b *bytes.Buffer, kind byte, contents []byte) {
	n := len(contents) + 1
	b.Write([]byte{0xff, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), kind})
	b.Write(contents)
}

// verify reports whether key made s over data, in this order.
func (s *pgpSignature) verify(key *packet.PublicKey, data ...[]byte) bool {
	if s.Version != key.Version {
		return false
	}
	h, err := s.PrepareVerify()
	if err != nil {
		return false
	}
	for _, d := range data {
		h.Write(d)
	}
	if key.VerifySignature(h, s.Signature) != nil {
		return false
	}
	// The library ignores the first bytes of the digest in version 4, so that
	// anybody could change them.
	return bytes.HasPrefix(h.Sum(nil), s.HashTag[:])
}

// issuedBy reports whether s says that key made it.
func (s *pgpSignature) issuedBy(key *packet.PublicKey) bool {
	if s.fingerprint != "" {
		return s.fingerprint == hex.EncodeToString(key.Fingerprint)
	}
	return s.keyID == keyIDOf(key)
}

// issuer is what s calls the key that made it.
func (s *pgpSignature) issuer() string {
	if s.fingerprint != "" {
		return strings.ToUpper(s.fingerprint)
	}
	return strings.ToUpper(s.keyID)
}

// onePassIssuer is what a one-pass packet calls that key, in lower-case hex.
func (s *pgpSignature) onePassIssuer() string {
	if s.Version == 6 {
		return s.fingerprint
	}
	return s.keyID
}

func keyIDOf(key *packet.PublicKey) string { return hex.EncodeToString(keyIDBytes(key)) }

func keyIDBytes(key *packet.PublicKey) []byte { return binary.BigEndian.AppendUint64(nil, key.KeyId) }

// expires returns when s ends; zero if it does not.
func (s *pgpSignature) expires() time.Time { return lifetime(s.CreationTime, s.SigLifetimeSecs) }

// expired reports whether s had ended at a time.
func (s *pgpSignature) expired(at time.Time) bool {
	e := s.expires()
	return !e.IsZero() && !at.Before(e)
}

func lifetime(from time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return from.Add(time.Duration(*seconds) * time.Second).UTC()
}

// checkPGPKey refuses a key that is too weak or too odd to sign, or so large that
// verifying with it would be an attack.
func checkPGPKey(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if n, err := key.BitLength(); err != nil || n < minRSA || n > maxRSA {
			return fmt.Errorf("RSA of %d bits, want %d to %d", n, minRSA, maxRSA)
		}
	case packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
	case packet.PubKeyAlgoECDSA:
		if c, err := key.Curve(); err != nil || goCurves[c] == nil {
			return fmt.Errorf("ECDSA over %s, want P-256, P-384 or P-521", c)
		}
	case packet.PubKeyAlgoEdDSA:
		if c, err := key.Curve(); err != nil || c != packet.Curve25519 {
			return fmt.Errorf("EdDSA over %s, want Ed25519", c)
		}
	default:
		return errors.New("a key that does not sign, or is too weak for it: want RSA, ECDSA or EdDSA")
	}
	return nil
}

// goCurves are the curves of ECDSA that the standard library has. Verifying with
// others takes so long that it would be an attack.
var goCurves = map[packet.Curve]elliptic.Curve{
	packet.CurveNistP256: elliptic.P256(),
	packet.CurveNistP384: elliptic.P384(),
	packet.CurveNistP521: elliptic.P521(),
}

// Sizes of RSA keys in bits. Larger ones take too long to verify with.
const (
	minRSA = 2048
	maxRSA = 8192
)
