// Package web is the ledger's dashboard: pages for people who would rather look than
// ask, drawn from what the log says and from a survey's table of it.
//
// Each page is made from one struct. The page's template shows it as HTML, and the
// page's twin, the same URL with .json behind it, is the struct as JSON.
//
// Invariants:
//   - Pages work without JavaScript. What scripts add is what a server cannot do: they
//     hold the log to its signatures and proofs in the reader's browser, and remember
//     the last checkpoint that it saw.
//   - Nothing is loaded from another host, nothing inline is run; the
//     Content-Security-Policy says so. Scripts have at most MaxScript bytes together.
//   - What others wrote is shown as text, whatever it is: html/template escapes it, and
//     plain.Line what would reorder or hide what stands around it.
//   - A verdict is a glyph and a word before it is a colour, and what is unknown, stale
//     or untried never looks like what is reproduced.
//   - What a page cannot prove, it says.
//   - A page takes a bounded time, and few are made at once of those that take much memory.
package web

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// MaxScript is the most bytes of JavaScript, of all files together.
const MaxScript = 15_000

// Survey is what the pages ask of a *survey.Survey. Its errors that wrap
// survey.ErrNotFound say that there is no such thing in the log.
type Survey interface {
	State(ctx context.Context) (survey.State, error)
	Summary(ctx context.Context) (*survey.Summary, error)
	// Packages returns a page of the matrix.
	Packages(ctx context.Context, f survey.Filter) (*survey.Page, error)
	// Strip returns the verdicts of all packages that are listed by default, by name.
	Strip(ctx context.Context) ([]verify.Verdict, error)
	// Package returns what goes by a look-up name, or the artifact with a digest.
	Package(ctx context.Context, nameOrDigest string) (*survey.Package, error)
	// Find returns packages whose names contain a text; those that begin with it first.
	Find(ctx context.Context, text string, limit int) ([]survey.Row, error)
	// Graph returns the ancestry of an artifact.
	Graph(ctx context.Context, target leaf.Digest) (*survey.Graph, error)
	// Rebuilders returns those who said something, the policy's first, without Days
	// and Latest.
	Rebuilders(ctx context.Context, limit int) ([]survey.Profile, error)
	Profile(ctx context.Context, key leaf.Fingerprint) (*survey.Profile, error)
	// Disagreements returns the latest before an entry, 0 for the latest of all.
	Disagreements(ctx context.Context, before uint64, limit int) ([]survey.Disagreement, error)
	Distributions(ctx context.Context) ([]survey.Distribution, error)
	// Growth returns how the log grew, in order, at most some hundred points.
	Growth(ctx context.Context) ([]survey.Point, error)
	// Cosigned returns the latest published checkpoints, the latest first.
	Cosigned(ctx context.Context, limit int) ([]survey.Cosigned, error)
	// Logged returns when an entry is known to have been published; zero if it is not.
	Logged(ctx context.Context, entry uint64) (time.Time, error)
}

// Reads is what the pages ask of the log: some methods of a *query.Service.
type Reads interface {
	GetAttestation(context.Context, *cairnv1.GetAttestationRequest) (*cairnv1.GetAttestationResponse, error)
	GetEntry(context.Context, *cairnv1.GetEntryRequest) (*cairnv1.GetEntryResponse, error)
	GetInclusionProof(context.Context, *cairnv1.GetInclusionProofRequest) (*cairnv1.GetInclusionProofResponse, error)
	GetKey(context.Context, *cairnv1.GetKeyRequest) (*cairnv1.GetKeyResponse, error)
	ListAttestations(context.Context, *cairnv1.ListAttestationsRequest) (*cairnv1.ListAttestationsResponse, error)
}

// Builds is what the pages ask of a queue of builds: some methods of a *queue.Service.
type Builds interface {
	ListBuilds(context.Context, *cairnv1.ListBuildsRequest) (*cairnv1.ListBuildsResponse, error)
	GetBuild(context.Context, *cairnv1.GetBuildRequest) (*cairnv1.GetBuildResponse, error)
	StreamBuildLog(*cairnv1.StreamBuildLogRequest, cairnv1.BuildService_StreamBuildLogServer) error
	// Counts returns the number of jobs in each state.
	Counts(context.Context) (map[string]int, error)
}

// Config is what a Site shows.
type Config struct {
	Board *checkpoint.Board // what is published
	Reads Reads
	// Survey has the packages; nil if this ledger keeps no table of them.
	Survey Survey
	// Builds is the queue of builds; nil if this ledger keeps none.
	Builds Builds
	// Policy is what checkpoints must satisfy: its witnesses are shown.
	Policy *policy.Policy
	VKey   string // the log's verifier key
	// Ready says why the ledger cannot take submissions, or nil.
	Ready func() error
	// Evidence returns the checkpoints kept here that prove that the signer was rolled
	// back, or that somebody else signs with its key.
	Evidence func() ([]Evidence, error)
	Logger   *slog.Logger
	Now      func() time.Time
}

// Evidence is a file of evidence that the ledger keeps.
type Evidence struct {
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	Text string    `json:"text"` // the signed checkpoints
}

// Site is the dashboard, an http.Handler for all of its paths.
type Site struct {
	cfg       Config
	trust     string                        // what of the policy is about checkpoints
	templates map[string]*template.Template // by page
	static    map[string]asset              // by path
	reference []apiMethod                   // of the REST API
	drawing   chan struct{}                 // has one for each graph that is being drawn
	handler   http.Handler
}

// Bounds of what a page may cost. A graph of many layers takes much memory to lay out.
const (
	pageTime  = 20 * time.Second // to be made in, and to wait for its turn
	maxGraphs = 2                // that are drawn at once
)

// New returns a Site.
func New(cfg Config) (*Site, error) {
	s := &Site{cfg: cfg, trust: checkpointLines(cfg.Policy.String()), drawing: make(chan struct{}, maxGraphs)}
	if err := s.load(); err != nil {
		return nil, err
	}
	var err error
	if s.reference, err = readReference(); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	s.handler.ServeHTTP(w, r.WithContext(ctx))
}
