// Package door bounds what a server has under way, by memory: what a request may
// come to hold is reserved before anything of it is read, and given back when it is
// answered. Who finds no room is refused at once, and told when to come back.
//
// Invariants:
//   - What is reserved never exceeds the limit.
//   - Nobody waits at Enter, and being refused there costs neither a goroutine nor an
//     allocation that outlives the refusal. Those at Await come in by their order.
//   - Whoever sends or takes its bytes so slowly that others are refused meanwhile
//     is cut off: a few slow ones cannot keep everybody out.
package door

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Config is what a Door works with.
type Config struct {
	// Limit is how many bytes may be reserved at once.
	Limit int64
	// Patience is how long who is slow may be so while others are refused.
	Patience time.Duration
	Now      func() time.Time
}

// Door admits requests as long as there is room for them.
type Door struct {
	cfg Config

	mu      sync.Mutex
	held    int64
	refused uint64
	slow    list.List // of *Pass: those whose peers are waited for, the oldest first
	queue   list.List // of *waiter, the oldest first
	drain   drain
}

// New returns a Door.
func New(cfg Config) *Door { return &Door{cfg: cfg, drain: drain{since: cfg.Now()}} }

// Pass is a request's place behind a Door. Its methods may be called concurrently.
type Pass struct {
	door  *Door
	cost  int64
	since time.Time
	cut   func()
	place *list.Element // in the list of the slow; nil if nobody is waited for
	left  bool
	gone  bool // was cut off
}

// Enter reserves cost bytes. Without room it returns no pass, and after which time
// it is worth asking again. If cut is not nil, the request's peer is waited for until
// Arrived is called, and cut is called at most once, to end the waiting; it must not
// block.
func (d *Door) Enter(cost int64, cut func()) (p *Pass, retry time.Duration) {
	d.mu.Lock()
	if d.queue.Len() == 0 && d.held+cost <= d.cfg.Limit {
		defer d.mu.Unlock()
		return d.admit(cost, cut), 0
	}
	d.refused++
	retry = d.drain.wait(d.held + cost)
	d.mu.Unlock()
	d.Press()
	return nil, retry
}

func (d *Door) admit(cost int64, cut func()) *Pass {
	d.held += cost
	p := &Pass{door: d, cost: cost, cut: cut}
	if cut != nil {
		p.since = d.cfg.Now()
		p.place = d.slow.PushBack(p)
	}
	return p
}

// waiter is a request at Await. Its pass is there once ready is closed.
type waiter struct {
	cost  int64
	cut   func()
	pass  *Pass
	ready chan struct{}
}

// Await is Enter of a request that waits for room until ctx ends.
func (d *Door) Await(ctx context.Context, cost int64, cut func()) (p *Pass, retry time.Duration) {
	d.mu.Lock()
	if d.queue.Len() == 0 && d.held+cost <= d.cfg.Limit {
		defer d.mu.Unlock()
		return d.admit(cost, cut), 0
	}
	w := &waiter{cost: cost, cut: cut, ready: make(chan struct{})}
	place := d.queue.PushBack(w)
	d.mu.Unlock()
	d.Press()
	select {
	case <-w.ready:
		return w.pass, 0
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.pass != nil {
		return w.pass, 0
	}
	d.queue.Remove(place)
	d.letIn() // who stood behind may need less
	d.refused++
	return nil, d.drain.wait(d.held + cost)
}

// letIn admits those who wait, as far as there is room for the first of them.
func (d *Door) letIn() {
	for first := d.queue.Front(); first != nil; first = d.queue.Front() {
		w := first.Value.(*waiter)
		if d.held+w.cost > d.cfg.Limit {
			return
		}
		d.queue.Remove(first)
		w.pass = d.admit(w.cost, w.cut)
		close(w.ready)
	}
}

// Press says that others are refused elsewhere for want of what this Door's requests
// hold too, such as connections: it cuts off the slowest, as Enter does without room.
func (d *Door) Press() {
	d.mu.Lock()
	slow := d.slowest()
	d.mu.Unlock()
	if slow != nil {
		slow.cut()
	}
}

// slowest returns the pass to cut off, if somebody's patience is over.
func (d *Door) slowest() *Pass {
	first := d.slow.Front()
	if first == nil {
		return nil
	}
	p := first.Value.(*Pass)
	if d.cfg.Now().Sub(p.since) < d.cfg.Patience {
		return nil
	}
	p.gone = true
	p.notSlow()
	return p
}

func (p *Pass) notSlow() {
	if p.place != nil {
		p.door.slow.Remove(p.place)
		p.place = nil
	}
}

// Arrived says that nobody is waited for any more, and that the request holds cost
// bytes. It reports whether there is room for more than there was.
func (p *Pass) Arrived(cost int64) bool {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	p.notSlow()
	return p.change(cost)
}

// Hold is Arrived of a request whose peer is still waited for.
func (p *Pass) Hold(cost int64) bool {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	return p.change(cost)
}

func (p *Pass) change(cost int64) bool {
	d := p.door
	if p.left {
		return true
	}
	if more := cost - p.cost; more > 0 && d.held+more > d.cfg.Limit {
		d.refused++
		return false
	}
	d.held += cost - p.cost
	p.cost = cost
	d.letIn()
	return true
}

// Cut reports whether the request was cut off.
func (p *Pass) Cut() bool {
	p.door.mu.Lock()
	defer p.door.mu.Unlock()
	return p.gone
}

// Leave gives back what is reserved. Further calls do nothing.
func (p *Pass) Leave() {
	d := p.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	p.notSlow()
	d.held -= p.cost
	d.letIn()
	d.drain.add(p.cost, d.cfg.Now())
}

// Wait returns after which time who was refused elsewhere may come back.
func (d *Door) Wait() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drain.wait(d.held)
}

// Held returns how many bytes are reserved.
func (d *Door) Held() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// Waiting returns how many wait.
func (d *Door) Waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queue.Len()
}

// Refused returns how many requests were refused so far.
func (d *Door) Refused() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// Bounds of what who is refused is told.
const (
	MinWait = time.Second
	MaxWait = 30 * time.Second
)

// drain is how fast room is given back.
type drain struct {
	since time.Time
	bytes int64   // given back since then
	rate  float64 // bytes a second, lately; 0 if that is not known
}

// over is the time over which the rate is measured.
const over = time.Second

func (r *drain) add(bytes int64, now time.Time) {
	r.bytes += bytes
	took := now.Sub(r.since)
	if took < over {
		return
	}
	rate := float64(r.bytes) / took.Seconds()
	if r.rate > 0 {
		rate = (r.rate + rate) / 2
	}
	*r = drain{since: now, rate: rate}
}

// wait returns how long it takes to give back so many bytes, somewhat more or less:
// who is refused together should not come back together.
func (r *drain) wait(bytes int64) time.Duration {
	wait := MaxWait / 6
	if r.rate > 0 {
		wait = time.Duration(min(float64(bytes)/r.rate, MaxWait.Seconds()) * float64(time.Second))
	}
	wait = wait/2 + rand.N(wait+MinWait)
	return min(max(wait, MinWait), MaxWait)
}
