// Package foreign has other projects' programs make and sign what they always
// made, and submits it to the real ledger without any program of Cairn's.
package foreign

import (
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
		return e2etest.Build(dir, "cairn", "cairn-ledger")
	}))
}

// world is a ledger without witnesses.
type world struct {
	t         *testing.T
	dir, url  string
	logPolicy string // the policy's lines about the log
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	var ready struct{ VKey, HTTP string }
	e2etest.Start(t, exec.Command(filepath.Join(bin, "cairn-ledger"), "-dev", w.path("ledger"))).Ready(t, &ready)
	w.url, w.logPolicy = ready.HTTP, "log "+ready.VKey+"\nquorum none\n"
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, text []byte) string {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// cairn runs cairn, and returns its exit code and what it answers.
func (w *world) cairn(policy string, args ...string) (code int, stdout string) {
	w.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "cairn"), args...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "XDG_STATE_HOME=" + w.path("state"), "LC_ALL=C.UTF-8",
		"CAIRN_LEDGER=" + w.url, "CAIRN_POLICY=" + policy,
	}
	code, stdout, stderr := e2etest.Run(w.t, cmd)
	if stderr != "" {
		w.t.Logf("cairn %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return code, stdout
}

// mustCairn runs cairn, which must succeed.
func (w *world) mustCairn(args ...string) string {
	w.t.Helper()
	code, out := w.cairn("", args...)
	if code != 0 {
		w.t.Fatalf("cairn %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// curl posts bytes as an attestation, and returns the answer and its status.
func (w *world) curl(attestation []byte) (status, answer string) {
	w.t.Helper()
	file := w.write("posted", attestation)
	cmd := exec.Command("curl", "-sS", "-w", "\n%{http_code}", "--data-binary", "@"+file, w.url+"/v1/attestations")
	code, out, errs := e2etest.Run(w.t, cmd)
	if code != 0 {
		w.t.Fatalf("curl: exit code %d\n%s", code, errs)
	}
	i := strings.LastIndexByte(out, '\n')
	return out[i+1:], out[:i]
}

// person is somebody with gpg and a key.
type person struct {
	t           *testing.T
	home        string
	name        string
	fingerprint string // as the ledger writes it
}

// newPerson makes somebody a key that only signs. The directory's name is short,
// since it has a socket in it.
func newPerson(t *testing.T, name string) *person {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg-")
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, home: home, name: name}
	t.Cleanup(func() {
		_ = p.command("gpgconf", "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	p.gpg("--passphrase", "", "--quick-generate-key", fmt.Sprintf("%s <%[1]s@%[1]s.example>", name), "ed25519", "sign", "never")
	for line := range strings.Lines(string(p.gpg("--with-colons", "--list-keys"))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			p.fingerprint = "openpgp:" + strings.ToLower(f[9])
		}
	}
	return p
}

func (p *person) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+p.home, "LC_ALL=C")
	return cmd
}

func (p *person) gpg(args ...string) []byte {
	p.t.Helper()
	cmd := p.command("gpg", append([]string{"--batch", "--quiet", "--no-tty"}, args...)...)
	code, out, errs := e2etest.Run(p.t, cmd)
	if code != 0 {
		p.t.Fatalf("gpg %s: exit code %d\n%s", strings.Join(args, " "), code, errs)
	}
	return []byte(out)
}
