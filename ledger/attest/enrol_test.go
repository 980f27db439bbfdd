package attest_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

func enrolment(t testing.TB, pem, operator, url string) string {
	t.Helper()
	b, err := json.Marshal(map[string]string{"publicKey": pem, "operator": operator, "url": url})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func pkixPEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestEnrol(t *testing.T) {
	for name, s := range map[string]*attest.Signer{"Ed25519": ed25519Signer(t, "alice"), "P-256": p256Signer(t, "alice")} {
		raw, err := attest.Enrol(s, "https://alice.example", "https://alice.example/keys")
		if err != nil {
			t.Fatal(err)
		}
		// The empty keyring: an enrolment needs no other.
		a := mustOpen(t, raw, attest.NewKeyring())
		fp := s.Public.Fingerprint
		wantClaim := attest.Claim{
			Kind: leaf.KindEnrol, Format: "dsse", Claim: leaf.ClaimOther, Result: leaf.NoResult,
			PredicateType: attest.TypeEnrolment, Operator: "https://alice.example",
			Subjects: []attest.Resource{{Name: string(fp), Digests: map[string]string{"sha256": leaf.Digest(fp).Hex()}}},
		}
		if d := cmp.Diff(wantClaim, a.Claim); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if e := a.Enrolment; e == nil || e.Key.PEM != s.Public.PEM || e.Operator != "https://alice.example" || e.URL != "https://alice.example/keys" {
			t.Errorf("%s: %+v", name, e)
		}
		if a.Revocation != nil {
			t.Errorf("%s: an enrolment revokes", name)
		}
		if d := cmp.Diff([]leaf.Fingerprint{fp}, a.Leaf.Keys); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// The key's text may be in another form; the fingerprint and what is kept are
// of the key.
func TestEnrolOfUnusualPEM(t *testing.T) {
	s := ed25519Signer(t, "alice")
	unusual := "comment\r\n" + strings.ReplaceAll(s.Public.PEM, "\n", "\r\n")
	a := mustOpen(t, seal(t, attest.TypeEnrolment, enrolment(t, unusual, "urn:x", ""), s).text(t), attest.NewKeyring())
	if a.Enrolment.Key.PEM != s.Public.PEM || a.Enrolment.Key.Fingerprint != s.Public.Fingerprint {
		t.Errorf("%+v", a.Enrolment.Key)
	}
}

func TestEnrolRefuses(t *testing.T) {
	s, other := ed25519Signer(t, "alice"), p256Signer(t, "bob")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := s.Public.PEM
	good := enrolment(t, key, "https://alice.example", "https://alice.example")
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	const enrolmentInvalid, keyUnsupported = reason.EnrolmentInvalid, reason.KeyUnsupported
	for _, tt := range []struct {
		name, payload string
		signers       []*attest.Signer
		want          reason.Reason
		message       string
	}{
		{"not JSON", "x", nil, enrolmentInvalid, "parsing enrolment"},
		{"trailing data", good + "x", nil, enrolmentInvalid, "parsing enrolment"},
		{"an unknown member", replace(`{`, `{"x":1,`), nil, enrolmentInvalid, `unknown object member name "x"`},
		{"Operator beside operator", replace(`{`, `{"Operator":"https://bob.example",`), nil, enrolmentInvalid, `unknown object member name "Operator"`},
		{"Operator", replace(`"operator"`, `"Operator"`), nil, enrolmentInvalid, `unknown object member name "Operator"`},
		{"operator twice", replace(`{`, `{"operator":"https://bob.example",`), nil, enrolmentInvalid, "duplicate object member name"},
		{"invalid UTF-8", replace("alice", "\xff"), nil, enrolmentInvalid, "invalid UTF-8"},
		{"no operator", enrolment(t, key, "", ""), nil, enrolmentInvalid, `operator "" of the enrolment is not an absolute URI`},
		{"a relative operator", enrolment(t, key, "alice", ""), nil, enrolmentInvalid, `operator "alice"`},
		{"an operator that does not parse", enrolment(t, key, "https://\n", ""), nil, enrolmentInvalid, "operator"},
		{"a long operator", enrolment(t, key, "https://"+strings.Repeat("a", 2048), ""), nil, enrolmentInvalid, "at most 2048 bytes"},
		{"a relative url", enrolment(t, key, "urn:x", "/x"), nil, enrolmentInvalid, `url "/x"`},
		{"no key", enrolment(t, "", "urn:x", ""), nil, keyUnsupported, "no PEM block PUBLIC KEY"},
		{"a certificate", enrolment(t, strings.ReplaceAll(key, "PUBLIC KEY", "CERTIFICATE"), "urn:x", ""), nil, keyUnsupported, "no PEM block PUBLIC KEY"},
		{"two keys", enrolment(t, key+other.Public.PEM, "urn:x", ""), nil, keyUnsupported, "more than one PEM block"},
		{"a key that does not parse", enrolment(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "urn:x", ""), nil, keyUnsupported, "parsing public key"},
		{"an RSA key", enrolment(t, pkixPEM(t, rsaKey.Public()), "urn:x", ""), nil, keyUnsupported, "*rsa.PublicKey, want Ed25519 or ECDSA P-256"},
		{"a P-384 key", enrolment(t, pkixPEM(t, p384.Public()), "urn:x", ""), nil, keyUnsupported, "curve P-384, want P-256"},
		{"signed by another key", good, []*attest.Signer{other}, enrolmentInvalid, "not signed by the key in it alone"},
		{"signed by another key too", good, []*attest.Signer{s, other}, enrolmentInvalid, "not signed by the key in it alone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signers := tt.signers
			if signers == nil {
				signers = []*attest.Signer{s}
			}
			// A key that is enrolled already may not vouch for a new one.
			refused(t, seal(t, attest.TypeEnrolment, tt.payload, signers...).text(t), ringOf(s, other), tt.want, tt.message)
		})
	}
}

func TestEnrolRefusesSignatures(t *testing.T) {
	s, other := ed25519Signer(t, "alice"), p256Signer(t, "bob")
	good := enrolment(t, s.Public.PEM, "https://alice.example", "")
	e := seal(t, attest.TypeEnrolment, good, other)
	e.Signatures[0].KeyID = string(s.Public.Fingerprint)
	refused(t, e.text(t), ringOf(other), reason.SignatureInvalid, "does not verify")
	e = seal(t, attest.TypeStatement, good, s)
	e.PayloadType = attest.TypeEnrolment
	refused(t, e.text(t), ringOf(s), reason.SignatureInvalid, "does not verify")
}

func TestRevoke(t *testing.T) {
	s := ed25519Signer(t, "alice")
	raw, err := attest.Revoke(s, "lost")
	if err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, raw, ringOf(s))
	if d := cmp.Diff(&attest.Revocation{Key: s.Public.Fingerprint, Reason: "lost"}, a.Revocation); d != "" {
		t.Error(d)
	}
	if a.Enrolment != nil || a.Leaf.Kind != leaf.KindRevoke || a.Claim.PredicateType != attest.TypeRevocation {
		t.Errorf("%+v", a.Claim)
	}
	if d := cmp.Diff([]leaf.Digest{leaf.Digest(s.Public.Fingerprint)}, a.Leaf.Subjects); d != "" {
		t.Error(d)
	}
}

func TestRevokeRefuses(t *testing.T) {
	s, other, eve := ed25519Signer(t, "alice"), p256Signer(t, "bob"), ed25519Signer(t, "eve")
	good := `{"key":"` + string(s.Public.Fingerprint) + `","reason":"lost"}`
	for _, tt := range []struct {
		name, payload string
		signers       []*attest.Signer
		want          reason.Reason
		message       string
	}{
		{"not JSON", "x", []*attest.Signer{s}, reason.RevocationInvalid, "parsing revocation"},
		{"an unknown member", `{"x":1,` + good[1:], []*attest.Signer{s}, reason.RevocationInvalid, "unknown object member name"},
		{"Key", strings.Replace(good, `"key"`, `"Key"`, 1), []*attest.Signer{s}, reason.RevocationInvalid, `unknown object member name "Key"`},
		{"key twice", `{"key":"x",` + good[1:], []*attest.Signer{s}, reason.RevocationInvalid, "duplicate object member name"},
		{"no key", `{"reason":"lost"}`, []*attest.Signer{s}, reason.RevocationInvalid, `key "" of the revocation is not a fingerprint`},
		{"a key without algorithm", `{"key":"` + hexA + `"}`, []*attest.Signer{s}, reason.RevocationInvalid, "is not a fingerprint"},
		{"the key and another", good, []*attest.Signer{s, other}, reason.RevokerNotAuthorised, "signed by one key, this one by 2"},
		{"an unknown key", good, []*attest.Signer{eve}, reason.KeyNotEnrolled, "is not enrolled"},
		{"an OpenPGP key", `{"key":"openpgp:` + hexA[:40] + `"}`, []*attest.Signer{s}, reason.RevocationInvalid, "submit its public key block"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, seal(t, attest.TypeRevocation, tt.payload, tt.signers...).text(t), ringOf(s, other), tt.want, tt.message)
		})
	}
}

func TestKeys(t *testing.T) {
	for name, generate := range map[string]func() (*attest.Signer, []byte, error){
		"Ed25519": attest.GenerateEd25519, "P-256": attest.GenerateP256,
	} {
		s, private, err := generate()
		if err != nil {
			t.Fatal(err)
		}
		again, err := attest.ParsePrivateKey(private)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		public, err := attest.ParsePublicKey([]byte(s.Public.PEM))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		block, _ := pem.Decode([]byte(s.Public.PEM))
		want := leaf.Fingerprint(leaf.SHA256(block.Bytes))
		for _, k := range []*attest.PublicKey{s.Public, again.Public, public} {
			if k.Fingerprint != want || k.PEM != s.Public.PEM {
				t.Errorf("%s: %s, want %s", name, k.Fingerprint, want)
			}
		}
		mustOpen(t, seal(t, attest.TypeStatement, statement("x", "{}"), again).text(t), attest.NewKeyring(public))
	}
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "no PEM block PRIVATE KEY"},
		{"a public key", ed25519Signer(t, "alice").Public.PEM, "no PEM block PRIVATE KEY"},
		{"a key of another form", block("EC PRIVATE KEY", der), "no PEM block PRIVATE KEY"},
		{"no key", block("PRIVATE KEY", []byte("x")), "parsing private key"},
		{"a key that cannot sign", block("PRIVATE KEY", der), "cannot sign"},
	} {
		_, err := attest.ParsePrivateKey([]byte(tt.text))
		if e, ok := reason.Of(err); !ok || e.Reason != reason.KeyUnsupported || !strings.Contains(e.Message, tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

// Verify is total: no signature makes it panic, and none of the wrong kind is
// good.
func TestVerifyOfOddSignatures(t *testing.T) {
	msg := []byte("message")
	sum := sha256.Sum256(msg)
	for name, s := range map[string]*attest.Signer{"Ed25519": ed25519Signer(t, "alice"), "P-256": p256Signer(t, "alice")} {
		for _, sig := range [][]byte{nil, {}, make([]byte, 63), make([]byte, 64), make([]byte, 65), sum[:], {0x30, 0}, {0x30, 6, 2, 1, 0, 2, 1, 0}} {
			if s.Public.Verify(msg, sig) {
				t.Errorf("%s: %x is a signature", name, sig)
			}
		}
	}
	var zero attest.PublicKey
	if zero.Verify(msg, make([]byte, ed25519.SignatureSize)) {
		t.Error("the zero key verifies")
	}
}

// brokenSigner stands for a key that is held elsewhere, out of reach.
type brokenSigner struct{ ed25519.PrivateKey }

var errBroken = errors.New("out of reach")

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

// Sign refuses what Open would refuse.
func TestSignChecks(t *testing.T) {
	s := ed25519Signer(t, "alice")
	st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{Result: "GOOD"},
		attest.ResourceDescriptor{Digest: map[string]string{"sha256": hexA}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sign(st); err == nil || !strings.Contains(err.Error(), "checking the new attestation") {
		t.Errorf("signed a bad attestation: %v", err)
	}
	if _, err := attest.NewStatement("x", make(chan int)); err == nil || !strings.Contains(err.Error(), "encoding predicate") {
		t.Errorf("made a statement of what is no JSON: %v", err)
	}
	if _, err := s.Sign(&attest.Statement{Predicate: []byte("{")}); err == nil || !strings.Contains(err.Error(), "encoding payload") {
		t.Errorf("signed what is no JSON: %v", err)
	}
	broken := signerOf(t, brokenSigner{ed25519.NewKeyFromSeed(make([]byte, 32))})
	if _, err := broken.SignPayload("x", nil); !errors.Is(err, errBroken) {
		t.Errorf("signed with a broken signer: %v", err)
	}
	good := seal(t, attest.TypeStatement, statement("x", "{}"), s).text(t)
	if _, err := broken.AddSignature(good); !errors.Is(err, errBroken) {
		t.Errorf("added a signature with a broken signer: %v", err)
	}
	if _, err := s.AddSignature([]byte("x")); err == nil {
		t.Error("signed what is no envelope")
	}
	if _, err := s.AddSignature([]byte(`{"payload":"!"}`)); err == nil {
		t.Error("signed what is no payload")
	}
}
