// Package verdict tells stories of rebuilders to the real ledger, witnesses and
// cairn, and asks for verdicts: online, from a bundle, and from a bundle that
// somebody changed.
//
// What every test relies on: the verdict is read from the exit code and the JSON
// of the command that users run; three witnesses run, of which the ledger and
// the policy need two.
package verdict

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// bin is where TestMain put the commands.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn", "cairn-ledger", "cairn-witness")
	}))
}

// world is a ledger, its witnesses, and people with keys.
type world struct {
	t    *testing.T
	dir  string
	url  string
	base string            // the policy's lines about the log and its witnesses
	keys map[string]string // fingerprints, by who has the key

	submitted, policies int
}

// newWorld starts a ledger that two of three witnesses must cosign. The ledger
// is started once alone, so that the witnesses and the policy can name its key.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), keys: make(map[string]string)}
	start := func(args ...string) (p *e2etest.Process, ready struct{ VKey, HTTP string }) {
		p = e2etest.Start(t, exec.Command(filepath.Join(bin, args[0]), args[1:]...))
		p.Ready(t, &ready)
		return p, ready
	}
	first, ledger := start("cairn-ledger", "-dev", w.path("ledger"))
	first.Stop(t)
	w.base = "log " + ledger.VKey + "\n"
	for _, name := range []string{"w1", "w2", "w3"} {
		_, witness := start("cairn-witness", "-dev", w.path(name), "-name", name+".example", "-log", ledger.VKey)
		w.base += fmt.Sprintf("witness %s %s %s\n", name, witness.VKey, witness.HTTP)
	}
	w.base += "group two 2 w1 w2 w3\nquorum two\n"
	w.write("base.policy", w.base)
	_, ledger = start("cairn-ledger", "-dev", w.path("ledger"), "-policy", w.path("base.policy"))
	w.url = ledger.HTTP
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) string {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// command is cairn, with nothing of the environment that the tests run in.
func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "cairn"), args...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_STATE_HOME=" + w.path("state"), "LC_ALL=C.UTF-8",
		"CAIRN_LEDGER=" + w.url, "CAIRN_POLICY=" + w.path("base.policy"),
	}
	return cmd
}

// run runs cairn and returns its exit code and what it wrote.
func (w *world) run(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	return e2etest.Run(w.t, w.command(args...))
}

// cairn runs cairn, which must succeed, and returns what it answers.
func (w *world) cairn(args ...string) string {
	w.t.Helper()
	code, out, errs := w.run(args...)
	if code != 0 {
		w.t.Fatalf("cairn %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// enrol gives someone a key, who says to be of an operator.
func (w *world) enrol(who, operator string) {
	w.t.Helper()
	w.keys[who] = strings.TrimSpace(w.cairn("keygen", "-O", w.path(who+".key")))
	w.cairn("enrol", "--key", w.path(who+".key"), "--operator", operator)
}

// artifact makes a file with a content of its own, and returns its digest.
func (w *world) artifact(name string) string {
	w.t.Helper()
	text := "artifact " + name + "\n"
	w.write(name, text)
	return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
}

// builds logs that someone built an artifact from materials.
func (w *world) builds(who, name string, materials ...string) {
	w.t.Helper()
	w.submit(append([]string{"attest", "build", w.path(name), "--builder-id", "https://" + who + ".example/ci"}, w.claim(who, materials)...))
}

// reproduces logs what someone's rebuild of an artifact from materials gave.
func (w *world) reproduces(who, name, output string, materials []string, more ...string) {
	w.t.Helper()
	args := []string{"attest", "reproduction", "--of", w.path(name), "--output", w.path(output), "--rebuilder-id", "https://" + who + ".example/ci"}
	w.submit(append(append(args, w.claim(who, materials)...), more...))
}

func (w *world) claim(who string, materials []string) []string {
	args := []string{"--key", w.path(who + ".key")}
	for _, m := range materials {
		args = append(args, "--material", m)
	}
	return args
}

func (w *world) submit(attest []string) {
	w.t.Helper()
	file := w.path(fmt.Sprintf("%d.attestation", w.submitted))
	w.submitted++
	w.cairn(append(attest, "-O", file)...)
	w.cairn("submit", file)
}

// source is a material that is pinned by its hash.
func source(name string) string {
	return fmt.Sprintf("name=%s,digest=sha256:%x,role=source", name, sha256.Sum256([]byte(name)))
}

// made is a material that somebody built.
func made(name, digest string) string {
	return "name=" + name + ",digest=" + digest + ",role=toolchain"
}

// node is what a verdict says of one artifact.
type node struct {
	Name      string
	Digest    string
	Verdict   string
	Reasons   []string
	Materials []node
}

// find returns the node of an artifact in an ancestry.
func (n *node) find(digest string) *node {
	if n.Digest == digest {
		return n
	}
	for i := range n.Materials {
		if m := n.Materials[i].find(digest); m != nil {
			return m
		}
	}
	return nil
}

// verdict is the JSON of cairn verify.
type verdict struct {
	Schema, Verdict string
	Accepted        bool
	Reasons         []string
	Ancestry        node
	Equivocations   []any
}

// verify asks for a verdict by a policy, online and from a bundle. Both must
// come to the same.
func (w *world) verify(policy, digest string) (int, verdict) {
	w.t.Helper()
	code, out, errs := w.run("verify", digest, "--policy", policy, "-o", "json")
	var v verdict
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		w.t.Fatalf("cairn verify: %v\n%s%s", err, out, errs)
	}
	file := w.path("a.cairn-bundle")
	_ = os.Remove(file)
	w.cairn("bundle", digest, "--policy", policy, "-O", file)
	offline := w.command("verify", digest, "--bundle", file, "--policy", policy, "-o", "json")
	offline.Env = append(offline.Env, "CAIRN_LEDGER=")
	said, _ := offline.Output()
	var o verdict
	if err := json.Unmarshal(said, &o); err != nil {
		w.t.Fatalf("cairn verify --bundle: %v\n%s", err, said)
	}
	if offlineCode := offline.ProcessState.ExitCode(); offlineCode != code || o.Verdict != v.Verdict {
		w.t.Errorf("online %s (exit %d), from the bundle %s (exit %d)", v.Verdict, code, o.Verdict, offlineCode)
	}
	return code, v
}
