// Package pgtest runs a real PostgreSQL, Debian's, for tests.
//
// Database gives a test a fresh database in a server that all tests of the process
// share, which does not wait for the disk: for tests that no crash is part of.
// Start gives a test a server of its own, which does, and which it may stop, kill
// and start again.
//
// Invariants: a server, its processes and its files are gone when the test (or,
// for the shared one, the process) that started it is, however it ended; it listens
// on loopback and on a socket in a directory of its own; as root it runs as
// Debian's user postgres, since PostgreSQL refuses to run as root.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds a start, which replays the log of a crash first.
const startTimeout = time.Minute

// Server is a PostgreSQL server. Its methods are for one goroutine at a time.
type Server struct {
	dir      string // holds data/, the socket and the log
	bin      string
	port     int
	settings []string // name=value
	creds    *syscall.Credential
	janitor  io.Closer

	cmd       *exec.Cmd // nil while it is stopped
	exited    chan struct{}
	databases atomic.Int64
}

// Start starts a server that ends with the test. It syncs to the disk unless the
// settings, each name=value as in postgresql.conf, have fsync=off.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := start(settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the end of PostgreSQL's log:\n%s", s.logTail())
		}
		if err := s.end(); err != nil {
			tb.Errorf("ending PostgreSQL: %v", err)
		}
	})
	return s
}

// shared is the server of Database, until the process ends.
var shared = sync.OnceValues(func() (*Server, error) { return start([]string{"fsync=off", "full_page_writes=off"}) })

// Database returns the URL of a fresh database in the process's shared server,
// which is dropped when the test ends.
func Database(tb testing.TB) string {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	return s.Database(tb)
}

// Database returns the URL of a fresh database, which is dropped when the test
// ends, if the server runs then.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	if err := s.exec(context.Background(), "CREATE DATABASE "+name); err != nil {
		tb.Fatalf("creating a database: %v", err)
	}
	tb.Cleanup(func() {
		if s.cmd == nil {
			return
		}
		if err := s.exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("dropping database %s: %v", name, err)
		}
	})
	return s.URL(name)
}

// URL returns the URL of a database by the server's socket.
func (s *Server) URL(database string) string { return s.url(database, s.dir) }

// TCP returns the URL of a database by the server's loopback port.
func (s *Server) TCP(database string) string { return s.url(database, "127.0.0.1") }

func (s *Server) url(database, host string) string {
	q := url.Values{"host": {host}, "port": {strconv.Itoa(s.port)}, "user": {"postgres"}, "sslmode": {"disable"}}
	return (&url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: q.Encode()}).String()
}

func (s *Server) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// Bin returns the path of one of the server's programs, as pg_dump.
func (s *Server) Bin(name string) string { return filepath.Join(s.bin, name) }

// Pid returns the process id of the server, or 0 while it is stopped.
func (s *Server) Pid() int {
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Stop shuts the server down as an operator's restart does: connections are cut,
// and what they had not committed is rolled back.
func (s *Server) Stop() error { return s.signal(syscall.SIGINT) }

// Kill ends the server and all its processes by SIGKILL.
func (s *Server) Kill() error { return s.signal(syscall.SIGKILL) }

// Restart starts a server again that was stopped or killed, at the same addresses,
// and returns when it answers.
func (s *Server) Restart() error {
	if s.cmd != nil {
		return errors.New("pgtest: the server runs already")
	}
	return s.run()
}

// signal ends the server and waits until none of its processes is left.
func (s *Server) signal(sig syscall.Signal) error {
	if s.cmd == nil {
		return errors.New("pgtest: the server does not run")
	}
	processes := []int{s.cmd.Process.Pid}
	if sig == syscall.SIGKILL {
		processes = append(processes, children(s.cmd.Process.Pid)...)
	}
	for i, pid := range processes {
		// A child may have ended by itself; what it has left running ends with it.
		if err := syscall.Kill(pid, sig); err != nil && i == 0 {
			return fmt.Errorf("pgtest: signalling the server: %w", err)
		}
	}
	select {
	case <-s.exited:
	case <-time.After(startTimeout):
		return fmt.Errorf("pgtest: the server has not ended %v after %v", startTimeout, sig)
	}
	s.cmd = nil
	return nil
}

// end kills the server and removes its files.
func (s *Server) end() error {
	var err error
	if s.cmd != nil {
		err = s.Kill()
	}
	return errors.Join(err, os.RemoveAll(s.dir), s.janitor.Close())
}

// programs returns the directory of the newest PostgreSQL of Debian.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", errors.New("pgtest: no PostgreSQL server in /usr/lib/postgresql: run `make deps`, or install Debian's package postgresql")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

// unprivileged returns as whom the server runs: nil is as this process.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("pgtest: PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
