package server_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/attest/pgptest"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/leaf/leaftest"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// society is a ledger, and people who do anything to one another's keys.
type society struct {
	*repository
	dir     string // of the ledger
	state   string // of its auditor
	policy  *policy.Policy
	signers []*attest.Signer
	pgp     []*pgptest.Key
	n       int
	logged  []leaf.Digest // the attestations that were taken
	signed  []leaf.Digest // of logged: those about the artifact
}

// attested is what everybody attests to.
const attested = "what everybody attests to"

var (
	modelArtifact = leaf.SHA256([]byte(attested))
	names         = []string{"alice", "bob", "carol", "dave"}
)

func newSociety(t *testing.T) *society {
	t.Helper()
	cfg, in, pub, dir := benchPartsIn(t)
	s := &society{repository: &repository{T: t, vkey: cfg.VKey, url: "http://" + benchServe(t, cfg, in, pub).http}, dir: dir, state: filepath.Join(t.TempDir(), "state")}
	pol, err := policy.Parse([]byte("log " + s.vkey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.policy = pol
	for _, name := range names {
		signer, err := attest.NewSigner(leaftest.P256(t, name))
		if err != nil {
			t.Fatal(err)
		}
		s.signers = append(s.signers, signer)
		s.pgp = append(s.pgp, pgptest.New(t, name))
	}
	return s
}

// submits submits, and reports whether it was taken; what is refused is so for a
// reason that has to do with keys.
func (s *society) submits(raw []byte) bool {
	s.Helper()
	resp, body := s.send(http.MethodPost, "/v1/attestations", raw)
	if resp.StatusCode/100 == 2 {
		s.logged = append(s.logged, leaf.SHA256(raw))
		return true
	}
	for _, r := range []string{"KEY_NOT_ENROLLED", "KEY_REVOKED", "KEY_NOT_VALID", "REVOKER_NOT_AUTHORISED"} {
		if strings.Contains(body, `"`+r+`"`) {
			return false
		}
	}
	s.Fatalf("%s %s", resp.Status, body)
	return false
}

func (s *society) attests(raw []byte) {
	s.Helper()
	if s.submits(raw) {
		s.signed = append(s.signed, leaf.SHA256(raw))
	}
}

// act has somebody do something.
func (s *society) act(r *rand.Rand) {
	s.Helper()
	s.n++
	a, b, p := s.signers[r.IntN(4)], s.signers[r.IntN(4)], s.pgp[r.IntN(4)]
	url := fmt.Sprintf("https://%d.example", s.n)
	var raw []byte
	var err error
	switch r.IntN(14) {
	case 0, 1:
		raw, err = attest.Enrol(a, "https://operator.example", url)
	case 2, 3:
		if a != b {
			raw, err = attest.Endorse(a, b.Public, "https://operator.example", url)
		}
	case 4:
		raw, err = attest.RevokeOf(a, b.Public.Fingerprint, url)
	case 5, 6:
		s.attests(claimOf(s.T, a, s.n))
	case 7, 8:
		raw = p.Public()
	case 9, 10:
		s.attests(p.Sign(pgptest.Buildinfo(modelArtifact, s.n)))
	case 11:
		p.Lives([]time.Duration{time.Hour / 2, 3 * time.Hour, 1000 * time.Hour, 0}[r.IntN(4)])
		raw = p.Public()
	case 12:
		switch r.IntN(4) {
		case 0:
			p.Revoke()
		case 1:
			p.RevokeSubkeys()
		default:
			p.AddSubkey()
		}
		raw = p.Public()
	case 13:
		s.attests(leaftest.HashedRekord(s.T, names[r.IntN(4)], attested))
	}
	if err != nil {
		s.Fatal(err)
	}
	if raw != nil {
		s.submits(raw)
	}
}

func claimOf(t *testing.T, by *attest.Signer, n int) []byte {
	t.Helper()
	st, err := attest.NewStatement("https://example.org/test/v1", map[string]int{"n": n},
		attest.ResourceDescriptor{Name: "artifact", Digest: map[string]string{"sha256": modelArtifact.Hex()}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := by.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// audit audits the ledger, from its beginning or from where the last audit with the
// same state ended.
func (s *society) audit(state string) {
	s.Helper()
	c, err := audit.OpenDir(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, err := audit.Run(s.Context(), c, audit.Options{Policy: s.policy, State: state})
	if err != nil {
		s.Fatal(err)
	}
	// These ledgers keep no archive of checkpoints.
	if found := slices.DeleteFunc(r.Findings, func(f audit.Finding) bool { return f.Kind == "archive-missing" }); len(found) > 0 {
		s.Fatalf("auditing, with state %q: %+v", state, found)
	}
}

// check compares what everybody makes of the log.
func (s *society) check() {
	s.Helper()
	s.audit("")
	s.audit(s.state)
	src, err := mirror.OpenSource(s.Context(), s.url, client.Options{})
	if err != nil {
		s.Fatal(err)
	}
	to := filepath.Join(s.TempDir(), "mirror")
	if _, err := mirror.Copy(s.Context(), src, to, s.policy, mirror.Options{}); err != nil {
		s.Fatalf("mirroring: %v", err)
	}
	answer, err := mirror.Open(s.Context(), mirror.Dir(to))
	if err != nil {
		s.Fatal(err)
	}
	ledger, err := client.New(s.url, client.Options{})
	if err != nil {
		s.Fatal(err)
	}
	for who, c := range map[string]*client.Client{"the ledger": ledger, "the mirror": client.NewLocal("the mirror", answer)} {
		b, err := c.Collect(s.Context(), modelArtifact, nil, nil, client.CollectOptions{})
		if err != nil {
			s.Fatalf("collecting from %s: %v", who, err)
		}
		ev, err := verify.Open(b, s.policy, time.Now())
		if err != nil {
			s.Fatalf("verifying what %s has: %v", who, err)
		}
		var heard []leaf.Digest
		for _, c := range ev.Claims() {
			heard = append(heard, c.Envelope)
		}
		want := slices.Compact(slices.Sorted(slices.Values(s.signed)))
		if slices.Sort(heard); !slices.Equal(heard, want) {
			s.Fatalf("%s proves %d attestations, and %d were taken", who, len(heard), len(want))
		}
	}
	for _, envelope := range s.logged {
		if resp, body := s.send(http.MethodGet, "/v1/attestations/"+envelope.Hex(), nil); resp.StatusCode != http.StatusOK {
			s.Fatalf("reading %s: %s %s", envelope, resp.Status, body)
		}
	}
}

// Whatever people do to keys, and in whatever order: who looks at the log agrees
// with those who let it in.
func TestEverybodyAgreesWhoMaySign(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s, r := newSociety(t), rand.New(rand.NewPCG(seed, 2))
			for range 4 {
				for range 15 {
					s.act(r)
				}
				s.check()
			}
			if len(s.signed) < 5 {
				t.Errorf("only %d attestations were taken", len(s.signed))
			}
		})
	}
}

// What an owner says later of an OpenPGP key decides about what it signs later.
func TestWhatWasLoggedStaysReadable(t *testing.T) {
	for name, later := range map[string]func(*pgptest.Key){
		"revoked":         (*pgptest.Key).Revoke,
		"its subkey is":   (*pgptest.Key).RevokeSubkeys,
		"expired earlier": func(k *pgptest.Key) { k.Lives(time.Hour / 2) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSociety(t)
			p := s.pgp[0]
			p.AddSubkey()
			s.submits(p.Public())
			s.attests(p.Sign(pgptest.Buildinfo(modelArtifact, 1)))
			later(p)
			s.submits(p.Public())
			if len(s.logged) != 3 {
				t.Fatalf("%d entries were taken", len(s.logged))
			}
			if s.submits(p.Sign(pgptest.Buildinfo(modelArtifact, 2))) {
				t.Error("it still signs")
			}
			s.check()
			resp, body := s.send(http.MethodGet, "/v1/artifacts/"+string(modelArtifact), nil)
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, string(p.Fingerprint())) {
				t.Errorf("the artifact: %s %s", resp.Status, body)
			}
		})
	}
}

// However many keys sign an attestation, and however large they are: what is taken
// can be proven.
func TestLargeKeysHideNothing(t *testing.T) {
	s := newSociety(t)
	document := pgptest.Buildinfo(modelArtifact, 1)
	raw := slices.Clone(document)
	for i := range attest.MaxKeys {
		p := pgptest.New(t, fmt.Sprint("person ", i))
		for len(p.Public()) < attest.MaxPGPKey-4096 {
			p.AddUserID(fmt.Sprint(len(p.Public()), strings.Repeat("x", 2000)))
		}
		s.submits(p.Public())
		raw = append(raw, bytes.TrimPrefix(p.Sign(document), document)...)
	}
	s.attests(raw)
	if len(s.signed) != 1 {
		t.Fatal("the attestation was not taken")
	}
	s.check()
}
