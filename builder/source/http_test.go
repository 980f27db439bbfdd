package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnlog/cairn/builder/tree"
)

// content is what the tests fetch: larger than any buffer on its way.
var content = bytes.Repeat([]byte("what a package is built from, 32 "), 20_000)

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func want(b []byte, mirrors ...string) Wanted {
	return Wanted{Package: "core-test", Source: tree.Source{
		Name: "test", File: "test.tar.gz", SHA256: sumOf(b), Mirrors: mirrors}}
}

// memoryNet is a network between goroutines, for time in a bubble to pass.
type memoryNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memoryNet) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memoryNet) Close() error   { m.once.Do(func() { close(m.done) }); return nil }
func (m *memoryNet) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (m *memoryNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case m.conns <- theirs:
		return ours, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve starts a web server for any host, and returns how to reach it.
func serve(t *testing.T, h http.HandlerFunc) http.RoundTripper {
	m := &memoryNet{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(m)
	}()
	transport := &http.Transport{DialContext: m.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	})
	return transport
}

// requests records what a server was asked.
type requests struct {
	mu   sync.Mutex
	list []string
}

func (r *requests) add(req *http.Request) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, strings.TrimSpace(fmt.Sprintf("%s %s %s",
		req.URL.Path, req.Header.Get("Range"), req.Header.Get("If-Range"))))
	return len(r.list)
}

func (r *requests) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.list, "\n")
}

func serveContent(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Etag", `"v1"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// abort gives the first n bytes, and breaks the connection.
func abort(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Header().Set("Etag", `"v1"`)
	w.Write(content[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// httpCase is a server, and what becomes of fetching content from it.
type httpCase struct {
	name    string
	kept    []byte // a partial file from before
	handler func(n int, w http.ResponseWriter, r *http.Request)
	asked   []string
	wantErr string // none if it succeeds
	after   []byte // the partial file left behind
	limit   int64
	took    time.Duration
}

func (c *httpCase) run(t *testing.T) {
	var reqs requests
	store := openStore(t)
	f := &Fetcher{Store: store, MaxSize: c.limit, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
		c.handler(reqs.add(r), w, r)
	})}
	partial := filepath.Join(store.dir, "partial", sumOf(content))
	if c.kept != nil {
		if err := os.WriteFile(partial, c.kept, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	err := f.Fetch(t.Context(), []Wanted{want(content, "http://a.test/f")}, nil)
	if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
		t.Errorf("Fetch: %v, want an error with %q", err, c.wantErr)
	}
	if got := store.Has(sumOf(content)); got != (c.wantErr == "") {
		t.Errorf("the store has it: %v", got)
	}
	if got, want := reqs.all(), strings.Join(c.asked, "\n"); got != want {
		t.Errorf("requests:\n%s\nwant:\n%s", got, want)
	}
	if took := time.Since(start); took < c.took || c.took > 0 && took > c.took+time.Minute {
		t.Errorf("took %v, want %v", took, c.took)
	}
	left, _ := os.ReadFile(partial)
	if !bytes.Equal(left, c.after) {
		t.Errorf("%d bytes are left behind, want %d", len(left), len(c.after))
	}
}

func runHTTP(t *testing.T, cases []httpCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, c.run) })
	}
}

func TestHTTPResume(t *testing.T) {
	half := len(content) / 2
	runHTTP(t, []httpCase{{
		name:    "all at once",
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{"/f"},
	}, {
		name:    "goes on from what an earlier process left",
		kept:    content[:half],
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", half)},
	}, {
		name: "goes on after a broken connection, if it is the same version",
		handler: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				abort(w, half)
			}
			serveContent(w, r)
		},
		asked: []string{"/f", fmt.Sprintf(`/f bytes=%d- "v1"`, half)},
		took:  time.Second,
	}, {
		name:    "begins anew with a server that knows no ranges",
		kept:    content[:half],
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) { w.Write(content) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", half)},
	}, {
		name:    "asks for all of it if what was kept was wrong",
		kept:    bytes.Repeat([]byte("x"), half),
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", half), "/f"},
	}, {
		name:    "all of it was there",
		kept:    content,
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", len(content))},
	}})
}

func TestHTTPResumeMisunderstood(t *testing.T) {
	half := len(content) / 2
	runHTTP(t, []httpCase{{
		name:    "more than all of it was there",
		kept:    append(bytes.Clone(content), 'x'),
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", len(content)+1), "/f"},
	}, {
		name:    "as much as all of it was there, and wrong",
		kept:    bytes.Repeat([]byte("x"), len(content)),
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{fmt.Sprintf("/f bytes=%d-", len(content)), "/f"},
	}, {
		name: "another range than was asked for",
		kept: content[:half],
		handler: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(content)-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
				w.Write(content[5:])
				return
			}
			serveContent(w, r)
		},
		asked: []string{fmt.Sprintf("/f bytes=%d-", half), "/f"},
		took:  time.Second, // it is not taken for what was asked for
	}, {
		name:    "a range that was not asked for",
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) },
		asked:   []string{"/f", "/f", "/f", "/f", "/f"},
		wantErr: `got the range ""`,
	}})
}

func TestHTTPFailures(t *testing.T) {
	runHTTP(t, []httpCase{{
		name:    "not found",
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		asked:   []string{"/f"},
		wantErr: "http://a.test/f: 404 Not Found",
	}, {
		name: "unavailable for a while",
		handler: func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 3 {
				w.Header().Set("Retry-After", "40")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			serveContent(w, r)
		},
		asked: []string{"/f", "/f", "/f"},
		took:  80 * time.Second,
	}, {
		name:    "too many requests",
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		asked:   []string{"/f", "/f", "/f", "/f", "/f"},
		wantErr: "429 Too Many Requests (tried 5 times)",
		took:    15 * time.Second,
	}, {
		name:    "breaks the connection each time",
		handler: func(int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		asked:   []string{"/f", "/f", "/f", "/f", "/f"},
		wantErr: "EOF (tried 5 times)",
	}})
}

func TestHTTPRefuses(t *testing.T) {
	runHTTP(t, []httpCase{{
		name:    "truncated, and does not say so",
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) { w.Write(content[:100]) },
		asked:   []string{"/f"},
		wantErr: fmt.Sprintf("wrong content: wanted sha256 %s, got %s, of 100 bytes", sumOf(content), sumOf(content[:100])),
	}, {
		name:    "too large, and says so",
		limit:   1000,
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { serveContent(w, r) },
		asked:   []string{"/f"},
		wantErr: fmt.Sprintf("%d bytes or more, at most 1000 are allowed", len(content)),
	}, {
		name:  "too large, and does not say so",
		limit: 1000,
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Write(content[:600])
			w.(http.Flusher).Flush()
			w.Write(content[600:])
		},
		asked:   []string{"/f"},
		wantErr: "at most 1000 are allowed",
	}, {
		name:    "redirects in a circle",
		handler: func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/f", http.StatusFound) },
		asked:   strings.Split(strings.Repeat("/f ", 11), " ")[:11],
		wantErr: "redirected more than 10 times",
	}, {
		name: "redirects to something else than the web",
		handler: func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		asked:   []string{"/f"},
		wantErr: `unsupported protocol scheme "file"`,
	}, {
		name: "redirects once",
		handler: func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/f" {
				http.Redirect(w, r, "http://b.test/g", http.StatusFound)
				return
			}
			serveContent(w, r)
		},
		asked: []string{"/f", "/g"},
	}})
}

func TestHTTPStall(t *testing.T) {
	half := len(content) / 2
	stall := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Write(content[:half])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	runHTTP(t, []httpCase{{
		name: "goes on after a stall",
		handler: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				stall(w, r)
				return
			}
			serveContent(w, r)
		},
		asked: []string{"/f", fmt.Sprintf(`/f bytes=%d- "v1"`, half)},
		took:  61 * time.Second,
	}, {
		name:    "never a byte",
		handler: func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		asked:   []string{"/f", "/f", "/f", "/f", "/f"},
		wantErr: "no byte for 1m0s (tried 5 times)",
		took:    315 * time.Second,
	}, {
		name: "slow is not stalled",
		handler: func(_ int, w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				time.Sleep(59 * time.Second)
				w.Write(content[i*len(content)/100 : (i+1)*len(content)/100])
				w.(http.Flusher).Flush()
			}
		},
		asked: []string{"/f"},
		took:  5900 * time.Second,
	}})
}

// A connection that breaks each few MiB still gets there.
func TestHTTPProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := bytes.Repeat(content, 20)
		var reqs requests
		store := openStore(t)
		f := &Fetcher{Store: store, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			reqs.add(r)
			var from int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(large)-1, len(large)))
				w.WriteHeader(http.StatusPartialContent)
			}
			w.Write(large[from:min(from+progressed, len(large))])
			w.(http.Flusher).Flush()
			if from+progressed < len(large) {
				panic(http.ErrAbortHandler)
			}
		})}
		if err := f.Fetch(t.Context(), []Wanted{want(large, "http://a.test/f")}, nil); err != nil {
			t.Fatal(err)
		}
		if got, want := len(strings.Split(reqs.all(), "\n")), len(large)/progressed+1; got != want || want <= 5 {
			t.Errorf("%d requests, want %d", got, want)
		}
	})
}

// What is fetched is the file, not what a server calls its encoding.
func TestHTTPEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		f := &Fetcher{Store: store, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("Accept-Encoding is %q", got)
			}
			if got := r.Header.Get("User-Agent"); got != "cairn-builder" {
				t.Errorf("User-Agent is %q", got)
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(content)
		})}
		if err := f.Fetch(t.Context(), []Wanted{want(content, "http://a.test/f.tar.gz")}, nil); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFetchStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		store := openStore(t)
		f := &Fetcher{Store: store, Stall: 10 * time.Hour, Transport: serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Write(content[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})}
		err := f.Fetch(ctx, []Wanted{want(content, "http://a.test/f", "http://b.test/f")}, nil)
		var missing *MissingError // would blame the mirrors
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &missing) {
			t.Fatalf("Fetch: %v", err)
		}
		left, err := os.ReadFile(filepath.Join(store.dir, "partial", sumOf(content)))
		if err != nil || !bytes.Equal(left, content[:1000]) {
			t.Errorf("%d bytes are kept (%v), want 1000", len(left), err)
		}
	})
}
