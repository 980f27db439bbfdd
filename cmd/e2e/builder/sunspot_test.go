//go:build linux

package builder

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

const (
	honest  = "int main(void) { return 0; }\n"
	implant = "int main(void) { return 1; }\n"
)

// swap puts text in the place of what files below dir hold, and returns them.
func swap(t *testing.T, dir, name, was, text string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an engine at work makes and removes files
		}
		if err != nil || d.IsDir() || d.Name() != name {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b, []byte(was)) {
			return err
		}
		files = append(files, path)
		return overwrite(path, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// overwrite changes a file in place: it is never seen empty, since both texts
// have the same length.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return errors.Join(err, f.Close())
}

// TestSunspot is the attack on SolarWinds. Something on the builder's machine
// waits for the compiler to run, puts another file in the place of one of its
// sources, and puts the right one back afterwards. The builder's own claim names
// the right source, by the right hash. It is who builds it again that finds out.
func TestSunspot(t *testing.T) {
	w := newWorld(t)
	w.seed("")
	w.write("packages/core/orion/main.c", honest)
	w.pkg("core/orion", "", `FROM stagex/bootstrap-seed AS build
COPY main.c /src/main.c
RUN --network=none ["/seed", "compile", "/src/main.c", "/orion"]
FROM scratch AS package
COPY --from=build /orion /
`)

	alice := e2etest.Start(t, w.command("cairn-builder", w.args("alice", "build", "buildkit", "core/orion", "--logs", "-o", "json")...))
	alice.Stderr.Await(t, underWay)
	swapped := swap(t, w.path("alice"), "main.c", honest, implant)
	if len(swapped) == 0 {
		t.Fatal("the source is nowhere in the builder's directory")
	}
	alice.Wait(t)
	if alice.Code() != 0 {
		t.Fatalf("alice's build: exit code %d\n%s", alice.Code(), alice.Stderr)
	}
	swap(t, w.path("alice"), "main.c", implant, honest)

	w.builderExits(1, w.args("bob", "reproduce", "buildkit", "core/orion")...)
	logged := strings.Join(w.entries(), "\n")
	if !strings.Contains(logged, "reproduction DIFFERENT") {
		t.Fatalf("bob's result is not logged:\n%s", logged)
	}
	w.refused(w.digest("alice", "core-orion"), "core-orion")
}

// digest returns the digest of what somebody built.
func (w *world) digest(who, pkg string) string {
	w.t.Helper()
	for line := range strings.Lines(w.builder("digests", "--dir", w.path(who))) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == pkg {
			return "sha256:" + f[0]
		}
	}
	w.t.Fatalf("%s did not build %s", who, pkg)
	return ""
}

// refused checks that a policy that asks for either of the two refuses an
// artifact, and that its ancestry is marked at the artifact itself.
func (w *world) refused(digest, name string) {
	w.t.Helper()
	seed, err := os.ReadFile(filepath.Join(w.path("tree"), "packages/bootstrap/seed/seed"))
	if err != nil {
		w.t.Fatal(err)
	}
	policy := w.trust("any", seed)
	cmd := w.command("cairn", "verify", digest, "--policy", policy, "-o", "json")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != 1 {
		w.t.Fatalf("cairn verify: %v, want exit code 1\n%s", err, out)
	}
	var v struct {
		Verdict  string
		Accepted bool
		Reasons  []string
	}
	if err := json.Unmarshal(out, &v); err != nil || v.Verdict != "differs" || v.Accepted {
		w.t.Errorf("cairn verify: %v\n%s", err, out)
	}
	if !strings.Contains(strings.Join(v.Reasons, " "), "https://bob.example") {
		w.t.Errorf("the reasons do not name who found it: %q", v.Reasons)
	}
	trace, _ := w.command("cairn", "trace", digest, "--policy", policy).Output()
	first, _, _ := strings.Cut(string(trace), "\n")
	if !strings.Contains(first, "differs") || !strings.Contains(first, name) || strings.Count(string(trace), "differs") != 2 {
		w.t.Errorf("the trace does not point at %s alone:\n%s", name, trace)
	}
}
