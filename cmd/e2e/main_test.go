// Package e2e runs the real binaries on loopback, and breaks them: it kills
// them, fails their storage and gives them back an old copy of it.
//
// What every test relies on:
//   - The server under test is the binary that `go build` makes, started with
//     its real flags. Nothing of it is linked into the test but the wire format
//     and the making of attestations.
//   - Whether an answer is right is judged with golang.org/x/mod/sumdb, never
//     with the ledger's own proofs: see audit.
//   - An acknowledgement is a promise. Whatever a test does to the server, it
//     afterwards asks for everything that was acknowledged: see history.
//   - No test waits for time to pass. It waits for an answer, a line of output
//     or the end of a process, each with a deadline that only a failure meets.
package e2e

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// binary is the cairn-ledger that TestMain built.
var binary string

func TestMain(m *testing.M) {
	// Tessera's checker reports each of its steps through klog.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	os.Exit(e2etest.Main(m, func(dir string) error {
		binary = filepath.Join(dir, "cairn-ledger")
		return e2etest.Build(dir, "cairn-ledger")
	}))
}
