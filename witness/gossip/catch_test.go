package gossip_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/gossip"
	"github.com/cairnlog/cairn/witness/state"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

func kinds(t testing.TB, m *member) []string {
	var list []string
	for _, e := range m.evidence(t) {
		list = append(list, e.Kind)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestRefusedRequest: a log that asks a witness to cosign a fork delivers the
// evidence itself.
func TestRefusedRequest(t *testing.T) {
	for _, tt := range []struct {
		name string
		old  int64
		size int64
		want []string
	}{
		{"at the latest size", 50, 50, []string{"same-size"}},
		{"at an older size", 40, 40, []string{"same-size"}}, // a conflict, to the log
		{"size 0", 0, 0, []string{"empty-root"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				log, fork := forkedLog()
				m := cluster(t, newNetwork(7), log, 1, options{})[0]
				run(t, m)
				for _, n := range []int64{20, 40, 50} {
					m.mustAdd(t, log, n)
				}
				body := fork.Request(tt.old, tt.size)
				if tt.size == 0 {
					body = append([]byte("old 0\n\n"), log.SignTree(tlog.Tree{Hash: tlog.Hash{9}})...)
				}
				if _, err := m.witness.AddCheckpoint(t.Context(), body); err == nil {
					t.Fatal("cosigned a fork")
				}
				synctest.Wait()
				if got := kinds(t, m); !slices.Equal(got, tt.want) {
					t.Fatalf("evidence %v, want %v", got, tt.want)
				}
				m.checkConvicted(t, log)
			})
		})
	}
}

// TestWitnessEvidence shows a witness what a dishonest one cosigned, in either
// order. The log is not refused for it.
func TestWitnessEvidence(t *testing.T) {
	log, fork := forkedLog()
	bad := witnesstest.NewCosigner("bad.example/w", "bad")
	const at = 1_000_000_000
	for _, tt := range []struct {
		name    string
		a, b    []byte
		want    []string
		refused bool
	}{
		{"smaller, later", bad.Cosign(log.Checkpoint(50), at), bad.Cosign(log.Checkpoint(40), at+10), []string{"witness-rollback"}, false},
		{"smaller, a moment later", bad.Cosign(log.Checkpoint(50), at), bad.Cosign(log.Checkpoint(40), at+1), nil, false},
		{"smaller, before", bad.Cosign(log.Checkpoint(50), at), bad.Cosign(log.Checkpoint(40), at-10), nil, false},
		{"the same, later", bad.Cosign(log.Checkpoint(50), at), bad.Cosign(log.Checkpoint(50), at+10), nil, false},
		{"both sides of a fork", bad.Cosign(log.Checkpoint(50), at), bad.Cosign(fork.Checkpoint(50), at+10),
			[]string{"same-size", "witness-equivocation"}, true},
	} {
		for _, order := range []string{"in order", "the other way round"} {
			t.Run(tt.name+", "+order, func(t *testing.T) {
				m := cluster(t, newNetwork(8), log, 1, options{change: func(c *gossip.Config) {
					c.Witnesses = append(c.Witnesses, bad.Verifier())
				}})[0]
				m.mustAdd(t, log, 40)
				m.mustAdd(t, log, 50)
				notes := [][]byte{tt.a, tt.b}
				if order != "in order" {
					slices.Reverse(notes)
				}
				for _, n := range notes {
					if code := m.post("/gossip/v1/checkpoint", n); code != http.StatusNoContent {
						t.Fatalf("status %d", code)
					}
				}
				if got := kinds(t, m); !slices.Equal(got, tt.want) {
					t.Errorf("evidence %v, want %v", got, tt.want)
				}
				if got := m.refused(t) != nil; got != tt.refused {
					t.Errorf("refused %v, want %v", got, tt.refused)
				}
				for _, h := range m.evidence(t) {
					e, err := evidence.Parse(h.Text)
					if err != nil {
						t.Fatal(err)
					}
					keys := evidence.Keys{Logs: []note.Verifier{log}, Witnesses: []note.Verifier{bad.Verifier()}}
					if v := e.Verify(keys); v.Result != evidence.Proven {
						t.Errorf("%s: %+v", e.Kind, v)
					}
				}
			})
		}
	}
}

// TestWitnessOfBothSides: a witness that cosigned both sides of a fork, at two
// sizes, is convicted with the log.
func TestWitnessOfBothSides(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, fork := forkedLog()
		bad := witnesstest.NewCosigner("bad.example/w", "bad")
		net := newNetwork(14)
		net.handlers[logHost] = fork
		m := cluster(t, net, log, 1, options{logURL: true, change: func(c *gossip.Config) {
			c.Witnesses = append(c.Witnesses, bad.Verifier())
		}})[0]
		run(t, m)
		m.mustAdd(t, log, 40)
		for _, n := range [][]byte{bad.Cosign(log.Checkpoint(40), 100), bad.Cosign(fork.Checkpoint(300), 200)} {
			if code := m.post("/gossip/v1/checkpoint", n); code != http.StatusNoContent {
				t.Fatalf("status %d", code)
			}
		}
		time.Sleep(oneRound)
		synctest.Wait()
		if got, want := kinds(t, m), []string{"prefix", "witness-equivocation"}; !slices.Equal(got, want) {
			t.Errorf("evidence %v, want %v", got, want)
		}
	})
}

// TestThirdParty has a peer of another make, which serves its latest checkpoint
// and nothing else.
func TestThirdParty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, fork := forkedLog()
		net := newNetwork(9)
		other := witnesstest.NewCosigner("other.example/w", "other")
		var posts atomic.Int64
		var served atomic.Pointer[witnesstest.Log]
		served.Store(log)
		var size atomic.Int64
		size.Store(40)
		path := "/" + evidence.OriginHash(origin) + "/checkpoint"
		net.handlers["other.example"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				posts.Add(1)
			}
			if r.URL.Path != path {
				http.NotFound(rw, r)
				return
			}
			_, _ = rw.Write(other.Cosign(served.Load().Checkpoint(size.Load()), time.Now().Unix()))
		})
		m := cluster(t, net, log, 1, options{change: func(c *gossip.Config) { c.Peers = []string{"http://other.example"} }})[0]
		run(t, m)
		for _, n := range []int64{20, 40, 50, 60, 70} {
			m.mustAdd(t, log, n)
			time.Sleep(time.Second)
		}
		time.Sleep(3 * interval)
		synctest.Wait()
		if posts.Load() != 1 {
			t.Errorf("pushed %d checkpoints to a peer that does not take them, want 1", posts.Load())
		}
		if len(m.evidence(t)) != 0 || len(challenges(t, m)) != 0 {
			t.Errorf("a fair log and witness: evidence %v, challenges %v", kinds(t, m), challenges(t, m))
		}
		if got := metric(t, m, `cairn_witness_peer_requests_total{peer="http://other.example",result="error",what="checkpoint"}`); got != "" {
			t.Errorf("%s requests failed", got)
		}
		size.Store(60)
		served.Store(fork)
		time.Sleep(oneRound)
		synctest.Wait()
		m.checkConvicted(t, log, fork)
	})
}

// TestEvidenceToLog: evidence is posted to the log's own address, until it is
// taken.
func TestEvidenceToLog(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, fork := forkedLog()
		net := newNetwork(10)
		var got []string
		fails := 2
		net.handlers["ledger"] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if fails > 0 {
				fails--
				http.Error(rw, "not now", http.StatusServiceUnavailable)
				return
			}
			b := make([]byte, 1<<20)
			n, _ := r.Body.Read(b)
			got = append(got, r.Method+" "+r.URL.Path+" "+string(b[:n]))
		})
		m := cluster(t, net, log, 1, options{change: func(c *gossip.Config) {
			c.EvidenceURLs = map[string]string{origin: "http://ledger/evidence"}
		}})[0]
		run(t, m)
		m.mustAdd(t, log, 50)
		if code := m.post("/gossip/v1/checkpoint", fork.Checkpoint(50)); code != http.StatusNoContent {
			t.Fatalf("status %d", code)
		}
		time.Sleep(5 * interval)
		synctest.Wait()
		want := "POST /evidence " + string(m.evidence(t)[0].Text)
		if len(got) != 1 || got[0] != want {
			t.Errorf("the log got %q, want %q once", got, want)
		}
	})
}

// TestBounds has a log sign without end.
func TestBounds(t *testing.T) {
	log, fork := forkedLog()
	m := cluster(t, newNetwork(11), log, 1, options{})[0]
	m.mustAdd(t, log, 20)
	for n := int64(21); n <= 220; n++ {
		if code := m.post("/gossip/v1/checkpoint", log.Checkpoint(n)); code != http.StatusNoContent {
			t.Fatalf("status %d", code)
		}
	}
	label := fmt.Sprintf(`{origin=%q}`, origin)
	if got := metric(t, m, "cairn_witness_unexplained_checkpoints"+label); got != fmt.Sprint(state.MaxPending) {
		t.Errorf("%s unexplained checkpoints are kept, want %d", got, state.MaxPending)
	}
	if got := metric(t, m, "cairn_witness_unexplained_dropped_total"+label); got != fmt.Sprint(200-state.MaxPending) {
		t.Errorf("%s were dropped", got)
	}

	m = cluster(t, newNetwork(12), log, 1, options{})[0]
	for n := int64(21); n <= 60; n++ {
		m.mustAdd(t, log, n)
	}
	for n := int64(21); n <= 60; n++ {
		m.post("/gossip/v1/checkpoint", fork.Checkpoint(n))
	}
	if got := len(m.evidence(t)); got != state.MaxEvidence {
		t.Errorf("%d records of evidence are kept, want %d", got, state.MaxEvidence)
	}
}

// TestRestart: what a node holds is still there after a restart.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, fork := forkedLog()
		net := newNetwork(13)
		members := cluster(t, net, log, 2, options{challengeAfter: time.Minute})
		bad := witnesstest.NewCosigner(memberName(1), memberName(1))
		m := members[0]
		run(t, m)
		m.mustAdd(t, log, 50)
		m.post("/gossip/v1/checkpoint", bad.Cosign(fork.Checkpoint(40), time.Now().Unix()))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		before := challenges(t, m)
		if len(before) != 1 {
			t.Fatalf("%d challenges, want 1", len(before))
		}
		_, seen := m.get(selfPath(bad))
		if !strings.Contains(seen, "— "+memberName(1)) {
			t.Fatalf("seen of %s: %q", memberName(1), seen)
		}

		again := cluster(t, net, log, 1, options{change: func(c *gossip.Config) { c.State = m.db }})[0]
		if after := challenges(t, again); len(after) != 1 || after[0] != before[0] {
			t.Errorf("challenges after a restart %+v, want %+v", after, before)
		}
		if _, got := again.get(selfPath(bad)); got != seen {
			t.Errorf("seen after a restart %q, want %q", got, seen)
		}
		again.post("/gossip/v1/checkpoint", fork.Checkpoint(50))
		third := cluster(t, net, log, 1, options{change: func(c *gossip.Config) { c.State = m.db }})[0]
		if _, list := third.get("/evidence?origin-hash=" + evidence.OriginHash(origin)); !strings.Contains(list, " same-size ") {
			t.Errorf("evidence after a restart: %q", list)
		}
	})
}

func selfPath(c *witnesstest.Cosigner) string {
	return "/gossip/v1/cosigned?origin-hash=" + evidence.OriginHash(origin) + "&witness=" +
		strings.ReplaceAll(evidence.KeyID(c.Verifier()), "+", "%2B")
}
