package intake

import (
	"errors"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/sigstore"
	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
)

const certified = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://example/p","predicate":{},` +
	`"subject":[{"name":"a","digest":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}`

// A certificate stands for an enrolment only if a trusted root vouches for it.
func TestCertificates(t *testing.T) {
	s := sigstoretest.New(t)
	raw := s.Attest(t, certified)
	rootOf := func(s *sigstoretest.Instance) func(*attest.Attestation) error {
		t.Helper()
		r, err := sigstore.ParseRoot(s.Root(t, false))
		if err != nil {
			t.Fatal(err)
		}
		return r.Check
	}
	r := open(t, newDisk(), true).start()
	for _, check := range []func(*attest.Attestation) error{nil, rootOf(sigstoretest.New(t))} {
		r.cfg.Certificate = check
		_, err := r.Submit(t.Context(), raw, "127.0.0.1")
		var e *reason.Error
		if !errors.As(err, &e) || e.Reason != reason.CertificateUntrusted {
			t.Fatalf("submitted with an untrusted certificate: %v", err)
		}
	}
	if n := len(r.disk.leaves); n != 0 {
		t.Errorf("%d entries were logged", n)
	}
	r.cfg.Certificate = rootOf(s)
	if res := r.submit(raw); !res.Created || res.Index != 0 {
		t.Errorf("%+v, want the first entry", res)
	}
}
