// Package enginetest is the contract of engine.Engine as tests, for every driver
// to pass.
//
// Invariants:
//   - The images of the tests hold one static program, which is built by the Go
//     toolchain at hand, and whatever the tests put beside it: nothing is pulled,
//     nothing comes from the host.
//   - What a test expects is what the interface promises, not what one driver
//     does: digests of manifests are compared between builds, never with a
//     constant.
package enginetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/tree"
)

// Run runs the contract against an engine that open opens and the test closes.
// The engine must allow nothing beyond the defaults of engine.Options.
func Run(t *testing.T, open func(*testing.T) engine.Engine) {
	s := &suite{engine: open(t), tools: Tools(t)}
	defer func() {
		if err := s.engine.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	}()
	if info := s.engine.Info(); info.Name == "" || info.Version == "" {
		t.Errorf("the engine does not say what it is: %+v", info)
	}
	// The group waits for its parallel tests, and so does Close.
	t.Run("contract", func(t *testing.T) {
		for _, c := range contract {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.test(t, s)
			})
		}
	})
}

// contract is what every engine must do.
var contract = []struct {
	name string
	test func(*testing.T, *suite)
}{
	{"copies into scratch", copies},
	{"keeps modes, hidden files and links", keepsModes},
	{"passes files between stages", stages},
	{"stops at the target", target},
	{"takes the images of other packages", images},
	{"reads images without writing to them", imagesUntouched},
	{"refuses an image whose layer was changed", corruptImage},
	{"refuses an image with triggers", triggers},
	{"runs 32-bit programs", runs386},
	{"gives arguments to the build", arguments},
	{"runs here-documents", heredocs},
	{"unpacks archives", archives},
	{"uses the shell that it is told", shell},
	{"gives steps no network", noNetwork},
	{"gives a step the network that asks for it", network},
	{"refuses the host's network, caches and privileges", refusesFlags},
	{"refuses frontends and ONBUILD", refusesFrontends},
	{"refuses a frontend in an argument", refusesSyntaxArgument},
	{"tells a step that wants the network that there is none", wantsNetwork},
	{"pulls nothing", pullsNothing},
	{"tells nothing of the host", hidesHost},
	{"gives the same for the same", reproduces},
	{"sees that a file of equal size and time changed", seesChange},
	{"runs every step without cache", noCache},
	{"reports a failed step with the end of its log", failedStep},
	{"reports where the Containerfile is wrong", wrongContainerfile},
	{"reports a file that is not there", missingFile},
	{"does not blame the package for what is missing here", missingInput},
	{"leaves nothing when it is cancelled", cancelled},
	{"ends a build at its limit of time", limitTime},
	{"leaves an existing output alone", existingOutput},
	{"builds many at a time", concurrent},
	{"tells what happens in order", progress},
}

// suite is what the tests of one engine share.
type suite struct {
	engine engine.Engine
	tools  map[string]string // by GOARCH: a file
}

// Tools builds the program of the images, for amd64 and 386.
func Tools(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	tools := map[string]string{}
	for _, arch := range []string{"amd64", "386"} {
		out := filepath.Join(dir, arch)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out,
			"github.com/cairnlog/cairn/builder/engine/enginetest/testdata/tool")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building the tests' program for %s: %v\n%s", arch, err, text)
		}
		tools[arch] = out
	}
	return tools
}

// Build is a request in the making: a context of these files, in which the
// program is "tool", and a Containerfile.
type Build struct {
	Containerfile string
	Files         map[string]string // content by name
	Arch          string            // of the platform and program; amd64 if empty
	Args          []tree.Arg        // before those that StageX always gives
	Dir           string            // holds context and output; a new one if empty

	Edit func(*engine.Request) // may be nil
}

// Request writes the context and returns the request for it.
func (b Build) Request(t *testing.T, tools map[string]string) *engine.Request {
	t.Helper()
	if b.Arch == "" {
		b.Arch = "amd64"
	}
	if b.Dir == "" {
		b.Dir = t.TempDir()
	}
	dir := filepath.Join(b.Dir, "context")
	must(t, os.MkdirAll(dir, 0o755))
	program, err := os.ReadFile(tools[b.Arch])
	must(t, err)
	put(t, filepath.Join(dir, "tool"), program, 0o755)
	for name, content := range b.Files {
		put(t, filepath.Join(dir, name), []byte(content), 0o644)
	}
	file := filepath.Join(b.Dir, "Containerfile")
	put(t, file, []byte(b.Containerfile), 0o644)
	r := &engine.Request{
		ID:            "test-" + filepath.Base(t.Name()),
		Context:       dir,
		Containerfile: file,
		Platform:      "linux/" + b.Arch,
		Args:          append(b.Args, tree.Arg{Name: "SOURCE_DATE_EPOCH", Value: "1"}, tree.Arg{Name: "BUILDKIT_MULTI_PLATFORM", Value: "1"}),
		Output:        filepath.Join(b.Dir, "out"),
	}
	if b.Edit != nil {
		b.Edit(r)
	}
	return r
}

// put writes a file with this very mode, whatever the umask is.
func put(t *testing.T, name string, content []byte, mode fs.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, content, mode))
	must(t, os.Chmod(name, mode))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// build runs a build that must succeed, and reads what it wrote.
func (s *suite) build(t *testing.T, b Build) (*engine.Result, *Image) {
	t.Helper()
	r := b.Request(t, s.tools)
	result, err := s.engine.Build(t.Context(), r)
	if err != nil {
		var step *engine.StepError
		if errors.As(err, &step) {
			t.Logf("log of the step:\n%s", step.Log)
		}
		t.Fatal(err)
	}
	if result.Started.IsZero() || result.Ended.Before(result.Started) {
		t.Errorf("the build is said to have lasted from %v to %v", result.Started, result.Ended)
	}
	return result, Read(t, r.Output)
}

// fail runs a build that must fail, and checks that it leaves nothing.
func (s *suite) fail(t *testing.T, b Build) error {
	t.Helper()
	r := b.Request(t, s.tools)
	return s.failRequest(t, t.Context(), r)
}

func (s *suite) failRequest(t *testing.T, ctx context.Context, r *engine.Request) error {
	t.Helper()
	before := names(t, filepath.Dir(r.Output))
	_, err := s.engine.Build(ctx, r)
	if err == nil {
		t.Fatal("the build succeeded")
	}
	if after := names(t, filepath.Dir(r.Output)); len(after) != len(before) {
		t.Errorf("the build failed and left something: %q, was %q", after, before)
	}
	return err
}

// failStep is fail for a failure that is the package's.
func (s *suite) failStep(t *testing.T, b Build) *engine.StepError {
	t.Helper()
	err := s.fail(t, b)
	var step *engine.StepError
	if !errors.As(err, &step) {
		t.Fatalf("got an error that is no *StepError: %v", err)
	}
	if want := "test-" + filepath.Base(t.Name()); step.ID != want {
		t.Errorf("the error is of %q, not of %q", step.ID, want)
	}
	return step
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// events collects what a build tells.
type events struct {
	mu  sync.Mutex
	all []engine.Event
}

func (e *events) add(event engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}
