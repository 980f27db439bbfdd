package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairnlog/cairn/builder/tree"
	"github.com/google/go-cmp/cmp"
)

// newPackage makes a package's directory of files, of which those that end in
// .sh may be executed.
func newPackage(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(name))
		mode := fs.FileMode(0o600)
		if strings.HasSuffix(name, ".sh") {
			mode = 0o700
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// list says what a directory holds, with what a build sees of it.
func list(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		line := fmt.Sprintf("%v %d %s", fi.Mode(), fi.ModTime().Unix(), rel)
		if d.Type() == fs.ModeSymlink {
			target, _ := os.Readlink(path)
			line = fmt.Sprintf("link %d %s -> %s", fi.ModTime().Unix(), rel, target)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func testSources(t testing.TB, s *Store) []tree.Source {
	t.Helper()
	return []tree.Source{
		{Name: "z", File: "z.tar.gz", SHA256: add(t, s, content)},
		{Name: "b", File: "b.tar.gz", SHA256: add(t, s, []byte("b"))},
		{Name: "same", File: "same.tar.gz", SHA256: sumOf(content)},
	}
}

func TestStage(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	store := openStore(t)
	dir := newPackage(t, "Containerfile", "package.toml", "files/run.sh", "files/a", "fetch/stale")
	for name, target := range map[string]string{"files/up": "../Containerfile", "here": "./files/a", "dangling": "none"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	sources := testSources(t, store)
	dst := filepath.Join(t.TempDir(), "context")
	c, err := Stage(store, dir, sources, dst)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x 1 .", "-rw-r--r-- 1 Containerfile", "link 1 dangling -> none",
		"drwxr-xr-x 1 fetch", "-rw-r--r-- 1 fetch/b.tar.gz", "-rw-r--r-- 1 fetch/same.tar.gz", "-rw-r--r-- 1 fetch/z.tar.gz",
		"drwxr-xr-x 1 files", "-rw-r--r-- 1 files/a", "-rwxr-xr-x 1 files/run.sh", "link 1 files/up -> ../Containerfile",
		"link 1 here -> ./files/a", "-rw-r--r-- 1 package.toml",
	}
	if diff := cmp.Diff(want, list(t, dst)); diff != "" {
		t.Error(diff)
	}
	if got, err := os.ReadFile(filepath.Join(dst, "fetch", "same.tar.gz")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("a source has %d bytes (%v)", len(got), err)
	}
	if c.Files["files/a"] != sumOf([]byte("files/a")) || c.Files["fetch/b.tar.gz"] != sumOf([]byte("b")) || len(c.Files) != 7 {
		t.Errorf("files: %v", c.Files)
	}
	if again, err := HashContext(dir, sources...); err != nil || again.Digest != c.Digest {
		t.Errorf("staged %s, hashed %v (%v)", c.Digest, again, err)
	}
	if again, err := HashContext(dst, sources...); err != nil || again.Digest != c.Digest {
		t.Errorf("staged %s, which is %v (%v)", c.Digest, again, err)
	}
}

// Two names of one source are two files to a build, as they are without a store.
func TestStageLinks(t *testing.T) {
	store := openStore(t)
	dst := filepath.Join(t.TempDir(), "context")
	if _, err := Stage(store, newPackage(t), testSources(t, store), dst); err != nil {
		t.Fatal(err)
	}
	stat := func(path string) fs.FileInfo {
		fi, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi
	}
	stored := stat(store.Path(sumOf(content)))
	first, second := stat(filepath.Join(dst, "fetch/z.tar.gz")), stat(filepath.Join(dst, "fetch/same.tar.gz"))
	if os.SameFile(first, second) || !os.SameFile(first, stored) && !os.SameFile(second, stored) {
		t.Error("of two names of a source not one is a link to the store's file")
	}
	// Whoever writes through the link is found out.
	if err := os.WriteFile(filepath.Join(dst, "fetch/b.tar.gz"), []byte("c"), 0o644); err != nil {
		t.Fatal(err)
	}
	if store.Has(sumOf([]byte("b"))) {
		t.Error("the store has a file that was written to through a link")
	}
}

func TestStageRefuses(t *testing.T) {
	store := openStore(t)
	sum := add(t, store, content)
	for _, c := range []struct {
		name    string
		sources []tree.Source
		prepare func(dir string) error
		want    string
	}{
		{name: "a source that is not there", sources: []tree.Source{{Name: "s", File: "f", SHA256: sumOf(nil)}},
			want: "is not in the store: run cairn-builder fetch"},
		{name: "a file name with a slash", sources: []tree.Source{{Name: "s", File: "a/f", SHA256: sum}}, want: `"a/f" is not the name of a file`},
		{name: "no file name", sources: []tree.Source{{Name: "s", SHA256: sum}}, want: `"" is not the name of a file`},
		{name: "the parent directory", sources: []tree.Source{{Name: "s", File: "..", SHA256: sum}}, want: `".." is not the name of a file`},
		{name: "one name for two files", sources: []tree.Source{{Name: "s", File: "f", SHA256: sum}, {Name: "s2", File: "f", SHA256: add(t, store, []byte("b"))}},
			want: "another one has the file name f"},
		{name: "a link out", prepare: func(dir string) error { return os.Symlink("../x", filepath.Join(dir, "l")) },
			want: `l: link to "../x" leads out`},
		{name: "a link to the root", prepare: func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) },
			want: `l: link to "/etc/passwd" leads out`},
		{name: "a pipe", prepare: func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o644) },
			want: "p: is a p---------"},
		{name: "fetch is a file", sources: []tree.Source{{Name: "s", File: "f", SHA256: sum}},
			prepare: func(dir string) error { return os.WriteFile(filepath.Join(dir, "fetch"), nil, 0o644) }, want: "fetch is a file or a link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := newPackage(t, "Containerfile")
			if c.prepare != nil {
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			dst := filepath.Join(t.TempDir(), "context")
			_, err := Stage(store, dir, c.sources, dst)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Stage: %v, want %q", err, c.want)
			}
			if _, err := os.Lstat(dst); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something is left of the context: %v", err)
			}
		})
	}
	dst := t.TempDir()
	writeFile(t, filepath.Join(dst, "file"), nil)
	if _, err := Stage(store, newPackage(t), nil, dst); err == nil {
		t.Error("staged over what was there")
	}
	if _, err := os.Stat(filepath.Join(dst, "file")); err != nil {
		t.Errorf("what was there is gone: %v", err)
	}
}

func TestStaysInside(t *testing.T) {
	for _, c := range []struct {
		name, target string
		want         bool
	}{
		{"l", "a", true}, {"l", "a/b", true}, {"l", "./a", true}, {"l", "", false}, {"l", "..", false}, {"l", "/a", false},
		{"d/l", "..", true}, {"d/l", "../a", true}, {"d/l", "../..", false}, {"d/e/l", ".././../a", true},
		// What is d here may be a link to elsewhere, above which is not above d.
		{"l", "d/../a", false}, {"d/l", "../e/..", false},
	} {
		if got := staysInside(c.name, c.target); got != c.want {
			t.Errorf("%s -> %q: %v", c.name, c.target, got)
		}
	}
}

// Whatever a build can see changes the digest, and nothing else does.
func TestContextDigest(t *testing.T) {
	dir := newPackage(t, "Containerfile", "files/a", "run.sh")
	if err := os.Symlink("files", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	src := tree.Source{Name: "s", File: "f", SHA256: sumOf(content)}
	digest := func(sources ...tree.Source) string {
		c, err := HashContext(dir, sources...)
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest
	}
	first := digest(src)
	seen := map[string]string{first: "the beginning"}
	if err := errors.Join(os.Chmod(filepath.Join(dir, "Containerfile"), 0o666), os.Chtimes(dir, time.Now(), time.Now())); err != nil {
		t.Fatal(err)
	}
	if got := digest(src); got != first {
		t.Error("the digest depends on times or on others' permissions")
	}
	other := src
	other.SHA256 = sumOf(nil)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		name   string
		change func() error
		src    []tree.Source
	}{
		{"another source", nil, []tree.Source{other}},
		{"no source", nil, nil},
		{"content", func() error { return os.WriteFile(at("files/a"), []byte("b"), 0o644) }, nil},
		{"may be executed", func() error { return os.Chmod(at("files/a"), 0o755) }, nil},
		{"name", func() error { return os.Rename(at("files/a"), at("files/b")) }, nil},
		{"an empty directory", func() error { return os.Mkdir(at("empty"), 0o755) }, nil},
		{"a link elsewhere", func() error { return errors.Join(os.Remove(at("l")), os.Symlink("empty", at("l"))) }, nil},
	} {
		if c.change != nil {
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
		}
		got := digest(c.src...)
		if before, ok := seen[got]; ok {
			t.Errorf("%s: the digest is that of %s", c.name, before)
		}
		seen[got] = c.name
	}
}

// The digest is a format: this is its text of one context.
func TestContextDigestIsStable(t *testing.T) {
	dir := newPackage(t, "Containerfile", "run.sh")
	c, err := HashContext(dir, tree.Source{Name: "s", File: "f", SHA256: sumOf(content)})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("cairn.context/1\nf 0644 %s \"Containerfile\"\nd 0755 \"fetch\"\nf 0644 %s \"fetch/f\"\nf 0755 %s \"run.sh\"\n",
		sumOf([]byte("Containerfile")), sumOf(content), sumOf([]byte("run.sh")))
	if want := "sha256:" + sumOf([]byte(text)); c.Digest != want {
		t.Errorf("digest %s, want %s", c.Digest, want)
	}
}

func BenchmarkHashContext(b *testing.B) {
	dir := newPackage(b, "Containerfile", "package.toml", "files/a", "files/b.sh")
	for b.Loop() {
		if _, err := HashContext(dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStage(b *testing.B) {
	store := openStore(b)
	sources := testSources(b, store)
	dir := newPackage(b, "Containerfile", "package.toml", "files/a", "files/b.sh")
	dst := filepath.Join(b.TempDir(), "context")
	for b.Loop() {
		if _, err := Stage(store, dir, sources, dst); err != nil {
			b.Fatal(err)
		}
		if err := os.RemoveAll(dst); err != nil {
			b.Fatal(err)
		}
	}
}
