package interop

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

// startAt starts a server of others and waits until it takes connections.
func startAt(t *testing.T, addr, binary string, args ...string) *e2etest.Process {
	t.Helper()
	p := launch(t, binary, args...)
	ctx, cancel := context.WithTimeout(t.Context(), e2etest.Patience)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
			return p
		}
		select {
		case <-p.Exited():
			t.Fatalf("%s is not ready: exit code %d\n%s", p.Cmd, p.Code(), p.Stderr)
		case <-ctx.Done():
			t.Fatalf("%s does not listen on %s: %v\n%s", p.Cmd, addr, err, p.Stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
