package attest_test

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
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/google/go-cmp/cmp"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	algorithms "github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// rekorServer is the judgement of Rekor's server, with the algorithms that it takes
// by default. It returns the entry that it would log.
func rekorServer(req *rekor.HashedRekordRequestV002) ([]byte, error) {
	registry, err := algorithms.NewAlgorithmRegistryConfig([]common.PublicKeyDetails{
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
		common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256,
		common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		common.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
		common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		common.PublicKeyDetails_PKIX_ED25519_PH,
	})
	if err != nil {
		return nil, err
	}
	entry, err := hashedrekord.ToLogEntry(req, registry)
	if err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(entry)
	if err != nil {
		return nil, err
	}
	return jsoncanonicalizer.Transform(text)
}

// rekorSigner signs digests for entries.
type rekorSigner struct {
	key     crypto.Signer
	details common.PublicKeyDetails
	hash    crypto.Hash
}

// rekorSigners returns a signer of each kind that entries may have.
func rekorSigners(t testing.TB) []rekorSigner {
	t.Helper()
	const (
		rsa2048 = common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256
		rsa3072 = common.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256
		rsa4096 = common.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256
	)
	seed := sha256.Sum256([]byte("alice"))
	list := []rekorSigner{
		{ecdsaKey(t, elliptic.P256()), common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, crypto.SHA256},
		{ecdsaKey(t, elliptic.P521()), common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, crypto.SHA512},
		{ed25519.NewKeyFromSeed(seed[:]), common.PublicKeyDetails_PKIX_ED25519_PH, crypto.SHA512},
	}
	for bits, details := range map[int]common.PublicKeyDetails{2048: rsa2048, 3072: rsa3072, 4096: rsa4096} {
		list = append(list, rekorSigner{rsaKey(t, bits), details, crypto.SHA256})
	}
	return list
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func spkiOf(t testing.TB, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (s rekorSigner) request(t testing.TB, artifact string) *rekor.HashedRekordRequestV002 {
	t.Helper()
	h := s.hash.New()
	h.Write([]byte(artifact))
	digest := h.Sum(nil)
	sig, err := s.key.Sign(rand.Reader, digest, s.hash)
	if err != nil {
		t.Fatal(err)
	}
	return &rekor.HashedRekordRequestV002{
		Digest: digest,
		Signature: &rekor.Signature{Content: sig, Verifier: &rekor.Verifier{
			KeyDetails: s.details,
			Verifier:   &rekor.Verifier_PublicKey{PublicKey: &rekor.PublicKey{RawBytes: spkiOf(t, s.key.Public())}},
		}},
	}
}

// certified replaces the key of a request by a certificate of it.
func (s rekorSigner) certified(t testing.TB, req *rekor.HashedRekordRequestV002, change func(*x509.Certificate)) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	req.Signature.Verifier.Verifier = &rekor.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: der}}
}

// textOf writes the entry of a request without asking whether it is a good one.
func textOf(t testing.TB, req *rekor.HashedRekordRequestV002, algorithm string) []byte {
	t.Helper()
	v := req.Signature.Verifier
	e := leaf.HashedRekord{
		Digest: leaf.Digest(algorithm + ":" + hex.EncodeToString(req.Digest)), Signature: req.Signature.Content,
		KeyDetails: v.KeyDetails.String(), Verifier: v.GetPublicKey().GetRawBytes(),
	}
	if c := v.GetX509Certificate(); c != nil {
		e.Verifier, e.Certificate = c.RawBytes, true
	}
	text, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var rekorHashes = map[crypto.Hash]string{crypto.SHA256: "sha256", crypto.SHA512: "sha512"}

// What Rekor's server makes of a request is what is opened here, to the letter.
func TestHashedRekordIsRekors(t *testing.T) {
	for _, s := range rekorSigners(t) {
		for _, certified := range []bool{false, true} {
			req := s.request(t, "hello\n")
			var names []string
			if certified {
				s.certified(t, req, func(c *x509.Certificate) { c.EmailAddresses = []string{"alice@example"} })
				names = []string{"alice@example"}
			}
			raw, err := rekorServer(req)
			if err != nil {
				t.Fatalf("%s: Rekor's server refuses: %v", s.details, err)
			}
			a, err := attest.Open(raw, ringOf())
			if err != nil {
				t.Errorf("%s: %v", s.details, err)
				continue
			}
			if text := textOf(t, req, rekorHashes[s.hash]); !bytes.Equal(a.Text, raw) || !bytes.Equal(text, raw) {
				t.Errorf("%s: Rekor logs\n%s\nhere it is\n%s\nand is written as\n%s", s.details, raw, a.Text, text)
			}
			checkOpened(t, raw, a)
			want := attest.Claim{
				Kind: leaf.KindAttestation, Format: "hashedrekord", Claim: leaf.ClaimOther, Result: leaf.NoResult,
				Subjects: []attest.Resource{{Digests: map[string]string{rekorHashes[s.hash]: hex.EncodeToString(req.Digest)}}},
			}
			if d := cmp.Diff(want, a.Claim); d != "" {
				t.Errorf("%s: %s", s.details, d)
			}
			if certified != (a.Identity != nil) || certified && !slices.Equal(a.Identity.Names, names) {
				t.Errorf("%s: the certificate's identity is %+v, want %q", s.details, a.Identity, names)
			}
			if fp := leaf.Fingerprint(leaf.SHA256(spkiOf(t, s.key.Public()))); a.Keys[0].Fingerprint != fp || !strings.HasPrefix(a.Keys[0].PEM, "-----BEGIN PUBLIC KEY-----\n") {
				t.Errorf("%s: the key is %s, want %s", s.details, a.Keys[0].Fingerprint, fp)
			}
		}
	}
}

func TestHashedRekordIdentity(t *testing.T) {
	s := rekorSigner{ecdsaKey(t, elliptic.P256()), common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, crypto.SHA256}
	workflow, err := url.Parse("https://ci.example/build.yml@refs/heads/main")
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*x509.Certificate){
		workflow.String(): func(c *x509.Certificate) { c.URIs = []*url.URL{workflow} },
		"a@b":             func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b"} },
		"":                func(c *x509.Certificate) { c.DNSNames = []string{"host.example"} },
	} {
		req := s.request(t, "x")
		s.certified(t, req, change)
		a, err := attest.Open(textOf(t, req, "sha256"), ringOf())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(a.Identity.Names, " "); got != want || a.Claim.Operator != "" {
			t.Errorf("the names are %q, want %q; the operator, whom nobody checked, is %q", got, want, a.Claim.Operator)
		}
	}
}

// badRekord is an entry that is refused. rekors says that Rekor's server takes it.
type badRekord struct {
	name    string
	change  func(t *testing.T, x *rekordSpoiler)
	want    reason.Reason
	message string
	rekors  bool
}

type rekordSpoiler struct {
	rekorSigner
	req *rekor.HashedRekordRequestV002
}

func (x *rekordSpoiler) publicKey(der []byte) {
	x.req.Signature.Verifier.Verifier = &rekor.Verifier_PublicKey{PublicKey: &rekor.PublicKey{RawBytes: der}}
}

func (x *rekordSpoiler) details(d common.PublicKeyDetails) { x.req.Signature.Verifier.KeyDetails = d }

// by signs with another kind of key.
func (x *rekordSpoiler) by(t *testing.T, s rekorSigner) { x.req = s.request(t, "hello\n") }

var badRekords = []badRekord{
	{"another digest", func(_ *testing.T, x *rekordSpoiler) { x.req.Digest[0] ^= 1 }, reason.SignatureInvalid, "does not verify", false},
	{"another signature", func(t *testing.T, x *rekordSpoiler) {
		x.req.Signature.Content = x.request(t, "other").Signature.Content
	}, reason.SignatureInvalid, "does not verify", false},
	{"another key", func(t *testing.T, x *rekordSpoiler) {
		x.publicKey(spkiOf(t, ecdsaKey(t, elliptic.P256()).Public()))
	}, reason.SignatureInvalid, "does not verify", false},
	{"a signature and a byte", func(_ *testing.T, x *rekordSpoiler) {
		x.req.Signature.Content = append(x.req.Signature.Content, 0)
	}, reason.SignatureInvalid, "does not verify", false},
	{"the key of another kind", func(_ *testing.T, x *rekordSpoiler) {
		x.details(common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256)
	}, reason.KeyUnsupported, "the key is no PKIX_RSA", true},
	{"a kind that nobody takes", func(_ *testing.T, x *rekordSpoiler) {
		x.details(common.PublicKeyDetails_PKIX_RSA_PSS_2048_SHA256)
	}, reason.KeyUnsupported, "keyDetails \"PKIX_RSA_PSS_2048_SHA256\", want one of PKIX_ECDSA_P256_SHA_256, ", true},
	{"an unspecified kind", func(_ *testing.T, x *rekordSpoiler) {
		x.details(common.PublicKeyDetails_PUBLIC_KEY_DETAILS_UNSPECIFIED)
	}, reason.KeyUnsupported, "keyDetails \"PUBLIC_KEY", false},
	{"Ed25519 without a hash", func(t *testing.T, x *rekordSpoiler) {
		seed := sha256.Sum256([]byte("alice"))
		key := ed25519.NewKeyFromSeed(seed[:])
		x.publicKey(spkiOf(t, key.Public()))
		x.details(common.PublicKeyDetails_PKIX_ED25519)
		x.req.Signature.Content = ed25519.Sign(key, x.req.Digest)
	}, reason.KeyUnsupported, "keyDetails \"PKIX_ED25519\",", false},
	{"Ed25519ph of a sha256", func(t *testing.T, x *rekordSpoiler) {
		seed := sha256.Sum256([]byte("alice"))
		x.publicKey(spkiOf(t, ed25519.NewKeyFromSeed(seed[:]).Public()))
		x.details(common.PublicKeyDetails_PKIX_ED25519_PH)
	}, reason.DigestInvalid, "PKIX_ED25519_PH signs sha512", false},
	{"RSA of an odd size", func(t *testing.T, x *rekordSpoiler) {
		x.by(t, rekorSigner{rsaKey(t, 2056), common.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, crypto.SHA256})
	}, reason.KeyUnsupported, "the key is no PKIX_RSA_PKCS1V15_2048", false},
	{"P-384 with SHA-256", func(t *testing.T, x *rekordSpoiler) {
		x.by(t, rekorSigner{ecdsaKey(t, elliptic.P384()), common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, crypto.SHA256})
	}, reason.KeyUnsupported, "the key is no PKIX_ECDSA_P256", false},
	{"P-521 with SHA-256", func(t *testing.T, x *rekordSpoiler) {
		x.by(t, rekorSigner{ecdsaKey(t, elliptic.P521()), common.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, crypto.SHA256})
	}, reason.DigestInvalid, "signs sha512", false},
	{"a key that does not parse", func(_ *testing.T, x *rekordSpoiler) {
		x.publicKey([]byte{0x30, 0})
	}, reason.KeyUnsupported, "parsing the entry's key", false},
	{"a certificate that does not parse", func(t *testing.T, x *rekordSpoiler) {
		x.certified(t, x.req, func(*x509.Certificate) {})
		der := x.req.Signature.Verifier.GetX509Certificate().RawBytes
		version := bytes.Index(der, []byte{0xa0, 3, 2, 1, 2})
		der[version+4] = 9
	}, reason.KeyUnsupported, "parsing the entry's certificate", false},
	{"no certificate", func(_ *testing.T, x *rekordSpoiler) {
		x.req.Signature.Verifier.Verifier = &rekor.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: []byte{0x30, 0}}}
	}, reason.EnvelopeMalformed, "not DER of one X.509 certificate", false},
	{"a key in another encoding", func(t *testing.T, x *rekordSpoiler) {
		// Go's parser lets fields follow in a SEQUENCE.
		der := append(spkiOf(t, x.key.Public()), 5, 0)
		der[1] += 2
		x.publicKey(der)
	}, reason.KeyUnsupported, "not in its canonical encoding", true},
}

func TestOpenRefusesRekorEntries(t *testing.T) {
	s := rekorSigner{ecdsaKey(t, elliptic.P256()), common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, crypto.SHA256}
	for _, tt := range badRekords {
		t.Run(tt.name, func(t *testing.T) {
			x := &rekordSpoiler{s, s.request(t, "hello\n")}
			tt.change(t, x)
			refused(t, textOf(t, x.req, "sha256"), ringOf(), tt.want, tt.message)
			if logged, err := rekorServer(x.req); (err == nil) != tt.rekors {
				t.Errorf("Rekor's server makes %s, %v of it, want it to take it: %t", logged, err, tt.rekors)
			}
		})
	}
}

func TestOpenRefusesTextsOfRekorEntries(t *testing.T) {
	s := rekorSigner{ecdsaKey(t, elliptic.P256()), common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, crypto.SHA256}
	good := string(textOf(t, s.request(t, "hello\n"), "sha256"))
	for name, tt := range map[string]struct {
		raw, message string
		want         reason.Reason
	}{
		"a newline behind":   {good + "\n", "1 bytes follow", reason.EnvelopeMalformed},
		"spaces":             {" " + good, "want {", reason.EnvelopeMalformed},
		"another order":      {`{"kind":"hashedrekord"}`, "want {", reason.EnvelopeMalformed},
		"sha384":             {strings.Replace(good, "SHA2_256", "SHA2_384", 1), `digest algorithm "SHA2_384"`, reason.EnvelopeMalformed},
		"larger than leaves": {good[:len(good)-1] + strings.Repeat(" ", leaf.MaxSize) + "}", "over the limit of 40960", reason.EnvelopeTooLarge},
	} {
		t.Run(name, func(t *testing.T) { refused(t, []byte(tt.raw), ringOf(), tt.want, tt.message) })
	}
}
