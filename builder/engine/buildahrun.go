package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// buildahGrace is how long cairn-buildah may take to end once it is told to. It
// gives its own build less.
const buildahGrace = 20 * time.Second

// buildahRequest is what cairn-buildah reads, as builder/buildah documents it.
type buildahRequest struct {
	ID            string            `json:"id"`
	Root          string            `json:"root"`
	Runtime       string            `json:"runtime"`
	Context       string            `json:"context"`
	Containerfile string            `json:"containerfile"`
	Target        string            `json:"target"`
	Platform      string            `json:"platform"`
	Args          []buildahArg      `json:"args"`
	Images        map[string]string `json:"images"`
	Output        string            `json:"output"`
	NoCache       bool              `json:"noCache"`
	Memory        int64             `json:"memory"`
	CPUs          int               `json:"cpus"`
	Check         bool              `json:"check"`
}

type buildahArg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// buildahMessage is one line of what it writes.
type buildahMessage struct {
	Event  *buildahEvent  `json:"event"`
	Result *buildahResult `json:"result"`
	Error  *buildahError  `json:"error"`
}

type buildahEvent struct {
	Step int       `json:"step"`
	Name string    `json:"name"`
	Kind EventKind `json:"kind"`
	Log  []byte    `json:"log"`
	Err  string    `json:"err"`
}

type buildahResult struct {
	Version string        `json:"version"`
	Steps   []buildahStep `json:"steps"`
}

type buildahStep struct {
	Name    string `json:"name"`
	Cached  bool   `json:"cached"`
	Network string `json:"network"`
}

type buildahError struct {
	Step string `json:"step"`
	Line int    `json:"line"`
	Exit int    `json:"exit"`
	Err  string `json:"err"`
}

// run has the image of r written to dir, as buildah writes it. If dir is empty,
// the Containerfile is only checked.
func (b *buildah) run(ctx context.Context, r *Request, dir string) (*Result, error) {
	request, err := b.request(r, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	// The process is told to end when the thread that started it does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, b.program)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = buildahGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Stdin = bytes.NewReader(request)
	var stderr tail
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: starting %s: %w", r.ID, b.program, err)
	}
	w := &buildahWatch{r: r}
	readErr := w.read(stdout)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, stdout) // so that it can end
	}
	err = errors.Join(readErr, cmd.Wait())
	if len(stderr.data) > 0 {
		b.opts.log().Debug("cairn-buildah", "id", r.ID, "stderr", string(stderr.data))
	}
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", r.ID, context.Cause(ctx))
	case w.err != nil:
		return nil, w.failure()
	case err != nil || w.result == nil:
		return nil, fmt.Errorf("%s: cairn-buildah ended without a result: %w: %s", r.ID, err, lastLine(stderr.data))
	}
	return w.result, nil
}

func (b *buildah) request(r *Request, dir string) ([]byte, error) {
	q := buildahRequest{
		ID: r.ID, Root: b.root, Runtime: b.runtime,
		Target: r.Target, Platform: r.Platform,
		Images: make(map[string]string), Output: dir, Check: dir == "",
		NoCache: r.NoCache, Memory: r.Limits.Memory, CPUs: r.Limits.CPUs,
	}
	var err error
	if q.Context, err = filepath.Abs(r.Context); err != nil {
		return nil, err
	}
	if q.Containerfile, err = filepath.Abs(r.Containerfile); err != nil {
		return nil, err
	}
	for name, layout := range r.Images {
		if q.Images[name], err = filepath.Abs(layout); err != nil {
			return nil, err
		}
	}
	for _, a := range r.Args {
		q.Args = append(q.Args, buildahArg{a.Name, a.Value})
	}
	return json.Marshal(&q)
}

// buildahWatch follows one build.
type buildahWatch struct {
	r      *Request
	step   int
	log    []byte // of that step, its end
	result *Result
	err    *buildahError
}

// read reads messages until there are no more.
func (w *buildahWatch) read(stdout io.Reader) error {
	dec := json.NewDecoder(stdout)
	for {
		var m buildahMessage
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading from cairn-buildah: %w", err)
		}
		if w.result != nil || w.err != nil {
			return errors.New("reading from cairn-buildah: it says more after its last message")
		}
		switch {
		case m.Event != nil:
			w.event(m.Event)
		case m.Result != nil:
			w.result = new(Result)
			for _, s := range m.Result.Steps {
				w.result.Steps = append(w.result.Steps, Step(s))
			}
		case m.Error != nil:
			w.err = m.Error
		default:
			return errors.New("reading from cairn-buildah: an empty message: are it and this program of one version?")
		}
	}
}

func (w *buildahWatch) event(e *buildahEvent) {
	if e.Step != w.step {
		w.step, w.log = e.Step, nil
	}
	w.log = append(w.log, e.Log...)
	if over := len(w.log) - maxLog; over > 0 {
		w.log = append([]byte(nil), w.log[over:]...)
	}
	if w.r.Progress != nil {
		w.r.Progress(Event{ID: w.r.ID, Step: e.Step, Name: e.Name, Kind: e.Kind, Log: e.Log, Err: e.Err})
	}
}

// What buildah writes to a step's log if runc could not run it, or something
// killed it.
var (
	buildahRunc   = regexp.MustCompile(`(?m)^error running container: `)
	buildahNoExec = regexp.MustCompile(`(?m)^error running container: .*exec: "|exec: \\?"`)
	buildahKilled = regexp.MustCompile(`(?m)^container exited on killed$`)
)

// failure says why the build failed: a *StepError if that is the package's
// doing.
func (w *buildahWatch) failure() error {
	id, e := w.r.ID, w.err
	err := errors.New(e.Err)
	if e.Step == "" {
		return fmt.Errorf("%s: %w", id, err)
	}
	ran := e.Exit != 0
	switch {
	case diskFull.MatchString(e.Err) || diskFull.Match(w.log):
		return fmt.Errorf("%s: the disk is full: make room where the engine keeps its cache, and where the output goes: %w", id, err)
	case ran && buildahRunc.Match(w.log) && !buildahNoExec.Match(w.log):
		return fmt.Errorf("%s: runc cannot run steps on this machine: %s: %w", id, lastLine(w.log), err)
	case ran && (e.Exit == killed || buildahKilled.Match(w.log)):
		return fmt.Errorf("%s: %s: killed, by the limit of memory (%d bytes; zero is none), by the machine's own or by hand: %w", id, e.Step, w.r.Limits.Memory, err)
	}
	step := &StepError{ID: id, Step: e.Step, Line: e.Line, Err: err}
	if e.Step == "Containerfile" {
		return containerfileError(id, e.Line, err)
	}
	step.Log = w.log
	if ran {
		step.Exit = e.Exit
		step.Err = fmt.Errorf("exit status %d", e.Exit)
	}
	if ran && wantsNetwork.Match(w.log) && networkNone == stepNetwork(e.Step) {
		step.Err = fmt.Errorf("%w: the step seems to want the network, and has none: sources are fetched before the build", step.Err)
	}
	return step
}

// tail keeps the end of what is written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - maxLog; over > 0 {
		t.data = append([]byte(nil), t.data[over:]...)
	}
	return len(p), nil
}
