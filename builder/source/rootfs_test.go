package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/source/debian"
	"github.com/cairnlog/cairn/builder/source/debian/debiantest"
)

// debianArchive is a repository with two packages and a source, and a fetcher that
// knows no other.
func debianArchive(t *testing.T) (*Fetcher, *debiantest.Repository, map[string][]byte) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skipf("apt is needed: %v", err)
	}
	files := map[string][]byte{
		"tool": debiantest.Deb(t, ".xz", debiantest.Tar(t, debiantest.File("./usr/bin/tool", "tool"))),
		"lib":  debiantest.Deb(t, ".zst", debiantest.Tar(t, debiantest.File("./lib/lib.so", "lib"))),
		"orig": []byte("upstream's tarball"),
	}
	r := debiantest.NewRepository(t, "bookworm", "trusted=yes")
	packages := []debiantest.Package{{Name: "tool", Depends: "lib1", Deb: files["tool"]}, {Name: "lib1", Deb: files["lib"]}}
	sources := []debiantest.Source{{Name: "thing", Version: "1.0-1", Files: map[string][]byte{"thing_1.0.orig.tar.gz": files["orig"], "thing_1.0-1.dsc": []byte("dsc")}}}
	r.AddSuite("bookworm", packages, sources)
	f := &Fetcher{Store: openStore(t), Apt: debian.Options{Etc: r.Etc, OSRelease: r.OSRelease}}
	return f, r, files
}

// locked makes a package's directory with a lock of tool, and a source that is its
// root file system.
func locked(t *testing.T, f *Fetcher) (Wanted, *debian.Lock) {
	t.Helper()
	lock, err := f.Lock(t.Context(), "bookworm", "amd64", []string{"tool"})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := f.Rootfs(t.Context(), lock, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := want(nil, "deb-rootfs:debian.lock")
	w.SHA256, w.File, w.Dir = sum, "rootfs.tar", t.TempDir()
	writeFile(t, filepath.Join(w.Dir, "debian.lock"), lock.Format())
	return w, lock
}

func TestFetchDebSrc(t *testing.T) {
	f, r, files := debianArchive(t)
	good := want(files["orig"], "deb-src:thing=1.0-1/thing_1.0.orig.tar.gz")
	if err := f.Fetch(t.Context(), []Wanted{good}, nil); err != nil {
		t.Fatal(err)
	}
	// What the index says is enough to refuse it.
	if err := os.Remove(filepath.Join(r.Pool, "thing_1.0.orig.tar.gz")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ mirror, want string }{
		{"deb-src:thing/thing_1.0.orig.tar.gz", "wrong content: wanted sha256 " + sumOf(content) + ", got " + sumOf(files["orig"])},
		{"deb-src:thing=2/thing_1.0.orig.tar.gz", "in version 2; the versions to be had are: 1.0-1"},
		{"deb-src:thing/thing_1.0.orig.tar.gz?suite=trixie", "getting the indexes of Debian"},
	} {
		if err := f.Fetch(t.Context(), []Wanted{want(content, c.mirror)}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.mirror, err, c.want)
		}
	}
	f.Store, f.MaxSize = openStore(t), 5
	var large *TooLarge
	if err := f.Fetch(t.Context(), []Wanted{good}, nil); !errors.As(err, &large) {
		t.Errorf("too large: %v", err)
	}
	tidy(t, f.Store)
}

func TestFetchDebRootfs(t *testing.T) {
	f, r, files := debianArchive(t)
	w, lock := locked(t, f)
	made := f.Store
	f.Store = openStore(t)
	var kept []string
	if err := f.Fetch(t.Context(), []Wanted{w}, func(p Progress) {
		if p.Kept {
			kept = append(kept, p.File)
		}
	}); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(made.Path(w.SHA256))
	second, err2 := os.ReadFile(f.Store.Path(w.SHA256))
	if err := errors.Join(err, err2); err != nil || len(first) == 0 || !bytes.Equal(first, second) {
		t.Errorf("%d and %d bytes (%v)", len(first), len(second), err)
	}
	slices.Sort(kept)
	if fmt.Sprint(kept) != "[lib1_1.0_amd64.deb rootfs.tar tool_1.0_amd64.deb]" {
		t.Errorf("kept %q", kept)
	}
	tidy(t, f.Store)

	// The packages' bytes decide, not what the archive now calls by their names.
	for _, d := range lock.Debs {
		writeFile(t, filepath.Join(r.Pool, d.File()), []byte("replaced"))
	}
	f.Store = openStore(t)
	if err := f.Fetch(t.Context(), []Wanted{w}, nil); err == nil || !strings.Contains(err.Error(), "deb-rootfs:debian.lock: downloading") {
		t.Errorf("replaced packages: %v", err)
	}
	r.AddSuite("bookworm", []debiantest.Package{{Name: "tool", Deb: files["lib"]}, {Name: "lib1", Deb: files["lib"]}}, nil)
	var wrong *WrongHash
	if err := f.Fetch(t.Context(), []Wanted{w}, nil); !errors.As(err, &wrong) || wrong.Got != sumOf(files["lib"]) {
		t.Errorf("other packages of the same versions: %v", err)
	}
	r.AddSuite("bookworm", []debiantest.Package{{Name: "tool", Version: "1.1", Deb: files["tool"]}, {Name: "lib1", Deb: files["lib"]}}, nil)
	if err := f.Fetch(t.Context(), []Wanted{w}, nil); err == nil || !strings.Contains(err.Error(), "bookworm no longer has: tool 1.0") {
		t.Errorf("a version that is gone: %v", err)
	}
}

func TestDebRootfsLock(t *testing.T) {
	f := &Fetcher{Store: openStore(t)}
	outside := filepath.Join(t.TempDir(), "lock")
	writeFile(t, outside, []byte("cairn.debian-lock/v1\n"))
	w := want(content, "deb-rootfs:debian.lock")
	for _, c := range []struct {
		name    string
		prepare func(path string)
		want    string
	}{
		{"no lock", func(string) {}, "reading debian.lock"},
		{"not a lock", func(path string) { writeFile(t, path, []byte("x\n")) }, "reading debian.lock: line 1"},
		{"a lock elsewhere", func(path string) {
			if err := os.Symlink(outside, path); err != nil {
				t.Fatal(err)
			}
		}, "path escapes"},
	} {
		w.Dir = t.TempDir()
		c.prepare(filepath.Join(w.Dir, "debian.lock"))
		if err := f.Fetch(t.Context(), []Wanted{w}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := f.Import(t.Context(), []Wanted{w}, []string{w.Dir}, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Import: %v", c.name, err)
		}
	}
	w.Dir = ""
	if err := f.Fetch(t.Context(), []Wanted{w}, nil); err == nil || !strings.Contains(err.Error(), "directory, which has the lock, is not known") {
		t.Errorf("no directory: %v", err)
	}
}

// Without the network, from packages in a directory, called anything.
func TestImportDebRootfs(t *testing.T) {
	f, _, files := debianArchive(t)
	w, _ := locked(t, f)
	f.Apt.Etc = filepath.Join(t.TempDir(), "none")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "1"), files["tool"])
	f.Store = openStore(t)
	got, err := f.Import(t.Context(), []Wanted{w}, []string{dir}, nil)
	if err != nil || len(got.Found) != 1 || f.Store.Has(w.SHA256) {
		t.Fatalf("of one package of two: %+v, %v", got, err)
	}
	writeFile(t, filepath.Join(dir, "2"), files["lib"])
	got, err = f.Import(t.Context(), []Wanted{w}, []string{dir}, nil)
	if err != nil || len(got.Found) != 2 || !f.Store.Has(w.SHA256) {
		t.Fatalf("of both: %+v, %v", got, err)
	}
	tidy(t, f.Store)
	w.SHA256 = sumOf(content)
	var wrong *WrongHash
	if _, err := f.Import(t.Context(), []Wanted{w}, []string{dir}, nil); !errors.As(err, &wrong) {
		t.Errorf("another hash than the packages': %v", err)
	}
}
