package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	buildsPage = 100
	// maxRunning is how many running builds are shown with the end of their logs.
	maxRunning = 8
	// glimpse is how much of a running build's log is read for its last lines, and
	// glimpseLines how many of them are shown.
	glimpse      = 4 << 10
	glimpseLines = 6
	// maxLogShown is how much of a log a page has.
	maxLogShown = 64 << 10
)

var errNoQueue = reason.Errorf(reason.BuildsAbsent, "this ledger keeps no queue of builds")

// The states of a job, in the order in which they are shown. A job that is done says
// nothing yet of what was built: that has a mark of its own.
var stateMarks = []mark{
	{"▸", "leased", "untried"}, {"·", "queued", "untried"}, {"–", "done", "untried"}, {"!", "failed", "failed"}, {"–", "cancelled", "untried"},
}

func stateMark(state string) mark {
	for _, m := range stateMarks {
		if m.Word == state {
			return m
		}
	}
	return mark{"?", state, "untried"}
}

// moment is a time and how long ago it was. Its JSON is the time.
type moment struct {
	time.Time
	Ago string
}

func (s *Site) moment(t *timestamppb.Timestamp) moment {
	if t == nil {
		return moment{}
	}
	return s.momentOf(t.AsTime())
}

func (s *Site) momentOf(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	age := ago(s.cfg.Now().Sub(t))
	if age[0] >= '0' && age[0] <= '9' {
		age += " ago"
	}
	return moment{t.UTC(), age}
}

// buildRow is a job of the queue in a list.
type buildRow struct {
	ID          int64  `json:"id"`
	Kind        string `json:"kind"`
	Package     string `json:"package"`
	Platform    string `json:"platform,omitempty"`
	Engine      string `json:"engine,omitempty"`
	State       string `json:"state"`
	Attempts    int32  `json:"attempts"`
	MaxAttempts int32  `json:"maxAttempts"`
	Worker      string `json:"worker,omitempty"`
	Operator    string `json:"operator,omitempty"` // as the worker declares it
	Queued      moment `json:"queued,omitzero"`
	Leased      moment `json:"leased,omitzero"`
	Ended       moment `json:"ended,omitzero"`
	// Entry is that of the attestation that completed the job, and Outcome what it
	// says; empty for a build.
	Entry   *int64 `json:"entry,omitempty"`
	Outcome string `json:"outcome,omitempty"`
	Failure string `json:"failure,omitempty"` // its word

	StateMark   mark `json:"-"`
	OutcomeMark mark `json:"-"`
}

func (s *Site) buildRow(b *cairnv1.Build) buildRow {
	row := buildRow{
		ID: b.GetId(), Kind: b.GetSpec().GetKind(), Package: b.GetSpec().GetPackage(),
		Platform: b.GetSpec().GetPlatform(), Engine: b.GetSpec().GetEngine(),
		State: b.GetState(), Attempts: b.GetAttempts(), MaxAttempts: b.GetMaxAttempts(),
		Worker: b.GetWorker(), Operator: b.GetOperator(), Failure: b.GetFailure().GetKind(),
		Queued: s.moment(b.GetQueueTime()), Leased: s.moment(b.GetLeaseTime()), Ended: s.moment(b.GetEndTime()),
		StateMark: stateMark(b.GetState()),
	}
	if r := b.GetResult(); r != nil {
		row.Entry, row.Outcome, row.OutcomeMark = &r.Index, r.GetResult(), outcomeMark(row.Kind, r.GetResult())
	}
	return row
}

// runningBuild is a job that a worker holds, and the last that it wrote.
type runningBuild struct {
	buildRow
	Log buildLog `json:"log"`
}

// running returns jobs that workers hold, the latest first.
func (s *Site) running(ctx context.Context, limit int) ([]runningBuild, error) {
	list, err := s.cfg.Builds.ListBuilds(ctx, &cairnv1.ListBuildsRequest{State: "leased", PageSize: int32(limit)})
	if err != nil {
		return nil, err
	}
	running := make([]runningBuild, 0, len(list.GetBuilds()))
	for _, b := range list.GetBuilds() {
		log, err := s.readLog(ctx, b.GetId(), max(0, b.GetLogSize()-glimpse), b.GetLogSize())
		if err != nil {
			return nil, err
		}
		log.last(glimpseLines)
		running = append(running, runningBuild{s.buildRow(b), *log})
	}
	return running, nil
}

// stateCount is how many jobs are in a state.
type stateCount struct {
	State string `json:"state"`
	Count int    `json:"count"`
	Mark  mark   `json:"-"`
}

// counts returns the number of jobs in each state.
func (s *Site) counts(ctx context.Context) ([]stateCount, error) {
	counts, err := s.cfg.Builds.Counts(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]stateCount, 0, len(stateMarks))
	for _, m := range stateMarks {
		list = append(list, stateCount{m.Word, counts[m.Word], m})
	}
	return list, nil
}

// buildsView is the queue.
type buildsView struct {
	Kept    bool           `json:"kept"` // whether this ledger keeps a queue
	Counts  []stateCount   `json:"counts"`
	State   string         `json:"state,omitempty"`   // only jobs in it are listed
	Package string         `json:"package,omitempty"` // only jobs of it are listed
	Running []runningBuild `json:"running"`           // on the first page of all jobs
	Builds  []buildRow     `json:"builds"`
	Next    string         `json:"next,omitempty"` // path of the next page

	First bool `json:"-"` // the first page
}

func (s *Site) builds(r *http.Request) (*page, error) {
	ctx, q := r.Context(), r.URL.Query()
	v := &buildsView{
		Counts: []stateCount{}, Running: []runningBuild{}, Builds: []buildRow{},
		State: q.Get("state"), Package: q.Get("package"), First: q.Get("page") == "",
	}
	p := &page{name: "builds", title: "Builds", view: v}
	if s.cfg.Builds == nil {
		return p, nil
	}
	v.Kept = true
	list, err := s.cfg.Builds.ListBuilds(ctx, &cairnv1.ListBuildsRequest{
		State: v.State, Package: v.Package, PageSize: buildsPage, PageToken: q.Get("page"),
	})
	if err != nil {
		return nil, err
	}
	for _, b := range list.GetBuilds() {
		v.Builds = append(v.Builds, s.buildRow(b))
	}
	if next := list.GetNextPageToken(); next != "" {
		v.Next = "/builds?" + url.Values{"state": {v.State}, "package": {v.Package}, "page": {next}}.Encode()
	}
	if v.First && v.State == "" && v.Package == "" {
		if v.Running, err = s.running(ctx, maxRunning); err != nil {
			return nil, err
		}
	}
	v.Counts, err = s.counts(ctx)
	return p, err
}

// buildView is one job.
type buildView struct {
	buildRow
	TreeURI           string   `json:"treeURI,omitempty"`
	TreeDigest        string   `json:"treeDigest"`
	Priority          int32    `json:"priority"`
	Expected          string   `json:"expected,omitempty"`      // digest that is to come out
	ClaimEntry        *int64   `json:"claimEntry,omitempty"`    // whose claim is to be reproduced
	ClaimEnvelope     string   `json:"claimEnvelope,omitempty"` // of that entry
	ExcludedOperators []string `json:"excludedOperators"`
	ExcludedKeys      []string `json:"excludedKeys"`
	QueuedBy          string   `json:"queuedBy"`
	NotBefore         moment   `json:"notBefore,omitzero"`
	LeaseEnd          string   `json:"leaseEnd,omitempty"`
	Envelope          string   `json:"envelope,omitempty"` // of the result
	// Why the last attempt failed, and whether another may help.
	Message   string   `json:"message,omitempty"`
	Retryable bool     `json:"retryable"`
	Log       buildLog `json:"log"`

	Running bool   `json:"-"` // its log may grow
	TreeURL string `json:"-"` // TreeURI, if it can be a link
}

func (s *Site) build(r *http.Request) (*page, error) {
	if s.cfg.Builds == nil {
		return nil, errNoQueue
	}
	id, err := number63("the number of a build", r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	answer, err := s.cfg.Builds.GetBuild(r.Context(), &cairnv1.GetBuildRequest{Id: id})
	if err != nil {
		return nil, err
	}
	b := answer.GetBuild()
	to := b.GetLogSize()
	if before := r.URL.Query().Get("before"); before != "" {
		n, err := number63("before", before)
		if err != nil {
			return nil, err
		}
		to = min(n, to)
	}
	log, err := s.readLog(r.Context(), id, max(0, to-maxLogShown), to)
	if err != nil {
		return nil, err
	}
	log.Size = b.GetLogSize()
	return &page{name: "build", title: "Build " + strconv.FormatInt(id, 10) + ": " + b.GetSpec().GetPackage(), view: s.buildOf(b, log)}, nil
}

func (s *Site) buildOf(b *cairnv1.Build, log *buildLog) *buildView {
	spec := b.GetSpec()
	v := &buildView{
		buildRow: s.buildRow(b), TreeURI: spec.GetTreeUri(), TreeURL: linkable(spec.GetTreeUri()), TreeDigest: spec.GetTreeDigest(),
		Priority: spec.GetPriority(), Expected: spec.GetExpectedDigest(), ClaimEnvelope: spec.GetClaimEnvelope(),
		ExcludedOperators: append([]string{}, spec.GetExcludedOperators()...), ExcludedKeys: append([]string{}, spec.GetExcludedKeys()...),
		QueuedBy: b.GetQueuedBy(), NotBefore: s.moment(b.GetNotBefore()), Envelope: b.GetResult().GetEnvelope(),
		Message: b.GetFailure().GetMessage(), Retryable: b.GetFailure().GetRetryable(), Log: *log,
		Running: b.GetState() == "queued" || b.GetState() == "leased",
	}
	if spec != nil {
		v.ClaimEntry = spec.ClaimIndex
	}
	if t := b.GetLeaseEndTime(); t != nil {
		v.LeaseEnd = utc(t.AsTime())
	}
	return v
}

// number63 parses a number in a request, in its one spelling: so a page has one URL.
func number63(what, text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return 0, reason.Errorf(reason.ArgumentInvalid, "%s must be a number from 0 to %d: it is %.40q", what, int64(1<<63-1), text)
	}
	return n, nil
}
