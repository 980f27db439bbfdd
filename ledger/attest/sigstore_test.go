package attest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

const bundleV03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

// bundledStatement is what npm's registry and cosign sign: still Statement v0.1.
var bundledStatement = strings.Replace(statement(attest.PredicateProvenance, provenance), "Statement/v1", "Statement/v0.1", 1)

type object = map[string]any

// bundleText is a bundle before it is text, to be spoilt.
type bundleText object

func (b bundleText) text(t testing.TB) []byte {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (b bundleText) at(names ...string) object {
	o := object(b)
	for _, n := range names {
		o = o[n].(object)
	}
	return o
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func p256Key(t testing.TB, name string) *ecdsa.PrivateKey {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	seed[0] = 0 // below the order of the curve
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// signFor signs as Sigstore does for the kind of key.
func signFor(t testing.TB, key crypto.Signer, hash crypto.Hash, msg []byte) []byte {
	t.Helper()
	var opts crypto.SignerOpts = hash
	digest := msg
	if hash != 0 {
		h := hash.New()
		h.Write(msg)
		digest = h.Sum(nil)
	}
	if _, ok := key.(ed25519.PrivateKey); ok && hash != 0 {
		opts = &ed25519.Options{Hash: hash}
	}
	sig, err := key.Sign(rand.Reader, digest, opts)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func defaultHash(key crypto.Signer) crypto.Hash {
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		return 0
	case *ecdsa.PublicKey:
		return map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[k.Params().BitSize]
	}
	return crypto.SHA256
}

// certificateOf returns a certificate that anybody can make, with Fulcio's
// extensions.
func certificateOf(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	value := func(v any, params string) []byte {
		der, err := asn1.MarshalWithParams(v, params)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	// A GeneralNames with an otherName beside a URI.
	other := value(struct {
		ID    asn1.ObjectIdentifier
		Value string `asn1:"utf8,explicit,tag:0"`
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}, "foo!bar"}, "tag:0")
	uri := value(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("https://example/workflow")}, "")
	names := value(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: append(uri, other...)}, "")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Unix(1_700_000_000, 0), NotAfter: time.Unix(1_700_000_600, 0),
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte("https://old.example")},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: value("https://issuer.example", "utf8")},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names},
		},
	}
	ca := ed25519Key("ca")
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func dsseContent(t testing.TB, key crypto.Signer, payload string) object {
	sig := signFor(t, key, defaultHash(key), dsse.PAE(attest.TypeStatement, []byte(payload)))
	return object{
		"payloadType": attest.TypeStatement, "payload": b64([]byte(payload)),
		"signatures": []any{object{"sig": b64(sig), "keyid": ""}},
	}
}

// certBundle is a bundle with a statement, signed with the key of a certificate.
func certBundle(t testing.TB, key crypto.Signer, payload string) bundleText {
	return bundleText{
		"mediaType": bundleV03,
		"verificationMaterial": object{
			"certificate": object{"rawBytes": b64(certificateOf(t, key))},
			"tlogEntries": []any{object{"logIndex": "1"}}, "timestampVerificationData": object{},
		},
		"dsseEnvelope": dsseContent(t, key, payload),
	}
}

// keyBundle is a bundle with a statement, signed with a key, as cosign hints at it.
func keyBundle(t testing.TB, name, payload string) bundleText {
	key := ed25519Key(name)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return bundleText{
		"mediaType":            bundleV03,
		"verificationMaterial": object{"publicKey": object{"hint": b64(sum[:])}},
		"dsseEnvelope":         dsseContent(t, key, payload),
	}
}

const signedArtifact = "the artifact"

// messageBundle is a bundle with a signature of signedArtifact.
func messageBundle(t testing.TB, key crypto.Signer, algorithm string) bundleText {
	var digest []byte
	var hash crypto.Hash
	switch algorithm {
	case "SHA2_256":
		sum := sha256.Sum256([]byte(signedArtifact))
		digest, hash = sum[:], crypto.SHA256
	case "SHA2_512":
		sum := sha512.Sum512([]byte(signedArtifact))
		digest, hash = sum[:], crypto.SHA512
	}
	if _, ok := key.(ed25519.PrivateKey); ok && hash == crypto.SHA256 {
		hash = 0 // it signs the artifact itself
	}
	return bundleText{
		"mediaType":            bundleV03,
		"verificationMaterial": object{"certificate": object{"rawBytes": b64(certificateOf(t, key))}},
		"messageSignature": object{
			"messageDigest": object{"algorithm": algorithm, "digest": b64(digest)},
			"signature":     b64(signFor(t, key, hash, []byte(signedArtifact))),
		},
	}
}

func certificateKeys(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	keys := map[string]crypto.Signer{"Ed25519": ed25519Key("leaf"), "P-256": p256Key(t, "leaf")}
	for _, c := range []elliptic.Curve{elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[c.Params().Name] = k
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys["RSA"] = k
	return keys
}

func fingerprintOf(t testing.TB, key crypto.Signer) leaf.Fingerprint {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Fingerprint(leaf.SHA256(der))
}

func TestOpenBundleWithCertificate(t *testing.T) {
	for name, key := range certificateKeys(t) {
		t.Run(name, func(t *testing.T) {
			b := certBundle(t, key, bundledStatement)
			a, err := attest.Open(b.text(t), attest.NewKeyring())
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Keys) != 1 || a.Leaf.Keys[0] != fingerprintOf(t, key) {
				t.Errorf("signed by %s", a.Leaf.Keys)
			}
			want := &attest.CertificateIdentity{
				Issuer: "https://issuer.example", Names: []string{"https://example/workflow", "foo!bar"}, Certificate: a.Identity.Certificate,
			}
			if d := cmp.Diff(want, a.Identity); d != "" {
				t.Errorf("identity (-want +got):\n%s", d)
			}
			if a.Claim.Claim != leaf.ClaimBuild || a.Claim.Format != leaf.FormatSigstoreCertificate || a.Claim.BuilderID != "https://example/builder" ||
				a.Leaf.Payload != leaf.SHA256([]byte(bundledStatement)) {
				t.Errorf("claim %+v, leaf %s", a.Claim, a.Text)
			}
			// Of another's certificate, the signature is nobody's.
			b.at("verificationMaterial")["certificate"] = object{"rawBytes": b64(certificateOf(t, ed25519Key("eve")))}
			refused(t, b.text(t), attest.NewKeyring(), reason.SignatureInvalid, "certificate")
		})
	}
}

func TestOpenBundleVersions(t *testing.T) {
	for _, v := range []string{
		"application/vnd.dev.sigstore.bundle+json;version=0.1", "application/vnd.dev.sigstore.bundle+json;version=0.2",
		"application/vnd.dev.sigstore.bundle+json;version=0.3", bundleV03,
	} {
		b := certBundle(t, ed25519Key("leaf"), bundledStatement)
		b["mediaType"] = v
		m := b.at("verificationMaterial")
		m["x509CertificateChain"] = object{"certificates": []any{m["certificate"], object{"rawBytes": "?"}}}
		delete(m, "certificate")
		if a, err := attest.Open(b.text(t), attest.NewKeyring()); err != nil || a.Identity == nil {
			t.Errorf("%s: %v", v, err)
		}
	}
}

func TestOpenBundleWithKey(t *testing.T) {
	s := ed25519Signer(t, "cosign")
	b := keyBundle(t, "cosign", statement(attest.PredicateReproduction, different))
	ring := ringOf(ed25519Signer(t, "other"), s)
	a, err := attest.Open(b.text(t), ring)
	if err != nil {
		t.Fatal(err)
	}
	if a.Identity != nil || len(a.Keys) != 1 || a.Keys[0].Fingerprint != s.Public.Fingerprint || a.Claim.Result != leaf.Different {
		t.Errorf("keys %v, claim %+v", a.Leaf.Keys, a.Claim)
	}
	refused(t, b.text(t), ringOf(ed25519Signer(t, "other")), reason.KeyNotEnrolled, string(s.Public.Fingerprint))
	b.at("verificationMaterial", "publicKey")["hint"] = "anything"
	if _, err := attest.Open(b.text(t), ring); err != nil {
		t.Errorf("a hint decides: %v", err)
	}
}

func TestOpenMessageSignature(t *testing.T) {
	keys := certificateKeys(t)
	d256, d512 := sha256.Sum256([]byte(signedArtifact)), sha512.Sum512([]byte(signedArtifact))
	for _, tt := range []struct {
		key, algorithm string
		ok             bool
	}{
		{"P-256", "SHA2_256", true}, {"P-384", "SHA2_256", true}, {"P-521", "SHA2_512", true}, {"RSA", "SHA2_256", true},
		{"RSA", "SHA2_512", true}, {"Ed25519", "SHA2_512", true},
		{"Ed25519", "SHA2_256", false}, // signs the artifact
		{"P-256", "SHA2_512", false},   // signs the first half of the digest
		{"P-384", "SHA2_512", false},
	} {
		t.Run(tt.key+" "+tt.algorithm, func(t *testing.T) {
			b := messageBundle(t, keys[tt.key], tt.algorithm)
			if !tt.ok {
				refused(t, b.text(t), attest.NewKeyring(), reason.KeyUnsupported, tt.algorithm)
				return
			}
			a, err := attest.Open(b.text(t), attest.NewKeyring())
			if err != nil {
				t.Fatal(err)
			}
			want, payload := leaf.SHA256([]byte(signedArtifact)), leaf.SHA256(d256[:])
			if tt.algorithm == "SHA2_512" {
				want, payload = leaf.Digest("sha512:"+hex.EncodeToString(d512[:])), leaf.SHA256(d512[:])
			}
			if a.Claim.Claim != leaf.ClaimOther || len(a.Leaf.Subjects) != 1 || a.Leaf.Subjects[0] != want || a.Leaf.Payload != payload {
				t.Errorf("claim %+v\n%s", a.Claim, a.Text)
			}
			sum := b.at("messageSignature", "messageDigest")["digest"].(string)
			b.at("messageSignature", "messageDigest")["digest"] = b64(make([]byte, len(sum)/4*3-strings.Count(sum, "=")))
			refused(t, b.text(t), attest.NewKeyring(), reason.SignatureInvalid, "certificate")
		})
	}
}

// With an enrolled key, the reasons are the same; the prepared form verifies too.
func TestOpenMessageSignatureWithKey(t *testing.T) {
	s := ed25519Signer(t, "leaf")
	hinted := func(algorithm, hint string) []byte {
		b := messageBundle(t, ed25519Key("leaf"), algorithm)
		b["verificationMaterial"] = object{"publicKey": object{"hint": hint}}
		return b.text(t)
	}
	fp := string(s.Public.Fingerprint)
	for _, k := range []*attest.PublicKey{s.Public, s.Public.Prepare()} {
		if _, err := attest.Open(hinted("SHA2_512", fp), attest.NewKeyring(k)); err != nil {
			t.Error(err)
		}
		refused(t, hinted("SHA2_256", fp), attest.NewKeyring(k), reason.KeyUnsupported, "the artifact itself")
		refused(t, hinted("SHA2_256", ""), attest.NewKeyring(k), reason.KeyNotEnrolled, "")
	}
}

func TestOpenRefusesBundles(t *testing.T) {
	key := ed25519Key("leaf")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		change  func(b bundleText)
		want    reason.Reason
		message string
	}{
		{"a later version", func(b bundleText) { b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json" }, reason.FormatUnknown, "v0.4"},
		{"no version", func(b bundleText) { delete(b, "mediaType") }, reason.FormatUnknown, "mediaType"},
		{"no content", func(b bundleText) { delete(b, "dsseEnvelope") }, reason.EnvelopeMalformed, "one of dsseEnvelope"},
		{"two contents", func(b bundleText) { b["messageSignature"] = object{} }, reason.EnvelopeMalformed, "one of dsseEnvelope"},
		{"no material", func(b bundleText) { delete(b, "verificationMaterial") }, reason.EnvelopeMalformed, "verificationMaterial"},
		{"two materials", func(b bundleText) { b.at("verificationMaterial")["publicKey"] = object{} }, reason.EnvelopeMalformed, "verificationMaterial"},
		{"an empty chain", func(b bundleText) {
			b["verificationMaterial"] = object{"x509CertificateChain": object{"certificates": []any{}}}
		}, reason.EnvelopeMalformed, "no certificate"},
		{"bad base64", func(b bundleText) { b.at("verificationMaterial", "certificate")["rawBytes"] = "!" }, reason.EnvelopeMalformed, "decoding"},
		{"no certificate", func(b bundleText) { b.at("verificationMaterial", "certificate")["rawBytes"] = "" }, reason.EnvelopeMalformed, "parsing the bundle's certificate"},
		{"a certificate with a tail", func(b bundleText) {
			b.at("verificationMaterial", "certificate")["rawBytes"] = b64(append(certificateOf(t, key), 0))
		}, reason.EnvelopeMalformed, "certificate"},
		{"a short RSA key", func(b bundleText) {
			b.at("verificationMaterial", "certificate")["rawBytes"] = b64(certificateOf(t, small))
		}, reason.KeyUnsupported, "1024 bits"},
		{"another curve", func(b bundleText) {
			b.at("verificationMaterial", "certificate")["rawBytes"] = b64(certificateOf(t, p224))
		}, reason.KeyUnsupported, "P-224"},
		{"unknown member", func(b bundleText) { b["x"] = 1 }, reason.EnvelopeMalformed, "unknown"},
		{"protobuf's other name", func(b bundleText) { b["verification_material"] = object{} }, reason.EnvelopeMalformed, "unknown"},
		{"unknown member of the envelope", func(b bundleText) { b.at("dsseEnvelope")["x"] = 1 }, reason.EnvelopeMalformed, "unknown"},
		{"two signatures", func(b bundleText) {
			e := b.at("dsseEnvelope")
			e["signatures"] = append(e["signatures"].([]any), e["signatures"].([]any)...)
		}, reason.EnvelopeMalformed, "2 signatures"},
		{"no signature", func(b bundleText) { b.at("dsseEnvelope")["signatures"] = []any{} }, reason.EnvelopeMalformed, "0 signatures"},
		{"an enrolment", func(b bundleText) { b.at("dsseEnvelope")["payloadType"] = attest.TypeEnrolment }, reason.PayloadTypeUnknown, "bundle"},
		{"another payload", func(b bundleText) { b.at("dsseEnvelope")["payload"] = b64([]byte("{}")) }, reason.SignatureInvalid, "certificate"},
		{"no statement", func(b bundleText) { b["dsseEnvelope"] = dsseContent(t, key, `{"_type":"x"}`) }, reason.PayloadNotStatement, "_type"},
		{"a digest of another kind", func(b bundleText) { spoilMessage(t, b, "algorithm", "SHA2_384") }, reason.SubjectWithoutDigest, "SHA2_384"},
		{"a digest that is short", func(b bundleText) { spoilMessage(t, b, "digest", b64([]byte("x"))) }, reason.DigestInvalid, "1 bytes"},
		{"a digest that is no base64", func(b bundleText) { spoilMessage(t, b, "digest", "!") }, reason.EnvelopeMalformed, "digest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := certBundle(t, key, bundledStatement)
			tt.change(b)
			refused(t, b.text(t), attest.NewKeyring(), tt.want, tt.message)
		})
	}
}

// spoilMessage makes of b a signature of an artifact, with another digest.
func spoilMessage(t *testing.T, b bundleText, member, value string) {
	delete(b, "dsseEnvelope")
	m := messageBundle(t, p256Key(t, "leaf"), "SHA2_256")
	m.at("messageSignature", "messageDigest")[member] = value
	b["messageSignature"] = m["messageSignature"]
}

// A plain DSSE envelope must say Statement v1: only bundles of others may say v0.1.
func TestStatementV01(t *testing.T) {
	s := ed25519Signer(t, "alice")
	refused(t, seal(t, attest.TypeStatement, bundledStatement, s).text(t), ringOf(s), reason.PayloadNotStatement, "v0.1")
}

// FuzzSigstore signs arbitrary payloads with a certificate, and opens arbitrary
// bundles as they are.
func FuzzSigstore(f *testing.F) {
	key := ed25519Key("leaf")
	ring := ringOf(ed25519Signer(f, "cosign"))
	for _, b := range []bundleText{
		keyBundle(f, "cosign", bundledStatement), certBundle(f, key, bundledStatement),
		messageBundle(f, key, "SHA2_512"), messageBundle(f, p256Key(f, "leaf"), "SHA2_256"),
	} {
		f.Add(b.text(f), false)
	}
	f.Add([]byte(bundledStatement), true)
	f.Add([]byte(statement("https://example", "{}")), true)
	f.Fuzz(func(t *testing.T, raw []byte, sign bool) {
		if sign {
			raw = certBundle(t, key, string(raw)).text(t)
		}
		a, err := attest.Open(raw, ring)
		if err != nil {
			checkRefused(t, a, err)
			return
		}
		checkOpened(t, raw, a)
	})
}
