// Package sigstore runs the real ledger as the Rekor log of Sigstore's clients:
// cosign, as its project releases it, and sigstore-go as a library.
//
// What every test relies on:
//   - cosign is built by .ci/deps from the version that cmd/e2e/peers pins, and
//     nothing of it is changed. A test that does not find it is skipped and says
//     so.
//   - Keys, signing configuration and trusted root are made by cosign itself, as
//     docs/sigstore.md says.
//   - cosign is offline but for the ledger: it has a home of its own, and a proxy
//     that fails the test whenever it is asked for something.
//   - The ledger publishes only what a witness cosigned.
package sigstore

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// bin is the directory with the binaries that TestMain built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn", "cairn-ledger", "cairn-witness")
	}))
}

// cosignBinary returns the path of cosign.
func cosignBinary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", ".tools", "bin", "cosign"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if path, err = exec.LookPath("cosign"); err != nil {
		t.Skip("cosign is neither in .tools/bin nor in PATH; `make deps` builds the version that cmd/e2e/peers/cosign pins")
	}
	return path
}

// readyLine is what our daemons print once they take requests.
type readyLine struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
}

// world is a ledger with a witness, and a directory for files that commands make.
type world struct {
	t      *testing.T
	dir    string
	state  string // of the ledger
	policy string
	env    []string
	cosign string
	ledger *e2etest.Process
	readyLine
}

// newWorld starts a ledger. With an empty origin, it chooses one itself.
func newWorld(t *testing.T, origin string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), state: filepath.Join(t.TempDir(), "ledger")}
	w.policy = w.path("trusted.policy")
	if origin != "" {
		if err := os.MkdirAll(w.state, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := checkpoint.CreateKey(filepath.Join(w.state, "ledger.key"), origin); err != nil {
			t.Fatal(err)
		}
	}
	w.start("cairn-ledger", &w.readyLine, "-dev", w.state).Stop(t) // for its key
	var witness readyLine
	w.start("cairn-witness", &witness, "-dev", filepath.Join(t.TempDir(), "witness"), "-name", "w.example", "-log", w.VKey, "-http", "127.0.0.1:0")
	w.write("trusted.policy", "log "+w.VKey+"\nwitness w "+witness.VKey+" "+witness.HTTP+"\nquorum w\n")
	w.ledger = w.start("cairn-ledger", &w.readyLine, "-dev", w.state, "-policy", w.policy)
	w.env = offline(t)
	return w
}

// offline returns the environment of a command that may ask only loopback, which
// no proxy is asked for.
func offline(t *testing.T) []string {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was asked for", r.Method, r.URL)
		http.Error(rw, "nothing is to be had", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	home := t.TempDir()
	return []string{
		"HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_CACHE_HOME=" + home, "TMPDIR=" + t.TempDir(), "PATH=" + os.Getenv("PATH"),
		"HTTP_PROXY=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL, "COSIGN_PASSWORD=",
	}
}

// start starts one of our daemons and waits until it is ready.
func (w *world) start(name string, ready *readyLine, args ...string) *e2etest.Process {
	w.t.Helper()
	p := e2etest.Start(w.t, exec.Command(filepath.Join(bin, name), args...))
	p.Ready(w.t, ready)
	return p
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.t.Helper()
	b, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// run runs a command in the world's directory.
func (w *world) run(binary string, args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), binary, args...)
	cmd.Dir, cmd.Env = w.dir, w.env
	return e2etest.Run(w.t, cmd)
}

// cairn runs our command, which must succeed.
func (w *world) cairn(args ...string) string {
	w.t.Helper()
	code, stdout, stderr := w.run(filepath.Join(bin, "cairn"), append(args, "--policy", w.policy)...)
	if code != 0 {
		w.t.Fatalf("cairn %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// configured makes cosign's configuration for the ledger, by the commands of
// docs/sigstore.md.
func (w *world) configured() *world {
	w.t.Helper()
	w.cosign = cosignBinary(w.t)
	w.write("log.pem", w.cairn("log", "key", "--pem"))
	const since = "start-time=2024-01-01T00:00:00Z"
	w.mustCosign("signing-config", "create", "--rekor=url="+w.HTTP+",api-version=2,"+since+",operator=cairn", "--rekor-config=ANY", "--out", "signing.json")
	w.mustCosign("trusted-root", "create", "--rekor=url="+w.HTTP+",public-key=log.pem,"+since+",origin=127.0.0.1", "--out", "root.json")
	return w
}

// mustCosign runs cosign, which must succeed.
func (w *world) mustCosign(args ...string) {
	w.t.Helper()
	if code, stdout, stderr := w.run(w.cosign, args...); code != 0 {
		w.t.Fatalf("cosign %s: exit code %d\n%s%s\n%s", strings.Join(args, " "), code, stdout, stderr, w.ledger.Stderr)
	}
}

func (w *world) signBlob(key, file, bundle string) {
	w.t.Helper()
	w.mustCosign("sign-blob", "--key", key+".key", "--signing-config", "signing.json", "--trusted-root", "root.json", "--bundle", bundle, "--yes", file)
}

// verifyBlob returns whether cosign accepts a bundle, and what it says.
func (w *world) verifyBlob(key, file, bundle string) (ok bool, says string) {
	w.t.Helper()
	code, stdout, stderr := w.run(w.cosign, "verify-blob", "--key", key+".pub", "--trusted-root", "root.json", "--bundle", bundle, file)
	return code == 0 && strings.Contains(stdout+stderr, "Verified OK"), stdout + stderr
}
