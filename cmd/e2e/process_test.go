package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
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

// patience is how long a test waits for what should take a moment.
const patience = 60 * time.Second

// readyLine is what a daemon prints once it takes requests.
type readyLine struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

// process is a running cairn-ledger.
type process struct {
	readyLine
	took   time.Duration // from start to the ready line
	cmd    *exec.Cmd
	stderr *buffer
	exited chan struct{} // closed when the process is gone
}

// buffer is a bytes.Buffer that may be read while a process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// launch starts cairn-ledger. The lines channel yields its output by lines and
// is closed at its end.
func launch(t *testing.T, args ...string) (*process, <-chan string) {
	t.Helper()
	return launchCommand(t, exec.Command(binary, args...))
}

func launchCommand(t *testing.T, cmd *exec.Cmd) (*process, <-chan string) {
	t.Helper()
	p := &process{cmd: cmd, stderr: &buffer{}, exited: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = dieWithParent()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting cairn-ledger: %v", err)
	}
	lines := make(chan string, 16)
	go func() {
		defer close(p.exited)
		for s := bufio.NewScanner(stdout); s.Scan(); {
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
	return p, lines
}

// start starts a ledger on dir and waits until it is ready.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startWith(t, append([]string{"-dev", dir}, args...)...)
}

func startWith(t *testing.T, args ...string) *process {
	t.Helper()
	p, ready := tryStart(t, args...)
	if !ready {
		t.Fatalf("cairn-ledger %s is not ready: exit code %d\n%s", strings.Join(args, " "), p.code(), p.stderr)
	}
	return p
}

// configured makes a ledger on dir, and returns the arguments that start it from
// a configuration file with some more lines.
func configured(t *testing.T, dir string, more ...string) (args []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "ledger.key")); err != nil {
		start(t, dir).stop(t) // makes the key
	}
	file := filepath.Join(dir, "cairn-ledger.yaml")
	text := strings.ReplaceAll(`key: DIR/ledger.key
state: DIR/signed
log: DIR/log
blobs: DIR/blobs.db
index: DIR/index.db
http: 127.0.0.1:0
grpc: 127.0.0.1:0
`, "DIR", dir) + strings.Join(more, "\n") + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"-config", file}
}

// tryStart starts a ledger and waits until it is ready or gone.
func tryStart(t *testing.T, args ...string) (p *process, ready bool) {
	t.Helper()
	began := time.Now()
	p, lines := launch(t, args...)
	select {
	case line, ok := <-lines:
		p.took = time.Since(began)
		if !ok {
			p.wait(t)
			return p, false
		}
		if err := json.Unmarshal([]byte(line), &p.readyLine); err != nil {
			t.Fatalf("the ready line %q: %v", line, err)
		}
		return p, true
	case <-time.After(patience):
		t.Fatalf("cairn-ledger %s neither became ready nor exited\n%s", strings.Join(args, " "), p.stderr)
		return nil, false
	}
}

// refuse starts a ledger that must not become ready. It returns its exit code
// and what it wrote to stderr.
func refuse(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	p, ready := tryStart(t, args...)
	if ready {
		p.kill(t)
		t.Fatalf("cairn-ledger %s became ready", strings.Join(args, " "))
	}
	return p.code(), p.stderr.String()
}

// kill ends the process as a power cut would, but for the page cache.
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
		t.Fatalf("exit code %d after SIGTERM, want 0\n%s", code, p.stderr)
	}
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("sending %v: %v", s, err)
	}
}

func (p *process) wait(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatalf("the process does not end\n%s", p.stderr)
	}
}

// code is the exit code of a process that is gone; -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// copyDir copies a ledger's directory while no process uses it.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copying %s: %v\n%s", from, err, out)
	}
	return to
}
