package store_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
	"github.com/cairnlog/cairn/ledger/store/storetest"
)

func TestBucketBlobsInMemory(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) func() store.Blobs {
		b := buckettest.Memory(t)
		return func() store.Blobs { return store.NewBucketBlobs(b) }
	})
}

func TestBucketBlobsInDirectory(t *testing.T) {
	storetest.Blobs(t, func(t *testing.T) func() store.Blobs {
		dir := t.TempDir()
		return func() store.Blobs { return store.NewBucketBlobs(buckettest.Dir(t, dir)) }
	})
}

// What stands in the bucket under a digest is not believed: others may write there.
func TestBucketBlobsVerify(t *testing.T) {
	b := buckettest.Memory(t)
	blobs := store.NewBucketBlobs(b)
	digest := leaf.SHA256([]byte("logged"))
	for _, test := range []struct{ name, bytes, want string }{
		{"other bytes", "other", leaf.SHA256([]byte("other")).Hex()},
		{"no bytes", "", leaf.SHA256(nil).Hex()},
		{"too many bytes", strings.Repeat("x", attest.MaxEnvelope+1), "over the limit of 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := b.Put(t.Context(), []bucket.Object{{Key: store.AttestationPath(digest), Bytes: []byte(test.bytes)}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := blobs.Get(t.Context(), digest)
			if err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), digest.Hex()) {
				t.Errorf("got %d bytes, %v; want an error with %s and %s", len(got), err, digest.Hex(), test.want)
			}
		})
	}
	if err := b.Put(t.Context(), []bucket.Object{{Key: store.AttestationPath(digest), Bytes: []byte("logged")}}); err != nil {
		t.Fatal(err)
	}
	if got, err := blobs.Get(t.Context(), digest); err != nil || !bytes.Equal(got, []byte("logged")) {
		t.Errorf("got %q, %v", got, err)
	}
}
