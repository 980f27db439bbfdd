package pgtest_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestDatabasesAreApart(t *testing.T) {
	for range 2 {
		conn := connect(t, pgtest.Database(t))
		if _, err := conn.Exec(t.Context(), "CREATE TABLE t (i int)"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEnds stops and kills a server: what was committed is there when it starts
// again, and a connection of before is gone.
func TestEnds(t *testing.T) {
	s := pgtest.Start(t)
	db := s.Database(t)
	if _, err := connect(t, db).Exec(t.Context(), "CREATE TABLE t (i int)"); err != nil {
		t.Fatal(err)
	}
	for i, end := range []func() error{s.Stop, s.Kill} {
		conn, pid := connect(t, db), s.Pid()
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d is still there: %v", pid, err)
		}
		if err := conn.Ping(t.Context()); err == nil {
			t.Error("a connection outlived its server")
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := connect(t, s.TCP(conn.Config().Database)).QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != i+1 {
			t.Errorf("%d rows, %v, want %d", n, err, i+1)
		}
	}
}

// TestOutlivesNothing has a process that is killed while it runs a server: this test
// binary. Its server and the files are gone soon after.
func TestOutlivesNothing(t *testing.T) {
	const helper = "CAIRN_PGTEST_HELPER"
	if os.Getenv(helper) != "" {
		s := pgtest.Start(t, "fsync=off")
		if _, err := os.Stdout.WriteString("at " + s.URL("") + "\n"); err != nil {
			t.Fatal(err)
		}
		select {} // until it is killed
	}
	// A directory that another user may use, which a test's own is not.
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0], "-test.run=^TestOutlivesNothing$", "-test.v")
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	// The janitor holds the write end until the files are gone.
	left, gone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), helper+"=1", "TMPDIR="+dir)
	cmd.ExtraFiles = []*os.File{gone}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	buf, text := make([]byte, 1024), ""
	for !strings.Contains(text, "at postgres://") {
		n, err := out.Read(buf)
		if text += string(buf[:n]); err != nil {
			t.Fatalf("the helper ended: %v\n%s", err, text)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_, _ = io.Copy(io.Discard, left)
	if names, err := filepath.Glob(dir + "/*"); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
