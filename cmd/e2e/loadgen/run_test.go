package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRealLedger starts a ledger as a run does, and loads it as one that runs
// already: every number comes from a real ledger, and every sampled answer
// passes the checks.
func TestRealLedger(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts a ledger")
	}
	o, err := parseOptions(nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l, err := openLedger(t.Context(), o, t.TempDir(), &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	defer func() {
		if err := l.stop(); err != nil {
			t.Errorf("%v\n%s", err, &log)
		}
	}()
	t.Run("a matrix of runs", func(t *testing.T) { expectMatrix(t, l) })
	t.Run("checkpoints are saved", func(t *testing.T) { expectCheckpoints(t, l) })
}

// TestWitnessedLedger compares a ledger with witnesses with one without: every
// sampled answer of the first satisfies its quorum.
func TestWitnessedLedger(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts two ledgers and witnesses")
	}
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	args := []string{"-dir", dir, "-transport", "", "-proofs=false", "-ceilings=false", "-overload=false", "-keys", "3",
		"-witnesses", "2", "-quorum", "2", "-duration", "500ms", "-warmup", "100ms"}
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("%q: got exit code %d\n%s%s", args, code, &stdout, &stderr)
	}
	for _, want := range []string{"with 2 of 2 witnesses", "\nalone  grpc       1024 ", "\nquorum grpc       1024 ", "\n§10 row 2  submit at 1024 "} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, &stdout)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// loadRunning runs the command on a running ledger, and returns what it prints.
func loadRunning(t *testing.T, l *ledger, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	args = append(args, "-url", l.HTTP, "-grpc-addr", l.GRPC, "-dir", dir, "-keys", "3", "-proofs=false", "-ceilings=false")
	if code := run(t.Context(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
		t.Fatalf("%q: got exit code %d\n%s%s", args, code, &stdout, &stderr)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
	return stdout.String()
}

func expectMatrix(t *testing.T, l *ledger) {
	file := filepath.Join(t.TempDir(), "out.json")
	out := loadRunning(t, l, "-concurrency", "16", "-duration", "300ms", "-warmup", "100ms", "-json", file)
	for _, want := range []string{"\nsubmit grpc         16 ", "\nsubmit rest         16 ", "\n§10 row 1  submit at 16: p50 "} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var saved struct{ Results []result }
	if err := json.Unmarshal(b, &saved); err != nil {
		t.Fatal(err)
	}
	if len(saved.Results) != 2 || saved.Results[0].Answered == 0 || saved.Results[1].Failed != 0 {
		t.Errorf("got results %+v, want two with answers and without failures", saved.Results)
	}
}

func expectCheckpoints(t *testing.T, l *ledger) {
	file := filepath.Join(t.TempDir(), "checkpoints")
	loadRunning(t, l, "-count", "1000", "-concurrency", "20", "-max-checkpoints", "5", "-save-checkpoints", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 5 {
		t.Errorf("got %d checkpoints, want 5:\n%s", len(lines), text)
	}
	var last int64
	for _, line := range lines {
		var s savedCheckpoint
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		c, err := l.openCheckpoint(s.Checkpoint)
		if err != nil || c.N != s.Size || !bytes.Equal(c.Hash[:], s.Root) || s.Size <= last {
			t.Errorf("got size %d after %d, error %v: %s", s.Size, last, err, line)
		}
		last = s.Size
	}
}
