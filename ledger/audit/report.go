package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
)

// Schema is the schema of a report's JSON.
const Schema = "cairn/audit/v1"

// Class is what sort of thing is wrong.
type Class string

// The classes, the gravest first.
const (
	Fork        Class = "fork"        // the log signed what contradicts itself
	Corrupt     Class = "corrupt"     // what is there is not what was logged
	Policy      Class = "policy"      // a checkpoint is not what the policy accepts
	Attestation Class = "attestation" // an entry does not follow from a valid attestation
	Incomplete  Class = "incomplete"  // what the log says exists is not there
)

// exits are the exit codes of the classes, the gravest first. A clean report has
// reason.ExitYes.
var exits = []struct {
	class Class
	exit  int
}{
	{Fork, reason.ExitMisbehave},
	{Corrupt, reason.ExitCorrupt},
	{Policy, reason.ExitPolicy},
	{Attestation, reason.ExitAttestation},
	{Incomplete, reason.ExitUnproven},
}

// Finding is one thing that is wrong.
type Finding struct {
	Class Class  `json:"class"`
	Kind  string `json:"kind"`
	Where string `json:"where"` // a file, an entry or a row
	What  string `json:"what"`
	// Evidence is signed notes that prove a fork to anybody.
	Evidence []string `json:"evidence,omitempty"`
}

// Bounds of what is reported of each kind, and of all.
const (
	maxFindings   = 1000
	maxOfKind     = 100
	maxWhat       = 500
	maxEvidence   = 2
	progressEvery = 4 // bundles
)

// Counts is what was checked.
type Counts struct {
	Entries      Counter `json:"entries"`
	Tiles        Counter `json:"tiles"`
	Files        Counter `json:"files"`
	Checkpoints  Counter `json:"checkpoints"`
	Cosignatures Counter `json:"cosignatures"`
	Attestations Counter `json:"attestations"`
	Keys         Counter `json:"keys"`
	// Certificates is how many attestations bring a certificate with their key.
	Certificates Counter `json:"certificates"`
	IndexRows    Counter `json:"indexRows"`
	// Anchors are those whose checkpoints were compared with the log, whatever
	// that found.
	Anchors Counter `json:"anchors"`
	// Unpublished files and checkpoints are ahead of the audited checkpoint, and
	// not checked; Leftover ones are those that a crash left beside the log's.
	Unpublished Counter `json:"unpublished"`
	Leftover    Counter `json:"leftover"`
}

// Counter is a number that several goroutines count.
type Counter struct{ atomic.Uint64 }

// MarshalJSON implements json.Marshaler.
func (c *Counter) MarshalJSON() ([]byte, error) { return json.Marshal(c.Load()) }

// UnmarshalJSON implements json.Unmarshaler.
func (c *Counter) UnmarshalJSON(b []byte) error {
	var n uint64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	c.Store(n)
	return nil
}

// Checkpoint is the checkpoint that was audited.
type Checkpoint struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
	Signed string `json:"signed"`
}

// Coverage is what was looked at. What is false was not asked for, or is not in
// this copy.
type Coverage struct {
	Signatures  bool `json:"signatures"`
	Index       bool `json:"index"`
	Archive     bool `json:"archive"`
	FilesListed bool `json:"filesListed"`
	// Certificates is false if there are some and no trusted root was given.
	Certificates bool `json:"certificates"`
}

// Report is what an audit found. The zero Report is not clean.
type Report struct {
	Schema     string      `json:"schema"`
	Place      string      `json:"place"`
	Kind       Kind        `json:"kind"`
	Clean      bool        `json:"clean"`
	Ended      bool        `json:"ended"` // whether the audit came to its end
	Exit       int         `json:"exit"`
	Checkpoint *Checkpoint `json:"checkpoint"` // null if there is none to audit
	// From is where the audit went on, if an earlier one had come that far.
	From     uint64   `json:"from"`
	Resumed  bool     `json:"resumed"`
	Counts   Counts   `json:"counts"`
	Coverage Coverage `json:"coverage"`
	Seconds  float64  `json:"seconds"`
	// PassSeconds is the time of the pass alone, in which entries, tiles,
	// checkpoints and attestations are checked.
	PassSeconds float64       `json:"passSeconds"`
	Found       map[Class]int `json:"found"` // all findings, also those left out below
	Findings    []Finding     `json:"findings"`
	LeftOut     int           `json:"leftOut"`
}

// ExitCode returns the exit code that the report stands for.
func (r *Report) ExitCode() int {
	for _, e := range exits {
		if r.Found[e.class] > 0 {
			return e.exit
		}
	}
	if !r.Ended {
		return reason.ExitUnproven
	}
	return reason.ExitYes
}

// findings collects what several goroutines find.
type findings struct {
	mu     sync.Mutex
	list   []Finding
	ofKind map[string]int
	found  map[Class]int
	total  int
}

func (f *findings) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.total
}

// find takes in a finding.
func (f *findings) find(class Class, kind, where, format string, args ...any) {
	f.add(Finding{Class: class, Kind: kind, Where: where, What: fmt.Sprintf(format, args...)})
}

func (f *findings) add(x Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ofKind == nil {
		f.ofKind, f.found = make(map[string]int), make(map[Class]int)
	}
	f.total++
	f.found[x.Class]++
	f.ofKind[x.Kind]++
	if f.ofKind[x.Kind] > maxOfKind || len(f.list) >= maxFindings {
		return
	}
	if len(x.What) > maxWhat {
		x.What = x.What[:maxWhat] + "…"
	}
	if len(x.Evidence) > maxEvidence {
		x.Evidence = x.Evidence[:maxEvidence]
	}
	f.list = append(f.list, x)
}

// finish completes the report.
func (a *auditor) finish(took time.Duration, err error) {
	r := &a.report
	a.findings.mu.Lock()
	defer a.findings.mu.Unlock()
	r.Seconds = took.Seconds()
	r.Findings = append(r.Findings, a.list...)
	// The gravest first; of the same class, in the order in which they were found.
	slices.SortStableFunc(r.Findings, func(x, y Finding) int { return rank(x.Class) - rank(y.Class) })
	r.LeftOut = a.total - len(r.Findings)
	for class, n := range a.found {
		r.Found[class] = n
	}
	r.Ended = err == nil
	r.Clean = r.Ended && a.total == 0 && r.Checkpoint != nil
	r.Exit = r.ExitCode()
}

func rank(c Class) int {
	for i, e := range exits {
		if e.class == c {
			return i
		}
	}
	return len(exits)
}
