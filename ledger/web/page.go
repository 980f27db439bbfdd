package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// page is what a builder makes of a request.
type page struct {
	name  string // of the template, without .html
	title string // shown in the title and as the heading; text of others is cleaned there
	// verdict is the page's one verdict, for its title and icon; nil if it has none.
	verdict *verify.Verdict
	twin    string // path of the JSON twin; empty for the request's with .json
	status  int    // of the answer; 0 for 200
	view    any    // what the template and the twin show
	// redirect is a path of this site that readers go to instead; the twin says what is
	// there all the same.
	redirect string
}

// builder makes the page for a request. Its errors are shown as a page, too.
type builder func(r *http.Request) (*page, error)

// renderer writes a page.
type renderer func(s *Site, w http.ResponseWriter, r *http.Request, p *page)

// serve answers with a builder's page.
func (s *Site) serve(build builder, render renderer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := build(r)
		if err != nil {
			p = s.failure(r, err)
		}
		w.Header().Set("Cache-Control", "no-cache")
		render(s, w, r, p)
	})
}

// suffixed serves the builder's page at a path that ends with the wildcard, and its
// twin where that has .json behind it. The builder sees the wildcard's value without.
func (s *Site) suffixed(wildcard string, build builder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		render := html
		name, kind := suffixOf(r.PathValue(wildcard))
		switch kind {
		case "":
		case ".json":
			render = twin
		default:
			name += kind
		}
		r.SetPathValue(wildcard, name)
		s.serve(build, render).ServeHTTP(w, r)
	})
}

// suffixOf divides the end of a path into what others named and what kind of answer is
// asked for: .json, .svg, .html or nothing, which is the page. A name that ends like that
// itself is followed by a slash: /p/NAME.json/ is a page, and /p/NAME.json/.json is its twin.
func suffixOf(text string) (name, kind string) {
	for _, kind := range []string{".json", ".svg", ".html"} {
		if name, found := strings.CutSuffix(text, kind); found && name != "" {
			return strings.TrimSuffix(name, "/"), kind
		}
	}
	return strings.TrimSuffix(text, "/"), ""
}

// document is what every template is executed with.
type document struct {
	Frame frame
	View  any
}

// answer is what every twin has.
type answer struct {
	Schema     string          `json:"schema"` // cairn/web/<page>/v1
	Title      string          `json:"title"`
	Verdict    *verify.Verdict `json:"verdict,omitempty"`
	Checkpoint string          `json:"checkpoint,omitempty"` // signed: what it was made from
	View       any             `json:"view"`
}

// html writes a page as HTML.
func html(s *Site, w http.ResponseWriter, r *http.Request, p *page) {
	if p.redirect != "" {
		w.Header().Set("Location", p.redirect) // http.Redirect would shorten names in it
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	var b bytes.Buffer
	t, ok := s.templates[p.name]
	if !ok {
		http.Error(w, "no such page", http.StatusInternalServerError)
		return
	}
	if err := t.ExecuteTemplate(&b, "frame.html", document{s.frame(r, p), p.view}); err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "drawing a page", slog.String("page", p.name), slog.Any("err", err))
		http.Error(w, "the page could not be drawn", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, r, p.status, b.Bytes())
}

// twin writes a page as JSON.
func twin(s *Site, w http.ResponseWriter, r *http.Request, p *page) {
	a := answer{Schema: "cairn/web/" + p.name + "/v1", Title: p.title, Verdict: p.verdict, View: p.view}
	if latest := s.cfg.Board.Latest(); latest != nil {
		a.Checkpoint = string(latest.Signed)
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "writing a page as JSON", slog.String("page", p.name), slog.Any("err", err))
		http.Error(w, "the page could not be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	s.write(w, r, p.status, append(text, '\n'))
}

func (s *Site) write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if status != 0 {
		w.WriteHeader(status)
	}
	if _, err := w.Write(body); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "writing a page", slog.Any("err", err))
	}
}

// failureView is the page of an error.
type failureView struct {
	Status  int    `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
	Help    string `json:"help,omitempty"` // what to do next
}

// failure is the page of an error. What is no refusal is not told to anybody but the
// ledger's log.
func (s *Site) failure(r *http.Request, err error) *page {
	v := failureView{Status: http.StatusInternalServerError, Message: "This page could not be made."}
	var refusal *reason.Error
	switch {
	case errors.As(err, &refusal):
		v.Status = reason.Lookup(refusal.Reason).HTTP
		v.Reason, v.Message = string(refusal.Reason), refusal.Message
	case errors.Is(err, survey.ErrNotFound):
		v.Status, v.Message = http.StatusNotFound, "The log has nothing of that name."
	case errors.Is(err, context.DeadlineExceeded):
		v.Status, v.Message = http.StatusServiceUnavailable, "This took too long. Try again, or ask for less."
	}
	if v.Status >= http.StatusInternalServerError {
		s.cfg.Logger.ErrorContext(r.Context(), "making a page", slog.String("path", r.URL.Path), slog.Any("err", err))
	}
	return &page{name: "failure", title: http.StatusText(v.Status), status: v.Status, view: v}
}

// missing is the page of what is not there.
func (s *Site) missing(r *http.Request) (*page, error) {
	return &page{name: "failure", title: "Not Found", status: http.StatusNotFound, view: failureView{
		Status: http.StatusNotFound, Message: "There is no page here.", Help: "Look from the front page, or search.",
	}}, nil
}

// menu is the navigation.
var menu = []struct{ Path, Name string }{
	{"/packages", "Packages"}, {"/bootstrap", "Bootstrap"}, {"/compare", "Compare"}, {"/rebuilders", "Rebuilders"},
	{"/witnesses", "Witnesses"}, {"/log", "Log"}, {"/builds", "Builds"}, {"/api", "API"},
}

// frameData is what scripts get of a page's frame.
type frameData struct {
	Origin     string `json:"origin"`
	Checkpoint string `json:"checkpoint"` // signed
	VKey       string `json:"vkey"`       // of the log
	// Policy is the part of the ledger's policy that is about checkpoints: lines log,
	// witness, group and quorum of tlog-policy.
	Policy string `json:"policy"`
}

// frame is what is around every page.
type frame struct {
	Title    string
	Verdict  *verify.Verdict
	Origin   string
	Size     int64
	At       time.Time // of the checkpoint
	Data     frameData // for the check in the browser
	Problems []string
	Path     string // of the page
	Twin     string
	Now      time.Time
}

// frame returns what is around a page.
func (s *Site) frame(r *http.Request, p *page) frame {
	f := frame{Title: p.title, Verdict: p.verdict, Data: frameData{VKey: s.cfg.VKey, Policy: s.trust}, Path: r.URL.EscapedPath(), Twin: p.twin, Now: s.cfg.Now().UTC()}
	if f.Twin == "" {
		f.Twin = f.Path + ".json"
		if f.Path == "/" {
			f.Twin = "/index.json"
		}
		if r.URL.RawQuery != "" {
			f.Twin += "?" + r.URL.RawQuery
		}
	}
	if latest := s.cfg.Board.Latest(); latest != nil {
		f.Origin, f.Size, f.At = latest.Origin, latest.N, latest.At.UTC()
		f.Data.Origin, f.Data.Checkpoint = latest.Origin, string(latest.Signed)
	}
	if err := s.cfg.Ready(); err != nil {
		f.Problems = append(f.Problems, "This ledger takes no submissions: "+err.Error())
	}
	if s.cfg.Survey != nil {
		switch state, err := s.cfg.Survey.State(r.Context()); {
		case err != nil:
			f.Problems = append(f.Problems, "The table of packages cannot be read. Verdicts are not known.")
		case state.Problem != nil:
			f.Problems = append(f.Problems, "Verdicts are not known: "+state.Problem.Error())
		}
	}
	return f
}

// asset is a static file.
type asset struct {
	mime string
	body []byte
}

// load parses the templates and reads the static files.
func (s *Site) load() error {
	s.templates, s.static = make(map[string]*template.Template), make(map[string]asset)
	if err := s.loadStatic(); err != nil {
		return err
	}
	base, err := template.New("").Funcs(s.funcs()).ParseFS(templateFiles, "templates/frame.html", "templates/parts/*.html")
	if err != nil {
		return fmt.Errorf("parsing the frame: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return err
	}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "frame" {
			continue
		}
		t, err := template.Must(base.Clone()).ParseFS(templateFiles, file)
		if err != nil {
			return fmt.Errorf("parsing page %s: %w", name, err)
		}
		s.templates[name] = t
	}
	return nil
}

var mimes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

func (s *Site) loadStatic() error {
	entries, err := staticFiles.ReadDir("static")
	if err != nil {
		return err
	}
	for _, e := range entries {
		body, err := staticFiles.ReadFile("static/" + e.Name())
		if err != nil {
			return err
		}
		mime, ok := mimes[path.Ext(e.Name())]
		if !ok {
			return fmt.Errorf("static file %s: of no known type", e.Name())
		}
		s.static["/static/"+e.Name()] = asset{mime, body}
	}
	return nil
}

// assetURL returns the URL of a static file, which changes with its contents.
func (s *Site) assetURL(name string) (string, error) {
	a, ok := s.static["/static/"+name]
	if !ok {
		return "", fmt.Errorf("no static file %s", name)
	}
	return "/static/" + name + "?" + leaf.SHA256(a.body).Hex()[:16], nil
}

func (s *Site) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := s.static[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.mime)
	cache := "no-cache"
	if r.URL.RawQuery != "" {
		cache = "public, max-age=31536000, immutable"
	}
	w.Header().Set("Cache-Control", cache)
	s.write(w, r, 0, a.body)
}
