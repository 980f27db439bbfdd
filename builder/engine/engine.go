// Package engine runs builds: it turns a Containerfile, a context directory and
// the images of other packages into one OCI layout on disk.
//
// Invariants:
//   - Nothing is pulled. A name that is neither a stage of the Containerfile nor
//     among the request's images is an error.
//   - A build step has no network unless the Containerfile asks for it in so many
//     words: RUN --network=default.
//   - The output directory appears complete or not at all.
//   - A build that failed in one of its steps is a *StepError; all other
//     errors say nothing about the package.
package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/cairnlog/cairn/builder/tree"
)

// Engine runs builds. It may be used concurrently.
type Engine interface {
	// Info says what the engine is.
	Info() Info
	// Build builds r and writes r.Output.
	Build(ctx context.Context, r *Request) (*Result, error)
	// Close releases what the engine holds, and ends the processes it started.
	Close() error
}

// Info says what an engine is.
type Info struct {
	Name    string // buildkit or buildah
	Version string
}

// Request is one image to build, for one platform.
type Request struct {
	ID            string // of the package, for progress and errors
	Context       string // directory: the build context; sources are under fetch/
	Containerfile string // file, which may be outside Context
	Target        string // stage of the Containerfile; the last if empty
	Platform      string // such as linux/amd64
	Args          []tree.Arg
	// Images are the OCI layouts of the images that the Containerfile may name, by
	// that name: "stagex/core-go" → directory.
	Images map[string]string
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Output is the directory of the OCI layout to write: an index, in which one
	// index holds the manifest, as StageX has it. It must not exist.
	Output  string
	NoCache bool // run every step, whatever was run before
	Limits  Limits
	// Progress is called for each event in turn, if it is not nil.
	Progress func(Event)
}

// Limits bound a build; zero means no limit beside the engine's own.
type Limits struct {
	Time   time.Duration
	Memory int64 // bytes, of the build's steps together
	CPUs   int
}

// Event is something that happened in a build.
type Event struct {
	ID   string // of the request
	Step int    // index in Result.Steps
	Name string // of the step
	Kind EventKind
	Log  []byte // what the step wrote, for StepLog
	Err  string // for StepFailed
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	StepStarted EventKind = "started"
	StepLog     EventKind = "log"
	StepCached  EventKind = "cached"
	StepDone    EventKind = "done"
	StepFailed  EventKind = "failed"
)

// Result is what is known of a build beside its output.
type Result struct {
	Steps   []Step
	Started time.Time
	Ended   time.Time
}

// Cached reports whether a step was not run because its result was known.
func (r *Result) Cached() bool {
	for i := range r.Steps {
		if r.Steps[i].Cached {
			return true
		}
	}
	return false
}

// Step is one instruction that the engine ran.
type Step struct {
	Name    string // as the engine puts it: "[build 3/7] RUN make"
	Cached  bool
	Network string // of RUN: "none" or "default"; empty for others
}

// StepError is a build that failed in one of its steps, or in its Containerfile.
type StepError struct {
	ID   string // of the request
	Step string // name of the step, or the Containerfile's line
	Log  []byte // the end of what the step wrote, at most 64 KiB
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %s: %v", e.ID, e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }
