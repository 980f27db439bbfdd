package source

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/cairnlog/cairn/builder/tree"
	"github.com/google/go-cmp/cmp"
)

// hosts serves content at good.test, other bytes at wrong.test, and nothing else.
func hosts(t *testing.T) http.RoundTripper {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case "good.test":
			serveContent(w, r)
		case "wrong.test":
			fmt.Fprint(w, "wrong")
		default:
			http.NotFound(w, r)
		}
	})
}

func TestFetchTriesMirrorsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		f := &Fetcher{Store: store, Transport: hosts(t)}
		var events []string
		err := f.Fetch(t.Context(), []Wanted{want(content, "http://none.test/f", "http://wrong.test/f", "http://good.test/f", "http://never.test/f")},
			func(p Progress) {
				if p.Package != "core-test" || p.Source != "test" || p.File != "test.tar.gz" {
					t.Errorf("progress of %+v", p)
				}
				if p.Err != nil || p.Kept {
					events = append(events, fmt.Sprintf("%s %d/%d %v", p.Mirror, p.Done, p.Total, p.Err))
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		wrong := []byte("wrong")
		want := []string{
			"http://none.test/f 0/0 404 Not Found",
			"http://wrong.test/f 0/0 " + (&WrongHash{Want: sumOf(content), Got: sumOf(wrong), Size: 5}).Error(),
			fmt.Sprintf("http://good.test/f %d/%d <nil>", len(content), len(content)),
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Error(diff)
		}
		tidy(t, store)
	})
}

// What one mirror calls its version means nothing to another.
func TestFetchResumesFromAnotherMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reqs requests
		store := openStore(t)
		f := &Fetcher{Store: store, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch n := reqs.add(r); {
			case n == 1:
				abort(w, len(content)/2)
			case r.URL.Path == "/a":
				http.NotFound(w, r)
			default:
				serveContent(w, r)
			}
		})}
		if err := f.Fetch(t.Context(), []Wanted{want(content, "http://a.test/a", "http://b.test/b")}, nil); err != nil {
			t.Fatal(err)
		}
		half := len(content) / 2
		want := fmt.Sprintf("/a\n/a bytes=%d- \"v1\"\n/b bytes=%d-", half, half)
		if diff := cmp.Diff(want, reqs.all()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFetchSaysWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		f := &Fetcher{Store: store, Transport: hosts(t)}
		other := want([]byte("other"), "http://none.test/o", "gopher://old.test/o")
		other.Name, other.File = "other", "other.tar.gz"
		none := want([]byte("third"))
		none.Name = "third"
		err := f.Fetch(t.Context(), []Wanted{other, want(content, "http://good.test/f"), none}, nil)
		var missing *MissingError
		if !errors.As(err, &missing) || len(missing.Sources) != 2 {
			t.Fatalf("Fetch: %v", err)
		}
		want := fmt.Sprintf(`core-test: no mirror gave source other (other.tar.gz, sha256 %s):
	http://none.test/o: 404 Not Found
	gopher://old.test/o: scheme "gopher" of the mirror is not understood: there are https, http, file, git+https, deb-src, deb-rootfs
core-test: no mirror gave source third (test.tar.gz, sha256 %s):
	it names no mirror
put the files, or git repositories that have the commits, into a directory, and run: cairn-builder fetch --from DIR`,
			sumOf([]byte("other")), sumOf([]byte("third")))
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Error(diff)
		}
		if !store.Has(sumOf(content)) {
			t.Error("what could be had was not fetched")
		}
	})
}

func TestFetchOnceForTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		store := openStore(t)
		f := &Fetcher{Store: store, Parallel: 8, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if r.URL.Path == "/b" {
				serveContent(w, r)
				return
			}
			http.NotFound(w, r)
		})}
		list := []Wanted{want(content, "http://a.test/a"), want(content, "http://a.test/a", "http://a.test/b"), want(content)}
		for range 2 {
			if err := f.Fetch(t.Context(), list, nil); err != nil {
				t.Fatal(err)
			}
		}
		if got := asked.Load(); got != 2 {
			t.Errorf("%d requests, want one for each mirror", got)
		}
	})
}

// A full disk is not the mirror's fault: nothing else is tried.
func TestFetchOnFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		store.write = fullDisk(100_000)
		f := &Fetcher{Store: store, Transport: hosts(t)}
		err := f.Fetch(t.Context(), []Wanted{want(content, "http://good.test/f", "http://wrong.test/f")}, nil)
		var missing *MissingError
		if !errors.Is(err, syscall.ENOSPC) || errors.As(err, &missing) || !strings.Contains(err.Error(), "core-test: source test: writing to the source store") {
			t.Fatalf("Fetch: %v", err)
		}
		store.write = (*os.File).Write
		if err := f.Fetch(t.Context(), []Wanted{want(content, "http://good.test/f")}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestFetchInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		release := make(chan struct{})
		f := &Fetcher{Store: openStore(t), Parallel: 3, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			<-release
			now.Add(-1)
			fmt.Fprint(w, r.URL.Path)
		})}
		var list []Wanted
		for i := range 9 {
			path := fmt.Sprintf("/%d", i)
			list = append(list, want([]byte(path), "http://a.test"+path))
		}
		done := make(chan error)
		go func() { done <- f.Fetch(t.Context(), list, func(Progress) {}) }()
		synctest.Wait()
		if got := most.Load(); got != 3 {
			t.Errorf("%d at a time, want 3", got)
		}
		close(release)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestFetchFile(t *testing.T) {
	store := openStore(t)
	f := &Fetcher{Store: store}
	file := filepath.Join(t.TempDir(), "a b.tar.gz")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	err := f.Fetch(t.Context(), []Wanted{want(content, "file://"+dir, "file://"+dir+"/none", "file://"+strings.ReplaceAll(file, " ", "%20"))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Fetch(t.Context(), []Wanted{want([]byte("x"), "file://"+pipe)}, nil); err == nil || !strings.Contains(err.Error(), pipe+" is not a file") {
		t.Errorf("a pipe: %v", err)
	}
	f.MaxSize = 10
	err = f.Fetch(t.Context(), []Wanted{want([]byte("x"), "file://"+strings.ReplaceAll(file, " ", "%20"))}, nil)
	var large *TooLarge
	if !errors.As(err, &large) || large.Limit != 10 {
		t.Errorf("Fetch: %v", err)
	}
	tidy(t, store)
}

func TestAll(t *testing.T) {
	tr := &tree.Tree{Root: "/tree", Packages: []*tree.Package{
		{Stage: "core", Name: "a", Dir: "packages/core/a", Sources: []tree.Source{{Name: "x"}, {Name: "y"}}},
		{Stage: "user", Name: "b", Dir: "packages/user/b", Sources: []tree.Source{{Name: "z"}}},
	}}
	var got []string
	for _, w := range All(tr, tr.Packages) {
		got = append(got, w.Package+" "+w.Dir+" "+w.Name)
	}
	want := []string{"core-a /tree/packages/core/a x", "core-a /tree/packages/core/a y", "user-b /tree/packages/user/b z"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkFetch(b *testing.B) {
	data := bytes.Repeat(content, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }))
	defer server.Close()
	store := openStore(b)
	f := &Fetcher{Store: store}
	list := []Wanted{want(data, server.URL)}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := f.Fetch(b.Context(), list, nil); err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(store.Path(list[0].SHA256)); err != nil {
			b.Fatal(err)
		}
	}
}
