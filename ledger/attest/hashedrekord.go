package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// FormatHashedRekord is the format of Rekor v2's entries, each its own leaf.
const FormatHashedRekord = leaf.FormatHashedRekord

// rekorScheme is a kind of key and signature, and the algorithm of the digest that
// is signed.
type rekorScheme struct {
	algorithm string // of leaf.Digest
	fits      func(key crypto.PublicKey) bool
}

// rekorSchemes are those that Rekor's servers take, but for ECDSA P-384 with
// SHA-384: leaves have no such digests. Rekor takes a key also under the name of
// another kind, as long as the digest is the same; here the name must be right.
var rekorSchemes = map[string]rekorScheme{
	"PKIX_RSA_PKCS1V15_2048_SHA256": {"sha256", isRSA(2048)},
	"PKIX_RSA_PKCS1V15_3072_SHA256": {"sha256", isRSA(3072)},
	"PKIX_RSA_PKCS1V15_4096_SHA256": {"sha256", isRSA(4096)},
	"PKIX_ECDSA_P256_SHA_256":       {"sha256", isECDSA(elliptic.P256())},
	"PKIX_ECDSA_P521_SHA_512":       {"sha512", isECDSA(elliptic.P521())},
	"PKIX_ED25519_PH":               {"sha512", isEd25519},
}

// schemeOf returns what the keyDetails of an entry name.
func schemeOf(keyDetails string) (rekorScheme, error) {
	s, ok := rekorSchemes[keyDetails]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(rekorSchemes)), ", ")
		return s, reason.Errorf(reason.KeyUnsupported, "keyDetails %.80q, want one of %s", keyDetails, known)
	}
	return s, nil
}

// RekorDigest returns the digest that an entry with these keyDetails has signed.
// Its length may be wrong.
func RekorDigest(keyDetails string, digest []byte) (leaf.Digest, error) {
	s, err := schemeOf(keyDetails)
	return leaf.Digest(s.algorithm + ":" + hex.EncodeToString(digest)), err
}

func isRSA(bits int) func(crypto.PublicKey) bool {
	return func(key crypto.PublicKey) bool {
		k, ok := key.(*rsa.PublicKey)
		return ok && k.Size()*8 == bits
	}
}

func isECDSA(curve elliptic.Curve) func(crypto.PublicKey) bool {
	return func(key crypto.PublicKey) bool {
		k, ok := key.(*ecdsa.PublicKey)
		return ok && k.Curve == curve
	}
}

func isEd25519(key crypto.PublicKey) bool {
	_, ok := key.(ed25519.PublicKey)
	return ok
}

// openHashedRekord reads an entry of Rekor v2, which is its own leaf. It is signed
// by the key that it brings, so that the ring is not asked.
func openHashedRekord(raw []byte, _ Keyring) (*Attestation, error) {
	if len(raw) > leaf.MaxSize {
		return nil, reason.Errorf(reason.EnvelopeTooLarge, "entry of %d bytes is over the limit of %d", len(raw), leaf.MaxSize)
	}
	e, err := leaf.ParseHashedRekord(raw)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "reading the entry as hashedrekord 0.0.2 in canonical JSON: %w", err)
	}
	key, identity, err := rekorKey(e)
	if err != nil {
		return nil, err
	}
	if err := verifyRekor(e, key); err != nil {
		return nil, err
	}
	l, err := leaf.Parse(raw)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "deriving the leaf: %w", err)
	}
	algorithm, _, _ := strings.Cut(string(e.Digest), ":")
	return &Attestation{
		Raw: raw,
		Claim: Claim{
			Kind: l.Kind, Format: l.Format, Claim: l.Claim, Result: l.Result,
			Subjects: []Resource{{Digests: map[string]string{algorithm: e.Digest.Hex()}}},
		},
		Keys: []*PublicKey{key},
		Leaf: l,
		Text: raw,

		Identity: identity,
	}, nil
}

func verifyRekor(e *leaf.HashedRekord, key *PublicKey) error {
	s, err := schemeOf(e.KeyDetails)
	if err != nil {
		return err
	}
	if !s.fits(key.key) {
		return reason.Errorf(reason.KeyUnsupported, "the key is no %s", e.KeyDetails)
	}
	if !strings.HasPrefix(string(e.Digest), s.algorithm+":") {
		return reason.Errorf(reason.DigestInvalid, "digest %s, but %s signs %s", e.Digest, e.KeyDetails, s.algorithm)
	}
	if ok, _ := key.verifyDigest(e.Digest, e.Signature); !ok {
		return reason.Errorf(reason.SignatureInvalid, "the signature of %s does not verify with the key in the entry", e.Digest)
	}
	return nil
}

// rekorKey returns the key that an entry brings and, if that is in a certificate,
// whom it was issued to: nobody checked that the certificate is worth anything.
func rekorKey(e *leaf.HashedRekord) (key *PublicKey, identity *CertificateIdentity, err error) {
	spki, err := e.SPKI()
	if err != nil {
		return nil, nil, reason.Errorf(reason.EnvelopeMalformed, "reading the entry's key: %w", err)
	}
	if e.Certificate {
		cert, err := x509.ParseCertificate(e.Verifier)
		if err != nil {
			return nil, nil, reason.Errorf(reason.KeyUnsupported, "parsing the entry's certificate: %w", err)
		}
		identity = identityOf(cert)
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, nil, reason.Errorf(reason.KeyUnsupported, "parsing the entry's key: %w", err)
	}
	if key, err = pkixKey(parsed); err != nil {
		return nil, nil, err
	}
	// A key has one fingerprint, so it must have one encoding.
	if string(key.Fingerprint) != string(leaf.SHA256(spki)) {
		return nil, nil, reason.Errorf(reason.KeyUnsupported, "the entry's key is not in its canonical encoding")
	}
	return key, identity, nil
}
