package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// recorder makes steps and events of what buildah says while it builds: a
// message before each instruction, and between them what steps write.
type recorder struct {
	mu    sync.Mutex
	out   *output
	plan  []planStage
	stage int // index in plan; -1 before the first FROM
	next  int // index of the stage's next step
	open  bool
	quiet bool // nothing was written since the instruction began
	all   []planStep

	workdir string // the WORKDIR whose RUN has not come
}

func newRecorder(out *output, plan []planStage) *recorder {
	return &recorder{out: out, plan: plan, stage: -1}
}

// Log is buildah's callback for instructions. It is also called for the final
// commit.
func (r *recorder) Log(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	r.finish("done", "")
	r.quiet = true
	workdir := r.workdir
	r.workdir = ""
	keyword, _, _ := strings.Cut(text, " ")
	switch {
	case format == "FROM %s":
		r.stage++
		r.next = 0
	case text == workdirRun && workdir != "":
		r.start(workdir)
	case strings.EqualFold(keyword, "WORKDIR"):
		r.workdir = text // it is a step once the RUN comes that translate has added
	case isStep(keyword):
		r.start(text)
	}
}

// Write takes what a step writes, and the line with which buildah says that it
// found the result of one.
//
// A step could write that line, too, as the first thing that it writes. It would
// gain nothing: it would only be taken for not having been run.
func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.quiet && r.open && cacheHit.Match(p) {
		r.all[len(r.all)-1].Cached = true
		r.finish("cached", "")
		return len(p), nil
	}
	r.quiet = false
	if r.open {
		r.event("log", p, "")
	}
	return len(p), nil
}

var cacheHit = regexp.MustCompile(`^--> Using cache [0-9a-f]{64}\n$`)

// end closes the last step, and returns it if it had not ended.
func (r *recorder) end(err error) *planStep {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.open {
		return nil
	}
	step := r.all[len(r.all)-1]
	if err != nil {
		r.finish("failed", err.Error())
		return &step
	}
	r.finish("done", "")
	return &step
}

func (r *recorder) steps() []Step {
	steps := make([]Step, len(r.all))
	for i := range r.all {
		steps[i] = r.all[i].Step
	}
	return steps
}

// The caller of those below holds r.mu.

func (r *recorder) start(text string) {
	step := planStep{Step: Step{Name: text}}
	if r.stage >= 0 && r.stage < len(r.plan) && r.next < len(r.plan[r.stage].steps) {
		step = r.plan[r.stage].steps[r.next]
		r.next++
	}
	r.all = append(r.all, step)
	r.open = true
	r.event("started", nil, "")
}

func (r *recorder) finish(kind, failure string) {
	if r.open {
		r.open = false
		r.event(kind, nil, failure)
	}
}

func (r *recorder) event(kind string, log []byte, failure string) {
	i := len(r.all) - 1
	r.out.send(Message{Event: &Event{Step: i, Name: r.all[i].Name, Kind: kind, Log: log, Err: failure}})
}
