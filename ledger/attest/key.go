package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// PublicKey is a key that signatures are verified with: Ed25519, ECDSA P-256, or
// an OpenPGP key.
type PublicKey struct {
	Fingerprint leaf.Fingerprint
	// PEM is the key as text, in its one canonical encoding: PKIX PEM, or the ASCII
	// armor of an OpenPGP key.
	PEM string
	key crypto.PublicKey // *pgpKey of an OpenPGP key
}

// ParsePublicKey reads the one PKIX PEM block in text, or the armor of one OpenPGP
// key.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	if armored := bytes.TrimLeft(text, blanks); beginsArmor(armored, armorPublicKey) || beginsArmor(armored, armorSecretKey) {
		return parsePGPPublicKey(armored)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, reason.Errorf(reason.KeyUnsupported, "no PEM block PUBLIC KEY found")
	}
	if extra, _ := pem.Decode(rest); extra != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "more than one PEM block found")
	}
	if raw, ok := bytes.CutPrefix(block.Bytes, nullEd25519); ok && len(raw) == ed25519.PublicKeySize {
		return NewPublicKey(ed25519.PublicKey(raw))
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "parsing public key: %w", err)
	}
	return NewPublicKey(key)
}

// nullEd25519 is what an Ed25519 key begins with as rebuilderd writes it: with the
// parameter NULL, where RFC 8410 wants none.
var nullEd25519, _ = hex.DecodeString("302c300706032b65700500032100")

// NewPublicKey returns key as a PublicKey. Keys other than Ed25519 and ECDSA
// P-256 are refused.
func NewPublicKey(key crypto.PublicKey) (*PublicKey, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return nil, reason.Errorf(reason.KeyUnsupported, "ECDSA key on curve %s, want P-256", k.Curve.Params().Name)
		}
	default:
		return nil, reason.Errorf(reason.KeyUnsupported, "key of type %T, want Ed25519 or ECDSA P-256", key)
	}
	return pkixKey(key)
}

// pkixKey returns key as a PublicKey, of whatever kind it is. It is encoded as Go
// does, so that one key has one fingerprint.
func pkixKey(key crypto.PublicKey) (*PublicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "encoding public key: %w", err)
	}
	return &PublicKey{
		Fingerprint: leaf.Fingerprint(leaf.SHA256(der)),
		PEM:         string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		key:         key,
	}, nil
}

// KeyIDs returns what signatures of other formats call the key, beside its
// fingerprint: for OpenPGP, the fingerprints and key ids of the primary key and of
// all subkeys that sign, in lower-case hex; for in-toto links, the key ids that
// in-toto derives from the key.
func (k *PublicKey) KeyIDs() []string {
	switch key := k.key.(type) {
	case *pgpKey:
		return key.keyIDs()
	case ed25519.PublicKey:
		return inTotoKeyIDs("ed25519", "ed25519", hex.EncodeToString(key))
	case *prepared:
		return inTotoKeyIDs("ed25519", "ed25519", hex.EncodeToString(key.PublicKey))
	case *ecdsa.PublicKey:
		// Implementations differ in the line's end behind the PEM.
		return append(inTotoKeyIDs("ecdsa", "ecdsa-sha2-nistp256", k.PEM),
			inTotoKeyIDs("ecdsa", "ecdsa-sha2-nistp256", strings.TrimSpace(k.PEM))...)
	}
	return nil
}

// Digest is what the key is known by as a subject. That of an OpenPGP key is the
// SHA-256 of what its fingerprint is the digest of, which is but a SHA-1 in
// version 4.
func (k *PublicKey) Digest() leaf.Digest {
	if pgp, ok := k.key.(*pgpKey); ok {
		return leaf.SHA256(pgp.primary().hashed)
	}
	return leaf.Digest(k.Fingerprint)
}

// SPKIs returns the fingerprints that the key material, which may be in several
// OpenPGP keys and elsewhere, has as PKIX: of the primary key and all subkeys that
// sign. Material that PKIX has no form for has none.
func (k *PublicKey) SPKIs() []leaf.Fingerprint {
	if pgp, ok := k.key.(*pgpKey); ok {
		return pgp.spkis()
	}
	return []leaf.Fingerprint{k.Fingerprint}
}

// Revoked reports whether an OpenPGP key holds its owner's revocation of it. What
// it signed before is good only if the revocation says that the key is superseded
// or retired.
func (k *PublicKey) Revoked() bool {
	pgp, ok := k.key.(*pgpKey)
	return ok && pgp.revocation() != nil
}

// Merge returns the union of two copies of one key: of an OpenPGP key, all user
// ids, subkeys and signatures that either has. In whatever order copies are
// merged, the outcome is the same.
func (k *PublicKey) Merge(other *PublicKey) (*PublicKey, error) {
	if k.Fingerprint != other.Fingerprint {
		return nil, reason.Errorf(reason.KeyUnsupported, "%s and %s are not the same key", k.Fingerprint, other.Fingerprint)
	}
	a, ok := k.key.(*pgpKey)
	b, also := other.key.(*pgpKey)
	if !ok || !also || k.PEM == other.PEM {
		return k, nil
	}
	union, err := a.merge(b)
	if err != nil {
		return nil, err
	}
	return newPGPPublicKey(union), nil
}

// inTotoKeyIDs returns the SHA-256 of a key's canonical JSON, with the list of hash
// algorithms that older versions put there (rebuilderd's library does), and without.
func inTotoKeyIDs(kind, scheme, public string) []string {
	// Canonical JSON leaves line ends in strings as they are.
	rest := `"keytype":"` + kind + `","keyval":{"public":"` + public + `"},"scheme":"` + scheme + `"}`
	var ids []string
	for _, text := range []string{`{"keyid_hash_algorithms":["sha256","sha512"],` + rest, `{` + rest} {
		sum := sha256.Sum256([]byte(text))
		ids = append(ids, hex.EncodeToString(sum[:]))
	}
	return ids
}

// SignsDigests reports whether the key's signatures can be verified by a digest
// of what was signed alone, as those of ECDSA can.
func (k *PublicKey) SignsDigests() bool {
	_, ok := k.key.(*ecdsa.PublicKey)
	return ok
}

// Verify reports whether sig is the key's signature of msg: raw for Ed25519,
// ASN.1 over SHA-256 for ECDSA P-256. Keys of certificates may be larger ECDSA keys,
// over the SHA-2 of the curve's length, or RSA: PKCS #1 v1.5 over SHA-256. OpenPGP
// keys verify nothing here: what they sign says when, and is read by OpenSigned.
func (k *PublicKey) Verify(msg, sig []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, msg, sig)
	case *prepared:
		return key.verify(msg, sig)
	case *ecdsa.PublicKey:
		if hash := hashOf(key); hash != crypto.SHA256 {
			h := hash.New()
			h.Write(msg)
			return ecdsa.VerifyASN1(key, h.Sum(nil), sig)
		}
		sum := sha256.Sum256(msg)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	case *rsa.PublicKey:
		sum := sha256.Sum256(msg)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	}
	return false
}

// Signer is a private key that attests.
type Signer struct {
	Public *PublicKey
	signer crypto.Signer
}

// NewSigner returns a Signer over s, which may hold its key elsewhere.
func NewSigner(s crypto.Signer) (*Signer, error) {
	pub, err := NewPublicKey(s.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{Public: pub, signer: s}, nil
}

// GenerateEd25519 returns a new private key and its PKCS #8 PEM.
func GenerateEd25519() (*Signer, []byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating Ed25519 key: %w", err)
	}
	return encodeSigner(key)
}

// GenerateP256 returns a new private key and its PKCS #8 PEM.
func GenerateP256() (*Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generating ECDSA P-256 key: %w", err)
	}
	return encodeSigner(key)
}

func encodeSigner(key crypto.Signer) (*Signer, []byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding private key: %w", err)
	}
	s, err := NewSigner(key)
	if err != nil {
		return nil, nil, err
	}
	return s, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePrivateKey reads a PKCS #8 PEM private key.
func ParsePrivateKey(text []byte) (*Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, reason.Errorf(reason.KeyUnsupported, "no PEM block PRIVATE KEY (PKCS #8) found")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "parsing private key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, reason.Errorf(reason.KeyUnsupported, "private key of type %T cannot sign", key)
	}
	return NewSigner(s)
}

// sign returns the key's signature of msg, in the form that Verify takes.
func (s *Signer) sign(msg []byte) ([]byte, error) {
	if _, ok := s.signer.Public().(ed25519.PublicKey); ok {
		return s.signer.Sign(rand.Reader, msg, crypto.Hash(0))
	}
	sum := sha256.Sum256(msg)
	return s.signer.Sign(rand.Reader, sum[:], crypto.SHA256)
}
