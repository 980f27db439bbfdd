// Package distributed runs a log of several front ends: the real cairn-ledger with
// a real PostgreSQL, a bucket that is a directory, and a Trillian in memory. What
// `make interop` runs has the real Trillian, and witnesses.
//
// What every test relies on: whether proofs are right is judged with
// golang.org/x/mod/sumdb and by `cairn audit` of the bucket, never by what a front
// end says of itself; and an acknowledgement is a promise, which every front end
// keeps.
package distributed

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
