package bucket_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
)

// childDir tells the test's own binary to put objects in a directory.
const childDir = "CAIRN_TEST_BUCKET"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// puts is how many objects the child puts in each Put: some that are synced one by
// one, and some with the whole file system.
var puts = []int{1, 20, 300, 20}

// child puts objects, and says of each Put whether it acknowledged it.
func child(dir string) int {
	b, err := bucket.Open(context.Background(), buckettest.URL(dir))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for i, n := range puts {
		objects := make([]bucket.Object, n)
		for j := range objects {
			// The last ones are there already.
			objects[j] = bucket.Object{Key: fmt.Sprintf("tile/%d/x%03d/%03d", i%2, j%7, j), Bytes: []byte("object"), Once: i >= 3}
		}
		if err := b.Put(context.Background(), objects); err == nil {
			fmt.Println("acknowledged", i)
		} else if e, ok := reason.Of(err); ok {
			fmt.Println(e.Reason)
		} else {
			fmt.Println(err)
		}
	}
	return 0
}

// event is a system call of the child.
type event struct {
	start, end float64
	name, args string
	ok         bool
}

var eventLine = regexp.MustCompile(`^(\d+\.\d+) (\w+)\((.*)\) += (-?\d+)(?:<.*>)?(?: .*)? <(\d+\.\d+)>$`)

// trace runs the child under strace. It returns what it said, and its calls in the
// order in which they ended.
func trace(t *testing.T, dir string, args ...string) (said string, events []event) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "trace")
	args = append([]string{"-ff", "-y", "-ttt", "-T", "-s", "30", "-o", out, "-e", "trace=write,rename,renameat,renameat2,mkdir,mkdirat,fsync,syncfs"}, args...)
	cmd := exec.Command("strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	files, err := filepath.Glob(out + ".*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if m := eventLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
				start, _ := strconv.ParseFloat(m[1], 64)
				took, _ := strconv.ParseFloat(m[5], 64)
				events = append(events, event{start: start, end: start + took, name: m[2], args: m[3], ok: m[4] != "-1"})
			}
		}
	}
	slices.SortFunc(events, func(a, b event) int { return strings.Compare(fmt.Sprintf("%.6f", a.end), fmt.Sprintf("%.6f", b.end)) })
	return string(b), events
}

func needStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace is not installed or may not trace here: %v: %s", err, out)
	}
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// TestDirectorySync checks what no crash of a process shows: that an object is on
// the disk before it gets its name, and its name, with those of its directories,
// before it is acknowledged.
func TestDirectorySync(t *testing.T) {
	needStrace(t)
	dir := t.TempDir()
	said, events := trace(t, dir)
	if want := "acknowledged 0\nacknowledged 1\nacknowledged 2\nacknowledged 3\n"; said != want {
		t.Fatalf("the child said %q, want %q", said, want)
	}
	synced := func(path string, after, before float64) bool {
		return slices.ContainsFunc(events, func(e event) bool {
			return e.start >= after && e.end <= before && e.ok &&
				(e.name == "syncfs" || e.name == "fsync" && strings.HasSuffix(e.args, "<"+path+">"))
		})
	}
	written := make(map[string]float64) // by file in the making
	var unacknowledged []event          // that gave a name
	renames, last := 0, 0.0
	for _, e := range events {
		switch {
		case e.name == "write" && strings.Contains(e.args, `"acknowledged `):
			for _, u := range unacknowledged {
				names := quoted.FindAllStringSubmatch(u.args, -1)
				path := names[len(names)-1][1]
				if !synced(filepath.Dir(path), u.end, e.start) {
					t.Errorf("%s was acknowledged before its name was synced", path)
				}
			}
			// Those that were there: their directories are synced again.
			if strings.Contains(e.args, "acknowledged 3") && !synced(dir+"/tile/1/x000", last, e.start) {
				t.Error("what was there was acknowledged before its name was synced")
			}
			unacknowledged, last = nil, e.end
		case e.name == "write":
			_, path, _ := strings.Cut(e.args, "<")
			path, _, _ = strings.Cut(path, ">")
			written[path] = e.end
		case strings.HasPrefix(e.name, "rename") && e.ok:
			renames++
			from := quoted.FindStringSubmatch(e.args)[1]
			if !synced(from, written[from], e.start) || written[from] == 0 {
				t.Errorf("%s got its name before it was synced", from)
			}
			unacknowledged = append(unacknowledged, e)
		case strings.HasPrefix(e.name, "mkdir") && e.ok && !strings.Contains(e.args, "/index"):
			unacknowledged = append(unacknowledged, e)
		}
	}
	if want := puts[0] + puts[1] + puts[2]; renames != want {
		t.Errorf("the trace has %d renames, want %d", renames, want)
	}
}

// TestDirectorySyncFails checks that nothing is acknowledged that the disk did not
// confirm, and that the next Put works once the disk does.
func TestDirectorySyncFails(t *testing.T) {
	needStrace(t)
	for _, test := range []struct{ inject, want string }{
		{"syncfs:error=EIO:when=1", "acknowledged 0\nacknowledged 1\nSTORAGE_UNAVAILABLE\nacknowledged 3\n"},
		{"fsync:error=EIO", "STORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\n"},
		{"rename,renameat,renameat2:error=ENOSPC", "STORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\nSTORAGE_UNAVAILABLE\n"},
	} {
		said, _ := trace(t, t.TempDir(), "-e", "inject="+test.inject)
		if said != test.want {
			t.Errorf("with %s, the child said %q, want %q", test.inject, said, test.want)
		}
	}
}
