package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"strings"

	_ "crypto/sha512" // ECDSA keys above P-256

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// CertificateIdentity is who a certificate says its key belongs to.
type CertificateIdentity struct {
	// Issuer is the OpenID Connect issuer that Fulcio asked; empty if the
	// certificate does not say.
	Issuer string
	// Names are the subject alternative names: URIs, mail addresses, and the user
	// names of Fulcio.
	Names []string
	// Certificate is the certificate's DER encoding.
	Certificate []byte
}

// Certified reports whether a is worth something only if who issued the
// certificate that it brings is trusted. A Rekor entry may bring one too, but says
// no more than that it was logged.
func (a *Attestation) Certified() bool { return a.Leaf.Format == leaf.FormatSigstoreCertificate }

// Bounds of the RSA keys in certificates. Verification takes longer with the
// modulus, which whoever submits chooses.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// Fulcio's extensions, of its oid-info document.
var (
	oidIssuerV1  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	oidIssuerV2  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oidOtherName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}
	oidSAN       = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// certificateKey returns the key of a certificate, which may be of kinds that no key
// of Cairn's own has.
func certificateKey(cert *x509.Certificate) (*PublicKey, error) {
	switch k := cert.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if hashOf(k) == 0 {
			return nil, reason.Errorf(reason.KeyUnsupported, "certificate with an ECDSA key on curve %s: want P-256, P-384 or P-521", k.Params().Name)
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, reason.Errorf(reason.KeyUnsupported, "certificate with an RSA key of %d bits: want %d to %d", n, minRSABits, maxRSABits)
		}
	default:
		return nil, reason.Errorf(reason.KeyUnsupported, "certificate with a key of type %T: want Ed25519, ECDSA or RSA", k)
	}
	return pkixKey(cert.PublicKey)
}

// hashOf returns the hash that Sigstore pairs with an ECDSA key's curve; 0 if it has
// none.
func hashOf(k *ecdsa.PublicKey) crypto.Hash {
	switch k.Params().BitSize {
	case 256:
		return crypto.SHA256
	case 384:
		return crypto.SHA384
	case 521:
		return crypto.SHA512
	}
	return 0
}

// verifyDigest reports whether sig is the key's signature of what has a digest. It is
// not possible to tell for keys that sign the message itself.
func (k *PublicKey) verifyDigest(d leaf.Digest, sig []byte) (ok, possible bool) {
	sum, hash := d.Bytes(), crypto.SHA256
	if len(sum) == crypto.SHA512.Size() {
		hash = crypto.SHA512
	}
	switch key := k.key.(type) {
	case *ecdsa.PublicKey:
		// Of a longer digest only the beginning is signed.
		if len(sum) > (key.Params().BitSize+7)/8 {
			return false, false
		}
		return ecdsa.VerifyASN1(key, sum, sig), true
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(key, hash, sum, sig) == nil, true
	case *prepared:
		return verifyPrehashed(key.PublicKey, hash, sum, sig)
	case ed25519.PublicKey:
		return verifyPrehashed(key, hash, sum, sig)
	}
	return false, false
}

// verifyPrehashed verifies with Ed25519ph of RFC 8032, which is over SHA-512.
func verifyPrehashed(key ed25519.PublicKey, hash crypto.Hash, sum, sig []byte) (ok, possible bool) {
	if hash != crypto.SHA512 {
		return false, false
	}
	return ed25519.VerifyWithOptions(key, sum, sig, &ed25519.Options{Hash: hash}) == nil, true
}

// identityOf returns what a certificate says. What cannot be read is left out: it
// decides nothing here.
func identityOf(cert *x509.Certificate) *CertificateIdentity {
	id := &CertificateIdentity{Certificate: cert.Raw}
	for _, u := range cert.URIs {
		id.Names = append(id.Names, u.String())
	}
	id.Names = append(id.Names, cert.EmailAddresses...)
	for _, x := range cert.Extensions {
		switch {
		case x.Id.Equal(oidIssuerV1) && id.Issuer == "":
			id.Issuer = strings.ToValidUTF8(string(x.Value), "\uFFFD")
		case x.Id.Equal(oidIssuerV2):
			var issuer string
			if rest, err := asn1.Unmarshal(x.Value, &issuer); err == nil && len(rest) == 0 {
				id.Issuer = issuer
			}
		case x.Id.Equal(oidSAN):
			id.Names = append(id.Names, otherNames(x.Value)...)
		}
	}
	return id
}

// otherNames returns the user names of a subjectAltName extension, which
// crypto/x509 leaves out.
func otherNames(der []byte) []string {
	var all asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &all); err != nil || len(rest) > 0 || all.Tag != asn1.TagSequence {
		return nil
	}
	var names []string
	for rest := all.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return names
		}
		var other struct {
			ID    asn1.ObjectIdentifier
			Value string `asn1:"utf8,explicit,tag:0"`
		}
		if name.Class != asn1.ClassContextSpecific || name.Tag != 0 {
			continue
		}
		if _, err := asn1.UnmarshalWithParams(name.FullBytes, &other, "tag:0"); err != nil || !other.ID.Equal(oidOtherName) {
			continue
		}
		names = append(names, other.Value)
	}
	return names
}
