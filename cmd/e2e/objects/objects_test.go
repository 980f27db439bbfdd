// Package objects tests buckets against real object stores. `make interop` installs
// these; without it the tests are skipped, and say so.
package objects

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/bucket/buckettest"
	"github.com/cairnlog/cairn/ledger/store/storetest"
)

func open(t *testing.T, bucketURL string) *bucket.Bucket {
	t.Helper()
	b, err := bucket.Open(t.Context(), bucketURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// contracts runs the contract tests of buckets, and of the attestations in one.
// make makes an empty bucket and returns its URL.
func contracts(t *testing.T, make func(t *testing.T, name string) string) {
	n := 0
	name := func() string { n++; return fmt.Sprint("bucket-", n) }
	t.Run("bucket", func(t *testing.T) {
		buckettest.Contract(t, func(t *testing.T) *bucket.Bucket { return open(t, make(t, name())) })
	})
	t.Run("blobs", func(t *testing.T) {
		storetest.Blobs(t, func(t *testing.T) func() store.Blobs {
			bucketURL := make(t, name())
			return func() store.Blobs { return store.NewBucketBlobs(open(t, bucketURL)) }
		})
	})
	t.Run("a missing bucket is said to be", func(t *testing.T) {
		_, err := bucket.Open(t.Context(), strings.ReplaceAll(make(t, "there"), "there", "not-there"))
		wantFatal(t, err, "not-there", "no such bucket")
	})
}

// wantFatal wants an error that no retry mends.
func wantFatal(t *testing.T, err error, words ...string) {
	t.Helper()
	if _, refused := reason.Of(err); err == nil || refused || errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the error is %v, want one that waiting does not mend", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if e, ok := reason.Of(err); !ok || e.Reason != reason.StorageUnavailable || e.RetryAfter != time.Second {
		t.Errorf("the error is %v, want %s with a time to try again", err, reason.StorageUnavailable)
	}
}

func TestGCS(t *testing.T) {
	e2etest.Interop(t)
	server := peers.StartGCS(t)
	contracts(t, func(t *testing.T, name string) string { return server.Bucket(t, name) })
}

func TestS3(t *testing.T) {
	e2etest.Interop(t)
	server := peers.StartS3(t)
	contracts(t, func(t *testing.T, name string) string {
		bucketURL, _ := server.Bucket(t, name)
		return bucketURL
	})
	t.Run("a wrong secret is refused", func(t *testing.T) {
		bucketURL, _ := server.Bucket(t, "secret")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
		_, err := bucket.Open(t.Context(), bucketURL)
		wantFatal(t, err, "s3://secret", "check the credentials")
		if strings.Contains(err.Error(), "a-wrong-secret") {
			t.Errorf("the error shows the secret: %v", err)
		}
	})
}

func manyObjects(n int) []bucket.Object {
	objects := make([]bucket.Object, n)
	for i := range objects {
		objects[i] = bucket.Object{Key: fmt.Sprintf("tile/0/%04d", i), Bytes: bytes.Repeat([]byte{byte(i)}, 2048), Once: i%2 == 0}
	}
	return objects
}

func wantObjects(t *testing.T, b *bucket.Bucket, objects []bucket.Object) {
	t.Helper()
	for _, o := range objects {
		if got, err := b.Get(t.Context(), o.Key, 1<<20); err != nil || !bytes.Equal(got, o.Bytes) {
			t.Fatalf("object %s: got %d bytes, %v", o.Key, len(got), err)
		}
	}
}

// TestS3Killed kills the server while objects are put. The error says to try
// again, and once the server is back that stores all of them.
func TestS3Killed(t *testing.T) {
	e2etest.Interop(t)
	server := peers.StartS3(t)
	bucketURL, _ := server.Bucket(t, "killed")
	b := open(t, bucketURL)
	objects := manyObjects(1500)
	failed := make(chan error, 1)
	go func() { failed <- b.Put(t.Context(), objects) }()
	for {
		ok, err := b.Exists(t.Context(), objects[100].Key)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			break
		}
	}
	server.Kill(t)
	wantUnavailable(t, <-failed)
	_, err := b.Get(t.Context(), objects[0].Key, 1<<20)
	wantUnavailable(t, err)
	_, err = bucket.Open(t.Context(), bucketURL)
	wantUnavailable(t, err)

	server.Start(t)
	if err := b.Put(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	wantObjects(t, b, objects)
}

// TestS3Throttled puts a server in between that answers like S3 does when it is
// asked too much.
func TestS3Throttled(t *testing.T) {
	e2etest.Interop(t)
	server := peers.StartS3(t)
	server.Bucket(t, "throttled")
	var every, requests atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: server.Addr})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := every.Load(); n > 0 && requests.Add(1)%n == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	b := open(t, peers.S3URL("throttled", strings.TrimPrefix(front.URL, "http://")))
	objects := manyObjects(200)

	every.Store(10)
	if err := b.Put(t.Context(), objects); err != nil {
		t.Fatalf("with one answer in ten that asks to slow down: %v", err)
	}
	wantObjects(t, b, objects)
	every.Store(1)
	var wg sync.WaitGroup
	for _, request := range []func() error{
		func() error { return b.Put(t.Context(), objects[:3]) },
		func() error { _, err := b.Get(t.Context(), objects[0].Key, 1<<20); return err },
		func() error { _, err := b.Exists(t.Context(), objects[0].Key); return err },
		func() error { return b.Delete(t.Context(), []string{objects[0].Key}) },
		func() error { return b.List(t.Context(), "", func(string, int64) error { return nil }) },
	} {
		wg.Go(func() { wantUnavailable(t, request()) })
	}
	wg.Wait()
}
