package foreign

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// The package whose source is small and needs little to be built.
const (
	debianDsc  = "hostname_3.23+nmu1.dsc"
	debianDeb  = "hostname_3.23+nmu1_amd64.deb"
	debianPurl = "pkg:deb/debian/hostname@3.23%2Bnmu1?arch=amd64"
)

// archive returns the directory with the package from Debian's archive, or skips
// the test where it, or what builds it, is not to be had.
func archive(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"curl", "dh", "dpkg-buildpackage", "gcc", "gpg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%v; `make deps` installs it", err)
		}
	}
	if _, err := exec.LookPath("fakeroot"); err != nil && os.Getuid() != 0 {
		t.Skipf("%v; without it only root can build Debian's packages", err)
	}
	if arch, err := exec.Command("dpkg", "--print-architecture").Output(); err != nil || string(arch) != "amd64\n" {
		t.Skipf("the package is pinned for amd64; this is %s", arch)
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", ".tools", "debian"))
	if err != nil {
		t.Fatal(err)
	}
	pins, err := os.ReadFile(filepath.Join("testdata", "hostname.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(pins)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Skipf("%v; `make deps` fetches it where Debian's archive is reachable and still has it", err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != sum {
			t.Fatalf("%s has the sha256 %s, want %s", file, got, sum)
		}
	}
	return dir
}

// built is what dpkg-buildpackage made.
type built struct {
	deb       string // the file
	digest    leaf.Digest
	buildinfo []byte
}

// build builds the package from its source, in a directory of its own.
func (w *world) build(from, name string) *built {
	w.t.Helper()
	dir := w.path(name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	run := func(in, command string, args ...string) {
		w.t.Helper()
		cmd := exec.CommandContext(w.t.Context(), command, args...)
		cmd.Dir = in
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
		if code, out, errs := e2etest.Run(w.t, cmd); code != 0 {
			w.t.Fatalf("%s: exit code %d\n%s%s", cmd, code, out, errs)
		}
	}
	run(dir, "dpkg-source", "--no-check", "-x", filepath.Join(from, debianDsc), "source")
	run(filepath.Join(dir, "source"), "dpkg-buildpackage", "-b", "-us", "-uc")
	b := &built{deb: filepath.Join(dir, debianDeb), digest: w.digest(filepath.Join(dir, debianDeb))}
	var err error
	if b.buildinfo, err = os.ReadFile(strings.TrimSuffix(b.deb, ".deb") + ".buildinfo"); err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) digest(file string) leaf.Digest {
	w.t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return leaf.SHA256(b)
}

// submits enrols a person and submits the .buildinfo that they sign, all by curl.
func (w *world) submits(p *person, b *built) {
	w.t.Helper()
	signed := p.command("gpg", "--batch", "--clearsign", "--output", "-", w.write("buildinfo", b.buildinfo))
	code, attestation, errs := e2etest.Run(w.t, signed)
	if code != 0 {
		w.t.Fatalf("gpg --clearsign: exit code %d\n%s", code, errs)
	}
	if status, answer := w.curl([]byte(attestation)); status != "400" || !strings.Contains(answer, "KEY_NOT_ENROLLED") {
		w.t.Fatalf("without a key, the ledger answers %s: %s", status, answer)
	}
	if status, answer := w.curl(p.gpg("--armor", "--export")); status != "201" || !strings.Contains(answer, "kind enrol") {
		w.t.Fatalf("to the key, the ledger answers %s: %s", status, answer)
	}
	status, answer := w.curl([]byte(attestation))
	var reply struct{ Leaf string }
	if err := json.Unmarshal([]byte(answer), &reply); err != nil || status != "201" {
		w.t.Fatalf("to the .buildinfo, the ledger answers %s: %s", status, answer)
	}
	l, err := leaf.Parse([]byte(reply.Leaf))
	if err != nil {
		w.t.Fatal(err)
	}
	if l.Format != attest.FormatBuildinfo || l.Claim != leaf.ClaimBuild || string(l.Keys[0]) != p.fingerprint {
		w.t.Errorf("the leaf is\n%s", reply.Leaf)
	}
	for _, line := range []string{"subject " + string(b.digest), "name " + string(leaf.NameHash(debianPurl))} {
		if !strings.Contains(reply.Leaf, "\n"+line+"\n") {
			w.t.Errorf("the leaf has no line %q:\n%s", line, reply.Leaf)
		}
	}
}

// status asks for the verdict about a file, and checks it and its exit code.
func (w *world) status(policy string, digest leaf.Digest, want string) {
	w.t.Helper()
	list := w.write("list", []byte(digest.Hex()+"  "+debianDeb+"\n"))
	code, out := w.cairn(policy, "status", list, "-o", "json")
	var v struct {
		Packages []struct{ Verdict, Digest string }
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v.Packages) != 1 {
		w.t.Fatalf("cairn status: exit code %d, %v\n%s", code, err, out)
	}
	exits := map[string]int{"reproduced": 0, "differs": 1, "unproven": 3}
	if v.Packages[0].Verdict != want || v.Packages[0].Digest != string(digest) || code != exits[want] {
		w.t.Errorf("cairn status: exit code %d, want %s:\n%s", code, want, out)
	}
}

// TestDebianPackage is two people who build a package of Debian's, sign what
// dpkg-buildpackage says of that, and compare it with what Debian distributes.
func TestDebianPackage(t *testing.T) {
	from := archive(t)
	w := newWorld(t)
	alice, bob := newPerson(t, "alice"), newPerson(t, "bob")
	bobsKey := strings.TrimSpace(w.mustCairn("keygen", "-O", w.path("bob.key")))
	policy := w.write("policy", []byte(w.logPolicy+
		"rebuilder alice "+alice.fingerprint+" operator=https://alice.example\n"+
		"rebuilder bob "+bob.fingerprint+" operator=https://bob.example\n"+
		"rebuilder bob2 "+bobsKey+" operator=https://bob.example\n"+
		"rebuild-group both 2 alice bob bob2\nrebuild-quorum both\n"))
	seeded := w.write("seeded", append(readFile(t, policy), "seed sha256:"+strings.Repeat("0", 64)+"\n"...))

	first := w.build(from, "first")
	w.submits(alice, first)
	w.status(policy, first.digest, "unproven")
	second := w.build(from, "second")
	if first.digest != second.digest {
		t.Fatalf("this machine builds %s and %s from the same source", first.digest, second.digest)
	}
	w.submits(bob, second)
	w.status(policy, first.digest, "reproduced")
	w.status(seeded, first.digest, "unproven") // a .buildinfo pins nothing

	distributed := filepath.Join(from, debianDeb)
	w.mustCairn("enrol", "--key", w.path("bob.key"), "--operator", "https://bob.example")
	w.mustCairn("attest", "reproduction", "--of", distributed, "--purl", debianPurl, "--output", second.deb,
		"--key", w.path("bob.key"), "--rebuilder-id", "https://bob.example/dpkg", "-O", w.path("verdict"))
	w.mustCairn("submit", w.path("verdict"))
	want := "reproduced"
	if w.digest(distributed) != second.digest {
		want = "differs"
	}
	t.Logf("what this machine builds %s: Debian distributes %s, built was %s", want, w.digest(distributed), second.digest)
	w.status(policy, w.digest(distributed), want)
	w.found(3)
}

// found asks for what is logged under the package's name, by curl.
func (w *world) found(want int) {
	w.t.Helper()
	code, out, errs := e2etest.Run(w.t, exec.Command("curl", "-sS", w.url+"/v1/attestations?name="+url.QueryEscape(debianPurl)))
	var list struct{ Entries []any }
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list.Entries) != want {
		w.t.Errorf("under its name, %d entries are found, want %d: %v\n%s%s", len(list.Entries), want, err, out, errs)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
