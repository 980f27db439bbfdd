package bucket_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
)

// filesBelow returns the regular files below a directory, with their modes.
func filesBelow(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	files := make(map[string]fs.FileMode)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			files[path] = info.Mode()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A directory is what a web server may serve: objects, readable by all, and nothing
// beside them but locks.
func TestDirectoryHasObjectsAlone(t *testing.T) {
	dir := t.TempDir()
	b := buckettest.Dir(t, dir)
	want := map[string]fs.FileMode{"index/new/1.lock": 0o644}
	for _, n := range []int{3, 100} {
		var objects []bucket.Object
		for i := range n {
			key := fmt.Sprintf("tile/%d/x%03d/%03d", n, i%5, i)
			objects = append(objects, bucket.Object{Key: key, Bytes: []byte(key), ContentType: "text/plain", CacheControl: "no-cache"})
			want[key] = 0o644
		}
		if err := b.Put(t.Context(), objects); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, filesBelow(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// What a process that was killed left in the making is removed by the next one,
// and what others make is left alone.
func TestDirectoryIsShared(t *testing.T) {
	dir := t.TempDir()
	first, second := buckettest.Dir(t, dir), buckettest.Dir(t, dir)
	left := filepath.Join(dir, "index/new/1/7")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "3"), []byte("left"), 0o644); err != nil {
		t.Fatal(err)
	}
	put := func(b *bucket.Bucket, key string) {
		t.Helper()
		if err := b.Put(t.Context(), []bucket.Object{{Key: key, Bytes: []byte(key)}}); err != nil {
			t.Fatal(err)
		}
	}
	put(first, "a")
	making := filepath.Join(dir, "index/new/1/others")
	if err := os.WriteFile(making, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	put(second, "b")
	put(first, "c")
	want := map[string]fs.FileMode{
		"a": 0o644, "b": 0o644, "c": 0o644, "index/new/1.lock": 0o644, "index/new/2.lock": 0o644, "index/new/1/others": 0o644,
	}
	if diff := cmp.Diff(want, filesBelow(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	put(buckettest.Dir(t, dir), "d")
	if _, err := os.Stat(making); !os.IsNotExist(err) {
		t.Errorf("what the closed one left is there: %v", err)
	}
}

// A directory that is gone, as when a disk is not mounted, is not made anew.
func TestDirectoryIsGone(t *testing.T) {
	for _, used := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "bucket")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		b := buckettest.Dir(t, dir)
		object := []bucket.Object{{Key: "tile/0/000", Bytes: []byte("a")}}
		if used {
			if err := b.Put(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		err := b.Put(t.Context(), object)
		if _, refused := reason.Of(err); err == nil || refused || !strings.Contains(err.Error(), "there is no such bucket") {
			t.Errorf("used %v: %v, want that there is no such bucket", used, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("used %v: the directory is there again: %v", used, err)
		}
	}
}

// An object where another one needs a directory is an error, and no absence.
func TestDirectoryConflict(t *testing.T) {
	b := buckettest.Dir(t, t.TempDir())
	for _, keys := range [][2]string{{"a", "a/b"}, {"c/d", "c"}} {
		for i, key := range keys {
			err := b.Put(t.Context(), []bucket.Object{{Key: key}})
			if _, refused := reason.Of(err); (err != nil) != (i == 1) || refused {
				t.Errorf("putting %s: %v", key, err)
			}
		}
	}
}
