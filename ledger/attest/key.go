package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// PublicKey is a key that signatures are verified with: Ed25519 or ECDSA P-256.
type PublicKey struct {
	Fingerprint leaf.Fingerprint
	PEM         string // PKIX, in its one canonical encoding
	key         crypto.PublicKey
}

// ParsePublicKey reads the one PKIX PEM block in text.
func ParsePublicKey(text []byte) (*PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, reason.Errorf(reason.KeyUnsupported, "no PEM block PUBLIC KEY found")
	}
	if extra, _ := pem.Decode(rest); extra != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "more than one PEM block found")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "parsing public key: %w", err)
	}
	return NewPublicKey(key)
}

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
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, reason.Errorf(reason.KeyUnsupported, "encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &PublicKey{
		Fingerprint: leaf.Fingerprint("sha256:" + hex.EncodeToString(sum[:])),
		PEM:         string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		key:         key,
	}, nil
}

// KeyIDs returns what signatures of other formats call the key, beside its
// fingerprint: for OpenPGP, the fingerprints and key ids of the primary key and of
// all subkeys that sign, in lower-case hex; for in-toto links, the key ids that
// in-toto derives from the key.
func (k *PublicKey) KeyIDs() []string { return nil }

// SignsDigests reports whether the key's signatures can be verified by a digest
// of what was signed alone, as those of ECDSA can.
func (k *PublicKey) SignsDigests() bool {
	_, ok := k.key.(*ecdsa.PublicKey)
	return ok
}

// Verify reports whether sig is the key's signature of msg: raw for Ed25519,
// ASN.1 over SHA-256 for ECDSA.
func (k *PublicKey) Verify(msg, sig []byte) bool {
	switch key := k.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, msg, sig)
	case *prepared:
		return key.verify(msg, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(msg)
		return ecdsa.VerifyASN1(key, sum[:], sig)
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
