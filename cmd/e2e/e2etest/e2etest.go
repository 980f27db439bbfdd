// Package e2etest runs the real binaries for tests.
//
// Invariants: no process outlives the test that started it, nor, on Linux, a
// test binary that is killed; no wait is without a deadline, and none is for
// time to pass; who waits for a process to say something learns that it is gone.
package e2etest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a test waits for what should take a moment.
const Patience = 2 * time.Minute

// Build compiles commands of this module into dir, by their names in cmd.
func Build(dir string, commands ...string) error {
	for _, c := range commands {
		build := exec.Command("go", "build", "-o", filepath.Join(dir, c), "github.com/cairnlog/cairn/cmd/"+c)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", c, err, out)
		}
	}
	return nil
}

// Main runs the tests of a package once prepare has made what they need in a
// directory, such as commands. It returns the exit code for os.Exit; the directory
// is gone by then.
func Main(m *testing.M, prepare func(dir string) error) int {
	dir, err := os.MkdirTemp("", "cairn-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := prepare(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Run runs a command to its end and returns its exit code, -1 if a signal ended
// it, and what it wrote.
func Run(t testing.TB, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// Buffer is what a process wrote, and may be read while it writes more.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	// grown is closed and made anew when something is written.
	grown chan struct{}
	ended bool // nothing more will be written
}

func newBuffer() *Buffer { return &Buffer{grown: make(chan struct{})} }

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.grown)
	b.grown = make(chan struct{})
	return b.b.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// end tells who waits that nothing more will be written.
func (b *Buffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	close(b.grown)
	b.grown = make(chan struct{})
}

// Await waits until what was written contains text.
func (b *Buffer) Await(t testing.TB, text string) { t.Helper(); b.AwaitN(t, text, 1) }

// AwaitN waits until what was written contains text n times.
func (b *Buffer) AwaitN(t testing.TB, text string, n int) {
	t.Helper()
	deadline := time.After(Patience)
	for {
		b.mu.Lock()
		have, ended, grown := strings.Count(b.b.String(), text), b.ended, b.grown
		b.mu.Unlock()
		if have >= n {
			return
		}
		if ended {
			t.Fatalf("the process is gone, and wrote %q %d times, want %d:\n%s", text, have, n, b)
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("%q was written %d times, want %d:\n%s", text, have, n, b)
		}
	}
}

// Process is a running command.
type Process struct {
	Cmd    *exec.Cmd
	Stdout *Buffer
	Stderr *Buffer

	first  chan string   // the first line of stdout
	exited chan struct{} // closed when the process is gone
}

// Start starts a command. It is killed at the end of the test.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{
		Cmd: cmd, Stdout: newBuffer(), Stderr: newBuffer(),
		first: make(chan string, 1), exited: make(chan struct{}),
	}
	cmd.Stderr = p.Stderr
	cmd.SysProcAttr = dieWithParent()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", cmd, err)
	}
	go func() {
		defer close(p.exited)
		r := bufio.NewReader(io.TeeReader(stdout, p.Stdout))
		if line, err := r.ReadString('\n'); err == nil {
			p.first <- line
		}
		close(p.first)
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
		p.Stdout.end()
		p.Stderr.end()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		p.Wait(t)
	})
	return p
}

// First yields the first line of stdout, once. It is closed after that, and if
// stdout ends without one.
func (p *Process) First() <-chan string { return p.first }

// Gone reports whether the process is gone.
func (p *Process) Gone() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ready waits for the first line of stdout, which is JSON, and reads it into v.
func (p *Process) Ready(t testing.TB, v any) {
	t.Helper()
	if !p.TryReady(t, v) {
		t.Fatalf("%s is not ready: exit code %d\n%s", p.Cmd, p.Code(), p.Stderr)
	}
}

// TryReady is Ready for a process that may end instead. It reports whether the
// process is ready; if it is not, it is gone.
func (p *Process) TryReady(t testing.TB, v any) bool {
	t.Helper()
	select {
	case line, ok := <-p.first:
		if !ok {
			p.Wait(t)
			return false
		}
		if err := json.Unmarshal([]byte(line), v); err != nil {
			t.Fatalf("the ready line of %s, %q: %v", p.Cmd, line, err)
		}
	case <-time.After(Patience):
		t.Fatalf("%s neither became ready nor exited\n%s", p.Cmd, p.Stderr)
	}
	return true
}

// Kill ends the process as a power cut would, but for the page cache.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGKILL)
	p.Wait(t)
}

// Stop asks the process to end, and wants exit code 0.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	p.Wait(t)
	if code := p.Code(); code != 0 {
		t.Fatalf("%s: exit code %d after SIGTERM, want 0\n%s", p.Cmd, code, p.Stderr)
	}
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("sending %v to %s: %v", s, p.Cmd, err)
	}
}

// Wait waits for the end of the process.
func (p *Process) Wait(t testing.TB) { t.Helper(); p.WaitFor(t, Patience) }

// WaitFor is Wait for what takes longer.
func (p *Process) WaitFor(t testing.TB, d time.Duration) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(d):
		t.Fatalf("%s does not end\n%s", p.Cmd, p.Stderr)
	}
}

// Code is the exit code of a process that is gone; -1 if a signal ended it.
func (p *Process) Code() int { return p.Cmd.ProcessState.ExitCode() }
