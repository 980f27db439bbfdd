package gossip_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnlog/cairn/witness/gossip"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// forkedLog is a log and its fork, which share 20 entries.
func forkedLog() (a, b *witnesstest.Log) {
	a = witnesstest.NewLog(origin).Grow(20, "common")
	b = a.Fork()
	return a.Grow(500, "a"), b.Grow(500, "b")
}

// oneRound is the longest that anti-entropy takes, and a little for the answers.
const oneRound = interval*12/10 + 5*time.Second

// TestSplitView shows two histories to two halves of five witnesses. All five
// hold evidence within one round of gossip, and none cosigns again.
func TestSplitView(t *testing.T) {
	for _, tt := range []struct {
		name string
		// what each half is shown after the common size 20
		a, b []int64
		// whose tiles the log serves; nil for none
		tiles func(a, b *witnesstest.Log) http.Handler
		push  bool
	}{
		{"same size", []int64{40}, []int64{40}, nil, true},
		{"same size, pushes lost", []int64{40}, []int64{40}, nil, false},
		{"a size in common, in the past", []int64{30, 40, 300}, []int64{30, 50, 270}, nil, true},
		{"different sizes, tiles of the larger", []int64{40}, []int64{300}, tilesOf(false), true},
		{"different sizes, tiles of the smaller, which grew", []int64{40}, []int64{300}, tilesOf(true), true},
		{"different sizes, tiles but no checkpoint", []int64{40}, []int64{300}, tilesAlone, true},
		{"different sizes, pushes lost", []int64{40}, []int64{300}, tilesOf(false), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, b := forkedLog()
				net := newNetwork(1)
				if tt.tiles != nil {
					net.handlers[logHost] = tt.tiles(a, b)
				}
				members := cluster(t, net, a, 5, options{logURL: true})
				if !tt.push {
					for i, m := range members {
						net.handlers[m.name] = withoutPost(m.mux)
						_ = i
					}
				}
				run(t, members...)
				for i, m := range members {
					m.mustAdd(t, a, 20)
					log, sizes := a, tt.a
					if i >= 2 {
						log, sizes = b, tt.b
					}
					for _, n := range sizes {
						m.mustAdd(t, log, n)
					}
				}
				time.Sleep(oneRound)
				synctest.Wait()
				for _, m := range members {
					m.checkConvicted(t, a, b)
				}
			})
		})
	}
}

func tilesOf(first bool) func(a, b *witnesstest.Log) http.Handler {
	return func(a, b *witnesstest.Log) http.Handler {
		if first {
			return a
		}
		return b
	}
}

// tilesAlone serves the tiles of b, which has grown since, and no checkpoint.
func tilesAlone(_, b *witnesstest.Log) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/checkpoint" {
			http.NotFound(rw, r)
			return
		}
		b.ServeHTTP(rw, r)
	})
}

func withoutPost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Error(rw, "lost", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(rw, r)
	})
}

// TestHiddenTiles: a fork at two sizes, and a log that shows its tiles to
// nobody. That is no proof, so nobody is accused, but everybody is told.
func TestHiddenTiles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, b := forkedLog()
		net := newNetwork(2)
		members := cluster(t, net, a, 5, options{logURL: true, challengeAfter: 2 * time.Minute})
		run(t, members...)
		for i, m := range members {
			m.mustAdd(t, a, 20)
			if i < 2 {
				m.mustAdd(t, a, 40)
			} else {
				m.mustAdd(t, b, 300)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, m := range members {
			if c := challenges(t, m); len(c) != 0 {
				t.Errorf("%s has %d challenges before their time", m.name, len(c))
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		for _, m := range members {
			checkChallenged(t, m)
		}

		// The log shows the tiles of one history: the challenge is answered.
		net.mu.Lock()
		net.handlers[logHost] = b
		net.mu.Unlock()
		time.Sleep(oneRound)
		synctest.Wait()
		for _, m := range members {
			m.checkConvicted(t, a, b)
			if c := challenges(t, m); len(c) != 0 {
				t.Errorf("%s still has %d challenges", m.name, len(c))
			}
		}
	})
}

// checkChallenged checks that a member accuses nobody, but says what it cannot
// explain.
func checkChallenged(t *testing.T, m *member) {
	t.Helper()
	if e := m.evidence(t); len(e) != 0 {
		t.Errorf("%s has evidence, of what nobody can prove: %s", m.name, e[0].Text)
	}
	if m.refused(t) != nil {
		t.Errorf("%s refuses the log without evidence", m.name)
	}
	c := challenges(t, m)
	if len(c) != 1 {
		t.Errorf("%s has %d challenges, want 1", m.name, len(c))
		return
	}
	if c[0].OurCheckpoint == "" || c[0].Checkpoint == c[0].OurCheckpoint {
		t.Errorf("%s: challenge %+v does not show both checkpoints", m.name, c[0])
	}
	if got := metric(t, m, `cairn_witness_challenges_open{origin="log.example/test"}`); got != "1" {
		t.Errorf("%s: metric says %q challenges, want 1", m.name, got)
	}
	stored, err := m.db.PendingOf(t.Context(), origin)
	if err != nil || len(stored) != 1 || stored[0].Opened == 0 {
		t.Errorf("%s: stored %+v, %v, want the challenge", m.name, stored, err)
	}
}

func challenges(t testing.TB, m *member) []gossip.Challenge {
	t.Helper()
	code, body := m.get("/challenges")
	if code != http.StatusOK {
		t.Fatalf("getting challenges: %d", code)
	}
	var list []gossip.Challenge
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func metric(t testing.TB, m *member, name string) string {
	t.Helper()
	for line := range strings.Lines(scrape(m)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestAhead: peers are ahead of a witness that the log does not ask any more. The
// tiles show that all is well, which costs a few requests and no alarm; when the
// log then shows the peers two histories, this witness finds out, too.
func TestAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, fork := forkedLog()
		net := newNetwork(4)
		net.handlers[logHost] = log
		m := cluster(t, net, log, 1, options{logURL: true, challengeAfter: time.Minute})[0]
		run(t, m)
		m.mustAdd(t, log, 20)
		for _, n := range []int64{100, 60, 140} {
			m.post("/gossip/v1/checkpoint", log.Checkpoint(n))
			time.Sleep(time.Hour)
			synctest.Wait()
		}
		if c := challenges(t, m); len(c) != 0 {
			t.Errorf("challenges %+v of what the tiles explain", c)
		}
		if got := metric(t, m, `cairn_witness_unexplained_checkpoints{origin="log.example/test"}`); got != "2" {
			t.Errorf("%s checkpoints wait, want 2: the smallest is covered", got)
		}
		if net.requests > 50 {
			t.Errorf("%d requests in three hours", net.requests)
		}
		m.post("/gossip/v1/checkpoint", fork.Checkpoint(120))
		time.Sleep(time.Minute)
		synctest.Wait()
		m.checkConvicted(t, log, fork)
	})
}

// TestLateTiles: a witness that lags and a log without tiles look like a fork
// for a while. Once the log shows the checkpoint to the witness, too, all is
// well.
func TestLateTiles(t *testing.T) {
	bubble(t, func(t *testing.T) {
		log, _ := forkedLog()
		net := newNetwork(3)
		members := cluster(t, net, log, 2, options{challengeAfter: 2 * time.Minute})
		run(t, members...)
		for _, m := range members {
			m.mustAdd(t, log, 20)
		}
		members[0].mustAdd(t, log, 30)
		members[0].mustAdd(t, log, 50)
		members[1].mustAdd(t, log, 40)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		// Whether size 30 was pushed, or only 50, is a matter of luck.
		for _, m := range members {
			if len(challenges(t, m)) == 0 {
				t.Errorf("%s has no challenge of sizes 40 and 50 without tiles", m.name)
			}
		}
		// A size in common: the chains of both show all.
		members[0].mustAdd(t, log, 60)
		members[1].mustAdd(t, log, 60)
		time.Sleep(oneRound)
		synctest.Wait()
		for _, m := range members {
			if c := challenges(t, m); len(c) != 0 {
				t.Errorf("%s still has challenges: %+v", m.name, c)
			}
			if len(m.evidence(t)) != 0 || m.refused(t) != nil {
				t.Errorf("%s accuses a fair log", m.name)
			}
		}
	})
}
