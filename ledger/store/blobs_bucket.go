package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// AttestationsDir is where attestations stand in a bucket, and in a mirror.
const AttestationsDir = "attestations"

// AttestationPath is where the bytes of an attestation stand in a bucket, and in a
// mirror: below AttestationsDir, by the first two digits of their digest.
func AttestationPath(envelope leaf.Digest) string {
	h := envelope.Hex()
	return AttestationsDir + "/" + h[:2] + "/" + h
}

// Objects is the bucket that BucketBlobs is in, a *bucket.Bucket. It is an
// interface for the sake of the programs that read what others stored: they need
// not link the object stores' clients.
type Objects interface {
	// Get returns an object of at most limit bytes, or an error that wraps
	// fs.ErrNotExist.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// PutOnce durably stores bytes by their keys. What is there is left as it is.
	PutOnce(ctx context.Context, objects map[string][]byte) error
}

// BucketBlobs is Blobs in a bucket, at AttestationPath. Others may write to a
// bucket, so what is read is compared with its digest.
type BucketBlobs struct{ objects Objects }

// NewBucketBlobs returns the Blobs in a bucket, which stays the caller's to close.
func NewBucketBlobs(objects Objects) *BucketBlobs { return &BucketBlobs{objects} }

// Put implements Blobs.
func (s *BucketBlobs) Put(ctx context.Context, blobs []Blob) error {
	objects := make(map[string][]byte, len(blobs))
	for _, b := range blobs {
		objects[AttestationPath(b.Digest)] = b.Bytes
	}
	if err := s.objects.PutOnce(ctx, objects); err != nil {
		return fmt.Errorf("storing %d attestations: %w", len(blobs), err)
	}
	return nil
}

// Get implements Blobs.
func (s *BucketBlobs) Get(ctx context.Context, digest leaf.Digest) ([]byte, error) {
	b, err := s.objects.Get(ctx, AttestationPath(digest), attest.MaxEnvelope)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("attestation %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading attestation %s: %w", digest, err)
	}
	if got := leaf.SHA256(b); got != digest {
		return nil, fmt.Errorf("reading attestation %s: the bucket has other bytes there, with digest %s: restore the object from a mirror or a backup", digest, got)
	}
	return b, nil
}

// Close implements Blobs. It does not close the bucket.
func (s *BucketBlobs) Close() error { return nil }
