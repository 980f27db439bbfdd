package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProbe(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer s.Close()
	if err := probe(t.Context(), s.URL, time.Minute); err != nil {
		t.Error(err)
	}
	for _, status = range []int{http.StatusNoContent, http.StatusNotFound, http.StatusServiceUnavailable} {
		if err := probe(t.Context(), s.URL, time.Minute); err == nil {
			t.Errorf("status %d is well", status)
		}
	}
	s.Close()
	if err := probe(t.Context(), s.URL, time.Minute); err == nil {
		t.Error("a server that is gone is well")
	}
}

func TestProbeTimesOut(t *testing.T) {
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	defer s.Close()
	defer close(end)
	if err := probe(t.Context(), s.URL, time.Millisecond); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("got %v, want that the deadline is over", err)
	}
}

// TestPrivate copies what a Kubernetes secret looks like: links to files in a hidden
// directory that a group may read.
func TestPrivate(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(from, "..data"), 0o750); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(from, "..data", "a.key"), "secret\n", 0o640)
	if err := os.Symlink("..data/a.key", filepath.Join(from, "a.key")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(to, "a.key"), "older", 0o644)
	for range 2 { // a container may be started again
		if err := private(from, to); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(to)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("%d files, want one", len(entries))
	}
	info, err := os.Lstat(filepath.Join(to, "a.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want a file of mode 0600", info.Mode())
	}
	if text, _ := os.ReadFile(filepath.Join(to, "a.key")); string(text) != "secret\n" {
		t.Errorf("got %q", text)
	}
	if err := private(t.TempDir(), to); err == nil {
		t.Error("a directory without secrets is copied")
	}
}

func TestEnviron(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "a=b\n", 0o600)
	got, err := environ([]string{"HOME=/"}, []string{"SECRET=" + file})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"HOME=/", "SECRET=a=b"}, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	for _, pair := range []string{"SECRET", "=" + file, "SECRET=" + file + ".missing"} {
		if _, err := environ(nil, []string{pair}); err == nil {
			t.Errorf("%s is not refused", pair)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"probe"}, {"private", "a"}, {"sql", "a"}, {"key", "log", "a", "b"}, {"env"}, {"env", "A=b", "--"}, {"shell", "a"}} {
		if err := run(t.Context(), args); err == nil || !strings.HasPrefix(err.Error(), "usage: ") {
			t.Errorf("%v: got %v, want how it is used", args, err)
		}
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
