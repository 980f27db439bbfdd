// Package deployments_test validates what deployments/ has: manifests and Compose
// files by the tools of others that .ci/deps installs, at their pinned versions, and
// by our own rules; the configurations in them by the daemons that read them.
package deployments_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// bin is where the daemons are.
var bin string

func TestMain(m *testing.M) {
	os.Exit(e2etest.Main(m, func(dir string) error {
		bin = dir
		return e2etest.Build(dir, "cairn-ledger", "cairn-witness")
	}))
}

func daemon(name string) string { return filepath.Join(bin, name) }
