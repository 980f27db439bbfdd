package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// readyLine is what a daemon prints once it takes requests.
type readyLine struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

// process is a running cairn-ledger.
type process struct {
	*e2etest.Process
	readyLine
	took time.Duration // from start to the ready line
}

// launch starts cairn-ledger.
func launch(t *testing.T, args ...string) *process {
	t.Helper()
	return launchCommand(t, exec.Command(binary, args...))
}

func launchCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	return &process{Process: e2etest.Start(t, cmd)}
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
		t.Fatalf("cairn-ledger %s is not ready: exit code %d\n%s", strings.Join(args, " "), p.Code(), p.Stderr)
	}
	return p
}

// configured makes a ledger on dir, and returns the arguments that start it from
// a configuration file with some more lines.
func configured(t *testing.T, dir string, more ...string) (args []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "ledger.key")); err != nil {
		start(t, dir).Stop(t) // makes the key
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
	p = launch(t, args...)
	ready = p.TryReady(t, &p.readyLine)
	p.took = time.Since(began)
	return p, ready
}

// refuse starts a ledger that must not become ready. It returns its exit code
// and what it wrote to stderr.
func refuse(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	p, ready := tryStart(t, args...)
	if ready {
		p.Kill(t)
		t.Fatalf("cairn-ledger %s became ready", strings.Join(args, " "))
	}
	return p.Code(), p.Stderr.String()
}

// copyDir copies a ledger's directory while no process uses it.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copying %s: %v\n%s", from, err, out)
	}
	return to
}
