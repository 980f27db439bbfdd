package attest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Keys are functions of their names, so that a failure can be repeated.
func ed25519Signer(t testing.TB, name string) *attest.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	return signerOf(t, ed25519.NewKeyFromSeed(seed[:]))
}

func p256Signer(t testing.TB, name string) *attest.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	seed[0] = 0 // below the order of the curve
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func signerOf(t testing.TB, key crypto.Signer) *attest.Signer {
	t.Helper()
	s, err := attest.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ringOf(signers ...*attest.Signer) attest.Keyring {
	var keys []*attest.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public)
	}
	return attest.NewKeyring(keys...)
}

// envelope is a DSSE envelope before it is text, to be spoilt.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

func (e *envelope) text(t testing.TB) []byte {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seal signs payload, whatever it is.
func seal(t testing.TB, payloadType, payload string, signers ...*attest.Signer) *envelope {
	t.Helper()
	var e envelope
	for _, s := range signers {
		b, err := s.SignPayload(payloadType, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		sigs := e.Signatures
		e = envelope{}
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		e.Signatures = append(sigs, e.Signatures...)
	}
	return &e
}

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

const purlA = "pkg:oci/core-go@sha256:" + hexA + "?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"

// statement returns the text of a statement about one subject, hexA, with the
// predicate, which is JSON.
func statement(predicateType, predicate string) string {
	return `{"_type":"https://in-toto.io/Statement/v1",` +
		`"subject":[{"name":"go","uri":"` + purlA + `","digest":{"sha256":"` + hexA + `","sha1":"weak"}}],` +
		`"predicateType":"` + predicateType + `","predicate":` + predicate + `}`
}

const (
	provenance = `{"buildDefinition":{"buildType":"https://example/b","externalParameters":{"a":1,"A":2},` +
		`"resolvedDependencies":[{"uri":"pkg:GENERIC/x@1","digest":{"gitCommit":"abc"},"annotations":{"role":"SOURCE"}},{"name":"pkg:oci/y"}]},` +
		`"runDetails":{"builder":{"id":"https://example/builder","operator":"https://example"}}}`
	different = `{"result":"DIFFERENT","obtained":"BUILT","outputs":[{"name":"out","digest":{"sha256":"` + hexB + `"}}],` +
		`"rebuilder":{"id":"https://example/r","operator":"https://example"}}`
)

func mustOpen(t testing.TB, raw []byte, ring attest.Keyring) *attest.Attestation {
	t.Helper()
	a, err := attest.Open(raw, ring)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOpenReproduction(t *testing.T) {
	s := ed25519Signer(t, "alice")
	payload := statement(attest.PredicateReproduction, different)
	raw := seal(t, attest.TypeStatement, payload, s).text(t)
	a := mustOpen(t, raw, ringOf(ed25519Signer(t, "other"), s))
	wantClaim := attest.Claim{
		Kind: leaf.KindAttestation, Format: "dsse", Claim: leaf.ClaimReproduction, Result: leaf.Different,
		Obtained: attest.Built, PredicateType: attest.PredicateReproduction,
		Subjects:  []attest.Resource{{Name: "go", URI: purlA, Digests: map[string]string{"sha256": hexA, "sha1": "weak"}}},
		Outputs:   []attest.Resource{{Name: "out", Digests: map[string]string{"sha256": hexB}}},
		BuilderID: "https://example/r", Operator: "https://example",
	}
	if d := cmp.Diff(wantClaim, a.Claim); d != "" {
		t.Error(d)
	}
	wantText := "cairn.leaf/v1\nkind attestation\nformat dsse\n" +
		"envelope " + string(leaf.SHA256(raw)) + "\n" +
		"payload " + string(leaf.SHA256([]byte(payload))) + "\n" +
		"claim reproduction\nresult DIFFERENT\n" +
		"key " + string(s.Public.Fingerprint) + "\n" +
		"name " + string(leaf.NameHash("pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go")) + "\n" +
		"subject sha256:" + hexA + "\n" +
		"output sha256:" + hexB + "\n"
	if d := cmp.Diff(wantText, string(a.Text)); d != "" {
		t.Error(d)
	}
	parsed, err := leaf.Parse(a.Text)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a.Leaf, parsed); d != "" {
		t.Error(d)
	}
	if string(a.Raw) != string(raw) {
		t.Error("Raw is not what was received")
	}
}

func TestOpenProvenance(t *testing.T) {
	s := p256Signer(t, "alice")
	a := mustOpen(t, seal(t, attest.TypeStatement, statement(attest.PredicateProvenance, provenance), s).text(t), ringOf(s))
	want := attest.Claim{
		Kind: leaf.KindAttestation, Format: "dsse", Claim: leaf.ClaimBuild, Result: leaf.NoResult,
		PredicateType: attest.PredicateProvenance,
		Subjects:      []attest.Resource{{Name: "go", URI: purlA, Digests: map[string]string{"sha256": hexA, "sha1": "weak"}}},
		Materials: []attest.Resource{
			{URI: "pkg:generic/x@1", Digests: map[string]string{"gitCommit": "abc"}, Role: "source"},
			{Name: "pkg:oci/y", URI: "pkg:oci/y"},
		},
		BuilderID: "https://example/builder", Operator: "https://example",
	}
	if d := cmp.Diff(want, a.Claim); d != "" {
		t.Error(d)
	}
}

// A name that is a package URL is the URI only where there is no other.
func TestURIBeforeName(t *testing.T) {
	s := ed25519Signer(t, "alice")
	payload := `{"_type":"` + attest.StatementV1 + `","predicateType":"x","subject":[` +
		`{"name":"pkg:oci/a","uri":"pkg:oci/b","digest":{"sha256":"` + hexA + `"}},` +
		`{"name":"pkg:oci/c","digest":{"sha256":"` + hexB + `"}},` +
		`{"name":"pkg:oci/d","uri":"https://example/d","digest":{"sha256":"` + hexB + `"}}]}`
	a := mustOpen(t, seal(t, attest.TypeStatement, payload, s).text(t), ringOf(s))
	var uris []string
	for _, r := range a.Claim.Subjects {
		uris = append(uris, r.URI)
	}
	if d := cmp.Diff([]string{"pkg:oci/b", "pkg:oci/c", "https://example/d"}, uris); d != "" {
		t.Error(d)
	}
	want := []leaf.Digest{leaf.NameHash("pkg:oci/b"), leaf.NameHash("pkg:oci/c")}
	slices.Sort(want)
	if d := cmp.Diff(want, a.Leaf.Names); d != "" {
		t.Error(d)
	}
}

func TestOpenOtherPredicates(t *testing.T) {
	s := ed25519Signer(t, "alice")
	for _, predicate := range []string{`{}`, `null`, `[1]`, `{"result":"IDENTICAL","rebuilder":{"id":"x"}}`} {
		a := mustOpen(t, seal(t, attest.TypeStatement, statement("https://example/other", predicate), s).text(t), ringOf(s))
		if a.Claim.Claim != leaf.ClaimOther || a.Claim.Result != leaf.NoResult || a.Claim.PredicateType != "https://example/other" {
			t.Errorf("predicate %s: %+v", predicate, a.Claim)
		}
	}
}

func TestOpenResults(t *testing.T) {
	s := ed25519Signer(t, "alice")
	for _, tt := range []struct{ name, fields, result string }{
		{"identical", `"result":"IDENTICAL","outputs":[{"digest":{"sha256":"` + hexA + `"}}]`, "IDENTICAL"},
		{"identical without outputs", `"result":"IDENTICAL"`, "IDENTICAL"},
		{"different without outputs", `"result":"DIFFERENT"`, "DIFFERENT"},
		{"different in one output", `"result":"DIFFERENT","outputs":[{"digest":{"sha256":"` + hexA + `"}},{"digest":{"sha256":"` + hexB + `"}}]`, "DIFFERENT"},
		{"equivalent", `"result":"EQUIVALENT","equivalence":{"method":"strip"},"outputs":[{"digest":{"sha256":"` + hexB + `"}}]`, "EQUIVALENT"},
		{"build failed", `"result":"BUILD_FAILED","obtained":"BUILT"`, "BUILD_FAILED"},
		{"inconclusive", `"result":"INCONCLUSIVE","obtained":"SUBSTITUTED"`, "INCONCLUSIVE"},
		{"with materials", `"result":"DIFFERENT","buildDefinition":{"buildType":"b","resolvedDependencies":[{"name":"m"}]}`, "DIFFERENT"},
	} {
		predicate := `{` + tt.fields + `,"rebuilder":{"id":"r"}}`
		a, err := attest.Open(seal(t, attest.TypeStatement, statement(attest.PredicateReproduction, predicate), s).text(t), ringOf(s))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if string(a.Leaf.Result) != tt.result || strings.Contains(tt.fields, "resolvedDep") != (len(a.Claim.Materials) == 1) {
			t.Errorf("%s: %+v", tt.name, a.Claim)
		}
	}
}

// A key id is a hint: whatever it is, the same keys are found.
func TestKeyIDDecidesNothing(t *testing.T) {
	ed, p := ed25519Signer(t, "alice"), p256Signer(t, "bob")
	ring := ringOf(ed, p)
	enrolment, err := attest.Enrol(ed, "https://example", "")
	if err != nil {
		t.Fatal(err)
	}
	var enrol envelope
	if err := json.Unmarshal(enrolment, &enrol); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]string{
		"its own": string(ed.Public.Fingerprint), "its own without algorithm": leaf.Digest(ed.Public.Fingerprint).Hex(),
		"none": "", "free text": "alice", "of another known key": string(p.Public.Fingerprint),
		"of an unknown key": "sha256:" + hexA, "in capitals": strings.ToUpper(string(ed.Public.Fingerprint)),
	} {
		e := seal(t, attest.TypeStatement, statement("x", "{}"), ed)
		e.Signatures[0].KeyID = id
		enrol.Signatures[0].KeyID = id
		for kind, raw := range map[string][]byte{"statement": e.text(t), "enrolment": enrol.text(t)} {
			a, err := attest.Open(raw, ring)
			if err != nil {
				t.Errorf("%s with key id %s: %v", kind, name, err)
				continue
			}
			if got := a.Leaf.Keys; !slices.Equal(got, []leaf.Fingerprint{ed.Public.Fingerprint}) {
				t.Errorf("%s with key id %s: keys %s", kind, name, got)
			}
		}
	}
}

func TestTwoSignatures(t *testing.T) {
	ed, p := ed25519Signer(t, "alice"), p256Signer(t, "bob")
	want := []leaf.Fingerprint{ed.Public.Fingerprint, p.Public.Fingerprint}
	slices.Sort(want)
	payload := statement("x", "{}")
	var identities [][32]byte
	for _, order := range [][]*attest.Signer{{ed, p}, {p, ed}, {p, ed, p}} {
		a := mustOpen(t, seal(t, attest.TypeStatement, payload, order...).text(t), ringOf(ed, p))
		if d := cmp.Diff(want, a.Leaf.Keys); d != "" {
			t.Error(d)
		}
		if len(a.Keys) != 2 || a.Keys[0].Fingerprint != want[0] || a.Keys[1].Fingerprint != want[1] {
			t.Errorf("keys %v", a.Keys)
		}
		identities = append(identities, a.Leaf.Identity())
	}
	if identities[0] != identities[1] || identities[0] != identities[2] {
		t.Error("the order or number of signatures makes another entry")
	}
	added, err := p.AddSignature(seal(t, attest.TypeStatement, payload, ed).text(t))
	if err != nil {
		t.Fatal(err)
	}
	if a := mustOpen(t, added, ringOf(ed, p)); a.Leaf.Identity() != identities[0] {
		t.Error("an added signature makes another entry")
	}
}

// A key that signed twice is one key.
func TestSameKeyTwice(t *testing.T) {
	for name, s := range map[string]*attest.Signer{"Ed25519": ed25519Signer(t, "alice"), "P-256": p256Signer(t, "alice")} {
		e := seal(t, attest.TypeStatement, statement("x", "{}"), s, s)
		e.Signatures[1].KeyID = ""
		a := mustOpen(t, e.text(t), ringOf(s))
		if len(a.Keys) != 1 || len(a.Leaf.Keys) != 1 {
			t.Errorf("%s: %d keys, %d in the leaf", name, len(a.Keys), len(a.Leaf.Keys))
		}
		one := mustOpen(t, seal(t, attest.TypeStatement, statement("x", "{}"), s).text(t), ringOf(s))
		if one.Leaf.Identity() != a.Leaf.Identity() {
			t.Errorf("%s: signing twice makes another entry", name)
		}
	}
}

// An ECDSA signature can be turned into another valid one without the key; that
// must not make another entry.
func TestECDSAMalleability(t *testing.T) {
	s := p256Signer(t, "alice")
	e := seal(t, attest.TypeStatement, statement("x", "{}"), s)
	first := mustOpen(t, e.text(t), ringOf(s))
	der, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	rLen := int(der[3])
	r, sv := new(big.Int).SetBytes(der[4:4+rLen]), new(big.Int).SetBytes(der[6+rLen:])
	sv.Sub(elliptic.P256().Params().N, sv)
	e.Signatures[0].Sig = base64.StdEncoding.EncodeToString(derSignature(r, sv))
	second := mustOpen(t, e.text(t), ringOf(s))
	if first.Leaf.Envelope == second.Leaf.Envelope || first.Leaf.Identity() != second.Leaf.Identity() {
		t.Error("the other signature makes another entry")
	}
}

func derSignature(r, s *big.Int) []byte {
	integer := func(x *big.Int) []byte {
		b := append([]byte{0}, x.Bytes()...)
		if len(b) > 1 && b[1] < 0x80 {
			b = b[1:]
		}
		return append([]byte{2, byte(len(b))}, b...)
	}
	body := append(integer(r), integer(s)...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

// DSSE takes both alphabets of base64, for payload and signatures.
func TestURLSafeBase64(t *testing.T) {
	s := ed25519Signer(t, "alice")
	payload := statement("https://example/~~~???>>>", `{"x":"ÿÿÿ>>>???"}`)
	e := seal(t, attest.TypeStatement, payload, s)
	std := mustOpen(t, e.text(t), ringOf(s))
	urlSafe := strings.NewReplacer("+", "-", "/", "_")
	before := *e
	e.Payload = urlSafe.Replace(e.Payload)
	e.Signatures[0].Sig = urlSafe.Replace(e.Signatures[0].Sig)
	if e.Payload == before.Payload {
		t.Fatal("the payload has no character that differs")
	}
	a := mustOpen(t, e.text(t), ringOf(s))
	if a.Leaf.Payload != std.Leaf.Payload || a.Leaf.Identity() != std.Leaf.Identity() {
		t.Error("another alphabet makes another entry")
	}
	if a.Leaf.Envelope != leaf.SHA256(e.text(t)) {
		t.Error("the envelope's digest is not that of the bytes as received")
	}
}

// The envelope is bytes as received: what JSON does not care for is kept.
func TestEnvelopeDigestIsOfTheBytes(t *testing.T) {
	s := ed25519Signer(t, "alice")
	raw := seal(t, attest.TypeStatement, statement("x", "{}"), s).text(t)
	spaced := slices.Concat([]byte(" \n\t"), raw, []byte("\r\n"))
	a, b := mustOpen(t, raw, ringOf(s)), mustOpen(t, spaced, ringOf(s))
	if a.Leaf.Envelope == b.Leaf.Envelope || b.Leaf.Envelope != leaf.SHA256(spaced) || a.Leaf.Identity() != b.Leaf.Identity() {
		t.Errorf("envelopes %s and %s", a.Leaf.Envelope, b.Leaf.Envelope)
	}
}

// What is signed is DSSE's encoding, as the reference implementation has it.
func TestSignsPAE(t *testing.T) {
	s := ed25519Signer(t, "alice")
	e := seal(t, attest.TypeStatement, "payload", s)
	sig, err := base64.StdEncoding.DecodeString(e.Signatures[0].Sig)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Public.Verify(dsse.PAE(attest.TypeStatement, []byte("payload")), sig) {
		t.Error("the signature is not over the pre-authentication encoding")
	}
	want := fmt.Sprintf("DSSEv1 %d %s 7 payload", len(attest.TypeStatement), attest.TypeStatement)
	if !s.Public.Verify([]byte(want), sig) {
		t.Error("the pre-authentication encoding is not as specified")
	}
}

// Attestations at every limit are logged.
func TestOpenAtTheLimits(t *testing.T) {
	list := func(n int, item func(i int) string) string {
		var items []string
		for i := range n {
			items = append(items, item(i))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	artifact := func(kind string) func(int) string {
		return func(i int) string {
			return fmt.Sprintf(`{"uri":"pkg:oci/%s%d","digest":{"sha256":"%064x","sha512":"%0128x"}}`, kind, i, i, i)
		}
	}
	payload := `{"_type":"` + attest.StatementV1 + `","predicateType":"` + attest.PredicateReproduction + `",` +
		`"subject":` + list(attest.MaxSubjects, artifact("s")) + `,"predicate":{"result":"EQUIVALENT","equivalence":{"method":"m"},` +
		`"outputs":` + list(attest.MaxOutputs, artifact("o")) + `,"rebuilder":{"id":"r"},"buildDefinition":{"buildType":"b",` +
		`"resolvedDependencies":` + list(attest.MaxMaterials, func(int) string { return "{}" }) + `}}}`
	var signers []*attest.Signer
	for i := range attest.MaxKeys {
		signers = append(signers, ed25519Signer(t, fmt.Sprint("signer ", i)))
	}
	a := mustOpen(t, seal(t, attest.TypeStatement, payload, signers...).text(t), ringOf(signers...))
	l := a.Leaf
	if len(l.Keys) != 16 || len(l.Names) != 64 || len(l.Subjects) != 128 || len(l.Outputs) != 128 || len(a.Claim.Materials) != 4096 {
		t.Errorf("%d keys, %d names, %d subjects, %d outputs, %d materials",
			len(l.Keys), len(l.Names), len(l.Subjects), len(l.Outputs), len(a.Claim.Materials))
	}
}

// A package is found under its name however the scheme is spelled.
func TestEverySpellingOfAPurlIsNamed(t *testing.T) {
	s := ed25519Signer(t, "alice")
	var want *attest.Attestation
	for _, uri := range []string{"pkg:oci/x", "PKG:oci/X", "pkg:OCI/x@sha256:" + hexA} {
		st, err := attest.NewStatement("https://example.org/p", struct{}{}, attest.ResourceDescriptor{
			URI: uri, Digest: map[string]string{"sha256": hexA},
		})
		if err != nil {
			t.Fatal(err)
		}
		env, err := s.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		got, err := attest.Open(env, attest.NewKeyring(s.Public))
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if len(got.Leaf.Names) != 1 || got.Leaf.Names[0] != want.Leaf.Names[0] {
			t.Errorf("%s has names %v, want %v", uri, got.Leaf.Names, want.Leaf.Names)
		}
	}
}
