// Package runbooks runs the commands of docs/runbooks.md, section by section, against
// real ledgers: an embedded one with a witness, and front ends with a real PostgreSQL, a
// bucket that is a directory, and a Trillian in memory, or with `make interop` a real one.
//
// What every test relies on: a section's commands are run as they stand, in one bash
// with -euo pipefail; STOP and START are answered by the test, which then does to the
// processes what a service manager would. Whether the log is as it should be is judged
// by `cairn audit`, by proofs that were made before, and by what the command line
// remembers of the log.
package runbooks

import (
	"os"
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
