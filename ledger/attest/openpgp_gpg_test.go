package attest_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
)

// gpg is Debian's gpg with a home of its own.
type gpg struct {
	t    testing.TB
	home string
	now  time.Time // what gpg is told
}

// day is when most is signed, and the first day of the calendar of these tests.
var day = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newGPG(t testing.TB) *gpg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed: see .ci/deps")
	}
	// The path of the agent's socket must be short, and t.TempDir's is not.
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	g := &gpg{t: t, home: home, now: day}
	t.Cleanup(func() {
		kill := exec.Command("gpgconf", "--kill", "all")
		kill.Env = g.env()
		if out, err := kill.CombinedOutput(); err != nil {
			t.Errorf("stopping gpg's agent: %v: %s", err, out)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *gpg) env() []string { return append(os.Environ(), "GNUPGHOME="+g.home, "LC_ALL=C") }

// at returns g some days later.
func (g *gpg) at(days int) *gpg {
	later := *g
	later.now = day.AddDate(0, 0, days)
	return &later
}

// try runs gpg, with what it says of status in its last result.
func (g *gpg) try(in []byte, args ...string) (out []byte, status string, err error) {
	g.t.Helper()
	base := []string{"--batch", "--no-tty", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", "",
		"--status-fd", "2", "--trust-model", "always", "--faked-system-time", g.now.Format("20060102T150405") + "!"}
	cmd := exec.Command("gpg", append(base, args...)...)
	cmd.Env = g.env()
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	return out, stderr.String(), err
}

func (g *gpg) run(in []byte, args ...string) []byte {
	g.t.Helper()
	out, status, err := g.try(in, args...)
	if err != nil {
		g.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, status)
	}
	return out
}

// generate makes a key, and returns its fingerprint.
func (g *gpg) generate(name, algorithm, usage, expiry string) string {
	g.t.Helper()
	_, status, err := g.try(nil, "--quick-generate-key", name+" <"+name+"@example.org>", algorithm, usage, expiry)
	if err != nil {
		g.t.Fatalf("generating %s: %v\n%s", name, err, status)
	}
	_, rest, _ := strings.Cut(status, "KEY_CREATED ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		g.t.Fatalf("generating %s: %s", name, status)
	}
	return fields[1]
}

func (g *gpg) export(fingerprint string) []byte {
	return g.run(nil, "--armor", "--export", fingerprint)
}

// key returns what is exported, as it is enrolled.
func (g *gpg) key(fingerprint string) *attest.PublicKey {
	g.t.Helper()
	k, err := attest.ParsePublicKey(g.export(fingerprint))
	if err != nil {
		g.t.Fatalf("%s: %v", fingerprint, err)
	}
	return k
}
