// Package buckettest makes buckets for tests.
package buckettest

import (
	"net/url"
	"testing"

	"gocloud.dev/blob/memblob"

	"github.com/cairnlog/cairn/ledger/store/bucket"
)

// Memory returns a new bucket in memory.
func Memory(t testing.TB) *bucket.Bucket {
	t.Helper()
	b := bucket.New(memblob.OpenBucket(nil), "mem://")
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// URL returns the URL of a bucket that is a directory.
func URL(dir string) string { return (&url.URL{Scheme: "file", Path: dir}).String() }

// Dir returns the bucket that is a directory.
func Dir(t testing.TB, dir string) *bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(t.Context(), URL(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
