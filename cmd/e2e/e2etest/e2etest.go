// Package e2etest runs the real binaries for tests.
//
// Invariants: no process outlives the test that started it, nor a test binary
// that is killed; no wait is without a deadline, and none is for time to pass.
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
const Patience = 60 * time.Second

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

// Buffer is a bytes.Buffer that may be read while a process writes to it.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
	// grown is closed and made anew when something is written.
	grown chan struct{}
}

// NewBuffer returns an empty Buffer.
func NewBuffer() *Buffer { return &Buffer{grown: make(chan struct{})} }

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

// Await waits until what was written contains text.
func (b *Buffer) Await(t testing.TB, text string) {
	t.Helper()
	deadline := time.After(2 * Patience)
	for {
		b.mu.Lock()
		found, grown := strings.Contains(b.b.String(), text), b.grown
		b.mu.Unlock()
		if found {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("%q was never written:\n%s", text, b)
		}
	}
}

// Process is a running command.
type Process struct {
	Cmd    *exec.Cmd
	Stdout *Buffer
	Stderr *Buffer

	name   string
	lines  chan string
	exited chan struct{} // closed when the process is gone
}

// Start starts a command. It is killed at the end of the test.
func Start(t testing.TB, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{
		Cmd: cmd, Stdout: NewBuffer(), Stderr: NewBuffer(),
		name: filepath.Base(cmd.Path), lines: make(chan string, 16), exited: make(chan struct{}),
	}
	cmd.Stderr = p.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		defer close(p.exited)
		r := bufio.NewReader(io.TeeReader(stdout, p.Stdout))
		if line, err := r.ReadString('\n'); err == nil {
			p.lines <- line
		}
		close(p.lines)
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// Ready waits for the first line of stdout, which is JSON, and reads it into v.
func (p *Process) Ready(t testing.TB, v any) {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.Wait(t)
			t.Fatalf("%s is not ready: exit code %d\n%s", p.name, p.Code(), p.Stderr)
		}
		if err := json.Unmarshal([]byte(line), v); err != nil {
			t.Fatalf("the ready line of %s, %q: %v", p.name, line, err)
		}
	case <-time.After(Patience):
		t.Fatalf("%s neither became ready nor exited\n%s", p.name, p.Stderr)
	}
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
		t.Fatalf("%s: exit code %d after SIGTERM, want 0\n%s", p.name, code, p.Stderr)
	}
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("sending %v to %s: %v", s, p.name, err)
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
		t.Fatalf("%s does not end\n%s", p.name, p.Stderr)
	}
}

// Code is the exit code of a process that is gone; -1 if a signal ended it.
func (p *Process) Code() int { return p.Cmd.ProcessState.ExitCode() }
