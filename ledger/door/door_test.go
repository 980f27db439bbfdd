package door_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/door"
)

// clock is a time that tests set.
type clock struct{ now time.Time }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func newDoor(limit int64) (*door.Door, *clock) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	return door.New(door.Config{Limit: limit, Patience: time.Second, Now: func() time.Time { return c.now }}), c
}

func enter(t *testing.T, d *door.Door, cost int64, cut func()) *door.Pass {
	t.Helper()
	p, _ := d.Enter(cost, cut)
	if p == nil {
		t.Fatalf("no room for %d bytes, with %d held", cost, d.Held())
	}
	return p
}

func refused(t *testing.T, d *door.Door, cost int64) time.Duration {
	t.Helper()
	p, wait := d.Enter(cost, nil)
	if p != nil {
		t.Fatalf("there is room for %d bytes more: %d held", cost, d.Held())
	}
	if wait < door.MinWait || wait > door.MaxWait {
		t.Errorf("to come back after %v, want between %v and %v", wait, door.MinWait, door.MaxWait)
	}
	return wait
}

func TestNothingExceedsTheLimit(t *testing.T) {
	d, _ := newDoor(100)
	a := enter(t, d, 60, nil)
	b := enter(t, d, 40, nil)
	refused(t, d, 1)
	if a.Arrived(61) {
		t.Error("a request holds more than there is room for")
	}
	if !a.Arrived(10) {
		t.Error("a request may not hold less")
	}
	c := enter(t, d, 50, nil)
	if c.Hold(51) {
		t.Error("a request holds more than there is room for")
	}
	for _, p := range []*door.Pass{a, a, b, c} {
		p.Leave() // a second time does nothing
	}
	if d.Held() != 0 || d.Refused() != 3 {
		t.Errorf("%d bytes are held and %d were refused, want 0 and 3", d.Held(), d.Refused())
	}
	if !a.Arrived(70) || d.Held() != 0 {
		t.Error("who left holds something again")
	}
}

func TestTheSlowestIsCutOff(t *testing.T) {
	d, c := newDoor(100)
	var cut []string
	slow := func(name string) func() { return func() { cut = append(cut, name) } }
	first := enter(t, d, 40, slow("first"))
	c.pass(500 * time.Millisecond)
	second := enter(t, d, 40, slow("second"))
	quick := enter(t, d, 20, slow("quick"))
	if !quick.Arrived(20) {
		t.Fatal("no room for what was reserved")
	}
	refused(t, d, 1)
	if len(cut) != 0 {
		t.Fatalf("%s was cut off before it was slow", cut)
	}
	c.pass(600 * time.Millisecond)
	refused(t, d, 1)
	refused(t, d, 1) // the second is not slow yet
	if len(cut) != 1 || !first.Cut() || second.Cut() {
		t.Fatalf("%s were cut off, want the first", cut)
	}
	first.Leave()
	enter(t, d, 40, nil)
	c.pass(time.Second)
	refused(t, d, 1)
	if len(cut) != 2 || !second.Cut() || quick.Cut() {
		t.Errorf("%s were cut off, want the first and the second", cut)
	}
}

func TestPress(t *testing.T) {
	d, c := newDoor(100)
	cut := 0
	enter(t, d, 40, func() { cut++ })
	enter(t, d, 40, nil)
	d.Press()
	if cut != 0 {
		t.Fatal("one was cut off before it was slow")
	}
	c.pass(time.Second)
	d.Press()
	d.Press()
	if cut != 1 || d.Refused() != 0 {
		t.Errorf("%d times cut off and %d refused, want once and none", cut, d.Refused())
	}
}

// Who is refused is told how long the backlog takes.
func TestWaitFollowsTheBacklog(t *testing.T) {
	for _, test := range []struct {
		name        string
		perSecond   int64
		least, most time.Duration
	}{
		{"fast", 1000, door.MinWait, 3 * time.Second},
		{"slow", 100, 5 * time.Second, 16 * time.Second},
		{"almost never", 1, 15 * time.Second, door.MaxWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, c := newDoor(1000)
			for range 10 {
				p := enter(t, d, test.perSecond, nil)
				c.pass(time.Second)
				p.Leave()
			}
			enter(t, d, 1000, nil)
			for range 100 {
				if wait := refused(t, d, 1); wait < test.least || wait > test.most {
					t.Fatalf("to come back after %v, want between %v and %v", wait, test.least, test.most)
				}
			}
		})
	}
}

// Those who wait come in by their order, and nobody overtakes them.
func TestAwait(t *testing.T) {
	d, _ := newDoor(100)
	a := enter(t, d, 60, nil)
	b := enter(t, d, 40, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	came := make(chan string, 3)
	wait := func(ctx context.Context, name string, cost int64) {
		before := d.Waiting()
		go func() {
			p, wait := d.Await(ctx, cost, nil)
			switch {
			case p != nil:
				came <- name
			case wait >= door.MinWait:
				came <- name + " was refused"
			}
		}()
		for d.Waiting() == before {
			runtime.Gosched()
		}
	}
	wait(t.Context(), "first", 50)
	wait(ctx, "gives up", 90)
	wait(t.Context(), "third", 20)
	b.Leave()
	refused(t, d, 1)
	select {
	case name := <-came:
		t.Errorf("%s came in without room for the first", name)
	default:
	}
	a.Arrived(50)
	if got := <-came; got != "first" {
		t.Errorf("%s, want the first", got)
	}
	cancel()
	if got := <-came; got != "gives up was refused" {
		t.Errorf("%s, want that it gave up", got)
	}
	a.Leave()
	if got := <-came; got != "third" {
		t.Errorf("%s, want the third", got)
	}
	if d.Held() != 70 || d.Waiting() != 0 {
		t.Errorf("%d bytes are held and %d wait, want 70 and 0", d.Held(), d.Waiting())
	}
}

func TestManyAtOnce(t *testing.T) {
	d := door.New(door.Config{Limit: 64, Now: time.Now})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 500 {
				p, _ := d.Enter(int64(1+(i+j)%16), func() {})
				if held := d.Held(); held > 64 {
					t.Errorf("%d bytes are held, over the limit", held)
				}
				if p != nil {
					p.Arrived(int64(1 + j%16))
					p.Leave()
				}
			}
		})
	}
	wg.Wait()
	if d.Held() != 0 {
		t.Errorf("%d bytes are held by nobody", d.Held())
	}
}
