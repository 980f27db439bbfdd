package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/bucket"
)

// maxSize is more than any test has in one object.
const maxSize = 32 << 20

// Contract tests a kind of bucket. new is called once for each test, and returns an
// empty bucket.
func Contract(t *testing.T, new func(t *testing.T) *bucket.Bucket) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, b *bucket.Bucket)
	}{
		{"what was put is got", putGet},
		{"what is absent is said to be", absent},
		{"an object is replaced, or left", replace},
		{"a limit holds", limit},
		{"keys are checked", keys},
		{"deleted objects are gone", remove},
		{"objects are listed", list},
		{"an object is never seen in part", whole},
		{"a request that was given up is no failure of the store", givenUp},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, new(t)) })
	}
}

func put(t *testing.T, b *bucket.Bucket, objects ...bucket.Object) {
	t.Helper()
	if err := b.Put(t.Context(), objects); err != nil {
		t.Fatalf("putting %d objects: %v", len(objects), err)
	}
}

func object(key, data string) bucket.Object { return bucket.Object{Key: key, Bytes: []byte(data)} }

func want(t *testing.T, b *bucket.Bucket, objects ...bucket.Object) {
	t.Helper()
	for _, o := range objects {
		got, err := b.Get(t.Context(), o.Key, maxSize)
		if err != nil || !bytes.Equal(got, o.Bytes) {
			t.Errorf("object %s: got %d bytes, %v; want %d", o.Key, len(got), err, len(o.Bytes))
		}
		if ok, err := b.Exists(t.Context(), o.Key); err != nil || !ok {
			t.Errorf("object %s: Exists = %v, %v", o.Key, ok, err)
		}
	}
}

func putGet(t *testing.T, b *bucket.Bucket) {
	put(t, b)
	objects := []bucket.Object{
		{Key: "checkpoint", Bytes: []byte("a\n"), ContentType: "text/plain; charset=utf-8", CacheControl: "no-cache"},
		object("tile/0/000", strings.Repeat("\x00\xff\r\n", 2048)),
		object("tile/0/000.p/8", "partial"),
		object("tile/entries/x001/x234/067", ""),
		object("tile/entries/x001/x234/067.p/255", "\x00"),
		object("checkpoints/000000000", strings.Repeat("0123456789abcdef", maxSize/16)),
	}
	// Few objects, and more than are synced one by one.
	put(t, b, objects...)
	for i := range 200 {
		objects = append(objects, object(fmt.Sprintf("attestations/%02x/%d", i%7, i), fmt.Sprint("bytes ", i)))
	}
	put(t, b, objects[6:]...)
	want(t, b, objects...)
}

func absent(t *testing.T, b *bucket.Bucket) {
	put(t, b, object("a/b/c", "there"))
	for _, key := range []string{"nothing", "a", "a/b", "a/b/c/d", "a/b/d", "x/y/z"} {
		if got, err := b.Get(t.Context(), key, maxSize); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("object %s: got %q, %v; want fs.ErrNotExist", key, got, err)
		}
		if ok, err := b.Exists(t.Context(), key); err != nil || ok {
			t.Errorf("object %s: Exists = %v, %v", key, ok, err)
		}
	}
}

func replace(t *testing.T, b *bucket.Bucket) {
	first, longer, short := object("checkpoint", "first"), object("checkpoint", "second, and longer"), object("checkpoint", "3")
	for _, o := range []bucket.Object{first, longer, short} {
		put(t, b, o)
		want(t, b, o)
	}
	longer.Once = true
	put(t, b, longer, object("other", "new"))
	want(t, b, short, object("other", "new"))
	if err := b.PutOnce(t.Context(), map[string][]byte{"other": []byte("newer"), "third": []byte("new")}); err != nil {
		t.Fatal(err)
	}
	want(t, b, object("other", "new"), object("third", "new"))
}

func limit(t *testing.T, b *bucket.Bucket) {
	put(t, b, object("ten", "0123456789"))
	if got, err := b.Get(t.Context(), "ten", 10); err != nil || string(got) != "0123456789" {
		t.Errorf("got %q, %v", got, err)
	}
	got, err := b.Get(t.Context(), "ten", 9)
	if _, refused := reason.Of(err); err == nil || refused || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "limit of 9 bytes") {
		t.Errorf("got %q, %v; want an error that names the limit", got, err)
	}
}

func keys(t *testing.T, b *bucket.Bucket) {
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", ".hidden", "a.", "a b", "a\\b", "é", "a\n", "a\x00", "a?b", "a%2fb",
		"checkpoint.attrs", "index/new", "index/new/1/1", strings.Repeat("a", 201), strings.Repeat("a/", 512) + "a",
	} {
		if err := b.Put(t.Context(), []bucket.Object{object("fine", ""), object(key, "")}); err == nil {
			t.Errorf("putting %q: no error", key)
		}
		if _, err := b.Get(t.Context(), key, 1); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("getting %q: %v, want an error about the key", key, err)
		}
		if err := b.Delete(t.Context(), []string{key}); err == nil {
			t.Errorf("deleting %q: no error", key)
		}
	}
	if err := b.Put(t.Context(), []bucket.Object{object("fine", "a"), object("fine", "b")}); err == nil {
		t.Error("one key twice: no error")
	}
	if ok, err := b.Exists(t.Context(), "fine"); ok || err != nil {
		t.Errorf("an object beside a refused one: Exists = %v, %v", ok, err)
	}
}

func remove(t *testing.T, b *bucket.Bucket) {
	put(t, b, object("a/1", ""), object("a/2", ""), object("a/3", ""))
	if err := b.Delete(t.Context(), []string{"a/1", "a/3", "a/4", "b/1"}); err != nil {
		t.Fatal(err)
	}
	want(t, b, object("a/2", ""))
	for _, key := range []string{"a/1", "a/3"} {
		if ok, err := b.Exists(t.Context(), key); err != nil || ok {
			t.Errorf("object %s: Exists = %v, %v", key, ok, err)
		}
	}
	put(t, b, object("a/1", "again"))
	want(t, b, object("a/1", "again"))
}

func list(t *testing.T, b *bucket.Bucket) {
	sizes := make(map[string]int64)
	var objects []bucket.Object
	for i := range 1100 { // more than stores list at once
		o := object(fmt.Sprintf("tile/0/%04d", i), strings.Repeat("x", i%3))
		objects, sizes[o.Key] = append(objects, o), int64(len(o.Bytes))
	}
	objects = append(objects, object("checkpoint", "c"), object("tile-0/1", ""))
	put(t, b, objects...)
	listed := func(prefix string) map[string]int64 {
		got := make(map[string]int64)
		err := b.List(t.Context(), prefix, func(key string, size int64) error {
			if _, twice := got[key]; twice {
				t.Errorf("object %s is listed twice", key)
			}
			got[key] = size
			return nil
		})
		if err != nil {
			t.Fatalf("listing %q: %v", prefix, err)
		}
		return got
	}
	for _, prefix := range []string{"tile/", "tile/0/"} {
		if diff := cmp.Diff(sizes, listed(prefix)); diff != "" {
			t.Errorf("below %q (-want +got):\n%s", prefix, diff)
		}
	}
	sizes["checkpoint"], sizes["tile-0/1"] = 1, 0
	if diff := cmp.Diff(sizes, listed("")); diff != "" {
		t.Errorf("below all (-want +got):\n%s", diff)
	}
	for _, prefix := range []string{"none/", "tile/0/0000/", "checkpoint/"} {
		if got := listed(prefix); len(got) > 0 {
			t.Errorf("below %q: %v", prefix, slices.Collect(maps.Keys(got)))
		}
	}
	stop := errors.New("enough")
	if err := b.List(t.Context(), "", func(string, int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("listing ended with %v, want the error of its argument", err)
	}
	for _, prefix := range []string{"tile", "../", "/"} {
		if err := b.List(t.Context(), prefix, func(string, int64) error { return nil }); err == nil {
			t.Errorf("listing %q: no error", prefix)
		}
	}
}

// whole replaces an object while it is read.
func whole(t *testing.T, b *bucket.Bucket) {
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000+i) }
	put(t, b, bucket.Object{Key: "checkpoint", Bytes: version(0)})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := b.Get(t.Context(), "checkpoint", maxSize)
				if err != nil || len(got) < 10_000 || !bytes.Equal(got, version(int(got[0]))) {
					t.Errorf("read %d bytes, %v, which were never put", len(got), err)
					return
				}
			}
		})
	}
	for i := range 30 {
		put(t, b, bucket.Object{Key: "checkpoint", Bytes: version(i)})
	}
	stop()
	wg.Wait()
}

func givenUp(t *testing.T, b *bucket.Bucket) {
	put(t, b, object("a", "b"))
	gone := errors.New("the caller went away")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	_, getErr := b.Get(ctx, "a", maxSize)
	_, existsErr := b.Exists(ctx, "a")
	for name, err := range map[string]error{
		"Get": getErr, "Exists": existsErr,
		"Put":    b.Put(ctx, []bucket.Object{object("c", "d")}),
		"Delete": b.Delete(ctx, []string{"a"}),
		"List":   b.List(ctx, "", func(string, int64) error { return nil }),
	} {
		if _, refused := reason.Of(err); !errors.Is(err, gone) || refused {
			t.Errorf("%s: %v, want the context's cause", name, err)
		}
	}
	want(t, b, object("a", "b"))
}
