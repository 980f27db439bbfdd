package bucket_test

import (
	"testing"

	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
)

func TestMemory(t *testing.T) {
	buckettest.Contract(t, func(t *testing.T) *bucket.Bucket { return buckettest.Memory(t) })
}

func TestDirectory(t *testing.T) {
	buckettest.Contract(t, func(t *testing.T) *bucket.Bucket { return buckettest.Dir(t, t.TempDir()) })
}
