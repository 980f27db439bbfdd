package cli

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairnlog/cairn/cmd/internal/term"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// buildView is a build in JSON. Times are RFC 3339, in UTC.
type buildView struct {
	ID          int64  `json:"id"`
	State       string `json:"state"`
	Kind        string `json:"kind"`
	Package     string `json:"package"`
	Platform    string `json:"platform,omitempty"` // any if absent
	Engine      string `json:"engine,omitempty"`   // any if absent
	Priority    int32  `json:"priority,omitempty"`
	TreeURI     string `json:"treeUri,omitempty"`
	TreeDigest  string `json:"treeDigest"`
	Expected    string `json:"expectedDigest,omitempty"`
	ClaimIndex  *int64 `json:"claimIndex,omitempty"`
	Attempts    int32  `json:"attempts"`
	MaxAttempts int32  `json:"maxAttempts"`
	QueuedBy    string `json:"queuedBy"`
	Queued      string `json:"queued"`
	NotBefore   string `json:"notBefore,omitempty"`
	Worker      string `json:"worker,omitempty"`
	Operator    string `json:"operator,omitempty"` // as the worker declares it
	Leased      string `json:"leased,omitempty"`
	LeaseEnd    string `json:"leaseEnd,omitempty"`
	Ended       string `json:"ended,omitempty"`
	// What it came to: the attestation, or why the last attempt failed.
	Envelope string       `json:"envelope,omitempty"`
	Index    *int64       `json:"index,omitempty"`
	Result   string       `json:"result,omitempty"`
	Failure  *failureView `json:"failure,omitempty"`
	LogSize  int64        `json:"logSize"`
}

type failureView struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

func viewBuild(b *cairnv1.Build) *buildView {
	s := b.GetSpec()
	v := &buildView{
		ID: b.GetId(), State: b.GetState(), Kind: s.GetKind(), Package: s.GetPackage(), Platform: s.GetPlatform(), Engine: s.GetEngine(),
		Priority: s.GetPriority(), TreeURI: s.GetTreeUri(), TreeDigest: s.GetTreeDigest(), Expected: s.GetExpectedDigest(),
		ClaimIndex: s.ClaimIndex, Attempts: b.GetAttempts(), MaxAttempts: b.GetMaxAttempts(), QueuedBy: b.GetQueuedBy(),
		Queued: stamp(b.GetQueueTime()), NotBefore: stamp(b.GetNotBefore()), Worker: b.GetWorker(), Operator: b.GetOperator(),
		Leased: stamp(b.GetLeaseTime()), LeaseEnd: stamp(b.GetLeaseEndTime()), Ended: stamp(b.GetEndTime()), LogSize: b.GetLogSize(),
	}
	if r := b.GetResult(); r != nil {
		i := r.GetIndex()
		v.Envelope, v.Index, v.Result = r.GetEnvelope(), &i, r.GetResult()
	}
	if f := b.GetFailure(); f != nil {
		v.Failure = &failureView{f.GetKind(), f.GetMessage()}
	}
	return v
}

// stamp returns a time in RFC 3339, or nothing if there is none.
func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// since is when the build came into its state.
func (v *buildView) since() string {
	switch v.State {
	case "queued":
		return v.Queued
	case "leased":
		return v.Leased
	}
	return v.Ended
}

// ago says how long a time lies back, or ahead, in one unit; "-" if it is none.
func ago(at string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return "-"
	}
	d, form := now.Sub(t).Round(time.Second), "%s ago"
	if d < 0 {
		d, form = -d, "in %s"
	}
	unit := func(n time.Duration, word string) string { return fmt.Sprintf(form, fmt.Sprintf("%d %s", d/n, word)) }
	switch {
	case d < 2*time.Minute:
		return unit(time.Second, "s")
	case d < 2*time.Hour:
		return unit(time.Minute, "min")
	case d < 48*time.Hour:
		return unit(time.Hour, "h")
	}
	return unit(24*time.Hour, "days")
}

// line prints a build on one line. The columns are the same for all.
func (v *buildView) line(p term.Printer, now time.Time) {
	p.Printf("%-5d  %s  %-10s  %d/%d  %s  %s\n", v.ID, v.paintState(p, 9), ago(v.since(), now), v.Attempts, v.MaxAttempts, v.what(), v.came(p))
}

// what says what is to be done.
func (v *buildView) what() string {
	s := v.Kind + " of " + v.Package
	if v.Platform != "" {
		s += " for " + v.Platform
	}
	if v.Engine != "" {
		s += " with " + v.Engine
	}
	return s
}

// came says in a word or two what a build came to.
func (v *buildView) came(p term.Printer) term.Painted {
	switch {
	case v.Result != "":
		return paintResult(p, v.Result)
	case v.Failure != nil && v.State != "done":
		return p.Paint(term.Bad, v.Failure.Kind)
	}
	return ""
}

// paintState pads the state to a column of that width.
func (v *buildView) paintState(p term.Printer, width int) term.Painted {
	s := fmt.Sprintf("%-*s", width, v.State)
	switch v.State {
	case "done":
		return p.Paint(term.Good, s)
	case "failed":
		return p.Paint(term.Bad, s)
	}
	return p.Paint(term.Dim, s)
}

// text prints a build for people.
func (v *buildView) text(p term.Printer, now time.Time) {
	when := func(label, at string) {
		if at != "" {
			field(p, label, "%s (%s)", at, ago(at, now))
		}
	}
	given := func(label, value string) {
		if value != "" {
			field(p, label, "%s", value)
		}
	}
	field(p, "build", "%d, %s", v.ID, v.what())
	field(p, "state", "%s", v.paintState(p, 0))
	given("tree", v.TreeDigest)
	given("", v.TreeURI)
	given("expected", v.Expected)
	if v.ClaimIndex != nil {
		field(p, "claim", "entry %d", *v.ClaimIndex)
	}
	field(p, "attempts", "%d of %d", v.Attempts, v.MaxAttempts)
	when("queued", v.Queued)
	field(p, "", "by %s", v.QueuedBy)
	when("not before", v.NotBefore)
	if v.Worker != "" {
		field(p, "worker", "%s of %s (declared)", v.Worker, v.Operator)
	}
	when("leased", v.Leased)
	when("until", v.LeaseEnd)
	when("ended", v.Ended)
	if v.Failure != nil {
		field(p, "failure", "%s: %s", p.Paint(term.Bad, v.Failure.Kind), v.Failure.Message)
	}
	if v.Index != nil {
		field(p, "entry", "%d  %s  %s", *v.Index, v.Envelope, paintResult(p, v.Result))
	}
	field(p, "log", "%d bytes", v.LogSize)
}
