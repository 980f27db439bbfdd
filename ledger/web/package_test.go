package web

import (
	"errors"
	"fmt"
	stdhtml "html"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

const coreGo = "pkg:oci/core-go?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"

func TestPackage(t *testing.T) {
	f := someSurvey()
	site := newSite(t, f, nil)
	digest := f.packages[coreGo].Artifacts[0].Digest
	body := wantsText(t, site, pathOf("/p/", coreGo), http.StatusOK,
		"✗ differs by the policy of this ledger's operator",
		"3 of 5 obtained it , the policy needs 3: satisfied",
		"independents: 3 of 5, needs 3", "alice https://alice.example : obtained it", "inria https://inria.example : did not",
		"different cpu-vendor: 2 of 2 (AMD, Intel) , satisfied",
		"https://debian-rebuilds.example (debian-rebuilds) got something else in entry 4 293",
		"! https://inria.example (inria) could not build it in entry 4 324",
		"Why it is not reproduced",
		"alice ✓ obtained it "+strings.Join(groupsOf(digest), " ")+" 4 200",
		"inria ! could not build it nothing to compare 4 324",
		"toolchain pkg:oci/core-gcc", "pinned by its digest",
		"1 statement of others, not counted",
		"What went by this name, the oldest first.",
		"cairn verify "+string(digest)+" --policy trusted.policy",
		"export CAIRN_LEDGER=https://example.com",
		"What this page does not prove", "rebuild-quorum independents",
	)
	wants(t, body, "<title>✗ differs: core-go – log.example/test</title>", "/static/icon-differs.svg",
		`<mark>5e5e</mark>`, `href="/bootstrap?to=`+strings.ReplaceAll(string(digest), ":", "%3a")+`"`, `href="/e/4293"`,
		`aria-label="3 of 5 obtained it, the policy needs 3"`, `<img src="`+stdhtml.EscapeString(pathOf("/p/", coreGo))+`.svg"`)
	if strings.Count(body, "<mark>") != 1 {
		t.Error("more than the first group that differs is marked")
	}
	view := twinOf(t, site, pathOf("/p/", coreGo)+".json")
	if view["package"] != coreGo || view["verdict"] != "differs" || len(view["artifacts"].([]any)) != 2 {
		t.Errorf("twin: %v", view)
	}
	wantsText(t, site, "/p/PKG:oci/Core-Go@"+string(digest)+"%3Frepository_url=docker.io/stagex/core-go&arch=amd64", http.StatusOK, "✗ differs")
}

func TestArtifact(t *testing.T) {
	f := someSurvey()
	p := somePackage(verify.VerdictReproduced)
	digest := p.Artifacts[0].Digest
	p.Package, p.Artifacts, p.Artifacts[0].Report = string(digest), p.Artifacts[:1], nil
	f.packages[string(digest)], f.state.Policy = p, ""
	body := wantsText(t, newSite(t, f, nil), "/p/"+string(digest), http.StatusOK, "✓ reproduced", "names no policy, so nobody is heard",
		"Names pkg:oci/ core-go ?arch=amd64", "It was not judged")
	wants(t, body, `<a href="`+stdhtml.EscapeString(pathOf("/p/", coreGo))+`">`)
}

func TestPackageOfNothing(t *testing.T) {
	wantsText(t, newSite(t, nil, nil), "/p/x", http.StatusNotFound, "keeps no table of packages")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/p/x", http.StatusNotFound, "The log has nothing of that name.")
	wantsText(t, newSite(t, &fakeSurvey{}, nil), "/p/"+strings.Repeat("x", 4097), http.StatusBadRequest, "the name has 4097 bytes: at most 4096 are taken")
	f := &fakeSurvey{packages: map[string]*survey.Package{"x": {Package: "x"}}}
	wantsText(t, newSite(t, f, nil), "/p/x", http.StatusOK, "? not enough evidence", "Nobody logged an artifact of this name.")
	twinOf(t, newSite(t, f, nil), "/p/x.json")
}

// What is asked for is told apart by the end of the path; names that end like it are
// not lost.
func TestPackageKinds(t *testing.T) {
	f := &fakeSurvey{packages: make(map[string]*survey.Package)}
	for _, name := range []string{"x", "x.json", "x.svg", "x.html"} {
		f.packages[name] = &survey.Package{Package: name, Artifacts: []survey.Artifact{{Digest: digestOf(name)}}}
	}
	site := newSite(t, f, nil)
	for path, want := range map[string]string{
		"/p/x": "text/html; charset=utf-8", "/p/x.html": "text/html; charset=utf-8", "/p/x.json/": "text/html; charset=utf-8",
		"/p/x.json": "application/json", "/p/x.json/.json": "application/json", "/p/x.html/.json": "application/json",
		"/p/x.svg": "image/svg+xml", "/p/x.svg/.svg": "image/svg+xml", "/p/x.svg/": "text/html; charset=utf-8",
	} {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if got := w.Header().Get("Content-Type"); w.Code != http.StatusOK || got != want {
			t.Errorf("%s: %d %s, want %s", path, w.Code, got, want)
		}
	}
}

func TestPackageOfHostileText(t *testing.T) {
	f := someSurvey()
	p := f.packages[coreGo]
	a := &p.Artifacts[0]
	for _, bad := range []string{nasty, longWord} {
		p.Package = "pkg:generic/" + bad[:min(len(bad), 3000)]
		a.Names = []string{bad, p.Package}
		for i := range a.Statements {
			a.Statements[i].Environment = map[string]string{bad: bad}
			a.Statements[i].Rebuilder.Name, a.Statements[i].Rebuilder.Operator = bad, bad
		}
		a.Materials[0].Name, a.Materials[0].Role, a.Materials[1].Digest = bad, bad, ""
		a.Report.Reasons = []string{bad}
		a.Report.Dissent[0] = verify.Dissent{Operator: bad, Rebuilder: bad, Result: leaf.Different, Entry: bad}
		a.Report.Equivocations = []verify.Equivocation{{Operator: bad, Name: bad, Entries: []string{bad}}}
		f.packages["x"] = p
		body := wantsText(t, newSite(t, f, nil), "/p/x", http.StatusOK, "contradicts itself")
		harmless(t, "/p/x", body)
	}
}

func TestSideBySide(t *testing.T) {
	of := leaf.Digest("sha256:" + strings.Repeat("0123", 16))
	at := func(entry uint64, who int, word survey.Word, output leaf.Digest) survey.Statement {
		return survey.Statement{Entry: entry, Rebuilder: survey.Rebuilder{Key: keyOf(who)}, Word: word, Output: output}
	}
	last := leaf.Digest("sha256:" + strings.Repeat("0123", 15) + "0124")
	got := sideBySide(of, []survey.Statement{
		at(1, 0, survey.Obtained, of), at(2, 1, survey.Different, last), at(3, 0, survey.Obtained, of),
		at(4, 2, survey.Failed, ""), at(5, 2, survey.Different, leaf.Digest("sha512:"+strings.Repeat("0123", 32))),
	})
	var lines []string
	for _, c := range got {
		lines = append(lines, fmt.Sprint(c.Entry, " ", c.Times, " ", c.Word, " ", len(c.Same), c.First, len(c.Rest), " ", c.Other))
	}
	want := []string{"3 2 obtained 16 [] 0 false", "2 1 different 15 [0124] 0 false", "4 1 failed 0 [] 0 false", "5 1 different 0 [] 32 true"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConsensusSlots(t *testing.T) {
	lines := linesOf(someReport(digestOf("x"), verify.VerdictDiffers))
	var classes []string
	for _, s := range lines[0].Slots {
		classes = append(classes, s.Class)
	}
	if diff := cmp.Diff([]string{"reproduced", "reproduced", "reproduced", "failed", "differs"}, classes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if lines[0].Line != 118 {
		t.Errorf("the threshold is at %d, want 118: behind the third slot", lines[0].Line)
	}
}

// A ledger's name is what the client sent: nothing of it but a host gets into a command.
func TestLedgerURL(t *testing.T) {
	for host, want := range map[string]string{
		"ledger.example": "https://ledger.example", "ledger.example:8443": "https://ledger.example:8443",
		"localhost:8080": "http://localhost:8080", "127.0.0.1:80": "http://127.0.0.1:80",
		"$(reboot)": "https://LEDGER", "a;b": "https://LEDGER", "": "https://LEDGER",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		if got := ledgerURL(r); got != want {
			t.Errorf("of %q is %s, want %s", host, got, want)
		}
	}
}

func TestDivide(t *testing.T) {
	for name, want := range map[string]nameParts{
		coreGo:                                   {"pkg:oci/", "core-go", "", "?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go"},
		"pkg:deb/debian/hello@2.12-1?arch=amd64": {"pkg:deb/debian/", "hello", "@2.12-1", "?arch=amd64"},
		"pkg:npm/@scope/x@1#a/b":                 {"pkg:npm/@scope/", "x", "@1", "#a/b"},
		"hello":                                  {Name: "hello"},
		"pkg:":                                   {Before: "pkg:"},
	} {
		if diff := cmp.Diff(want, divide(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func FuzzDivide(f *testing.F) {
	for _, name := range []string{coreGo, "pkg:deb/debian/hello@2.12-1?arch=amd64", nasty, "pkg:@?#/"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := divide(name)
		if shown := p.Before + p.Name + p.After + p.Rest; len(name) < maxNameShown/10 && shown != short(1000, name) {
			t.Errorf("%q is shown as %q", name, shown)
		}
	})
}

func TestBadge(t *testing.T) {
	for _, tt := range []struct {
		verdict verify.Verdict
		text    string
		colour  string
	}{
		{verify.VerdictReproduced, "✓ reproduced 3 of 5", "#00664b"},
		{verify.VerdictDiffers, "✗ differs", "#9a3d00"},
		{verify.VerdictFailed, "! build failed", "#6b4700"},
		{verify.VerdictUnproven, "? not enough evidence 3 of 5", "#0b5078"},
		{verify.VerdictUntried, "· not tried", "#57606a"},
	} {
		f := someSurvey()
		f.packages[coreGo] = somePackage(tt.verdict)
		status, body := get(t, newSite(t, f, nil), pathOf("/p/", coreGo)+".svg")
		if status != http.StatusOK {
			t.Errorf("%s: %d", tt.verdict, status)
		}
		wants(t, body, ">rebuilt</text>", ">"+tt.text+"</text>", `fill="`+tt.colour+`"`, "repository_url=docker.io%2Fstagex%2Fcore-go rebuilt: "+tt.text+"</title>")
		if tt.verdict != verify.VerdictReproduced && strings.Contains(body, badgeColours[verify.VerdictReproduced]) {
			t.Errorf("%s is green", tt.verdict)
		}
	}
}

// Whatever is not known for sure is not green.
func TestBadgeOfTheUnknown(t *testing.T) {
	good := func(change func(*fakeSurvey)) Survey {
		f := someSurvey()
		f.packages["x"] = somePackage(verify.VerdictReproduced)
		change(f)
		return f
	}
	for what, tt := range map[string]struct {
		survey Survey
		path   string
		status int
		text   string
	}{
		"no table":          {nil, "/p/x.svg", http.StatusNotFound, "unknown"},
		"no such name":      {good(func(*fakeSurvey) {}), "/p/y.svg", http.StatusNotFound, "unknown"},
		"a name too long":   {good(func(*fakeSurvey) {}), "/p/" + strings.Repeat("y", 4097) + ".svg", http.StatusBadRequest, "unknown"},
		"a nasty name":      {good(func(*fakeSurvey) {}), pathOf("/p/", nasty) + ".svg", http.StatusNotFound, "unknown"},
		"a table in error":  {good(func(f *fakeSurvey) { f.err = errors.New("disk") }), "/p/x.svg", http.StatusServiceUnavailable, "not known now"},
		"a table behind":    {good(func(f *fakeSurvey) { f.state.Problem = errors.New("old") }), "/p/x.svg", http.StatusOK, "not known now"},
		"a table not ready": {good(func(f *fakeSurvey) { f.state = survey.State{} }), "/p/x.svg", http.StatusOK, "not known now"},
	} {
		status, body := get(t, newSite(t, tt.survey, nil), tt.path)
		if status != tt.status || strings.Contains(body, badgeColours[verify.VerdictReproduced]) {
			t.Errorf("%s: %d %s", what, status, body)
		}
		wants(t, body, ">"+tt.text+"</text>", `fill="`+badgeGrey+`"`)
		harmless(t, what, body)
	}
}
