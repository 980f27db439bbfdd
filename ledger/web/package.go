package web

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// maxName is the longest look-up name, in bytes.
const maxName = 4096

// maxShown is how many artifacts a package's page shows; of the others it has a line.
const maxShown = 4

// packageView is all about a name, or about an artifact.
type packageView struct {
	Package   string          `json:"package"`
	Verdict   verify.Verdict  `json:"verdict"`
	Heard     bool            `json:"heard"`
	Artifacts []artifactView  `json:"artifacts"` // the current first, then the latest
	More      bool            `json:"more"`      // there are more artifacts
	Policy    string          `json:"policy"`    // by which the verdict is; empty if nobody is heard
	Current   time.Time       `json:"current,omitzero"`
	Path      string          `json:"-"`
	Badge     string          `json:"-"`
	Parts     nameParts       `json:"-"`
	IsDigest  bool            `json:"-"`
	Shown     []*artifactView `json:"-"`
	History   []past          `json:"-"` // the oldest first
	Commands  []command       `json:"-"`
	Now       time.Time       `json:"-"`
}

// artifactView is one artifact, and how it is drawn.
type artifactView struct {
	survey.Artifact
	Compared []compared         `json:"-"` // by who is heard
	Lines    []quorumLine       `json:"-"`
	Heard    []survey.Statement `json:"-"`
	Others   []survey.Statement `json:"-"`
	Known    []namePath         `json:"-"` // others than the page's
	Groups   []string           `json:"-"` // of the digest
}

// namePath is a look-up name and where its page is.
type namePath struct {
	Parts nameParts
	Path  string
}

// past is an artifact in the history of a name.
type past struct {
	Digest  leaf.Digest
	Path    string
	Verdict verify.Verdict
	Current bool
	First   uint64    // entry that is known to name it first
	At      time.Time // of that
	X       int
}

// command is a command that the reader can run.
type command struct{ Why, Text string }

// pastStep is the distance of artifacts in the drawing of a history.
const pastStep = 18

// Width is how wide the drawing of the history is.
func (v *packageView) Width() int { return len(v.History) * pastStep }

// named answers below /p/: with a package's page, its twin or its badge.
func (s *Site) named(w http.ResponseWriter, r *http.Request) {
	name, kind := suffixOf(r.PathValue("name"))
	if kind == ".html" {
		name += kind
	}
	r.SetPathValue("name", name)
	switch kind {
	case ".svg":
		s.badge(w, r)
	case ".json":
		s.serve(s.packagePage, twin).ServeHTTP(w, r)
	default:
		s.serve(s.packagePage, html).ServeHTTP(w, r)
	}
}

// lookedUp returns what is known by the name in the request's path. A package URL is
// found however it is spelled.
func (s *Site) lookedUp(ctx context.Context, name string) (*survey.Package, error) {
	if len(name) > maxName {
		return nil, reason.Errorf(reason.ArgumentInvalid, "the name has %d bytes: at most %d are taken", len(name), maxName)
	}
	if canonical, err := attest.LookupName(name); err == nil {
		name = canonical
	}
	p, err := s.cfg.Survey.Package(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("asking for a package: %w", err)
	}
	return p, nil
}

// packagePage makes the page of a name, or of an artifact.
func (s *Site) packagePage(r *http.Request) (*page, error) {
	if s.cfg.Survey == nil {
		return noTable(), nil
	}
	found, err := s.lookedUp(r.Context(), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	state, err := s.cfg.Survey.State(r.Context())
	if err != nil {
		return nil, fmt.Errorf("asking how the table stands: %w", err)
	}
	v := &packageView{
		Package: found.Package, Verdict: found.Verdict, Heard: found.Heard, More: found.More,
		Artifacts: make([]artifactView, len(found.Artifacts)), Policy: state.Policy, Current: state.Current,
		Path: pathOf("/p/", found.Package), Badge: kindPath(found.Package, ".svg"), Parts: divide(found.Package),
		IsDigest: leaf.Digest(found.Package).Valid(), Now: s.cfg.Now(),
	}
	for i := range found.Artifacts {
		v.Artifacts[i] = newArtifact(found.Artifacts[i], found.Package)
		if i == 0 || len(v.Shown) < maxShown && v.Artifacts[i].Current {
			v.Shown = append(v.Shown, &v.Artifacts[i])
		}
	}
	v.History = historyOf(found.Artifacts)
	v.Commands = commandsOf(r, found)
	return &page{name: "package", title: called(found.Package), verdict: &v.Verdict, twin: kindPath(found.Package, ".json"), view: v}, nil
}

// kindPath returns the path of another kind of answer about a package. See suffixOf.
func kindPath(name, kind string) string { return pathOf("/p/", name) + kind }

func newArtifact(a survey.Artifact, name string) artifactView {
	a.Names, a.Statements, a.Materials = list(a.Names), list(a.Statements), list(a.Materials)
	if a.Report != nil {
		report := *a.Report // the table's, and others read it
		report.Attestations = list(report.Attestations)
		a.Report = &report
	}
	v := artifactView{Artifact: a, Groups: groupsOf(a.Digest), Lines: linesOf(a.Report)}
	for _, s := range a.Statements {
		if s.Rebuilder.Heard {
			v.Heard = append(v.Heard, s)
		} else {
			v.Others = append(v.Others, s)
		}
	}
	v.Compared = sideBySide(a.Digest, v.Heard)
	for _, n := range a.Names {
		if n != name {
			v.Known = append(v.Known, namePath{divide(n), pathOf("/p/", n)})
		}
	}
	return v
}

func historyOf(artifacts []survey.Artifact) []past {
	var list []past
	for i := len(artifacts) - 1; i >= 0; i-- {
		a := &artifacts[i]
		p := past{Digest: a.Digest, Path: pathOf("/p/", string(a.Digest)), Verdict: a.Verdict, Current: a.Current, X: len(list) * pastStep}
		for _, s := range a.Statements {
			if p.At.IsZero() || s.Entry < p.First {
				p.First, p.At = s.Entry, s.At
			}
		}
		list = append(list, p)
	}
	return list
}

var plainHost = regexp.MustCompile(`^[0-9A-Za-z.-]+(:[0-9]+)?$`)

// ledgerURL is where the reader reached this ledger, as far as that can be told: what
// a client sends as its host is not put into commands unless it looks like one.
func ledgerURL(r *http.Request) string {
	host := r.Host
	if !plainHost.MatchString(host) {
		return "https://LEDGER"
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if ip := net.ParseIP(name); r.TLS == nil && (name == "localhost" || ip != nil && ip.IsLoopback()) {
		return "http://" + host
	}
	return "https://" + host
}

// commandsOf are those by which the reader needs not trust this page. They have nothing
// in them that others wrote.
func commandsOf(r *http.Request, p *survey.Package) []command {
	if len(p.Artifacts) == 0 {
		return nil
	}
	digest := string(p.Artifacts[0].Digest)
	return []command{
		{"Where the ledger is:", "export CAIRN_LEDGER=" + ledgerURL(r)},
		{"Decide by your own policy, from signatures and proofs that your machine checks:", "cairn verify " + digest + " --policy trusted.policy"},
		{"Follow what it was built from, down to the seed:", "cairn trace " + digest + " --policy trusted.policy"},
		{"Keep all evidence in a file, and decide by it later, offline:", "cairn bundle " + digest + " -O evidence.cairn-bundle\n" +
			"cairn verify " + digest + " --policy trusted.policy --bundle evidence.cairn-bundle"},
		{"Hold the whole log to its past:", "cairn audit " + ledgerURL(r) + " --policy trusted.policy"},
	}
}

// entryOf returns the index of an entry that a report names as origin#index, or nothing.
func entryOf(id string) string {
	_, text, _ := strings.Cut(id, "#")
	if _, err := strconv.ParseUint(text, 10, 64); err != nil {
		return ""
	}
	return text
}
