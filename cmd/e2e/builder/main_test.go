//go:build linux

// Package builder runs the real cairn-builder with the real BuildKit and
// Buildah against the real ledger, and breaks them. It needs root, and what
// `make deps` installs.
//
// What every test relies on: the tree is made by the test, from a program that
// the test compiles; nothing is fetched; and what was logged is asked of the
// ledger, not of the builder.
package builder

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// bin is where TestMain put the commands, and tools where make deps did.
var bin, tools string

func TestMain(m *testing.M) { os.Exit(e2etest.Main(m, prepare)) }

// prepare links the tools into the directory and builds the commands beside them,
// where cairn-builder looks for them.
func prepare(dir string) (err error) {
	bin = dir
	if tools, err = filepath.Abs("../../../.tools/bin"); err != nil {
		return err
	}
	for _, tool := range []string{"buildkitd", "cairn-buildah"} {
		if _, err := os.Stat(filepath.Join(tools, tool)); err != nil {
			return fmt.Errorf("%s is not installed: run `make deps`: %w", tool, err)
		}
		if err := os.Symlink(filepath.Join(tools, tool), filepath.Join(bin, tool)); err != nil {
			return err
		}
	}
	return e2etest.Build(bin, "cairn", "cairn-ledger", "cairn-builder")
}

// world is a ledger with two operators who are enrolled, and a tree.
type world struct {
	t      *testing.T
	dir    string
	ledger *e2etest.Process
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.startLedger()
	for _, who := range []string{"alice", "bob"} {
		w.cairn("keygen", "-O", w.path(who+".key"))
		w.cairn("enrol", "--key", w.path(who+".key"), "--operator", "https://"+who+".example")
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// startLedger starts the ledger, at the address it had before.
func (w *world) startLedger() {
	w.t.Helper()
	address := "127.0.0.1:0"
	if w.url != "" {
		address = strings.TrimPrefix(w.url, "http://")
	}
	cmd := exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", w.path("ledger"), "-http", address)
	w.ledger = e2etest.Start(w.t, cmd)
	var ready struct{ HTTP string }
	w.ledger.Ready(w.t, &ready)
	w.url = ready.HTTP
}

func (w *world) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "CAIRN_LEDGER="+w.url, "CAIRN_POLICY="+w.path("ledger/policy"), "NO_COLOR=1")
	return cmd
}

// cairn runs cairn, which must succeed, and returns what it answers.
func (w *world) cairn(args ...string) string {
	w.t.Helper()
	out, err := w.command("cairn", args...).Output()
	if err != nil {
		w.t.Fatalf("cairn %s: %v", strings.Join(args, " "), explain(err))
	}
	return string(out)
}

func explain(err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%w\n%s", err, failed.Stderr)
	}
	return err
}

// args are the arguments of a builder of an operator.
func (w *world) args(who, command, engine string, more ...string) []string {
	args := []string{
		command, "--tree", w.path("tree"), "--dir", w.path(who), "--engine", engine,
		"--key", w.path(who + ".key"), "--operator", "https://" + who + ".example",
	}
	return append(args, more...)
}

// failure is the JSON of a run that failed.
type failure struct {
	Error, Reason, Hint string
	Exit                int
}

// fails runs a builder, which must fail, and returns how.
func (w *world) fails(args ...string) failure {
	w.t.Helper()
	out, err := w.command("cairn-builder", append(args, "-o", "json")...).Output()
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		w.t.Fatalf("cairn-builder %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	var f failure
	if err := json.Unmarshal(out, &f); err != nil {
		w.t.Fatalf("cairn-builder %s: %v\n%s\n%s", strings.Join(args, " "), err, out, failed.Stderr)
	}
	if f.Exit != failed.ExitCode() {
		w.t.Errorf("exit code %d, and %d in JSON", failed.ExitCode(), f.Exit)
	}
	return f
}

// builder runs a builder, which must succeed, and returns what it answers.
func (w *world) builder(args ...string) string {
	w.t.Helper()
	out, err := w.command("cairn-builder", args...).Output()
	if err != nil {
		w.t.Fatalf("cairn-builder %s: %v", strings.Join(args, " "), explain(err))
	}
	return string(out)
}

// entries returns what is logged, one line each: claim and result.
func (w *world) entries() []string {
	w.t.Helper()
	var v struct {
		Entries []struct{ Kind, Claim, Result string }
	}
	if err := json.Unmarshal([]byte(w.cairn("list", "-o", "json")), &v); err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, e := range v.Entries {
		if e.Kind == "attestation" {
			lines = append(lines, strings.TrimSpace(e.Claim+" "+e.Result))
		}
	}
	return lines
}

// write writes a file of the tree.
func (w *world) write(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.path("tree"), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// pkg writes a package.
func (w *world) pkg(name, keys, containerfile string) {
	w.t.Helper()
	_, base, _ := strings.Cut(name, "/")
	w.write("packages/"+name+"/package.toml",
		"[package]\nname = \""+base+"\"\nversion = \"1\"\ndescription = \"a test\"\nlicense = \"MIT\"\n"+keys)
	w.write("packages/"+name+"/Containerfile", containerfile)
}

// seed writes the package bootstrap/seed, with the program of testdata/seed.
func (w *world) seed(keys string) {
	w.t.Helper()
	w.pkg("bootstrap/seed", keys, "FROM scratch\nCOPY seed /\n")
	cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(w.path("tree"), "packages/bootstrap/seed/seed"), "./testdata/seed")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("building the seed: %v\n%s", err, out)
	}
}

// builderExits runs a builder, which must end with an exit code.
func (w *world) builderExits(code int, args ...string) {
	w.t.Helper()
	cmd := w.command("cairn-builder", args...)
	out, err := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("cairn-builder %s: exit code %d, want %d: %v\n%s", strings.Join(args, " "), got, code, explain(err), out)
	}
}

// trust writes a policy that asks for some of alice and bob, and accepts a seed.
func (w *world) trust(threshold string, seed []byte) string {
	w.t.Helper()
	base, err := os.ReadFile(w.path("ledger/policy"))
	if err != nil {
		w.t.Fatal(err)
	}
	text := string(base)
	for _, who := range []string{"alice", "bob"} {
		out, err := exec.Command("sh", "-c", `openssl pkey -in "$0" -pubout -outform DER | sha256sum`, w.path(who+".key")).Output()
		if err != nil {
			w.t.Fatal(err)
		}
		text += fmt.Sprintf("rebuilder %s sha256:%s operator=https://%s.example\n", who, strings.Fields(string(out))[0], who)
	}
	text += fmt.Sprintf("rebuild-group both %s alice bob\nrebuild-quorum both\nseed sha256:%x\n", threshold, sha256.Sum256(seed))
	path := w.path(threshold + ".policy")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}
