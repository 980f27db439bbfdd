package cosign

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/policy"
)

// testLog is a log that signs whatever tree it is asked to.
type testLog struct {
	signer   note.Signer
	verifier note.Verifier
	vkey     string
	hashes   []tlog.Hash // stored hashes, as x/mod numbers them
	size     int64
}

func newLog(t testing.TB) *testLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	l := &testLog{vkey: vkey}
	if l.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if l.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *testLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = l.hashes[x]
	}
	return hs, nil
}

// grow appends entries up to size and returns the signed checkpoint.
func (l *testLog) grow(t testing.TB, size int64, salt string) ([]byte, tlog.Tree) {
	t.Helper()
	for ; l.size < size; l.size++ {
		hs, err := tlog.StoredHashes(l.size, fmt.Appendf(nil, "entry %d %s", l.size, salt), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, hs...)
	}
	return l.sign(t, size)
}

func (l *testLog) sign(t testing.TB, size int64) ([]byte, tlog.Tree) {
	t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		t.Fatal(err)
	}
	tree := tlog.Tree{N: size, Hash: root}
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: "log.example", Tree: tree}.String()}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed, tree
}

func (l *testLog) prove(_ context.Context, from, to uint64) ([][]byte, error) {
	p, err := tlog.ProveTree(int64(to), int64(from), l)
	if err != nil {
		return nil, err
	}
	path := make([][]byte, len(p))
	for i := range p {
		path[i] = p[i][:]
	}
	return path, nil
}

// fakeWitness cosigns as the specification wants, unless a fault is set.
type fakeWitness struct {
	name   string
	signer *torchwood.CosignatureSigner
	log    *testLog
	server *httptest.Server
	fault  http.HandlerFunc // replaces add-checkpoint
	shown  []byte           // what the monitoring GET serves, if set
	gate   chan struct{}    // if set, add-checkpoint waits for it

	mu   sync.Mutex
	tree tlog.Tree
	asks int
}

func newWitness(t testing.TB, l *testLog, name string) *fakeWitness {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &fakeWitness{name: name, log: l}
	if w.signer, err = torchwood.NewCosignatureSigner(name+".example", key); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.serve)
	mux.HandleFunc("GET /{hash}/checkpoint", func(rw http.ResponseWriter, r *http.Request) {
		if r.PathValue("hash") != fmt.Sprintf("%x", sha256.Sum256([]byte("log.example"))) || w.shown == nil {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(w.shown)
	})
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.server.Close)
	return w
}

func (w *fakeWitness) serve(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.asks++
	fault, gate := w.fault, w.gate
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	if fault != nil {
		fault(rw, r)
		return
	}
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	head, signed, _ := strings.Cut(body.String(), "\n\n")
	lines := strings.Split(head, "\n")
	var old int64
	_, _ = fmt.Sscanf(lines[0], "old %d", &old)
	n, err := note.Open([]byte(signed), note.VerifierList(w.log.verifier))
	if err != nil || len(n.UnverifiedSigs) > 0 {
		http.Error(rw, "want the log's signatures alone", http.StatusForbidden)
		return
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if old != w.tree.N {
		conflict(rw, w.tree.N)
		return
	}
	if !consistent(w.tree, c.Tree, lines[1:]) {
		http.Error(rw, "inconsistent", http.StatusUnprocessableEntity)
		return
	}
	w.tree = c.Tree
	_, _ = rw.Write(w.line(n.Text))
}

func conflict(rw http.ResponseWriter, size int64) {
	rw.Header().Set("Content-Type", "text/x.tlog.size")
	rw.WriteHeader(http.StatusConflict)
	_, _ = fmt.Fprintf(rw, "%d\n", size)
}

func consistent(old, now tlog.Tree, lines []string) bool {
	if old.N == 0 {
		return len(lines) == 0
	}
	var path [][]byte
	for _, l := range lines {
		h, err := base64.StdEncoding.DecodeString(l)
		if err != nil {
			return false
		}
		path = append(path, h)
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old.N), uint64(now.N), path, old.Hash[:], now.Hash[:]) == nil
}

// line returns the cosignature line of a checkpoint's text.
func (w *fakeWitness) line(text string) []byte {
	signed, err := note.Sign(&note.Note{Text: text}, w.signer)
	if err != nil {
		panic(err)
	}
	return signed[len(text)+1:]
}

func (w *fakeWitness) asked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asks
}

// newCollector returns a working Collector with a quorum of k of the witnesses.
func newCollector(t testing.TB, l *testLog, k int, witnesses ...*fakeWitness) *Collector {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "log %s\n", l.vkey)
	names := ""
	for _, w := range witnesses {
		fmt.Fprintf(&b, "witness %s %s %s\n", w.name, w.signer.Verifier(), w.server.URL)
		names += " " + w.name
	}
	fmt.Fprintf(&b, "group g %d%s\nquorum g\n", k, names)
	p, err := policy.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{
		Policy: p, Log: l.verifier, Prove: l.prove, Logger: slog.New(slog.DiscardHandler),
		RequestTimeout: 2 * time.Second, CollectTimeout: 4 * time.Second, Pause: time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c
}

// cosigners returns the names of those whose valid cosignatures a note has.
func cosigners(t testing.TB, signed []byte, witnesses ...*fakeWitness) string {
	t.Helper()
	var vs []note.Verifier
	for _, w := range witnesses {
		vs = append(vs, w.signer.Verifier())
	}
	n, err := note.Open(signed, note.VerifierList(vs...))
	if err != nil {
		t.Fatalf("opening %q: %v", signed, err)
	}
	var names []string
	for _, s := range n.Sigs {
		names = append(names, strings.TrimSuffix(s.Name, ".example"))
	}
	return strings.Join(names, " ")
}
