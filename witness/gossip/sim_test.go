package gossip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/gossip"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

const (
	origin   = "log.example/test"
	logHost  = "log"
	interval = 30 * time.Second
)

// network connects handlers by host name, in memory. In a synctest bubble its
// delays take no time.
type network struct {
	mu       sync.Mutex
	random   *rand.Rand
	handlers map[string]http.Handler
	blocked  func(from, to string) bool
	delay    func(*rand.Rand) time.Duration
	// duplicate is how likely a request is delivered twice, and replay how
	// likely an old one is delivered besides.
	duplicate, replay float64
	old               []*message
	requests          int
}

type message struct {
	method, url string
	body        []byte
}

func newNetwork(seed uint64) *network {
	return &network{
		random: rand.New(rand.NewPCG(seed, 0)), handlers: make(map[string]http.Handler),
		blocked: func(_, _ string) bool { return false },
		delay:   func(*rand.Rand) time.Duration { return 50 * time.Millisecond },
	}
}

func (n *network) float() float64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.Float64()
}

// from is the network as one host sees it.
type from struct {
	*network
	host string
}

var errLost = errors.New("lost in the network")

func (f from) Do(r *http.Request) (*http.Response, error) {
	m := &message{method: r.Method, url: r.URL.String()}
	if r.Body != nil {
		m.body, _ = io.ReadAll(r.Body)
	}
	f.mu.Lock()
	f.requests++
	there, back := f.delay(f.random), f.delay(f.random)
	twice, again := f.random.Float64() < f.duplicate, f.random.Float64() < f.replay
	var replayed *message
	if m.method == http.MethodPost {
		if again && len(f.old) > 0 {
			replayed = f.old[f.random.IntN(len(f.old))]
		}
		if len(f.old) < 512 {
			f.old = append(f.old, m)
		} else {
			f.old[f.random.IntN(len(f.old))] = m
		}
	}
	f.mu.Unlock()
	if err := sleep(r.Context(), there); err != nil || f.blocked(f.host, r.URL.Host) {
		return nil, errors.Join(errLost, err)
	}
	if replayed != nil {
		f.deliver(replayed, "")
	}
	if twice {
		f.deliver(m, r.Header.Get("If-None-Match"))
	}
	resp := f.deliver(m, r.Header.Get("If-None-Match"))
	if err := sleep(r.Context(), back); err != nil {
		return nil, err
	}
	return resp, nil
}

func (n *network) deliver(m *message, tag string) *http.Response {
	r := httptest.NewRequest(m.method, m.url, bytes.NewReader(m.body))
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	rw := httptest.NewRecorder()
	n.mu.Lock()
	h := n.handlers[r.URL.Host]
	n.mu.Unlock()
	if h == nil {
		h = http.NotFoundHandler()
	}
	h.ServeHTTP(rw, r)
	return rw.Result()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// member is one witness of a cluster.
type member struct {
	name    string
	network *network
	db      *state.DB
	witness *witness.Witness
	node    *gossip.Node
	reg     *prometheus.Registry
	mux     *http.ServeMux
}

// options of a cluster.
type options struct {
	logURL         bool // whether the witnesses know where the log's tiles are
	challengeAfter time.Duration
	peers          func(i, n int) []int // all others if nil
	change         func(*gossip.Config)
}

// cluster is n witnesses of one log, with peers over a network.
func cluster(t testing.TB, net *network, log *witnesstest.Log, n int, o options) []*member {
	t.Helper()
	url := ""
	if o.logURL {
		url = "http://" + logHost
	}
	if o.challengeAfter == 0 {
		o.challengeAfter = 5 * time.Minute
	}
	l, err := witness.NewLog([]string{log.VKey}, nil, url)
	if err != nil {
		t.Fatal(err)
	}
	var keys []note.Verifier
	for i := range n {
		keys = append(keys, witnesstest.NewCosigner(memberName(i), memberName(i)).Verifier())
	}
	var members []*member
	for i := range n {
		db, err := state.OpenMemory(t.Context(), state.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		var peers []string
		for j := range n {
			if j != i && o.peers == nil {
				peers = append(peers, "http://"+memberName(j))
			}
		}
		if o.peers != nil {
			for _, j := range o.peers(i, n) {
				peers = append(peers, "http://"+memberName(j))
			}
		}
		members = append(members, newMember(t, net, l, i, keys, peers, db, o))
	}
	return members
}

func memberName(i int) string { return fmt.Sprintf("w%d.example", i) }

func newMember(t testing.TB, net *network, l witness.Log, i int, keys []note.Verifier, peers []string, db *state.DB, o options) *member {
	t.Helper()
	m := &member{name: memberName(i), network: net, db: db, reg: prometheus.NewRegistry(), mux: http.NewServeMux()}
	logger := slog.New(slog.DiscardHandler)
	c := gossip.Config{
		Self: keys[i], Logs: []witness.Log{l}, Witnesses: keys, Peers: peers, State: db, HTTP: from{net, m.name},
		Now: time.Now, Random: net.float, Interval: interval, ChallengeAfter: o.challengeAfter, Registerer: m.reg, Logger: logger,
	}
	if o.change != nil {
		o.change(&c)
	}
	var err error
	if m.node, err = gossip.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	m.witness, err = witness.New(t.Context(), witness.Config{
		Name: m.name, Signer: witnesstest.NewCosigner(m.name, m.name).Key(), Logs: []witness.Log{l}, State: db, Observer: m.node,
		Now: time.Now, MaxClockBehind: time.Minute, Registerer: m.reg, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.witness.Start()
	m.witness.Register(m.mux)
	m.node.Register(m.mux)
	net.mu.Lock()
	net.handlers[m.name] = m.mux
	net.mu.Unlock()
	return m
}

// run gossips until the test ends.
func run(t testing.TB, members ...*member) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, m := range members {
		wg.Go(func() {
			if err := m.node.Run(ctx); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// add has the witness asked to cosign, from whatever size it has.
func (m *member) add(t testing.TB, log *witnesstest.Log, size int64) error {
	t.Helper()
	last, err := m.db.Latest(context.Background(), origin)
	if err != nil {
		t.Fatal(err)
	}
	old := int64(0)
	if last != nil {
		old = last.Size
	}
	if old > size {
		return fmt.Errorf("size %d is behind %d", size, old)
	}
	_, err = m.witness.AddCheckpoint(context.Background(), log.Request(old, size))
	return err
}

func (m *member) mustAdd(t testing.TB, log *witnesstest.Log, size int64) {
	t.Helper()
	if err := m.add(t, log, size); err != nil {
		t.Fatalf("%s: adding size %d: %v", m.name, size, err)
	}
}

func (m *member) evidence(t testing.TB) []*state.Evidence {
	t.Helper()
	list, err := m.db.Evidence(context.Background(), origin)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (m *member) refused(t testing.TB) *state.Refusal {
	t.Helper()
	r, err := m.db.Refused(context.Background(), origin)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *member) get(path string) (int, string) {
	rw := httptest.NewRecorder()
	m.mux.ServeHTTP(rw, httptest.NewRequest(http.MethodGet, path, nil))
	return rw.Code, rw.Body.String()
}

func (m *member) post(path string, body []byte) int {
	rw := httptest.NewRecorder()
	m.mux.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
	return rw.Code
}

// checkConvicted checks that a member holds evidence that anyone with the log's
// key can verify, and cosigns nothing more of the log, whichever history.
func (m *member) checkConvicted(t testing.TB, histories ...*witnesstest.Log) {
	t.Helper()
	held := m.evidence(t)
	if len(held) == 0 {
		t.Errorf("%s has no evidence", m.name)
		return
	}
	for _, h := range held {
		code, text := m.get(fmt.Sprintf("/evidence/%x", h.Hash))
		if code != http.StatusOK {
			t.Fatalf("%s: getting evidence: %d", m.name, code)
		}
		e, err := evidence.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if v := e.Verify(evidence.Keys{Logs: []note.Verifier{histories[0]}}); v.Result != evidence.Proven {
			t.Errorf("%s: evidence is %s: %v", m.name, v.Result, v.Sentences)
		}
	}
	for _, log := range histories {
		var refusal *witness.Refusal
		if err := m.add(t, log, log.Size()); !errors.As(err, &refusal) || refusal.Code != http.StatusForbidden {
			t.Errorf("%s: cosigning after the conviction: %v, want 403", m.name, err)
		}
	}
}

// bubble runs f where time passes only when everyone waits.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
