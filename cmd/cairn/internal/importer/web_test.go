package importer_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
)

func TestWebTriesAgainWhatMayPass(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case r.URL.Path == "/refused":
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/down" || n < 3:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("hello"))
		}
	}))
	defer server.Close()
	var slept []time.Duration
	web := &importer.Web{Client: server.Client(), Sleep: func(_ context.Context, d time.Duration) error {
		slept = append(slept, d)
		return nil
	}}
	b, err := web.Get(t.Context(), server.URL, 5)
	if err != nil || string(b) != "hello" || asked.Load() != 3 || !slices.Equal(slept, []time.Duration{7 * time.Second, 7 * time.Second}) {
		t.Errorf("%q, %v after %d requests and %v", b, err, asked.Load(), slept)
	}
	for path, want := range map[string]int64{"/down": 4, "/refused": 1} {
		asked.Store(0)
		var failed *importer.WebError
		if _, err := web.Get(t.Context(), server.URL+path, 5); !errors.As(err, &failed) || asked.Load() != want {
			t.Errorf("%s: %v after %d requests, want %d", path, err, asked.Load(), want)
		}
	}
	if _, err := web.Get(t.Context(), server.URL, 4); !errors.Is(err, importer.ErrTooLarge) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := web.Get(t.Context(), "file:///etc/passwd", 1<<20); err == nil {
		t.Error("a file is got from the web")
	}
}

func TestWebAbsentAndRedirects(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, err := testWeb(plain.Client()).Get(t.Context(), plain.URL, 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, map[string]string{"/down": plain.URL, "/loop": "/loop"}[r.URL.Path], http.StatusFound)
	}))
	defer secure.Close()
	for path, want := range map[string]string{"/down": "refusing the redirect", "/loop": "stopping after"} {
		if _, err := testWeb(secure.Client()).Get(t.Context(), secure.URL+path, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestParallelKeepsTheOrder(t *testing.T) {
	ctx := t.Context()
	numbers := func(n int) iter.Seq[int] {
		return func(yield func(int) bool) {
			for i := range n {
				if !yield(i) {
					return
				}
			}
		}
	}
	var running, most atomic.Int64
	double := func(_ context.Context, i int) int {
		for n := running.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		defer running.Add(-1)
		return 2 * i
	}
	next := 0
	for v := range importer.Parallel(ctx, numbers(1000), 4, double) {
		if v != 2*next {
			t.Fatalf("result %d is %d", next, v)
		}
		if next++; next == 900 {
			break
		}
	}
	if next != 900 || most.Load() > 6 {
		t.Errorf("%d results, %d at a time", next, most.Load())
	}
}
