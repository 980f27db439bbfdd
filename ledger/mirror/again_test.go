package mirror_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
)

// withhold deletes attestations of what a source has, or puts them back.
func (l *log) withhold(t *testing.T, dir string, held bool, indexes ...int) {
	t.Helper()
	for _, i := range indexes {
		h := leaf.SHA256(l.raws[i]).Hex()
		path := filepath.Join("attestations", h[:2], h)
		if held {
			write(t, dir, path, l.raws[i])
		} else {
			must(t, os.Remove(filepath.Join(dir, path)))
		}
	}
}

// asked is a source that remembers what it was asked for.
type asked struct {
	mirror.Files
	paths chan string
}

func (a asked) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	a.paths <- path
	return a.Files.Read(ctx, path, limit)
}

// copyAsking copies, and returns what the source was asked for.
func copyAsking(t *testing.T, l *log, dir, to string) (*mirror.Report, []string) {
	t.Helper()
	src := source(t, dir)
	a := asked{src.Files, make(chan string, 10_000)}
	src.Files = a
	r := copyLog(t, l, src, to)
	close(a.paths)
	var paths []string
	for p := range a.paths {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return r, paths
}

// TestWithheldAttestationsAreAskedForAgain by every run: of a log that grew, of
// one that did not, and of a source that is behind; and by no more than that.
func TestWithheldAttestationsAreAskedForAgain(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 300)
	from, behind, to := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "copy")
	l.publish(t, from)
	l.publish(t, behind)
	must(t, os.RemoveAll(filepath.Join(from, "checkpoints")))
	l.withhold(t, from, false, 7, 8, 9, 280, 290)
	l.withhold(t, behind, false, 8, 280)
	want := func(dir string, withheld, recovered int64) []string {
		t.Helper()
		r, paths := copyAsking(t, l, dir, to)
		if r.Withheld != withheld || r.Recovered != recovered {
			t.Errorf("%d are withheld and %d recovered, want %d and %d", r.Withheld, r.Recovered, withheld, recovered)
		}
		return paths
	}
	want(from, 5, 0)
	want(from, 5, 0)
	l.withhold(t, from, true, 7, 290)
	var attestations int
	for _, path := range want(from, 3, 2) {
		if strings.HasPrefix(path, "attestations/") {
			attestations++
		} else if strings.HasPrefix(path, "tile/") {
			t.Errorf("%s was asked for, and the log did not grow", path)
		}
	}
	if attestations != 5 {
		t.Errorf("%d attestations were asked for, want those that were withheld", attestations)
	}
	l.grow(t, 320)
	l.publish(t, from)
	l.withhold(t, from, false, 8, 9, 280, 310) // as publishing brought them back
	want(from, 4, 0)
	want(behind, 3, 1) // 9
	l.withhold(t, from, true, 8, 280, 310)
	l.grow(t, 330)
	l.publish(t, from)
	want(from, 0, 3)
	for _, path := range want(from, 0, 0) {
		if path != "checkpoint" && !strings.HasPrefix(path, "checkpoints/") {
			t.Errorf("%s was asked for, and nothing is new", path)
		}
	}
	if diff := cmp.Diff(files(t, from), files(t, to)); diff != "" {
		t.Errorf("the copy differs:\n%.1000s", diff)
	}
}

// TestWithheldAcrossAnInterruption has a run that is cut short know what was
// withheld before it ended.
func TestWithheldAcrossAnInterruption(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 520)
	dir, to := t.TempDir(), t.TempDir()
	src := l.publish(t, dir)
	l.withhold(t, dir, false, 500)
	last := filepath.Join(dir, "tile/entries/002.p/8")
	bundle, err := os.ReadFile(last)
	must(t, err)
	must(t, os.Remove(last))
	if _, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{}); err == nil {
		t.Fatal("a file that is missing is no error")
	}
	must(t, os.WriteFile(last, bundle, 0o644))
	if r := copyLog(t, l, src, to); r.Withheld != 1 || r.Recovered != 0 {
		t.Errorf("%d are withheld and %d recovered", r.Withheld, r.Recovered)
	}
	l.withhold(t, dir, true, 500)
	if r := copyLog(t, l, src, to); r.Withheld != 0 || r.Recovered != 1 {
		t.Errorf("%d are withheld and %d recovered", r.Withheld, r.Recovered)
	}
}

// TestPartialTilesArePruned once the full ones are durable: those that the mirror
// wrote, and no others.
func TestPartialTilesArePruned(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	from, to := t.TempDir(), t.TempDir()
	for _, n := range []int{3, 250, 255} {
		l.grow(t, n)
		copyLog(t, l, l.publish(t, from), to)
	}
	exists := func(path string) bool { _, err := os.Lstat(filepath.Join(to, path)); return err == nil }
	for _, path := range []string{"tile/0/000.p/3", "tile/0/000.p/250", "tile/entries/000.p/255"} {
		if !exists(path) {
			t.Errorf("%s is gone, and there is no full one", path)
		}
	}
	write(t, to, "tile/0/000.p/17", []byte("another's"))
	write(t, to, "tile/0/000.p/x", []byte("another's"))
	write(t, to, "tile/entries/000.p/256", []byte("another's"))
	l.grow(t, 300)
	copyLog(t, l, l.publish(t, from), to)
	var left []string
	for path := range files(t, to) {
		if strings.Contains(path, "000.p/") && !strings.HasPrefix(path, "tile/1/") {
			left = append(left, path)
		}
	}
	slices.Sort(left)
	want := []string{"tile/0/000.p/17", "tile/0/000.p/x", "tile/entries/000.p/256"}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	everyEntryIsFound(t, l, to)
}

// TestForkBehindTheProgress has the log be another where a run that was cut short
// had copied, and had not made durable.
func TestForkBehindTheProgress(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.grow(t, 40)
	dir, to := t.TempDir(), t.TempDir()
	src := l.publish(t, dir)
	must(t, os.RemoveAll(filepath.Join(dir, "tile/entries")))
	if _, err := mirror.Copy(t.Context(), src, to, l.policy, mirror.Options{}); err == nil {
		t.Fatal("a file that is missing is no error")
	}
	if n := mirror.Ahead(t.Context(), mirror.Dir(to)); n != 40 {
		t.Errorf("the files are said to be of a tree of %d entries, want 40", n)
	}
	other := l.fork(30)
	other.add(t, l.statement(t, "something else"))
	other.grow(t, 50)
	_, err := mirror.Copy(t.Context(), other.publish(t, t.TempDir()), to, l.policy, mirror.Options{})
	var fork *mirror.ForkError
	var bad *client.MisbehaviourError
	if !errors.As(err, &fork) || !errors.As(err, &bad) || fork.KeptTree.N != 40 {
		t.Errorf("error %v", err)
	}
}
