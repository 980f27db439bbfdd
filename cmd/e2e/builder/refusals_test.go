//go:build linux

package builder

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFailuresAreSaid breaks a package in each way that it can be broken. Each
// failure names the package and the step, and nothing of it is logged.
func TestFailuresAreSaid(t *testing.T) {
	w := newWorld(t)
	w.seed("")
	w.pkg("core/steps", "", `FROM stagex/bootstrap-seed AS build
RUN --network=none ["/seed", "write", "/made", "text"]
RUN --network=none ["/seed", "nonsense"]
FROM scratch AS package
COPY --from=build /made /
`)
	w.pkg("core/network", "", "FROM stagex/bootstrap-seed AS build\nRUN [\"/seed\", \"dial\", \"192.0.2.1:80\"]\nFROM scratch AS package\nCOPY --from=build /seed /\n")
	w.pkg("core/copy", "", "FROM scratch\nCOPY nothing /\n")
	w.pkg("core/source", "\n[sources.tool]\nhash = \""+strings.Repeat("ab", 32)+"\"\nfile = \"tool.txt\"\nmirrors = [\"file:///nowhere/tool.txt\", \"file://"+w.path("wrong")+"\"]\n",
		"FROM scratch\nCOPY fetch/tool.txt /\n")
	if err := os.WriteFile(w.path("wrong"), []byte("wrong"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		reason string
		says   []string
	}{
		{"a step that fails", w.args("alice", "build", "buildkit", "core/steps"), "STEP_FAILED", []string{"core-steps", `RUN --network=none ["/seed", "nonsense"]`, "exit status 1"}},
		{"a step that tries the network", w.args("alice", "build", "buildkit", "core/network"), "STEP_FAILED", []string{"core-network", `"dial"`, "network"}},
		{"a file that is not there", w.args("alice", "build", "buildkit", "core/copy"), "STEP_FAILED", []string{"core-copy", "nothing"}},
		{"a source that was not fetched", w.args("alice", "build", "buildkit", "core/source"), "SOURCE_MISSING", []string{"core-source", "tool.txt", "cairn-builder fetch"}},
		{"a mirror that is missing, one that is wrong", []string{"fetch", "--tree", w.path("tree"), "--dir", w.path("alice"), "core/source"}, "SOURCE_MISSING",
			[]string{"core-source", "/nowhere/tool.txt", "wrong content", strings.Repeat("ab", 32)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := w.fails(tt.args...)
			if f.Reason != tt.reason || f.Hint == "" {
				t.Errorf("failure %+v, want %s", f, tt.reason)
			}
			for _, s := range tt.says {
				if !strings.Contains(f.Error, s) {
					t.Errorf("the message does not say %q: %s", s, f.Error)
				}
			}
		})
	}
	if diff := cmp.Diff([]string{"build"}, w.entries()); diff != "" { // the seed
		t.Errorf("logged (-want +got):\n%s", diff)
	}

	// A Containerfile that is none is found when the tree is read.
	w.pkg("core/steps", "", "FROM stagex/bootstrap-seed\nRUNN true\n")
	f := w.fails(w.args("alice", "build", "buildkit", "core/steps")...)
	if f.Reason != "TREE_INVALID" || !strings.Contains(f.Error, "packages/core/steps/Containerfile:2") {
		t.Errorf("failure %+v", f)
	}
}

// TestBuildFailedIsLogged: that somebody else's image cannot be built is a claim
// like any other.
func TestBuildFailedIsLogged(t *testing.T) {
	w := newWorld(t)
	w.seed("")
	w.pkg("core/tool", "", "FROM stagex/bootstrap-seed AS build\nRUN [\"/seed\", \"write\", \"/made\", \"text\"]\nFROM scratch AS package\nCOPY --from=build /made /\n")
	w.builder(w.args("alice", "build", "buildkit", "core/tool")...)
	good := w.builder(w.args("bob", "reproduce", "buildkit", "--all")...)
	if strings.Count(good, "IDENTICAL ") != 2 {
		t.Errorf("bob reproduced:\n%s", good)
	}
	// On bob's disk there is no room for what a step writes.
	small := w.path("small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", small).CombinedOutput(); err != nil {
			t.Errorf("unmounting: %v\n%s", err, out)
		}
	})
	w.pkg("core/big", "", "FROM stagex/bootstrap-seed AS build\nRUN [\"/seed\", \"fill\", \"/made\"]\nFROM scratch AS package\nCOPY --from=build /made /\n")
	args := w.args("bob", "build", "buildkit", "core/big")
	for i := range args {
		if args[i] == w.path("bob") {
			args[i] = small
		}
	}
	before := len(w.entries())
	f := w.fails(args...)
	if f.Reason != "ENGINE_UNAVAILABLE" || !strings.Contains(f.Error, "core-big") || !strings.Contains(f.Error, "disk is full") {
		t.Errorf("failure %+v", f)
	}
	if after := len(w.entries()); after > before+1 { // the seed may have been built
		t.Errorf("%d entries were logged", after-before)
	}
}
