package web

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/survey"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	frontDisagreements = 10
	frontEntries       = 10
	frontRunning       = 5
)

// frontView is the ledger at a glance.
type frontView struct {
	Log           frontLog       `json:"log"`
	Witnesses     ring           `json:"witnesses"`
	Packages      *frontPackages `json:"packages,omitempty"` // absent if this ledger keeps no table of them, or cannot read it
	Disagreements []disagreement `json:"disagreements"`
	Entries       []entryRow     `json:"entries"` // the latest, first
	// Queue has the jobs by state, and Running some that workers hold. Both are empty
	// if this ledger keeps no queue of builds.
	Queue   []stateCount `json:"queue"`
	Running []buildRow   `json:"running"`
	// Policy is the least that believes this log, or nothing before its key is known.
	Policy string `json:"policy"`

	Surveyed bool   `json:"-"` // this ledger keeps a table of packages
	Base     string `json:"-"` // URL of this ledger, as it was asked for
}

type frontLog struct {
	Origin     string `json:"origin,omitempty"`
	Size       int64  `json:"size"`
	Checkpoint moment `json:"checkpoint,omitzero"` // when it was published
	Growth     *spark `json:"growth,omitempty"`
}

type frontPackages struct {
	Packages   int        `json:"packages"`
	Unheard    int        `json:"unheard"`
	Rebuilders int        `json:"rebuilders"`
	Operators  int        `json:"operators"`
	Bar        verdictBar `json:"verdicts"`
}

// disagreement is a statement that contradicts another's.
type disagreement struct {
	survey.Disagreement
	Says mark   `json:"-"`
	At   moment `json:"-"`
}

// entryRow is an entry in a list.
type entryRow struct {
	Index   uint64           `json:"index"`
	Kind    leaf.Kind        `json:"kind"`
	Format  string           `json:"format"`
	Claim   leaf.Claim       `json:"claim"`
	Result  leaf.Result      `json:"result"`
	Subject leaf.Digest      `json:"subject,omitempty"` // the first
	More    int              `json:"more"`              // subjects
	Key     leaf.Fingerprint `json:"key,omitempty"`     // the first

	Mark     mark `json:"-"`
	Artifact bool `json:"-"` // Subject is one, not a key
}

func (s *Site) front(r *http.Request) (*page, error) {
	ctx := r.Context()
	v := &frontView{
		Disagreements: []disagreement{}, Entries: []entryRow{}, Queue: []stateCount{}, Running: []buildRow{},
		Policy: s.cfg.Policy.String(), Surveyed: s.cfg.Survey != nil, Base: baseURL(r),
	}
	latest := s.cfg.Board.Latest()
	v.Witnesses = newRing(s.cfg.Policy, latest, s.cfg.Now())
	if latest != nil {
		v.Log.Origin, v.Log.Size, v.Log.Checkpoint = latest.Origin, latest.N, s.momentOf(latest.At)
	}
	if s.cfg.Survey != nil {
		// What is in the log is shown even if the table cannot be read; the frame says
		// that it cannot.
		if err := s.frontSurvey(ctx, v); err != nil {
			s.cfg.Logger.ErrorContext(ctx, "reading the survey", slog.Any("err", err))
		}
	}
	if latest != nil && s.cfg.Reads != nil {
		rows, err := s.latestEntries(ctx, latest.N)
		if err != nil {
			return nil, err
		}
		v.Entries = rows
	}
	if s.cfg.Builds != nil {
		if err := s.frontBuilds(ctx, v); err != nil {
			return nil, err
		}
	}
	return &page{name: "front", title: "Who built and who rebuilt what", view: v}, nil
}

func (s *Site) frontSurvey(ctx context.Context, v *frontView) error {
	growth, err := s.cfg.Survey.Growth(ctx)
	if err != nil {
		return err
	}
	line := newSpark(growth)
	v.Log.Growth = &line
	list, err := s.cfg.Survey.Disagreements(ctx, 0, frontDisagreements)
	if err != nil {
		return err
	}
	for _, d := range list {
		v.Disagreements = append(v.Disagreements, disagreement{d, wordMark(d.Statement.Word), s.momentOf(d.Statement.At)})
	}
	sum, err := s.cfg.Survey.Summary(ctx)
	if err != nil {
		return err
	}
	v.Packages = &frontPackages{sum.Packages, sum.Unheard, sum.Rebuilders, sum.Operators, newVerdictBar(sum.Counts)}
	return nil
}

func (s *Site) frontBuilds(ctx context.Context, v *frontView) error {
	list, err := s.cfg.Builds.ListBuilds(ctx, &cairnv1.ListBuildsRequest{State: "leased", PageSize: frontRunning})
	if err != nil {
		return err
	}
	for _, b := range list.GetBuilds() {
		v.Running = append(v.Running, s.buildRow(b))
	}
	v.Queue, err = s.counts(ctx)
	return err
}

// latestEntries returns the last entries of a log of a size, the latest first.
func (s *Site) latestEntries(ctx context.Context, size int64) ([]entryRow, error) {
	list, err := s.cfg.Reads.ListAttestations(ctx, &cairnv1.ListAttestationsRequest{
		PageSize: frontEntries, PageToken: query.PageToken(uint64(max(0, size-frontEntries))),
	})
	if err != nil {
		return nil, err
	}
	entries := list.GetEntries()
	rows := make([]entryRow, 0, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		row, err := newEntryRow(entries[i])
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func newEntryRow(e *cairnv1.Entry) (entryRow, error) {
	l, err := leaf.Parse([]byte(e.GetLeaf()))
	if err != nil {
		return entryRow{}, err
	}
	row := entryRow{Index: uint64(e.GetIndex()), Kind: l.Kind, Format: l.Format, Claim: l.Claim, Result: l.Result}
	if l.Kind == leaf.KindAttestation {
		row.Mark, row.Artifact = outcomeMark(string(l.Claim), string(l.Result)), len(l.Subjects) > 0
	} else {
		row.Mark = mark{"–", string(l.Kind), "untried"}
	}
	if len(l.Subjects) > 0 {
		row.Subject, row.More = l.Subjects[0], len(l.Subjects)-1
	}
	if len(l.Keys) > 0 {
		row.Key = l.Keys[0]
	}
	return row, nil
}

// baseURL returns the URL of this ledger for commands that readers copy: as they asked
// for it, or a placeholder if that is no host's name.
func baseURL(r *http.Request) string {
	odd := func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]", c)
	}
	if r.Host == "" || len(r.Host) > 255 || strings.ContainsFunc(r.Host, odd) {
		return "https://LEDGER"
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
