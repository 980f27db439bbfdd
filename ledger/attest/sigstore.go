package attest

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// bundleTypes are the media types of the versions of Sigstore's bundle.
var bundleTypes = []string{
	"application/vnd.dev.sigstore.bundle+json;version=0.1",
	"application/vnd.dev.sigstore.bundle+json;version=0.2",
	"application/vnd.dev.sigstore.bundle+json;version=0.3",
	"application/vnd.dev.sigstore.bundle.v0.1+json",
	"application/vnd.dev.sigstore.bundle.v0.2+json",
	"application/vnd.dev.sigstore.bundle.v0.3+json",
}

// statementV01 is what bundles of npm and cosign still say. The members that are
// read are the same as in v1.
const statementV01 = "https://in-toto.io/Statement/v0.1"

// typeMessageSignature is the predicate type of claims that are only a signature of
// an artifact.
const typeMessageSignature = "application/vnd.dev.sigstore.bundle+json;content=messageSignature"

// bundleJSON is Sigstore's bundle, as protobuf-specs encodes it. A member is null or
// absent if the bundle has another in its place.
type bundleJSON struct {
	MediaType            string            `json:"mediaType"`
	VerificationMaterial *materialJSON     `json:"verificationMaterial"`
	DSSEEnvelope         *dsse.Envelope    `json:"dsseEnvelope"`
	MessageSignature     *messageSignature `json:"messageSignature"`
}

// materialJSON says what a bundle's signature verifies with. What the transparency
// logs and timestamping authorities say is not read here.
type materialJSON struct {
	PublicKey *struct {
		Hint string `json:"hint"`
	} `json:"publicKey"`
	Certificate *certificateJSON `json:"certificate"`
	Chain       *struct {
		Certificates []certificateJSON `json:"certificates"`
	} `json:"x509CertificateChain"`
	TlogEntries jsontext.Value `json:"tlogEntries"`
	Timestamps  jsontext.Value `json:"timestampVerificationData"`
}

type certificateJSON struct {
	RawBytes string `json:"rawBytes"`
}

type messageSignature struct {
	MessageDigest struct {
		Algorithm string `json:"algorithm"`
		Digest    string `json:"digest"`
	} `json:"messageDigest"`
	Signature string `json:"signature"`
}

// openSigstore reads a Sigstore bundle. With a certificate, its key is the signer's,
// whoever issued it; with a public key's hint, the key must be in ring.
func openSigstore(raw []byte, ring Keyring) (*Attestation, error) {
	var b bundleJSON
	if err := decode(raw, &b, json.RejectUnknownMembers(true)); err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "parsing Sigstore bundle: %w", err)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	a := &Attestation{Raw: raw}
	hint, err := b.signer(a)
	if err != nil {
		return nil, err
	}
	var payload []byte
	if b.DSSEEnvelope != nil {
		payload, err = a.openBundledDSSE(b.DSSEEnvelope, hint, ring)
	} else {
		payload, err = a.openMessageSignature(b.MessageSignature, hint, ring)
	}
	if err != nil {
		return nil, err
	}
	a.Claim.Format = FormatSigstore
	if a.Identity != nil {
		a.Claim.Format = leaf.FormatSigstoreCertificate
	}
	return a, a.finish(payload)
}

// check refuses bundles that are of no known version, or that say two things.
func (b *bundleJSON) check() error {
	malformed := func(what string) error {
		return reason.Errorf(reason.EnvelopeMalformed, "the Sigstore bundle %s", what)
	}
	m := b.VerificationMaterial
	switch {
	case !slices.Contains(bundleTypes, b.MediaType):
		return reason.Errorf(reason.FormatUnknown, "mediaType %.80q is no version of Sigstore's bundle that is known: v0.1, v0.2 and v0.3 are", b.MediaType)
	case (b.DSSEEnvelope == nil) == (b.MessageSignature == nil):
		return malformed("needs one of dsseEnvelope and messageSignature")
	case m == nil || count(m.PublicKey != nil, m.Certificate != nil, m.Chain != nil) != 1:
		return malformed("needs one of publicKey, certificate and x509CertificateChain as its verificationMaterial")
	case m.Chain != nil && len(m.Chain.Certificates) == 0:
		return malformed("has no certificate in its x509CertificateChain")
	}
	return nil
}

func count(conditions ...bool) (n int) {
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

// signer returns the hint of the bundle's key, or sets the key of its certificate.
func (b *bundleJSON) signer(a *Attestation) (hint string, err error) {
	m := b.VerificationMaterial
	if m.PublicKey != nil {
		return bundleHint(m.PublicKey.Hint), nil
	}
	c := m.Certificate
	if c == nil {
		c = &m.Chain.Certificates[0]
	}
	der, err := base64.StdEncoding.DecodeString(c.RawBytes)
	if err != nil {
		return "", reason.Errorf(reason.EnvelopeMalformed, "decoding the bundle's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", reason.Errorf(reason.EnvelopeMalformed, "parsing the bundle's certificate: %w", err)
	}
	key, err := certificateKey(cert)
	if err != nil {
		return "", err
	}
	a.Keys, a.Identity = []*PublicKey{key}, identityOf(cert)
	return "", nil
}

// bundleHint reads the hint of cosign and sigstore-go, the base64 of the SHA-256 of
// the key's SPKI, as a fingerprint; other hints are as they are.
func bundleHint(hint string) string {
	if sum, err := base64.StdEncoding.DecodeString(hint); err == nil && len(sum) == 32 {
		return "sha256:" + hex.EncodeToString(sum)
	}
	return hint
}

// openBundledDSSE verifies the envelope and derives its claim. A bundle has one
// signature.
func (a *Attestation) openBundledDSSE(env *dsse.Envelope, hint string, ring Keyring) ([]byte, error) {
	if env.PayloadType != TypeStatement {
		return nil, reason.Errorf(reason.PayloadTypeUnknown, "payloadType %.80q is not one that is logged in a bundle: want %s", env.PayloadType, TypeStatement)
	}
	payload, err := env.DecodeB64Payload()
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the envelope's payload: %w", err)
	}
	if n := len(env.Signatures); n != 1 {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "the bundle's envelope has %d signatures: want 1", n)
	}
	sig, err := decodeBase64(env.Signatures[0].Sig)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the envelope's signature: %w", err)
	}
	if hint == "" {
		hint = env.Signatures[0].KeyID
	}
	pae := dsse.PAE(env.PayloadType, payload)
	err = a.verifiedBy(hint, ring, func(k *PublicKey) bool { return k.Verify(pae, sig) })
	if err != nil {
		return nil, err
	}
	return payload, a.openStatement(payload, StatementV1, statementV01)
}

// verifiedBy checks the one signature with the certificate's key, or else finds the
// key of ring that made it.
func (a *Attestation) verifiedBy(hint string, ring Keyring, verifies func(*PublicKey) bool) error {
	if a.Identity != nil {
		if !verifies(a.Keys[0]) {
			return reason.Errorf(reason.SignatureInvalid, "the signature is not by the key of the bundle's certificate")
		}
		return nil
	}
	key, err := attribute(verifies, hint, ring)
	if err != nil {
		return err
	}
	a.Keys = []*PublicKey{key}
	return nil
}

// openMessageSignature verifies a signature of an artifact over the artifact's
// digest, and returns the digest: the artifact is not here.
func (a *Attestation) openMessageSignature(m *messageSignature, hint string, ring Keyring) ([]byte, error) {
	alg, ok := strings.CutPrefix(m.MessageDigest.Algorithm, "SHA2_")
	if !ok || alg != "256" && alg != "512" {
		return nil, reason.Errorf(reason.SubjectWithoutDigest,
			"the signed artifact is named by a digest of %.40q: want SHA2_256 or SHA2_512", m.MessageDigest.Algorithm)
	}
	digest, err := base64.StdEncoding.DecodeString(m.MessageDigest.Digest)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the digest of the signed artifact: %w", err)
	}
	sig, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the signature: %w", err)
	}
	d := leaf.Digest("sha" + alg + ":" + hex.EncodeToString(digest))
	if !d.Valid() {
		return nil, reason.Errorf(reason.DigestInvalid, "the digest of the signed artifact has %d bytes, which %s does not", len(digest), m.MessageDigest.Algorithm)
	}
	var tried []bool // whether each key could be verified with, the named one first
	err = a.verifiedBy(hint, ring, func(k *PublicKey) bool {
		ok, possible := k.verifyDigest(d, sig)
		tried = append(tried, possible)
		return ok
	})
	if isReason(err, reason.SignatureInvalid) && !tried[0] {
		return nil, reason.Errorf(reason.KeyUnsupported,
			"the key cannot be verified with over the %s digest alone: an Ed25519 key signs the artifact itself, which is not here, "+
				"or its SHA2_512, and an ECDSA key a digest no longer than itself; sign an in-toto Statement instead", m.MessageDigest.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	a.Claim = Claim{
		Kind: leaf.KindAttestation, Claim: leaf.ClaimOther, Result: leaf.NoResult, PredicateType: typeMessageSignature,
		Subjects: []Resource{{Digests: map[string]string{"sha" + alg: d.Hex()}}},
	}
	return digest, nil
}
