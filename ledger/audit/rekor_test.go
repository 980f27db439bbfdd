package audit_test

import (
	"bytes"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
)

// must returns the entry that an author or a client made.
func must(t *testing.T) func(audittest.Entry, error) audittest.Entry {
	return func(e audittest.Entry, err error) audittest.Entry {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
}

// rekord is a Rekor entry, which change may have spoilt.
func rekord(t *testing.T, name, artifact string, change func([]byte) []byte) audittest.Entry {
	t.Helper()
	raw := leaftest.HashedRekord(t, name, artifact)
	if change != nil {
		raw = change(raw)
	}
	l, err := leaf.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return audittest.Entry{Raw: raw, Text: raw, Leaf: l}
}

// auditOf audits a log of its own with these entries.
func auditOf(t *testing.T, entries ...audittest.Entry) *audit.Report {
	t.Helper()
	dir := t.TempDir()
	log, err := audittest.New(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := log.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return run(t, open(t, dir), audit.Options{Policy: log.Policy})
}

func aliceOfRekor(t *testing.T) *audittest.Author {
	t.Helper()
	s, err := attest.NewSigner(leaftest.P256(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	return &audittest.Author{Signer: s}
}

func TestAuditOfRekorEntriesIsClean(t *testing.T) {
	alice := aliceOfRekor(t)
	r := auditOf(t,
		rekord(t, "alice", "before it is enrolled", nil),
		rekord(t, "bob", "never enrolled", nil),
		must(t)(alice.Enrolment("https://operator.example/")),
		rekord(t, "alice", "hello", nil),
		must(t)(alice.Reproduction(1)),
		must(t)(alice.Revocation("lost")),
	)
	wantClean(t, r)
	if n := r.Counts.Attestations.Load(); n != 6 {
		t.Errorf("%d attestations, want 6", n)
	}
}

func TestAuditFindsBadRekorEntries(t *testing.T) {
	alice := aliceOfRekor(t)
	otherDigest := func(raw []byte) []byte { return bytes.Replace(raw, []byte(`"digest":"L`), []byte(`"digest":"M`), 1) }
	lost := must(t)(alice.Enrolment("https://operator.example/"))
	lost.Raw = nil
	good := rekord(t, "alice", "hello", nil)
	gone := good
	gone.Raw = nil
	for name, tt := range map[string]struct {
		entries []audittest.Entry
		kind    string
	}{
		"a signature that does not verify": {[]audittest.Entry{rekord(t, "alice", "hello", otherDigest)}, "attestation-refused"},
		// An enrolment that is lost excuses only what rests on it.
		"such a one of a key whose enrolment is lost": {[]audittest.Entry{lost, rekord(t, "alice", "hello", otherDigest)}, "attestation-refused"},
		"one of a key that was revoked before": {
			[]audittest.Entry{must(t)(alice.Enrolment("https://operator.example/")), must(t)(alice.Revocation("lost")), good}, "key-revoked"},
		"one twice":                   {[]audittest.Entry{good, good}, "entry-repeated"},
		"one whose bytes are missing": {[]audittest.Entry{gone}, "attestation-missing"},
	} {
		t.Run(name, func(t *testing.T) {
			if bytes.Equal(otherDigest(good.Raw), good.Raw) {
				t.Fatal("nothing is changed")
			}
			r := auditOf(t, tt.entries...)
			found := false
			for _, f := range r.Findings {
				found = found || f.Kind == tt.kind
			}
			if r.Clean || !found {
				t.Errorf("clean %t, want a finding %s: %s", r.Clean, tt.kind, list(r))
			}
		})
	}
}
