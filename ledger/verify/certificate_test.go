package verify_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
	"github.com/cairnlog/cairn/ledger/verify"
)

const certified = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example/p","predicate":{},` +
	`"subject":[{"name":"a","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`

// The key of a certificate comes with the attestation. Who issued it is only known
// with a trusted root, and the report never claims more.
func TestEntryWithCertificate(t *testing.T) {
	w := newWorld(t)
	w.attestation = sigstoretest.New(t).Attest(t, certified)
	a := mustOpen(t, w.attestation)
	w.text, w.proofLeaf, w.proofKeys = a.Text, a.Text, nil
	trusts := func(*attest.Attestation) error { return nil }
	doubts := func(*attest.Attestation) error { return errors.New("no such authority") }
	for _, tt := range []struct {
		name        string
		certificate func(*attest.Attestation) error
		checks      string
		says        string
	}{
		{"no root", nil, ".......", "was not checked"},
		{"trusted", trusts, ".......", "the trusted root vouches"},
		{"not trusted", doubts, "......F", "no such authority"},
	} {
		in := w.input(t)
		in.Certificate = tt.certificate
		r := verify.Entry(in)
		if statuses(r) != tt.checks || !strings.Contains(r.Checks[6].Detail, tt.says) {
			t.Errorf("%s: checks %s: %+v", tt.name, statuses(r), r.Checks)
		}
		var text bytes.Buffer
		if err := r.Text(&text, true); err != nil {
			t.Fatal(err)
		}
		if tt.checks != "......." {
			if r.Certificate != nil || r.Outcome != verify.Refuted {
				t.Errorf("%s: %s, certificate %+v", tt.name, r.Outcome, r.Certificate)
			}
			continue
		}
		want := &verify.Certificate{Names: []string{sigstoretest.Mail}, Issuer: sigstoretest.Issuer, Trusted: tt.certificate != nil}
		if d := cmp.Diff(want, r.Certificate); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		if strings.Contains(text.String(), "its issuer was not checked") == want.Trusted {
			t.Errorf("%s:\n%s", tt.name, &text)
		}
	}
}
