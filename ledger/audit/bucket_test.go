package audit_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
)

// bucketOf writes a ledger's log and attestations to a bucket that is a directory,
// those objects alone that keep takes.
func bucketOf(t *testing.T, ledger string, keep func(key string) bool) (dir string) {
	t.Helper()
	dir = t.TempDir()
	b := buckettest.Dir(t, dir)
	var objects []bucket.Object
	log := os.DirFS(filepath.Join(ledger, "log"))
	err := fs.WalkDir(log, ".", func(key string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasPrefix(key, ".state/") || !keep(key) {
			return err
		}
		data, err := fs.ReadFile(log, key)
		objects = append(objects, bucket.Object{Key: key, Bytes: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	var blobs []store.Blob
	for _, raw := range attestations(t, ledger) {
		if digest := leaf.SHA256(raw); keep(store.AttestationPath(digest)) {
			blobs = append(blobs, store.Blob{Digest: digest, Bytes: raw})
		}
	}
	if err := store.NewBucketBlobs(b).Put(t.Context(), blobs); err != nil {
		t.Fatal(err)
	}
	return dir
}

func all(string) bool { return true }

func TestAuditOfABucketIsClean(t *testing.T) {
	r := run(t, open(t, bucketOf(t, copyOf(t), all)), audit.Options{})
	wantClean(t, r)
	if r.Counts.Entries.Load() != worldSize || r.Counts.Attestations.Load() != worldSize || r.Counts.Unpublished.Load() != 0 {
		t.Errorf("counts %+v", &r.Counts)
	}
}

// A bucket that is not whole is not clean.
func TestAuditOfABucketThatLacksSomething(t *testing.T) {
	ledger := copyOf(t)
	lost := store.AttestationPath(leaf.SHA256(attestations(t, ledger)[3]))
	for _, key := range []string{lost, bundle1, "tile/0/001"} {
		key = strings.TrimPrefix(key, "log/")
		r := run(t, open(t, bucketOf(t, ledger, func(k string) bool { return k != key })), audit.Options{})
		if r.Clean || r.ExitCode() == 0 {
			t.Errorf("without %s: clean %v, exit %d", key, r.Clean, r.ExitCode())
		}
	}
}

// A publisher that was killed has written ahead of the checkpoint, and not all that
// it was about to. That is no damage; what no publisher wrote is.
func TestAuditOfABucketAhead(t *testing.T) {
	ledger, early := copyOf(t), earlyCopy(t)
	signed, err := os.ReadFile(filepath.Join(early, "log", "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	last := fmt.Sprintf("%03d.p/%d", worldSize/engine.TileWidth, worldSize%engine.TileWidth)
	for _, lost := range []string{"", "tile/entries/" + last, "tile/0/" + last} {
		dir := bucketOf(t, ledger, func(key string) bool { return key != lost })
		if err := os.WriteFile(filepath.Join(dir, "checkpoint"), signed, 0o644); err != nil {
			t.Fatal(err)
		}
		r := run(t, open(t, dir), audit.Options{})
		wantClean(t, r)
		if r.Counts.Unpublished.Load() == 0 {
			t.Error("no file is ahead")
		}
	}
	dir := bucketOf(t, ledger, all)
	b := buckettest.Dir(t, dir)
	for _, key := range []string{"tile/0/999", "tile/entries/x001/000", "tile/1/004", "tile/7/000", "mine", "index/terms/mine"} {
		if err := b.Put(t.Context(), []bucket.Object{{Key: key, Bytes: []byte("stray")}}); err != nil {
			t.Fatal(err)
		}
		r := run(t, open(t, dir), audit.Options{})
		if len(r.Findings) != 1 || r.Findings[0].Kind != "file-stray" || r.Findings[0].Where != key {
			t.Errorf("with %s: findings %v", key, r.Findings)
		}
		if err := b.Delete(t.Context(), []string{key}); err != nil {
			t.Fatal(err)
		}
	}
}

// A bucket that is read as one, not as a directory, is audited the same.
func TestAuditThroughABucket(t *testing.T) {
	ledger := copyOf(t)
	lost := store.AttestationPath(leaf.SHA256(attestations(t, ledger)[3]))
	for _, tt := range []struct {
		without string
		exit    int
	}{{"", 0}, {lost, 3}, {strings.TrimPrefix(bundle1, "log/"), 3}, {"checkpoint", 3}} {
		dir := bucketOf(t, ledger, func(k string) bool { return k != tt.without })
		r := run(t, audit.OpenBucket("the bucket", buckettest.Dir(t, dir), worldSize), audit.Options{})
		if r.ExitCode() != tt.exit || r.Clean != (tt.exit == 0) {
			t.Errorf("without %q: clean %v, exit %d, want %d\n%+v", tt.without, r.Clean, r.ExitCode(), tt.exit, r.Findings)
		}
		if tt.without == "" && (r.Counts.Attestations.Load() != worldSize || !r.Coverage.FilesListed || !r.Coverage.Archive) {
			t.Errorf("counts %+v, coverage %+v", &r.Counts, r.Coverage)
		}
	}
	dir := bucketOf(t, ledger, all)
	if err := os.WriteFile(filepath.Join(dir, "tile", "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := run(t, audit.OpenBucket("the bucket", buckettest.Dir(t, dir), worldSize), audit.Options{}); r.Clean {
		t.Error("with a stray object it is clean")
	}
}
