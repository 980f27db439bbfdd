package distributed

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/cluster"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

var three = []string{"anna", "bert", "carl"}

// real is a log of three front ends on the real Trillian: two log servers, two
// signers, and a PostgreSQL that they and the front ends share. Two of three
// witnesses must cosign.
type real struct {
	*world
	peers     *peers.Trillian
	peersDB   string // the URL of Trillian's database
	witnesses []*witness
	notes     *notes
}

// newReal starts all of it. timeout is how long an answer to a client may take.
func newReal(t *testing.T, timeout time.Duration) *real {
	t.Helper()
	e2etest.Interop(t)
	database := pgtest.Start(t, "max_connections=300")
	r := &real{peersDB: database.Database(t)}
	r.peers = peers.StartTrillianOnPostgreSQL(t, r.peersDB)
	r.peers.StartServer(t)
	// As docs/trillian.md has it.
	r.peers.StartSigner(t, "--sequencer_interval=1s", "--batch_size=10000")
	r.world = newWorldOn(t, database, cluster.Config{Trillian: strings.Join(r.peers.Addrs, ","), Policy: func(vkey string) string {
		return r.startWitnesses(t, vkey)
	}})
	r.options = client.Options{Timeout: timeout, HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	r.notes = newNotes(r.world)
	for _, w := range r.witnesses {
		w.notes.Store(r.notes)
	}
	r.start(three...)
	r.notes.watch(three...)
	return r
}

// witness is a witness, and what is between it and the front ends.
type witness struct {
	*e2etest.Process
	args []string
	url  string
	// asked is called once, with the next request, before the witness has it.
	asked atomic.Pointer[func()]
	notes atomic.Pointer[notes] // all that it is shown
}

// startWitnesses starts three, and returns the policy of which two are enough.
func (r *real) startWitnesses(t *testing.T, vkey string) (policy string) {
	t.Helper()
	policy = "log " + vkey + "\n"
	for i := range 3 {
		addr := e2etest.FreeAddr(t)
		w := &witness{url: "http://" + addr, args: []string{
			"-dev", filepath.Join(t.TempDir(), "witness"), "-name", fmt.Sprintf("witness%d.example", i), "-log", vkey, "-http", addr,
		}}
		key := w.start(t)
		server := httptest.NewServer(w.relay(t))
		t.Cleanup(server.Close)
		r.witnesses = append(r.witnesses, w)
		policy += fmt.Sprintf("witness w%d %s %s\n", i, key, server.URL)
	}
	return policy + "group enough 2 w0 w1 w2\nquorum enough\n"
}

// start starts the witness, on its state, and returns its key.
func (w *witness) start(t *testing.T) (vkey string) {
	t.Helper()
	w.Process = e2etest.Start(t, exec.Command(filepath.Join(bin, "cairn-witness"), w.args...))
	var ready struct{ VKey string }
	w.Ready(t, &ready)
	return ready.VKey
}

// relay passes requests on, also those whose sender is gone meanwhile: the witness
// then knows what nobody else does.
func (w *witness) relay(t *testing.T) http.Handler {
	to, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // nobody can be asked with a part of it
		}
		if req.Method == http.MethodPost {
			// old <size>, the proof, an empty line, and the checkpoint.
			_, signed, _ := bytes.Cut(body, []byte("\n\n"))
			if notes := w.notes.Load(); notes != nil {
				notes.signed("what a witness was asked to cosign", signed)
			}
			if asked := w.asked.Swap(nil); asked != nil {
				(*asked)()
			}
		}
		req = req.WithContext(t.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(rw, req)
	})
}

// latest is the path of what a witness cosigned last.
func latest() string { return fmt.Sprintf("/%x/checkpoint", sha256.Sum256([]byte(origin))) }
