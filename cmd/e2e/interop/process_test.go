package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what should take a moment.
const patience = 2 * time.Minute

// process is a running daemon.
type process struct {
	name   string
	cmd    *exec.Cmd
	lines  <-chan string // of its stdout; closed at the end
	stderr *transcript
	exited chan struct{} // closed when it is gone
}

// transcript is what a process wrote so far.
type transcript struct {
	mu   sync.Mutex
	b    bytes.Buffer
	grew chan struct{} // closed by the next write
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	close(tr.grew)
	tr.grew = make(chan struct{})
	return tr.b.Write(p)
}

func (tr *transcript) read() (string, <-chan struct{}) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.String(), tr.grew
}

func (tr *transcript) String() string {
	s, _ := tr.read()
	return s
}

// launch starts a daemon.
func launch(t *testing.T, binary string, args ...string) *process {
	t.Helper()
	lines := make(chan string, 16)
	p := &process{
		name: filepath.Base(binary), cmd: exec.Command(binary, args...), lines: lines,
		stderr: &transcript{grew: make(chan struct{})}, exited: make(chan struct{}),
	}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = dieWithParent()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", p.name, err)
	}
	go func() {
		defer close(p.exited)
		if s := bufio.NewScanner(stdout); s.Scan() {
			lines <- s.Text()
		}
		close(lines)
		_, _ = io.Copy(io.Discard, stdout)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

// readyLine is what our daemons print once they take requests.
type readyLine struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

// start starts one of our daemons and waits until it is ready.
func start(t *testing.T, name string, args ...string) (*process, readyLine) {
	t.Helper()
	p := launch(t, filepath.Join(bin, name), args...)
	var r readyLine
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.wait(t)
			t.Fatalf("%s is not ready: exit code %d\n%s", name, p.code(), p.stderr)
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("the ready line %q of %s: %v", line, name, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s neither became ready nor exited\n%s", name, p.stderr)
	}
	return p, r
}

// startAt starts a server of others and waits until it takes connections.
func startAt(t *testing.T, addr, binary string, args ...string) *process {
	t.Helper()
	p := launch(t, binary, args...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return p
		}
		select {
		case <-p.exited:
			t.Fatalf("%s is not ready: exit code %d\n%s", p.name, p.code(), p.stderr)
		case <-ctx.Done():
			t.Fatalf("%s does not listen on %s: %v\n%s", p.name, addr, err, p.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// await waits until the process has written a text n times to stderr.
func (p *process) await(t *testing.T, text string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		have, grew := p.stderr.read()
		if strings.Count(have, text) >= n {
			return
		}
		select {
		case <-grew:
		case <-p.exited:
			// What it wrote last may have come just before.
			if strings.Count(p.stderr.String(), text) < n {
				t.Fatalf("%s ended with code %d and did not say %q %d times\n%s", p.name, p.code(), text, n, p.stderr)
			}
		case <-deadline:
			t.Fatalf("%s does not say %q %d times\n%s", p.name, text, n, p.stderr)
		}
	}
}

// kill ends the process at once, wherever it is.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
}

// stop asks the process to end, and wants exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	p.wait(t)
	if code := p.code(); code != 0 {
		t.Fatalf("%s: exit code %d after SIGTERM, want 0\n%s", p.name, code, p.stderr)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("sending %v to %s: %v", s, p.name, err)
	}
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("%s does not end\n%s", p.name, p.stderr)
	}
}

// code is the exit code of a process that is gone; -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }
