// Package interop runs the real ledger with real witnesses on loopback: with
// ours, and with two that this project did not write, omniwitness and
// litewitness. Then it kills witnesses and gives the ledger an old copy of its
// state back.
//
// What every test relies on:
//   - Ledger and witnesses are the binaries, started with their real flags. The
//     others' are built by .ci/deps from the versions that cmd/e2e/peers pins; a
//     test that does not find them is skipped and says so.
//   - Cosignatures are judged with torchwood, and never with the ledger's own
//     reading of the policy.
//   - No test waits for time to pass. It waits for an answer, a line of output
//     or the end of a process, each with a deadline that only a failure meets.
//     Only the others' readiness has no such event, and is polled.
package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// bin is the directory with the binaries that TestMain built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn-ledger", "cairn-witness")
	}))
}

// peer returns the path of another project's binary.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", ".tools", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if path, err = exec.LookPath(name); err != nil {
		t.Skipf("%s is neither in .tools/bin nor in PATH; `make deps` builds the version that cmd/e2e/peers/%[1]s pins", name)
	}
	return path
}
