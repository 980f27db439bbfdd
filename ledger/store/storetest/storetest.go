// Package storetest is the contract test of store.Blobs and store.Index: every
// driver passes it, and what is above the drivers relies on nothing else.
//
// A crash is played by opening the same storage again without closing it. What
// a power loss takes is beyond a test in one process; cmd/e2e breaks real ones.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Blobs tests a driver of store.Blobs. For each test new is called once; open,
// which it returns, opens the same storage at each call.
func Blobs(t *testing.T, new func(t *testing.T) (open func() store.Blobs)) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, open func() store.Blobs)
	}{
		{"what was put is got", putGet},
		{"what was not put is not found", notPut},
		{"putting again changes nothing", putAgain},
		{"bytes outlive a crash", putCrash},
		{"many put and get at once", putConcurrently},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, new(t)) })
	}
}

func blob(b []byte) store.Blob { return store.Blob{Digest: leaf.SHA256(b), Bytes: b} }

// blobs returns n blobs of many sizes, the last one as large as an attestation
// can be. Each is of bytes that need all of a database's escaping.
func blobs(seed uint64, n int) []store.Blob {
	r := rand.New(rand.NewPCG(seed, 0))
	bs := make([]store.Blob, n)
	for i := range bs {
		b := fmt.Appendf(nil, "%d\x00%d'\"\n\xff", seed, i)
		for range r.IntN(2000) {
			b = append(b, byte(r.Uint32()))
		}
		bs[i] = blob(b)
	}
	bs[n-1] = blob(bytes.Repeat(bs[n-1].Bytes[:1], 1<<20))
	return bs
}

func put(t *testing.T, s store.Blobs, bs ...store.Blob) {
	t.Helper()
	if err := s.Put(t.Context(), bs); err != nil {
		t.Fatalf("putting %d blobs: %v", len(bs), err)
	}
}

func wantBlobs(t *testing.T, s store.Blobs, bs ...store.Blob) {
	t.Helper()
	for i, b := range bs {
		got, err := s.Get(t.Context(), b.Digest)
		if err != nil || !bytes.Equal(got, b.Bytes) {
			t.Fatalf("blob %d: got %d bytes, %v, want %d", i, len(got), err, len(b.Bytes))
		}
	}
}

func closeBlobs(t *testing.T, s store.Blobs) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
}

func putGet(t *testing.T, open func() store.Blobs) {
	s := open()
	put(t, s)
	for i, n := range []int{1, 2, 63, 64, 65, 300} {
		bs := blobs(uint64(i), n)
		put(t, s, bs...)
		wantBlobs(t, s, bs...)
	}
	closeBlobs(t, s)
}

func notPut(t *testing.T, open func() store.Blobs) {
	s := open()
	put(t, s, blob([]byte("there")))
	if b, err := s.Get(t.Context(), leaf.SHA256([]byte("not there"))); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get = %q, %v, want ErrNotFound", b, err)
	}
	closeBlobs(t, s)
}

func putAgain(t *testing.T, open func() store.Blobs) {
	s := open()
	bs := blobs(1, 70)
	put(t, s, bs[:40]...)
	put(t, s, append(bs, bs...)...)
	put(t, s, bs...)
	wantBlobs(t, s, bs...)
	// A driver trusts the digests it is given; what it holds already wins.
	put(t, s, store.Blob{Digest: bs[0].Digest, Bytes: []byte("other")})
	wantBlobs(t, s, bs...)
	closeBlobs(t, s)
}

func putCrash(t *testing.T, open func() store.Blobs) {
	var crashed []store.Blobs
	var all []store.Blob
	for i := range 3 {
		s := open()
		wantBlobs(t, s, all...)
		bs := blobs(uint64(i), 20)
		put(t, s, bs...)
		all = append(all, bs...)
		crashed = append(crashed, s)
	}
	for _, s := range crashed {
		closeBlobs(t, s)
	}
	s := open()
	wantBlobs(t, s, all...)
	closeBlobs(t, s)
}

func putConcurrently(t *testing.T, open func() store.Blobs) {
	s := open()
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 5 {
				// Every other goroutine puts the same.
				bs := blobs(uint64(g/2*100+i), 10)
				if err := s.Put(t.Context(), bs); err != nil {
					t.Errorf("putting: %v", err)
					return
				}
				for _, b := range bs {
					if got, err := s.Get(t.Context(), b.Digest); err != nil || !bytes.Equal(got, b.Bytes) {
						t.Errorf("got %d bytes, %v, want %d", len(got), err, len(b.Bytes))
					}
				}
			}
		})
	}
	wg.Wait()
	closeBlobs(t, s)
}
