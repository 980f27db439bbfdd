package cluster_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

var (
	modelSigned = flag.Int("model", 40, "how many signatures TestAnyInterleaving waits for, or for 15 seconds")
	modelSeed   = flag.Uint64("model.seed", rand.Uint64(), "what TestAnyInterleaving does")
)

// stall is a process that was stopped at some point.
type stall struct{ resume chan struct{} }

// chaos stops processes at random points of their publications.
type chaos struct {
	mu      sync.Mutex
	rand    *rand.Rand
	stalled []stall
	over    bool // nothing is stopped any more
}

func (c *chaos) at(string) {
	c.mu.Lock()
	if c.over || c.rand.IntN(8) > 0 {
		c.mu.Unlock()
		return
	}
	s := stall{make(chan struct{})}
	c.stalled = append(c.stalled, s)
	c.mu.Unlock()
	<-s.resume
}

// resume lets one that was stopped go on.
func (c *chaos) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.stalled); n > 0 {
		i := c.rand.IntN(n)
		close(c.stalled[i].resume)
		c.stalled = append(c.stalled[:i], c.stalled[i+1:]...)
	}
}

// end lets all go on.
func (c *chaos) end() {
	c.mu.Lock()
	c.over = true
	n := len(c.stalled)
	c.mu.Unlock()
	for range n {
		c.resume()
	}
}

func (c *chaos) intN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.IntN(n)
}

// TestAnyInterleaving has processes publish that are stopped at any point, for any
// time, while others take over; that are killed; and whose database is. Whatever
// was signed is one log in the end, and the log goes on.
func TestAnyInterleaving(t *testing.T) {
	t.Logf("-model.seed=%d", *modelSeed)
	server := pgtest.Start(t, "fsync=off") // a process is killed, not the machine
	w := newWorld(t, server)
	c := &chaos{rand: rand.New(rand.NewPCG(*modelSeed, 1))}
	hook := c.at
	t.Cleanup(c.end) // before the processes are waited for
	begin := func(name string) *process {
		p := w.process(name, 3*time.Second)
		p.hook.Store(&hook)
		return p.start()
	}
	live := []*process{begin("a"), begin("b"), begin("c")}
	var dead []*process
	step := time.NewTicker(10 * time.Millisecond)
	defer step.Stop()
	for end := time.Now().Add(15 * time.Second); w.signatures() < *modelSigned && time.Now().Before(end); <-step.C {
		switch i := c.intN(400); {
		case i < 280:
			live[i%len(live)].appendOne()
		case i < 340:
			c.resume()
		case i < 346:
			w.steal()
		case i < 348:
			// Killed: it neither renews nor gives back, and what it has under way goes on
			// when it is resumed.
			victim := live[i%len(live)]
			victim.pool.Reset()
			go victim.stop()
			dead = append(dead, victim)
			live[i%len(live)] = begin(victim.name + "'")
		case i < 349:
			if err := errors.Join(server.Kill(), server.Restart()); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.end()
	w.settle(live, dead)
}

// appendOne appends an entry if the process publishes and has time for it.
func (p *process) appendOne() {
	select {
	case p.grow <- struct{}{}:
	default:
	}
}

func (w *world) signatures() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.signed)
}

// steal is what a takeover does to who has the lease. It fails while the database
// is away.
func (w *world) steal() {
	_, _ = w.own.Exec(w.t.Context(), "UPDATE lease SET epoch = epoch + 1, until = '-infinity'")
}

// settle has the processes that are left publish once more, ends them and checks
// what all have done.
func (w *world) settle(live, dead []*process) {
	w.t.Helper()
	size := uint64(1)
	for _, p := range live {
		if latest := p.board.Latest(); latest != nil {
			size = max(size, uint64(latest.N)+1)
		}
	}
	for _, p := range live {
		p.publishUntil(size, live...)
	}
	terms := 0
	for _, p := range append(live, dead...) {
		p.end()
		terms += len(p.terms)
	}
	w.checkPast()
	w.checkBucket()
	sizes, _ := w.archived()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Logf("%d signatures in %d terms, %d checkpoints published, the last of size %d", len(w.signed), terms, len(sizes), sizes[len(sizes)-1])
}
