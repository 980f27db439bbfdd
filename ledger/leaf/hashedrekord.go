package leaf

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The formats whose attestations bring the keys that verify them: Rekor's entries,
// and Sigstore bundles with a certificate.
const (
	FormatHashedRekord        = "hashedrekord"
	FormatSigstoreCertificate = "sigstore-certificate"
)

// HashedRekord is an entry of Rekor v2, hashedrekord 0.0.2: that a key signed
// what has a digest. Its text is JSON as RFC 8785 makes it canonical, and there
// is one for each HashedRekord:
//
//	{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":
//	{"algorithm":"SHA2_256","digest":"<base64>"},"signature":{"content":"<base64>",
//	"verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"<base64>"}}}}}}
//
// all on one line; a certificate is named x509Certificate. Nobody's signature is
// verified here.
type HashedRekord struct {
	Digest      Digest
	Signature   []byte // of Digest
	KeyDetails  string // names a kind of key and signature, as Sigstore's PublicKeyDetails
	Verifier    []byte // DER, of an SPKI or of a certificate
	Certificate bool   // whether Verifier is a certificate
}

// The parts of an entry's text between its values.
const (
	rekorHead       = `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"`
	rekorDigest     = `","digest":"`
	rekorSignature  = `"},"signature":{"content":"`
	rekorKeyDetails = `","verifier":{"keyDetails":"`
	rekorPublicKey  = `","publicKey":{"rawBytes":"`
	rekorX509       = `","x509Certificate":{"rawBytes":"`
	rekorTail       = `"}}}}}}`
)

// rekorAlgorithms is how Rekor calls the algorithms of a Digest.
var rekorAlgorithms = map[string]string{"SHA2_256": "sha256:", "SHA2_512": "sha512:"}

// ParseHashedRekord reads an entry's text. It accepts only the canonical text.
func ParseHashedRekord(text []byte) (*HashedRekord, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("entry of %d bytes is over the limit of %d", len(text), MaxSize)
	}
	p := cutter{rest: string(text)}
	p.literal(rekorHead)
	algorithm := p.upTo(rekorDigest)
	prefix, known := rekorAlgorithms[algorithm]
	if p.err == nil && !known {
		return nil, fmt.Errorf("digest algorithm %.40q, want SHA2_256 or SHA2_512", algorithm)
	}
	digest := p.base64(rekorSignature, "digest")
	e := &HashedRekord{Digest: Digest(fmt.Sprintf("%s%x", prefix, digest))}
	e.Signature = p.base64(rekorKeyDetails, "signature")
	e.Certificate = strings.Contains(p.rest, rekorX509)
	e.KeyDetails = p.upTo(e.verifierLiteral())
	e.Verifier = p.base64(rekorTail, "verifier")
	switch {
	case p.err != nil:
		return nil, p.err
	case p.rest != "":
		return nil, fmt.Errorf("%d bytes follow the entry", len(p.rest))
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *HashedRekord) verifierLiteral() string {
	if e.Certificate {
		return rekorX509
	}
	return rekorPublicKey
}

// Marshal returns the canonical text of e, or an error if there is none.
func (e *HashedRekord) Marshal() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if len(e.Signature) == 0 || len(e.Verifier) == 0 {
		return nil, errors.New("the signature or the verifier is missing")
	}
	b := []byte(rekorHead)
	for name, prefix := range rekorAlgorithms {
		if strings.HasPrefix(string(e.Digest), prefix) {
			b = append(b, name...)
		}
	}
	b = append(b, rekorDigest...)
	b = base64.StdEncoding.AppendEncode(b, e.Digest.Bytes())
	b = append(b, rekorSignature...)
	b = base64.StdEncoding.AppendEncode(b, e.Signature)
	b = append(b, rekorKeyDetails...)
	b = append(b, e.KeyDetails...)
	b = append(b, e.verifierLiteral()...)
	b = base64.StdEncoding.AppendEncode(b, e.Verifier)
	b = append(b, rekorTail...)
	if len(b) > MaxSize {
		return nil, fmt.Errorf("entry of %d bytes is over the limit of %d", len(b), MaxSize)
	}
	return b, nil
}

func (e *HashedRekord) check() error {
	if !e.Digest.Valid() {
		return fmt.Errorf("digest of %d bytes is not one of its algorithm", len(e.Digest.Bytes()))
	}
	if e.KeyDetails == "" || len(e.KeyDetails) > 64 {
		return fmt.Errorf("keyDetails of %d bytes, want 1 to 64", len(e.KeyDetails))
	}
	for _, c := range []byte(e.KeyDetails) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("invalid keyDetails %q", e.KeyDetails)
		}
	}
	return nil
}

// leaf returns the leaf that the entry of a text is.
func (e *HashedRekord) leaf(text []byte) (*Leaf, error) {
	spki, err := e.SPKI()
	if err != nil {
		return nil, err
	}
	sum := SHA256(text)
	return &Leaf{
		Kind: KindAttestation, Format: FormatHashedRekord, Envelope: sum, Payload: sum,
		Claim: ClaimOther, Result: NoResult,
		Keys:     []Fingerprint{Fingerprint(SHA256(spki))},
		Subjects: []Digest{e.Digest},
		Rekor:    string(text),
	}, nil
}

// SPKI returns the DER of the public key that verifies the signature. Of a
// certificate, only the structure up to there is read.
func (e *HashedRekord) SPKI() ([]byte, error) {
	der := cryptobyte.String(e.Verifier)
	if !e.Certificate {
		var spki cryptobyte.String
		if !der.ReadASN1(&spki, asn1.SEQUENCE) || !der.Empty() {
			return nil, errors.New("the public key is not DER of one SPKI")
		}
		return e.Verifier, nil
	}
	// RFC 5280, section 4.1: what stands before subjectPublicKeyInfo.
	var cert, tbs, spki cryptobyte.String
	ok := der.ReadASN1(&cert, asn1.SEQUENCE) && der.Empty() &&
		cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.SkipASN1(asn1.SEQUENCE) && // subject
		tbs.ReadASN1Element(&spki, asn1.SEQUENCE)
	if !ok {
		return nil, errors.New("the certificate is not DER of one X.509 certificate")
	}
	return spki, nil
}

func parseRekor(text []byte) (*Leaf, error) {
	e, err := ParseHashedRekord(text)
	if err != nil {
		return nil, fmt.Errorf("reading the entry as hashedrekord 0.0.2 in canonical JSON: %w", err)
	}
	return e.leaf(text)
}

// cutter takes parts from the front of a text; the first error sticks.
type cutter struct {
	rest string
	err  error
}

func (p *cutter) literal(want string) {
	rest, ok := strings.CutPrefix(p.rest, want)
	if !ok && p.err == nil {
		p.err = fmt.Errorf("got %.40q, want %s", p.rest, want)
	}
	p.rest = rest
}

// upTo takes what stands before the next literal, and that too.
func (p *cutter) upTo(literal string) string {
	if p.err != nil {
		return ""
	}
	value, rest, ok := strings.Cut(p.rest, literal)
	if !ok {
		p.err = fmt.Errorf("%s is missing", literal)
	}
	p.rest = rest
	return value
}

// base64 takes bytes that are not empty, in their one encoding.
func (p *cutter) base64(until, what string) []byte {
	value := p.upTo(until)
	b, err := base64.StdEncoding.Strict().DecodeString(value)
	if p.err == nil && (err != nil || len(b) == 0 || base64.StdEncoding.EncodedLen(len(b)) != len(value)) {
		// The decoder skips line breaks: then the length differs.
		p.err = fmt.Errorf("%s is not the base64 of bytes", what)
	}
	return b
}
