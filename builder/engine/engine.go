// Package engine runs builds: it turns a Containerfile, a context directory and
// the images of other packages into one OCI layout on disk.
//
// Invariants:
//   - Nothing is pulled. A name that is neither a stage of the Containerfile nor
//     among the request's images is an error.
//   - A build step has no network unless the Containerfile asks for it in so many
//     words: RUN --network=default.
//   - Nothing reaches a step that the request does not name: no cache mounts, no
//     triggers of base images, no frontend from a registry.
//   - The output directory appears complete or not at all.
//   - A build that failed in one of its steps is a *StepError; all other
//     errors say nothing about the package.
package engine

import (
	"context"
	"fmt"
	"log/slog"
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
	// Builds that still run fail.
	Close() error
}

// Options say where an engine is and what it may do.
type Options struct {
	// Address is that of a running engine. If it is empty, one is started, which
	// needs root, and ended by Close or when this process ends.
	Address string
	// Program is the program to start; if empty it is looked for in PATH.
	Program string
	// Root is the directory where a started engine keeps its cache and log. It is
	// made if it does not exist, and belongs to one engine at a time.
	Root string
	// CacheBytes bounds the cache of a started engine; zero keeps all of it.
	CacheBytes int64
	// HostNetwork allows RUN --network=host.
	HostNetwork bool
	// Log gets what an operator should know and no build fails for, such as a
	// cache that had to be dropped; it may be nil.
	Log *slog.Logger
}

func (o *Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
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
	// Args are the build arguments. StageX's digests need SOURCE_DATE_EPOCH=1,
	// without which times are those of the build, and BUILDKIT_MULTI_PLATFORM=1,
	// without which there is no nested index; both are for the caller to give.
	Args []tree.Arg
	// Images are the OCI layouts of the images that the Containerfile may name, by
	// that name: "stagex/core-go" → directory. They are only read.
	Images map[string]string
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Output is the directory of the OCI layout to write: an index, in which one
	// index holds the manifest, as StageX has it. It must not exist.
	Output string
	// NoCache has every RUN run, for this build alone: its result is neither taken
	// from another build nor left to one. Copies may still be shared.
	NoCache bool
	Limits  Limits
	// Progress is called for each event in turn, if it is not nil.
	Progress func(Event)
}

// Limits bound a build; zero means no limit beside the engine's own. A build
// that meets a limit has not failed: its error is not a *StepError.
type Limits struct {
	Time   time.Duration // of the whole build
	Memory int64         // bytes, of each step, without swap
	CPUs   int           // that each step may use, and sees
}

// Event is something that happened in a build. The events of a step come in
// the order started, log, and one of cached, done and failed, or none of these
// if the build ended before the step did. Those of several steps mix.
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
	Steps   []Step // in the order in which the engine named them
	Started time.Time
	Ended   time.Time
}

// Cached reports whether a command was not run because its result was known, or
// because another build ran it at the same time. Copies do not count: to copy
// the same again proves nothing.
func (r *Result) Cached() bool {
	for i := range r.Steps {
		if r.Steps[i].Cached && r.Steps[i].Network != "" {
			return true
		}
	}
	return false
}

// Step is one instruction that the engine ran. FROM is none: it runs nothing.
type Step struct {
	Name    string // as the engine puts it: "[build 3/7] RUN make"
	Cached  bool   // it was not run for this build
	Network string // of RUN: "none", "default" or "host"; empty for others
}

// StepError is a build that failed in one of its steps, or in its Containerfile.
type StepError struct {
	ID   string // of the request
	Step string // name of the step, or the Containerfile's line
	Line int    // of the Containerfile, from 1; zero if it is not known
	Log  []byte // the end of what the step wrote, at most 64 KiB
	Exit int    // status of the command that failed, zero if none ran
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s: %s: %v", e.ID, e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }
