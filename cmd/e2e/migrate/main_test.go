// Package migrate moves the log of a real ledger of one process to front ends, with a
// real PostgreSQL and the real Trillian, a log server and two signers. `make interop`
// installs these; without it the test is skipped, and says so.
//
// What it relies on: whether the log is whole is judged by `cairn audit` and by
// golang.org/x/mod/sumdb, from files, before and after; never by what the move says.
package migrate

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
		return e2etest.Build(dir, "cairn", "cairn-ledger")
	}))
}
