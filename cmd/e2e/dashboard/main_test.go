// Package dashboard shows the real ledger's pages to a real browser, and says what
// a person sees.
//
// What every test relies on: chromium is Debian's, which `make deps` installs; all
// tests share one browser and the ledgers of TestDashboard, and each page has a
// browser context of its own; a page that asks any other host for anything, or that
// writes an error to its console, fails the test that opened it.
package dashboard

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
		return e2etest.Build(dir, "cairn-ledger", "cairn-witness")
	}))
}
