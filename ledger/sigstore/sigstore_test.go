package sigstore_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/testing/data"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/sigstore"
	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
)

const statement = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example/p","predicate":{},` +
	`"subject":[{"name":"a","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`

func parseRoot(t *testing.T, text []byte) *sigstore.Root {
	t.Helper()
	r, err := sigstore.ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t *testing.T, raw []byte) *attest.Attestation {
	t.Helper()
	a, err := attest.Open(raw, attest.NewKeyring())
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	return a
}

// change returns a bundle with its verification material changed.
func change(t *testing.T, raw []byte, f func(material map[string]any)) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatal(err)
	}
	f(b["verificationMaterial"].(map[string]any))
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func untrusted(t *testing.T, r *sigstore.Root, a *attest.Attestation, message string) {
	t.Helper()
	err := r.Check(a)
	e, ok := reason.Of(err)
	if !ok || e.Reason != reason.CertificateUntrusted || !strings.Contains(err.Error(), message) {
		t.Errorf("got %v, want %s with %q", err, reason.CertificateUntrusted, message)
	}
}

func TestCheck(t *testing.T) {
	s := sigstoretest.New(t)
	r := parseRoot(t, s.Root(t, false))
	for name, raw := range map[string][]byte{"statement": s.Attest(t, statement), "artifact": s.Sign(t, []byte("artifact"))} {
		a := open(t, raw)
		if err := r.Check(a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if a.Identity.Issuer != sigstoretest.Issuer || len(a.Identity.Names) != 1 || a.Identity.Names[0] != sigstoretest.Mail {
			t.Errorf("%s: identity %+v", name, a.Identity)
		}
		untrusted(t, parseRoot(t, sigstoretest.New(t).Root(t, false)), a, "")
		untrusted(t, parseRoot(t, s.Root(t, true)), a, "signed certificate timestamp")
	}
}

// What the root names is asked for, at the time that the log says.
func TestCheckRefuses(t *testing.T) {
	s := sigstoretest.New(t)
	r := parseRoot(t, s.Root(t, false))
	good := s.Attest(t, statement)
	other := sigstoretest.New(t).Attest(t, statement)
	late := s.AttestAt(t, statement, time.Now().Add(30*time.Minute))
	untrusted(t, r, open(t, late), "certificate")
	untrusted(t, r, open(t, change(t, good, func(m map[string]any) { delete(m, "tlogEntries") })), "log")
	untrusted(t, r, open(t, change(t, good, func(m map[string]any) {
		e := m["tlogEntries"].([]any)[0].(map[string]any)
		e["integratedTime"] = "1700000000"
	})), "log")
	untrusted(t, r, open(t, change(t, good, func(m map[string]any) {
		var o map[string]any
		if err := json.Unmarshal(other, &o); err != nil {
			t.Fatal(err)
		}
		m["tlogEntries"] = o["verificationMaterial"].(map[string]any)["tlogEntries"]
	})), "log")
	// Without a signed timestamp, the log's time is enough.
	if err := r.Check(open(t, change(t, good, func(m map[string]any) { delete(m, "timestampVerificationData") }))); err != nil {
		t.Error(err)
	}
	a, b := open(t, good), open(t, s.Attest(t, statement))
	a.Identity = b.Identity
	untrusted(t, r, a, "not the one that the signature was verified with")
}

// The public instance's certificates have certificate transparency timestamps; one of
// these bundles is npm's, one has a user name in its certificate.
func TestCheckPublicBundle(t *testing.T) {
	public, err := data.TrustedRoot(t, "public-good.json").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := data.Bundle(t, "sigstore.js@2.0.0-provenance.sigstore.json").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, raw)
	if err := parseRoot(t, public).Check(a); err != nil {
		t.Error(err)
	}
	if a.Claim.Claim != leaf.ClaimBuild || a.Identity.Issuer != "https://token.actions.githubusercontent.com" || len(a.Leaf.Names) != 1 {
		t.Errorf("claim %+v by %q %q", a.Claim, a.Identity.Issuer, a.Identity.Names)
	}
	untrusted(t, parseRoot(t, sigstoretest.New(t).Root(t, false)), a, "")

	named, err := data.Bundle(t, "othername.sigstore.json").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	a = open(t, named)
	if len(a.Identity.Names) != 1 || a.Identity.Names[0] != "foo!oidc.local" {
		t.Errorf("names %q", a.Identity.Names)
	}
	scaffolding, err := data.TrustedRoot(t, "scaffolding.json").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := parseRoot(t, scaffolding).Check(a); err != nil {
		t.Error(err)
	}
}

// What has no certificate is not the root's business.
func TestCheckWithoutCertificate(t *testing.T) {
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.SignPayload(attest.TypeStatement, []byte(statement))
	if err != nil {
		t.Fatal(err)
	}
	a, err := attest.Open(raw, attest.NewKeyring(s.Public))
	if err != nil {
		t.Fatal(err)
	}
	if err := parseRoot(t, sigstoretest.New(t).Root(t, false)).Check(a); err != nil {
		t.Error(err)
	}
}

func TestReadRoot(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := sigstoretest.New(t).Root(t, false)
	without := func(members ...string) []byte {
		var r map[string]any
		if err := json.Unmarshal(good, &r); err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			delete(r, m)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if _, err := sigstore.ReadRoot(write("good", good)); err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		text []byte
		says string
	}{
		"empty":        {nil, "parsing trusted root"},
		"other":        {[]byte(`{"mediaType":"x"}`), "media type"},
		"no-authority": {without("certificateAuthorities"), "no certificate authority"},
		"no-time":      {without("tlogs", "timestampAuthorities"), "no transparency log"},
		"large":        {make([]byte, 4<<20+1), "over the limit"},
	} {
		if _, err := sigstore.ReadRoot(write(name, test.text)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
	if _, err := sigstore.ReadRoot(filepath.Join(dir, "missing")); err == nil {
		t.Error("read what is not there")
	}
}
