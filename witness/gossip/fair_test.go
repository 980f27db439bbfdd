package gossip_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/witnesstest"
)

// fairRounds is how many rounds of gossip a fair log is watched for.
const fairRounds = 10_000

// TestFairLog has witnesses watch a log that does nothing wrong, over a network
// that delays, reorders, loses, duplicates and replays what they say, splits
// into parts and heals, while they restart now and then and the log hides its
// tiles half of the time. There must be no evidence, no refusal, and in the end
// no challenge. CAIRN_GOSSIP_SEED repeats the weather of a run.
func TestFairLog(t *testing.T) {
	t.Parallel()
	rounds := fairRounds
	if testing.Short() {
		rounds = 500
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("CAIRN_GOSSIP_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CAIRN_GOSSIP_SEED=%d", seed)
	bubble(t, func(t *testing.T) { newWorld(t, seed).run(t, rounds) })
}

// world is a fair log, its witnesses and their weather.
type world struct {
	net        *network
	random     *rand.Rand // of the test; the network has its own
	log        *witnesstest.Log
	members    []*member
	stop       []func()
	hidden     atomic.Bool
	partition  atomic.Pointer[map[string]int] // the part that each host is in
	challenged int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{net: newNetwork(seed), random: rand.New(rand.NewPCG(seed, 1)), log: witnesstest.NewLog(origin)}
	w.net.delay = func(r *rand.Rand) time.Duration {
		if r.IntN(50) == 0 {
			return time.Duration(r.Int64N(int64(20 * time.Second))) // often longer than anyone waits
		}
		return time.Duration(r.Int64N(int64(300 * time.Millisecond)))
	}
	w.net.duplicate, w.net.replay = 0.05, 0.05
	w.partition.Store(&map[string]int{})
	w.net.blocked = func(from, to string) bool {
		parts := *w.partition.Load()
		return parts[from] != parts[to]
	}
	w.net.handlers[logHost] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.hidden.Load() {
			http.NotFound(rw, r)
			return
		}
		w.log.ServeHTTP(rw, r)
	})
	w.members = cluster(t, w.net, w.log, 3, options{logURL: true, challengeAfter: 5 * time.Minute})
	w.stop = make([]func(), len(w.members))
	for i := range w.members {
		w.start(t, i)
	}
	t.Cleanup(func() {
		for _, stop := range w.stop {
			stop()
		}
	})
	return w
}

func (w *world) start(t *testing.T, i int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	m := w.members[i]
	go func() {
		defer close(done)
		if err := m.node.Run(ctx); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}()
	w.stop[i] = func() { cancel(); <-done }
}

// restart starts a witness again on the state it has.
func (w *world) restart(t *testing.T, i int) {
	w.stop[i]()
	old := w.members[i]
	l, err := witness.NewLog([]string{w.log.VKey}, nil, "http://"+logHost)
	if err != nil {
		t.Fatal(err)
	}
	var keys []note.Verifier
	var peers []string
	for j := range w.members {
		keys = append(keys, witnesstest.NewCosigner(memberName(j), memberName(j)).Verifier())
		if j != i {
			peers = append(peers, "http://"+memberName(j))
		}
	}
	w.members[i] = newMember(t, w.net, l, i, keys, peers, old.db, options{challengeAfter: 5 * time.Minute})
	if err := w.members[i].node.SelfCheck(t.Context(), time.Second, 0); err != nil {
		t.Fatal(err)
	}
	w.start(t, i)
}

func (w *world) run(t *testing.T, rounds int) {
	for round := range rounds {
		w.weather(t)
		w.publish(t)
		time.Sleep(interval)
		if round%100 == 99 {
			w.check(t, round)
		}
	}
	// Everything heals, and the log shows its latest checkpoint to all.
	w.hidden.Store(false)
	w.partition.Store(&map[string]int{})
	w.net.mu.Lock()
	w.net.delay = func(*rand.Rand) time.Duration { return time.Millisecond }
	w.net.mu.Unlock()
	w.log.Grow(1, "entry")
	for _, m := range w.members {
		m.mustAdd(t, w.log, w.log.Size())
	}
	time.Sleep(4 * interval)
	synctest.Wait()
	w.check(t, rounds)
	for _, m := range w.members {
		if c := challenges(t, m); len(c) != 0 {
			t.Errorf("%s has open challenges in the end: %+v", m.name, c)
		}
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	t.Logf("%d rounds, %d entries, %d requests, %d challenges open at some time", rounds, w.log.Size(), w.net.requests, w.challenged)
}

// weather changes the network.
func (w *world) weather(t *testing.T) {
	switch w.random.IntN(20) {
	case 0:
		parts := make(map[string]int)
		for _, m := range w.members {
			parts[m.name] = w.random.IntN(2)
		}
		parts[logHost] = w.random.IntN(2)
		w.partition.Store(&parts)
	case 1, 2:
		w.partition.Store(&map[string]int{})
	case 3, 4:
		w.hidden.Store(!w.hidden.Load())
	case 5:
		if w.random.IntN(10) == 0 {
			w.restart(t, w.random.IntN(len(w.members)))
		}
	}
}

// publish has the log grow, and ask some of its witnesses, each about a size of
// its own.
func (w *world) publish(t *testing.T) {
	for range max(0, w.random.IntN(6)-3) { // 0, 0, 0, 0, 1 or 2
		w.log.Grow(1+w.random.IntN(3), "entry")
		size := w.log.Size()
		for _, i := range w.random.Perm(len(w.members)) {
			if w.random.IntN(10) < 7 {
				_ = w.members[i].add(t, w.log, size) // a witness may be ahead
			}
		}
	}
}

func (w *world) check(t *testing.T, round int) {
	for _, m := range w.members {
		w.challenged += len(challenges(t, m))
		if e := m.evidence(t); len(e) != 0 {
			t.Fatalf("round %d: %s has evidence against a fair log:\n%s", round, m.name, e[0].Text)
		}
		if r := m.refused(t); r != nil {
			t.Fatalf("round %d: %s refuses a fair log: %+v", round, m.name, r)
		}
	}
}
