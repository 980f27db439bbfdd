package attest_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// fuzzStatements are payloads of each kind of statement, good and bad.
func fuzzStatements() []string {
	return []string{
		statement(attest.PredicateProvenance, provenance),
		statement(attest.PredicateReproduction, different),
		statement(attest.PredicateReproduction, `{"result":"EQUIVALENT","equivalence":{"method":"strip"},"rebuilder":{"id":"r"}}`),
		statement(attest.PredicateReproduction, `{"result":"BUILD_FAILED","rebuilder":{"id":"r"},"buildDefinition":{"resolvedDependencies":[{"name":"pkg:deb/debian/x@1"}]}}`),
		statement("https://example/other", `{"a":[1,"\ud83d\ude00",null]}`),
		statement("x", "{}") + "x",
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"PKG:oci/x","digest":{"sha512":"` + hexA + hexB + `"}}],"predicateType":"x"}`,
	}
}

// checkOpened checks what holds for everything that Open accepts.
func checkOpened(t *testing.T, raw []byte, a *attest.Attestation) {
	t.Helper()
	l, err := leaf.Parse(a.Text)
	if err != nil {
		t.Fatalf("the leaf does not parse: %v", err)
	}
	if d := cmp.Diff(a.Leaf, l); d != "" {
		t.Fatalf("the leaf's text says something else: %s", d)
	}
	if len(a.Keys) == 0 || len(a.Keys) != len(l.Keys) || l.Envelope != leaf.SHA256(raw) || !bytes.Equal(a.Raw, raw) {
		t.Fatalf("%d keys, %d in the leaf, envelope %s", len(a.Keys), len(l.Keys), l.Envelope)
	}
	// Whoever has the bytes and exactly the leaf's keys derives the same leaf.
	again, err := attest.Open(bytes.Clone(raw), attest.NewKeyring(a.Keys...))
	if err != nil {
		t.Fatalf("opening again with the leaf's keys: %v", err)
	}
	if !bytes.Equal(a.Text, again.Text) {
		t.Fatalf("the leaf is not a function of the attestation:\n%s\n%s", a.Text, again.Text)
	}
	if d := cmp.Diff(a.Claim, again.Claim); d != "" {
		t.Fatalf("the claim is not a function of the attestation: %s", d)
	}
	checkNames(t, a)
}

// checkNames checks that every package URL of a claim is canonical.
func checkNames(t *testing.T, a *attest.Attestation) {
	t.Helper()
	for _, rs := range [][]attest.Resource{a.Claim.Subjects, a.Claim.Outputs, a.Claim.Materials} {
		for _, r := range rs {
			if len(r.URI) < 4 || r.URI[:4] != "pkg:" {
				continue
			}
			if again, err := attest.CanonicalPurl(r.URI); err != nil || again != r.URI {
				t.Fatalf("%q has the canonical form %q, %v", r.URI, again, err)
			}
		}
	}
}

func checkRefused(t *testing.T, a *attest.Attestation, err error) {
	t.Helper()
	if e, ok := reason.Of(err); a != nil || !ok || e.Reason == reason.InternalError {
		t.Fatalf("refused with %v, attestation %v", err, a)
	}
}

// FuzzOpen gives Open arbitrary bytes. Few mutations of an envelope still
// verify; what is signed is FuzzStatement's part.
func FuzzOpen(f *testing.F) {
	s, p := ed25519Signer(f, "alice"), p256Signer(f, "bob")
	ring := ringOf(s, p)
	for _, payload := range fuzzStatements() {
		f.Add([]byte(seal(f, attest.TypeStatement, payload, s, p).text(f)))
	}
	enrolment, err := attest.Enrol(s, "https://example", "https://example")
	if err != nil {
		f.Fatal(err)
	}
	revocation, err := attest.Revoke(p, "lost")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(enrolment)
	f.Add(revocation)
	f.Add(leaftest.HashedRekord(f, "alice", "hello\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := attest.Open(raw, ring)
		if err != nil {
			checkRefused(t, a, err)
			return
		}
		checkOpened(t, raw, a)
	})
}

// FuzzStatement signs arbitrary payloads, so that all that is behind the
// signatures is reached.
func FuzzStatement(f *testing.F) {
	s := ed25519Signer(f, "alice")
	ring := ringOf(s)
	types := []string{attest.TypeStatement, attest.TypeEnrolment, attest.TypeRevocation}
	for _, payload := range fuzzStatements() {
		f.Add(byte(0), []byte(payload))
	}
	f.Add(byte(1), []byte(enrolment(f, s.Public.PEM, "https://example", "")))
	f.Add(byte(2), []byte(`{"key":"`+string(s.Public.Fingerprint)+`"}`))
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		raw, err := s.SignPayload(types[int(kind)%len(types)], payload)
		if err != nil {
			t.Fatal(err)
		}
		a, err := attest.Open(raw, ring)
		if err != nil {
			checkRefused(t, a, err)
			return
		}
		if a.Leaf.Payload != leaf.SHA256(payload) {
			t.Fatal("the payload's digest is not that of what was signed")
		}
		checkOpened(t, raw, a)
	})
}
