package cosign

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

func TestCosignFromAllAndOverGrowth(t *testing.T) {
	l := newLog(t)
	a, b, c := newWitness(t, l, "a"), newWitness(t, l, "b"), newWitness(t, l, "c")
	col := newCollector(t, l, 3, a, b, c)
	for _, size := range []int64{1, 2, 7, 300} {
		signed, tree := l.grow(t, size, "")
		got, err := col.Cosign(context.Background(), signed, tree)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if who := cosigners(t, got, a, b, c); who != "a b c" {
			t.Errorf("size %d cosigned by %q, want all in the policy's order", size, who)
		}
	}
	if n := a.asked(); n != 4 {
		t.Errorf("the witness was asked %d times, want once a checkpoint", n)
	}
}

// The same tree again gets a new cosignature with an empty proof.
func TestCosignSameTreeAgain(t *testing.T) {
	l := newLog(t)
	a := newWitness(t, l, "a")
	col := newCollector(t, l, 1, a)
	signed, tree := l.grow(t, 5, "")
	for range 2 {
		if _, err := col.Cosign(context.Background(), signed, tree); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCosignLearnsTheWitnessSize(t *testing.T) {
	l := newLog(t)
	a := newWitness(t, l, "a")
	_, a.tree = l.grow(t, 4, "")
	col := newCollector(t, l, 1, a)
	signed, tree := l.grow(t, 9, "")
	if _, err := col.Cosign(context.Background(), signed, tree); err != nil {
		t.Fatal(err)
	}
}

func TestCosignFailsClosed(t *testing.T) {
	l := newLog(t)
	a, b := newWitness(t, l, "a"), newWitness(t, l, "b")
	b.server.Close()
	col := newCollector(t, l, 2, a, b)
	col.cfg.CollectTimeout = 50 * time.Millisecond
	signed, tree := l.grow(t, 3, "")
	got, err := col.Cosign(context.Background(), signed, tree)
	if !errors.Is(err, checkpoint.ErrUnwitnessed) || got != nil {
		t.Fatalf("got %q, %v, want ErrUnwitnessed", got, err)
	}
	if !strings.Contains(err.Error(), "b") {
		t.Errorf("error %q does not say who is missing", err)
	}
}

func TestLateCosignatureIsMerged(t *testing.T) {
	l := newLog(t)
	a, b, c := newWitness(t, l, "a"), newWitness(t, l, "b"), newWitness(t, l, "c")
	c.gate = make(chan struct{})
	col := newCollector(t, l, 2, a, b, c)
	signed, tree := l.grow(t, 3, "")
	got, err := col.Cosign(context.Background(), signed, tree)
	if err != nil {
		t.Fatal(err)
	}
	if who := cosigners(t, got, a, b, c); who != "a b" {
		t.Fatalf("cosigned by %q before the third answered", who)
	}
	close(c.gate)
	for {
		<-col.Arrived()
		if merged, ok := col.Late(got, tree); ok {
			if who := cosigners(t, merged, a, b, c); who != "a b c" {
				t.Errorf("merged has %q", who)
			}
			if again, ok := col.Late(merged, tree); ok {
				t.Errorf("nothing more arrived, but Late gave %q", again)
			}
			break
		}
	}
	if _, ok := col.Late(got, tlog.Tree{N: 2}); ok {
		t.Error("a cosignature of another tree was merged")
	}
}

// A witness that comes back is asked again, also if the log does not grow.
func TestFailedWitnessIsAskedAgain(t *testing.T) {
	l := newLog(t)
	a, b := newWitness(t, l, "a"), newWitness(t, l, "b")
	b.fault = answer(500, "", "")
	col := newCollector(t, l, 1, a, b)
	signed, tree := l.grow(t, 3, "")
	got, err := col.Cosign(context.Background(), signed, tree)
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.fault = nil
	b.mu.Unlock()
	for {
		merged, ok := col.Late(got, tree)
		if !ok {
			<-col.Arrived()
			continue
		}
		if who := cosigners(t, merged, a, b); who != "a b" {
			t.Errorf("cosigned by %q", who)
		}
		return
	}
}

// A byzantine witness beside two good ones costs a bounded amount, and does not
// keep the ledger from publishing.
func TestByzantineWitness(t *testing.T) {
	var redirected, written atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected.Add(1) }))
	t.Cleanup(elsewhere.Close)
	other := newLog(t)
	foreign, _ := other.grow(t, 99, "")

	tests := map[string]func(l *testLog, w *fakeWitness){
		"never answers":            func(_ *testLog, w *fakeWitness) { w.fault = hang },
		"drips its answer":         func(_ *testLog, w *fakeWitness) { w.fault = drip },
		"redirects":                func(_ *testLog, w *fakeWitness) { w.fault = redirect(elsewhere.URL) },
		"answers a gigabyte":       func(_ *testLog, w *fakeWitness) { w.fault = flood(&written) },
		"fails":                    func(_ *testLog, w *fakeWitness) { w.fault = answer(500, "", "no") },
		"answers nothing":          func(_ *testLog, w *fakeWitness) { w.fault = answer(200, "", "") },
		"answers garbage":          func(_ *testLog, w *fakeWitness) { w.fault = answer(200, "", "— x y\n") },
		"signs another checkpoint": func(_ *testLog, w *fakeWitness) { w.fault = answer(200, "", string(w.line(anotherText))) },
		"signs with another key":   func(l *testLog, w *fakeWitness) { w.fault = foreignKey(t, l, w) },
		"conflicts for ever":       func(_ *testLog, w *fakeWitness) { w.fault = answer(409, "text/x.tlog.size", "1\n") },
		"conflicts, larger":        func(_ *testLog, w *fakeWitness) { w.fault = answer(409, "text/x.tlog.size", "999999\n") },
		"conflicts, untyped":       func(_ *testLog, w *fakeWitness) { w.fault = answer(409, "text/plain", "999999\n") },
		"conflicts, not a number":  func(_ *testLog, w *fakeWitness) { w.fault = answer(409, "text/x.tlog.size", "007\n") },
		"conflicts, shows another": func(_ *testLog, w *fakeWitness) { w.fault, w.shown = answer(409, "text/x.tlog.size", "99\n"), foreign },
		"refuses the root":         func(_ *testLog, w *fakeWitness) { w.fault = answer(422, "", "") },
		"closes without an answer": func(_ *testLog, w *fakeWitness) {
			w.fault = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		},
		"answers with huge headers": func(_ *testLog, w *fakeWitness) { w.fault = hugeHeader },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			a, b, bad := newWitness(t, l, "a"), newWitness(t, l, "b"), newWitness(t, l, "bad")
			spoil(l, bad)
			col := newCollector(t, l, 2, bad, a, b)
			col.workers[0].pause = time.Minute // one failure, and it is left alone
			for size := int64(2); size < 8; size++ {
				signed, tree := l.grow(t, size, "")
				got, err := col.Cosign(context.Background(), signed, tree)
				if err != nil {
					t.Fatalf("size %d: %v", size, err)
				}
				if who := cosigners(t, got, bad, a, b); who != "a b" {
					t.Fatalf("size %d: cosigned by %q", size, who)
				}
			}
			if n := bad.asked(); n > maxAttempts {
				t.Errorf("the witness was asked %d times, want at most %d and then a pause", n, maxAttempts)
			}
		})
	}
	if n := redirected.Load(); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
	// Socket buffers take a few megabytes that the ledger never reads.
	if n := written.Load(); n > 64<<20 {
		t.Errorf("the witness could send %d bytes", n)
	}
}

// anotherText is a checkpoint of the empty tree.
const anotherText = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if contentType != "" {
			rw.Header().Set("Content-Type", contentType)
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, to, http.StatusTemporaryRedirect)
	}
}

func flood(written *atomic.Int64) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			n, err := rw.Write(chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// The server notices that the ledger gave up only once the body is read.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

func drip(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = rw.Write([]byte("—"))
	_ = http.NewResponseController(rw).Flush()
	<-r.Context().Done()
}

func hugeHeader(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("X-Large", strings.Repeat("x", 1<<20))
}

func foreignKey(t *testing.T, l *testLog, w *fakeWitness) http.HandlerFunc {
	thief := newWitness(t, l, w.name)
	return func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, signed, _ := strings.Cut(string(body), "\n\n")
		n, err := note.Open([]byte(signed), note.VerifierList(l.verifier))
		if err != nil {
			panic(err)
		}
		_, _ = rw.Write(thief.line(n.Text))
	}
}

func TestHandshake(t *testing.T) {
	tests := map[string]struct {
		set  func(t *testing.T, l *testLog, a, b *fakeWitness)
		want error
	}{
		"all know the same": {func(t *testing.T, l *testLog, a, b *fakeWitness) { _, a.tree = l.sign(t, 5); b.tree = a.tree }, nil},
		"they know less":    {func(t *testing.T, l *testLog, a, b *fakeWitness) { _, a.tree = l.sign(t, 3) }, nil},
		"one is down": {func(_ *testing.T, _ *testLog, a, _ *fakeWitness) { a.server.Close() },
			checkpoint.ErrUnwitnessed},
		"one claims more without proof": {func(_ *testing.T, _ *testLog, a, _ *fakeWitness) {
			a.fault = answer(409, "text/x.tlog.size", "9\n")
		}, checkpoint.ErrUnwitnessed},
		"one proves more": {func(t *testing.T, l *testLog, a, _ *fakeWitness) {
			a.fault = answer(409, "text/x.tlog.size", "9\n")
			a.shown, _ = l.grow(t, 9, "")
		}, checkpoint.ErrRollback},
		"one proves another root": {func(t *testing.T, l *testLog, a, _ *fakeWitness) {
			a.fault = answer(422, "", "")
			fork := &testLog{signer: l.signer}
			a.shown, _ = fork.grow(t, 5, "forked")
		}, checkpoint.ErrRollback},
		"one shows an older checkpoint": {func(t *testing.T, l *testLog, a, _ *fakeWitness) {
			a.fault = answer(422, "", "")
			a.shown, _ = l.sign(t, 2)
		}, checkpoint.ErrUnwitnessed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLog(t)
			a, b := newWitness(t, l, "a"), newWitness(t, l, "b")
			col := newCollector(t, l, 2, a, b)
			signed, tree := l.grow(t, 5, "")
			tt.set(t, l, a, b)
			err := col.Handshake(context.Background(), signed, tree)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			var rollback *RollbackError
			if errors.As(err, &rollback) && string(rollback.Note) != string(a.shown) {
				t.Error("the proof is not kept")
			}
		})
	}
}

// A witness that shows, while the ledger works, what its key signed elsewhere
// stops it.
func TestCosignStopsOnProofOfRollback(t *testing.T) {
	l := newLog(t)
	a, b := newWitness(t, l, "a"), newWitness(t, l, "b")
	a.fault = answer(409, "text/x.tlog.size", "50\n")
	fork := &testLog{signer: l.signer}
	a.shown, _ = fork.grow(t, 50, "elsewhere")
	col := newCollector(t, l, 2, a, b)
	signed, tree := l.grow(t, 5, "")
	if _, err := col.Cosign(context.Background(), signed, tree); !errors.Is(err, checkpoint.ErrRollback) {
		t.Fatalf("got %v, want ErrRollback", err)
	}
}
