package e2etest

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Interop skips a test that needs large servers of other projects, unless it is
// run by `make interop`, which installs them.
func Interop(t testing.TB) {
	t.Helper()
	if os.Getenv("CAIRN_INTEROP") == "" {
		t.Skip("it runs large servers of other projects: `make interop` installs them and sets CAIRN_INTEROP")
	}
}

// Tool returns the path of something that .ci/deps put below .tools. What is not
// there fails the test.
func Tool(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(dir, ".tools", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("there is no .tools/%s in this directory or above: `.ci/deps interop` installs it", name)
		}
		dir = parent
	}
}

// StartAt starts a server of others and waits until it takes connections.
func StartAt(t testing.TB, network, addr string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := Start(t, cmd)
	p.Poll(t, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return p
}

// Poll waits until a server of others is ready, which it does not say: ready
// returns nil then. It ends with the process.
func (p *Process) Poll(t testing.TB, ready func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.Exited():
			t.Fatalf("%s is not ready: exit code %d\n%s\n%s", p.Cmd, p.Code(), p.Stdout, p.Stderr)
		case <-ctx.Done():
			t.Fatalf("%s is not ready: %v\n%s\n%s", p.Cmd, errors.Join(err, ctx.Err()), p.Stdout, p.Stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// FreeAddr returns an address on loopback that nobody listens on.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
