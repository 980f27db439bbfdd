package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// now is the time in tests.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fakeSurvey answers with its fields.
type fakeSurvey struct {
	state         survey.State
	summary       survey.Summary
	page          survey.Page
	filter        survey.Filter // of the last question
	strip         []verify.Verdict
	packages      map[string]*survey.Package
	found         []survey.Row
	graphs        map[leaf.Digest]*survey.Graph
	profiles      []survey.Profile
	disagreements []survey.Disagreement
	distributions []survey.Distribution
	growth        []survey.Point
	cosigned      []survey.Cosigned
	err           error
}

func lookUp[K comparable, V any](m map[K]*V, key K, err error) (*V, error) {
	v, ok := m[key]
	if err == nil && !ok {
		err = fmt.Errorf("%v: %w", key, survey.ErrNotFound)
	}
	return v, err
}

func (f *fakeSurvey) State(context.Context) (survey.State, error) { return f.state, f.err }
func (f *fakeSurvey) Summary(context.Context) (*survey.Summary, error) {
	return &f.summary, f.err
}

func (f *fakeSurvey) Packages(_ context.Context, filter survey.Filter) (*survey.Page, error) {
	f.filter = filter
	return &f.page, f.err
}
func (f *fakeSurvey) Strip(context.Context) ([]verify.Verdict, error) { return f.strip, f.err }
func (f *fakeSurvey) Package(_ context.Context, name string) (*survey.Package, error) {
	return lookUp(f.packages, name, f.err)
}

func (f *fakeSurvey) Find(context.Context, string, int) ([]survey.Row, error) { return f.found, f.err }
func (f *fakeSurvey) Graph(_ context.Context, d leaf.Digest) (*survey.Graph, error) {
	return lookUp(f.graphs, d, f.err)
}

func (f *fakeSurvey) Rebuilders(context.Context, int) ([]survey.Profile, error) {
	return f.profiles, f.err
}

func (f *fakeSurvey) Profile(_ context.Context, key leaf.Fingerprint) (*survey.Profile, error) {
	for i := range f.profiles {
		if f.profiles[i].Key == key {
			return &f.profiles[i], f.err
		}
	}
	return nil, survey.ErrNotFound
}

func (f *fakeSurvey) Disagreements(context.Context, uint64, int) ([]survey.Disagreement, error) {
	return f.disagreements, f.err
}

func (f *fakeSurvey) Distributions(context.Context) ([]survey.Distribution, error) {
	return f.distributions, f.err
}
func (f *fakeSurvey) Growth(context.Context) ([]survey.Point, error) { return f.growth, f.err }
func (f *fakeSurvey) Cosigned(context.Context, int) ([]survey.Cosigned, error) {
	return f.cosigned, f.err
}
func (f *fakeSurvey) Logged(context.Context, uint64) (time.Time, error) { return now, f.err }

// newSite returns a Site over a survey, with a published checkpoint of 1234567 entries.
// change may change its configuration.
func newSite(t testing.TB, s Survey, change func(*Config)) *Site {
	t.Helper()
	skey, vkey, err := note.GenerateKey(nil, "log.example/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	c := torchwood.Checkpoint{Origin: "log.example/test", Tree: tlog.Tree{N: 1234567, Hash: tlog.Hash{1}}}
	signed, err := note.Sign(&note.Note{Text: c.String()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + vkey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	board := checkpoint.NewBoard()
	if err := board.Show(&checkpoint.Published{Checkpoint: c, Signed: signed, At: now.Add(-time.Minute)}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Board: board, Survey: s, Policy: pol, VKey: vkey, Ready: func() error { return nil },
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
	}
	if change != nil {
		change(&cfg)
	}
	site, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return site
}

// get returns the status and the body of a path.
func get(t testing.TB, site *Site, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestFailureIsAPage(t *testing.T) {
	site := newSite(t, nil, nil)
	status, body := get(t, site, "/nothing")
	if status != http.StatusNotFound || !strings.Contains(body, "There is no page here.") {
		t.Errorf("%d %s", status, body)
	}
}

func TestSuffixOf(t *testing.T) {
	for in, want := range map[string][2]string{
		"a":             {"a", ""},
		"a/":            {"a", ""},
		"a.json":        {"a", ".json"},
		"a.json/":       {"a.json", ""},
		"a.json/.json":  {"a.json", ".json"},
		"a.svg":         {"a", ".svg"},
		"a.json/.svg":   {"a.json", ".svg"},
		".json":         {".json", ""},
		"pkg:x/y@1.2.3": {"pkg:x/y@1.2.3", ""},
	} {
		if name, kind := suffixOf(in); name != want[0] || kind != want[1] {
			t.Errorf("suffixOf(%q) is %q, %q, want %q", in, name, kind, want)
		}
	}
}
