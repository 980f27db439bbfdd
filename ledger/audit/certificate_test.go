package audit_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
)

const certified = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example/p","predicate":{},` +
	`"subject":[{"name":"a","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`

// Without a trusted root the report says that nobody asked; with one, what it does not
// vouch for is found.
func TestAuditOfCertificates(t *testing.T) {
	l, err := audittest.New(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e, err := audittest.EntryOf(sigstoretest.New(t).Attest(t, certified), attest.NewKeyring())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Add(t.Context(), e), l.Publish(t.Context())); err != nil {
		t.Fatal(err)
	}
	audited := func(o audit.Options) (*audit.Report, error) {
		t.Helper()
		c, err := audit.OpenDir(l.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		o.Policy = l.Policy
		return audit.Run(t.Context(), c, o)
	}
	trusts := func(*attest.Attestation) error { return nil }
	doubts := func(*attest.Attestation) error { return errors.New("no such authority") }
	state := filepath.Join(t.TempDir(), "state")
	for _, tt := range []struct {
		name    string
		o       audit.Options
		exit    int
		covered bool
	}{
		{"no root", audit.Options{State: state}, 0, false},
		{"no root, resumed", audit.Options{State: state}, 0, false},
		{"trusted", audit.Options{Certificate: trusts}, 0, true},
		{"not trusted", audit.Options{Certificate: doubts}, 12, true},
		{"not looked at", audit.Options{Certificate: doubts, NoSignatures: true}, 0, false},
	} {
		r, err := audited(tt.o)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if r.ExitCode() != tt.exit || r.Coverage.Certificates != tt.covered {
			t.Errorf("%s: exit %d, coverage %+v, findings %+v", tt.name, r.ExitCode(), r.Coverage, r.Findings)
		}
		if tt.exit != 0 && (len(r.Findings) != 1 || r.Findings[0].Kind != "certificate-untrusted" || r.Findings[0].Where != "entry 0") {
			t.Errorf("%s: %+v", tt.name, r.Findings)
		}
		if n := r.Counts.Certificates.Load(); n != 1 && !tt.o.NoSignatures && !r.Resumed {
			t.Errorf("%s: %d certificates", tt.name, n)
		}
	}
	if _, err := audited(audit.Options{State: state, Certificate: trusts}); !errors.Is(err, audit.ErrState) {
		t.Errorf("going on from an audit without a trusted root: %v", err)
	}
}
