package interop

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
)

// readyLine is what our daemons print once they take requests.
type readyLine struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

// launch starts a daemon.
func launch(t *testing.T, binary string, args ...string) *e2etest.Process {
	t.Helper()
	return e2etest.Start(t, exec.Command(binary, args...))
}

// start starts one of our daemons and waits until it is ready.
func start(t *testing.T, name string, args ...string) (*e2etest.Process, readyLine) {
	t.Helper()
	p := launch(t, filepath.Join(bin, name), args...)
	var r readyLine
	p.Ready(t, &r)
	return p, r
}
