package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/server"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// table returns what is listed by default, in short.
func (w *rebuilders) table() []string {
	w.Helper()
	p, err := w.survey.Packages(w.Context(), survey.Filter{ByName: true})
	if err != nil {
		w.Fatal(err)
	}
	var list []string
	for _, r := range p.Rows {
		text := fmt.Sprint(r.Package, " ", r.Verdict)
		for _, c := range r.Cells {
			i := slices.IndexFunc(p.Rebuilders, func(b survey.Rebuilder) bool { return b.Key == c.Key })
			text += fmt.Sprint(" ", p.Rebuilders[i].Name, ":", c.Word)
		}
		list = append(list, text)
	}
	return list
}

// TestSurveyOfLedger: the table of a real ledger has what was logged, and verdicts and
// words that agree.
func TestSurveyOfLedger(t *testing.T) {
	w := newRebuilders(t, "")
	mallory := newSigner(t)
	w.enrol(mallory)
	w.materials = []attest.ResourceDescriptor{{Name: "zlib.tar", Digest: map[string]string{"sha256": leaf.SHA256([]byte("zlib.tar")).Hex()}, Annotations: map[string]any{"role": "source"}}}
	for _, by := range []*attest.Signer{w.alice, w.bob, mallory} {
		w.built(by, zlib, "zlib", leaf.Identical)
	}
	w.materials = nil
	w.built(w.alice, pacman2, "pacman", leaf.Identical)
	w.built(w.bob, pacman2, "pacman", leaf.Different)
	w.built(w.alice, keyring, "keyring", leaf.BuildFailed)
	w.built(mallory, helloD, "hello", leaf.Identical)
	want := []string{keyring + " failed alice:failed", pacman2 + " differs alice:obtained bob:different", zlib + " reproduced alice:obtained bob:obtained"}
	if got := w.table(); !slices.Equal(got, want) {
		t.Errorf("it lists %q, want %q", got, want)
	}
	p, err := w.survey.Package(t.Context(), zlib)
	if err != nil {
		t.Fatal(err)
	}
	a := p.Artifacts[0]
	if a.Report == nil || a.Report.Verdict != verify.VerdictReproduced || len(a.Report.Operators) != 2 || a.Report.Ancestry != nil || len(a.Statements) != 3 ||
		a.Statements[2].Rebuilder.Operator != "https://somebody.example" || a.Statements[2].Rebuilder.Heard || len(a.Materials) != 1 || a.Materials[0].Role != "source" {
		t.Errorf("zlib is %+v", a)
	}
	d, err := w.survey.Disagreements(t.Context(), 0, 10)
	if err != nil || len(d) != 1 || d[0].Package != pacman2 || d[0].Statement.Output != leaf.SHA256([]byte("pacman differs")) {
		t.Errorf("disagreements: %+v, %v", d, err)
	}
	alice, err := w.survey.Profile(t.Context(), w.alice.Public.Fingerprint)
	if err != nil || alice.Agrees != 1 || alice.Disagrees != 1 || alice.Words[survey.Failed] != 1 || alice.Name != "alice" || alice.Revoked != nil {
		t.Errorf("alice: %+v, %v", alice, err)
	}
	if st, err := w.survey.State(t.Context()); err != nil || st.Problem != nil || st.Due != 0 || st.Scanned != 10 {
		t.Errorf("the state is %+v, %v", st, err)
	}
	if len(w.warned) > 0 {
		t.Errorf("it warned: %q", w.warned)
	}
	_ = w.survey.Close()
	w.open()
	w.built(w.bob, keyring, "keyring", leaf.Identical)
	if got := w.table(); len(got) != 3 || got[0] != keyring+" unproven alice:failed bob:obtained" {
		t.Errorf("after a restart, it lists %q", got)
	}
}

// TestSurveyExceptsNothingByItsName: one rebuilder calls an artifact what the policy
// excepts. By its digest, as everybody is told to ask, it is not accepted for that, and
// no more is a cycle that only this would close.
func TestSurveyExceptsNothingByItsName(t *testing.T) {
	const excepted = "pkg:alpm/arch/glibc@1?arch=x86_64"
	w := newRebuilders(t, "except pkg:alpm/arch/glibc until 2026-12-22 reason to be rebuilt\n")
	of := func(artifact string) []attest.ResourceDescriptor {
		return []attest.ResourceDescriptor{{Digest: map[string]string{"sha256": leaf.SHA256([]byte(artifact)).Hex()}, Annotations: map[string]any{"role": "toolchain"}}}
	}
	for _, by := range []*attest.Signer{w.alice, w.bob} {
		w.materials = of("compiler")
		w.built(by, pacman2, "pacman", leaf.Identical)
		w.materials = of("pacman")
		w.built(by, zlib, "compiler", leaf.Identical)
	}
	w.materials = of("compiler")
	w.built(w.alice, excepted, "pacman", leaf.Identical)
	p, err := w.survey.Package(t.Context(), excepted)
	if err != nil {
		t.Fatal(err)
	}
	a := p.Artifacts[0]
	if p.Verdict == verify.VerdictReproduced || a.Report == nil || a.Report.Accepted || a.Report.Exception != nil {
		t.Errorf("what alice calls excepted is %s: %+v", p.Verdict, a.Report)
	}
	if got := w.table(); slices.ContainsFunc(got, func(row string) bool { return strings.Contains(row, " reproduced ") }) {
		t.Errorf("a cycle is closed by a name: %q", got)
	}
}

// TestSurveyPassesOver: what was withdrawn, or is held otherwise than it was logged, says
// nothing, and keeps nobody waiting.
func TestSurveyPassesOver(t *testing.T) {
	for _, why := range []reason.Reason{reason.AttestationNotFound, reason.InternalError} {
		w := newRebuilders(t, "")
		var seen sync.Map
		w.withheld = func(envelope string) error { seen.Store(envelope, true); return nil }
		w.built(w.alice, zlib, "zlib", leaf.Identical)
		w.withheld = func(envelope string) error {
			if _, known := seen.Load(envelope); known {
				return nil
			}
			return reason.Errorf(why, "it is not there")
		}
		w.built(w.bob, zlib, "zlib", leaf.Identical)
		p, err := w.survey.Package(t.Context(), zlib)
		if err != nil || len(p.Artifacts[0].Statements) != 1 || p.Verdict != verify.VerdictUnproven {
			t.Errorf("%s: %+v, %v", why, p, err)
		}
		if st, err := w.survey.State(t.Context()); err != nil || st.Scanned != 4 {
			t.Errorf("%s: the state is %+v, %v", why, st, err)
		}
	}
}

// TestDashboardIsARead: pages wait for their turn, and the rest does
// not.
func TestDashboardIsARead(t *testing.T) {
	g := newGuarded(t, server.Capacity{})
	g.ReadsWait(0)
	empty := g.Fill(t, "reads")
	defer empty()
	for path, reads := range map[string]bool{
		"/": true, "/index.json": true, "/packages": true, "/packages.json": true, "/packages/strip.png": true, "/p/pkg:deb/debian/hello@1": true, "/bootstrap": true,
		"/compare.json": true, "/search": true, "/rebuilders": true, "/rebuilders/sha256:00": true, "/e/7": true, "/feed.atom": true,
		"/log": true, "/witnesses.json": true, "/builds": true, "/builds/7": true, "/api": true,
		"/static/style.css": false, "/healthz": false, "/checkpoint": false, "/api/openapi.json": false, "/packagesx": false,
	} {
		resp, _ := g.ask(http.MethodGet, path, nil)
		if got := resp.StatusCode == http.StatusServiceUnavailable; got != reads {
			t.Errorf("%s is answered %s while no more reads are taken; it is one: %t", path, resp.Status, reads)
		}
	}
}
