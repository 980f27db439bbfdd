// Package rekor1 runs the real ledger and the real cairn against a real Rekor v1,
// with Trillian and MariaDB below it, and rekor-cli beside it. `make interop`
// installs these; without it the tests are skipped, and say so.
package rekor1

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
)

// bin is the directory with the binaries that TestMain built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		if os.Getenv("CAIRN_INTEROP") == "" {
			return nil // every test is skipped
		}
		return e2etest.Build(dir, "cairn", "cairn-ledger")
	}))
}

// world is a ledger, a Rekor log, and the directory of a user of both.
type world struct {
	rekor  *peers.Rekor
	ledger *e2etest.Process
	url    string // of the ledger
	dir    string // with the user's files
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e2etest.Interop(t)
	db := peers.StartMariaDB(t)
	w := &world{dir: t.TempDir()}
	w.rekor = peers.StartRekor(t, peers.StartTrillianOnMariaDB(t, db), db)
	w.start(t, "ledger")
	w.cairn(t, 0, "keygen", "-o", "alice.key")
	w.cairn(t, 0, "keygen", "--type", "p256", "-o", "anchor.key")
	w.cairn(t, 0, "enrol", "--key", "alice.key", "--operator", "https://alice.example")
	return w
}

// start starts the ledger whose directory has that name, and trusts its key.
func (w *world) start(t *testing.T, name string) {
	t.Helper()
	w.ledger = e2etest.Start(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", w.path(name), "-http", "127.0.0.1:0", "-grpc", "127.0.0.1:0"))
	var ready struct{ VKey, HTTP string }
	w.ledger.Ready(t, &ready)
	w.url = ready.HTTP
	w.write(t, "policy", "log "+ready.VKey+"\nquorum none\n")
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// cairn runs cairn in the user's directory, which must end with an exit code, and
// returns what it wrote to stdout.
func (w *world) cairn(t *testing.T, exit int, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "cairn"), args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "CAIRN_LEDGER="+w.url, "CAIRN_POLICY=policy", "XDG_STATE_HOME="+w.path("state"))
	code, stdout, stderr := e2etest.Run(t, cmd)
	if code != exit {
		t.Fatalf("cairn %v: exit code %d, want %d\n%s%s", args, code, exit, stdout, stderr)
	}
	return stdout
}

// answer is cairn with an answer in JSON.
func (w *world) answer(t *testing.T, v any, exit int, args ...string) {
	t.Helper()
	stdout := w.cairn(t, exit, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(stdout), v); err != nil {
		t.Fatalf("cairn %v wrote %q: %v", args, stdout, err)
	}
}

// run runs another command in the user's directory.
func (w *world) run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = w.dir
	if code, stdout, stderr := e2etest.Run(t, cmd); code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", cmd, code, stdout, stderr)
	}
}
