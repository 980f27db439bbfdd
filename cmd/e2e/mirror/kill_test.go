package mirror

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// calls are the system calls by which a mirror changes.
var calls = []string{"openat", "write", "fsync", "syncfs", "renameat", "unlinkat", "mkdirat"}

// place is one call of a process: the nth of its name in a thread, which is how
// strace counts.
type place struct {
	call string
	nth  int
}

func needStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace is not installed, or may not trace here: %v: %s", err, out)
	}
}

func strace(file string, more ...string) []string {
	return append([]string{"strace", "-f", "-y", "-o", file, "-e", "signal=none", "-e", "trace=" + strings.Join(calls, ",")}, more...)
}

var traced = regexp.MustCompile(`^(\d+) +(\w+)\((.*)`)

// places copies under strace, and returns the calls on files of the mirror, by
// name and in their order.
func (w *world) places(t *testing.T, dir string) map[string][]place {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	if code, _, errs := w.run(t, strace(file), "log", "mirror", w.client.URL(), dir); code != 0 {
		t.Fatalf("cairn log mirror: exit code %d\n%s", code, errs)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found, count := make(map[string][]place), make(map[string]int)
	for line := range strings.Lines(string(b)) {
		m := traced.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		count[m[1]+m[2]]++
		if strings.Contains(m[3], dir) {
			found[m[2]] = append(found[m[2]], place{m[2], count[m[1]+m[2]]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%s: %d calls on files of the mirror", name, len(found[name]))
	}
	return found
}

// spread returns at most n of each name's places, over their whole range, one
// name after the other.
func spread(found map[string][]place, n int) []place {
	var some []place
	for i := range n {
		for _, name := range slices.Sorted(maps.Keys(found)) {
			if all := found[name]; i < len(all) {
				some = append(some, all[(2*i+1)*len(all)/(2*min(n, len(all)))])
			}
		}
	}
	return some
}

// kill copies, and is killed at a place. It reports whether it came there.
func (w *world) kill(t *testing.T, dir string, at place) bool {
	t.Helper()
	inject := fmt.Sprintf("inject=%s:signal=KILL:when=%d", at.call, at.nth)
	code, out, errs := w.run(t, strace(os.DevNull, "-e", inject), "log", "mirror", w.client.URL(), dir)
	if code > 0 {
		t.Fatalf("killed at %v, the next run: exit code %d\n%s%s", at, code, out, errs)
	}
	if code < 0 {
		w.killed++
	}
	return code < 0
}

// TestKill kills cairn log mirror at many places, and wants the directory to be a
// mirror each time: of what was copied before, or of what is copied now. Runs
// that are not killed complete it.
func TestKill(t *testing.T) {
	needStrace(t)
	w := newWorld(t)
	w.grow(t, 200)
	hits := make(map[string]int)
	t.Run("the first copy", func(t *testing.T) {
		dir := w.path("first")
		places := w.places(t, w.path("traced"))
		for _, at := range spread(places, 2) {
			if !w.kill(t, dir, at) {
				break // it is complete
			}
			hits[at.call]++
			if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
				if size := w.sizeOf(t, dir); size != w.size {
					t.Errorf("killed at %v, the mirror has %d of %d entries", at, size, w.size)
				}
				continue
			}
			if code, _, errs := w.run(t, nil, "list", "--ledger", dir); code != 2 || !strings.Contains(errs, "opening the mirror") {
				t.Errorf("killed at %v, what is no mirror yet is listed: exit code %d\n%s", at, code, errs)
			}
		}
		w.copy(t, dir)
		w.sameTiles(t, dir)
	})
	t.Run("a copy of what grows", func(t *testing.T) {
		dir := w.path("traced")
		w.grow(t, 3)
		places := w.places(t, dir)
		for i, at := range spread(places, 3) {
			had := w.sizeOf(t, dir)
			w.grow(t, 5) // beyond a full tile, in the end
			if w.kill(t, dir, at) {
				hits[at.call]++
			}
			if size := w.sizeOf(t, dir); size != had && size != w.size {
				t.Errorf("killed at %v, the mirror has %d entries, had %d of %d", at, size, had, w.size)
			}
			if code, out, errs := w.run(t, nil, "list", "--ledger", dir, "--limit", "3"); code != 0 {
				t.Errorf("killed at %v, the mirror cannot be listed: exit code %d\n%s%s", at, code, out, errs)
			}
			if i%2 == 1 { // or the next is killed too
				w.copy(t, dir)
			}
		}
		w.copy(t, dir)
		w.sameTiles(t, dir)
	})
	t.Logf("killed at %v", hits)
	if len(hits) < len(calls)-1 || w.killed < 15 {
		t.Errorf("the copy was killed %d times, at %d of %d system calls", w.killed, len(hits), len(calls))
	}
	if w.size <= 256 {
		t.Errorf("the log has %d entries, and no tile became full", w.size)
	}
}

// sameTiles wants the tiles of a mirror to be those of the ledger. Of narrow ones
// either may have what the other never had, or deleted; the audit wants those that
// the checkpoint needs.
func (w *world) sameTiles(t *testing.T, dir string) {
	t.Helper()
	ledger, mirror := tilesBelow(t, w.path("ledger/log")), tilesBelow(t, dir)
	for path, have := range mirror {
		full, _, narrow := strings.Cut(path, ".p/")
		want, ok := ledger[path]
		if !ok && narrow {
			want = ledger[full]
			want = want[:min(len(have), len(want))]
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is not as the ledger has it", path)
		}
	}
	for path := range ledger {
		if _, ok := mirror[path]; !ok && !strings.Contains(path, ".p/") {
			t.Errorf("%s is not in the mirror", path)
		}
	}
}

func tilesBelow(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	found := make(map[string][]byte)
	err := filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, rerr := filepath.Rel(dir, path)
		if rerr != nil {
			return rerr
		}
		found[rel] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
