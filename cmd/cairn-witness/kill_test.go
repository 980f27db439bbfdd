package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// TestMain is the witness itself when a test starts this binary as one.
func TestMain(m *testing.M) {
	if os.Getenv("CAIRN_TEST_MAIN") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// child is a witness in a process of its own.
type child struct {
	ready
	process *os.Process
	wait    func()
}

func startChild(t *testing.T, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "CAIRN_TEST_MAIN=1")
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{process: cmd.Process, wait: sync.OnceFunc(func() { _ = cmd.Wait() })}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("waiting for the ready line: %v", err)
	}
	if err := json.Unmarshal(line, &c.ready); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *child) kill() {
	_ = c.process.Kill()
	c.wait()
}

// send asks for a cosignature, and returns whether one came.
func (c *child) send(client *http.Client, log *witnesstest.Log, old, size int64) bool {
	resp, err := client.Post(c.HTTP+"/add-checkpoint", "", bytes.NewReader(log.Request(old, size)))
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	// Part of a signature on the wire counts as one.
	b, _ := io.ReadAll(resp.Body)
	return bytes.Contains(b, []byte("— "))
}

// stored returns the size that the state in a directory has.
func stored(t *testing.T, dir string) int64 {
	t.Helper()
	db, err := state.Open(t.Context(), filepath.Join(dir, "state.db"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	r, err := db.Latest(t.Context(), origin)
	if err != nil {
		t.Fatal(err)
	}
	if r == nil {
		return 0
	}
	return r.Size
}

// TestKill kills a witness at random moments, while a log asks it for one
// cosignature after the other. Whatever it gave away, its state knows of.
func TestKill(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	log, dir := witnesstest.NewLog(origin).Grow(20000, "entry"), t.TempDir()
	size := int64(0)
	for round := range rounds {
		c := startChild(t, "-dev", dir, "-log", log.VKey)
		timer := time.AfterFunc(time.Duration(10+37*round)*time.Millisecond, func() { _ = c.process.Kill() })
		given := size
		for next := size + 1; next <= log.Size() && c.send(http.DefaultClient, log, size, next); next++ {
			given, size = next, next
		}
		timer.Stop()
		c.kill()
		http.DefaultClient.CloseIdleConnections()
		if size = stored(t, dir); size < given || size > given+1 {
			t.Fatalf("round %d: the state has size %d, size %d was cosigned", round, size, given)
		}
	}
	t.Logf("%d cosignatures, killed %d times", size, rounds)
}

// TestStrace kills a witness at each system call with which it could write:
// before the commit, in it, between it and the signature, and while that is
// sent. No signature comes without a state behind it.
func TestStrace(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	calls, most := []string{"pwrite64", "fsync", "fdatasync", "ftruncate", "write"}, 6
	if testing.Short() {
		most = 1
	}
	log := witnesstest.NewLog(origin).Grow(100, "entry")
	dir := t.TempDir()
	killed := make(map[string]int)
	size := int64(0)
	for _, call := range calls {
		for when := 1; when <= most; when++ {
			c := startChild(t, "-dev", dir, "-log", log.VKey)
			ended, ok := attach(t, c, call, when)
			if !ok {
				t.Skip("strace may not attach here")
			}
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			signed := c.send(client, log, size, size+1)
			client.CloseIdleConnections()
			if !signed {
				killed[call]++
			}
			c.kill()
			ended()
			got := stored(t, dir)
			if signed && got != size+1 || got < size || got > size+1 {
				t.Fatalf("killed at %s number %d: the state has size %d after %d; a cosignature came: %v", call, when, got, size, signed)
			}
			size = got
		}
	}
	t.Logf("killed before the answer, by system call: %v", killed)
	if killed["pwrite64"] == 0 || killed["fsync"]+killed["fdatasync"] == 0 || killed["write"] == 0 {
		t.Errorf("the commit was never hit: %v", killed)
	}
}

// attach has strace kill a process at the n-th time that one of its threads
// makes a system call. It returns once that is armed; ended waits for strace.
func attach(t *testing.T, c *child, call string, n int) (ended func(), ok bool) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-p", fmt.Sprint(c.process.Pid), "-o", os.DevNull, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended = sync.OnceFunc(func() { _ = cmd.Wait() })
	t.Cleanup(func() { _ = cmd.Process.Kill(); ended() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		// With -f it attaches to all threads, and reports that once.
		if strings.Contains(lines.Text(), "attached") {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return ended, true
		}
	}
	return ended, false
}
