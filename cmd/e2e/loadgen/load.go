package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// request is one request as it goes over the wire. The envelope it carries, if
// any, is wire[body:].
type request struct {
	wire []byte
	body int
}

// sender sends requests for one submitter.
type sender interface {
	// send returns the answer's body if keep is set. An error is a failure of
	// this request only, and its text is the reason under which it is counted.
	send(ctx context.Context, wire []byte, keep bool) ([]byte, error)
	// close ends a send under way.
	close()
}

// job is one closed-loop load: each submitter sends its next request when the
// last one is answered.
type job struct {
	submitters int
	requests   []request
	reuse      bool // start again when all requests are sent
	// warmup and window bound the load in time. A window of zero lasts until
	// all requests are answered.
	warmup, window time.Duration
	open           func(i int) (sender, error)
	see            func(reply []byte) // if set, is shown every answer; called concurrently
	pid            int                // of the ledger
	witnesses      []int              // their process IDs
}

// sampleEvery is how many requests share one answer that is checked.
const sampleEvery = 100

// failurePause keeps a ledger that refuses everything from being asked in a
// tight loop, which would measure nothing but refusals.
const failurePause = 50 * time.Millisecond

// drainPatience is above the ledger's own deadline of a request.
const drainPatience = 40 * time.Second

// measurement is what a load came to.
type measurement struct {
	answered  int           // within the clock
	elapsed   time.Duration // of the clock
	latencies []time.Duration
	failures  map[string]int // by reason, of the whole load
	samples   []sample
	ranOut    bool // the requests were sent before the window ended
	cpu       load
	mem       memory
}

// sample is an answer that was kept to be checked.
type sample struct {
	req   request
	reply []byte
}

// observation is one answered request, in time since the start of the load.
type observation struct{ done, took time.Duration }

// submitter is one worker and what it saw. Submitters share nothing that is
// written but the counter of requests.
type submitter struct {
	sender   sender
	seen     []observation
	failures map[string]int
	samples  []sample
}

// run puts the load on. The error is about the load itself; requests that
// failed are in the measurement.
func (j *job) run(ctx context.Context) (*measurement, error) {
	subs, err := j.openAll(ctx)
	defer func() {
		for _, s := range subs {
			if s.sender != nil {
				s.sender.close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	resetPeak(j.pid)
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &running{job: j, start: time.Now(), exhausted: make(chan struct{})}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, s := range subs {
		wg.Go(func() { l.work(runCtx, s) })
	}
	go func() {
		wg.Wait()
		close(done)
	}()
	m := &measurement{failures: make(map[string]int)}
	from, to, err := l.clock(ctx, m, done)
	l.stop.Store(true)
	// Whoever still waits long after the load ended is cut off, and counts as
	// failed.
	cut := time.AfterFunc(drainPatience, func() {
		cancel()
		for _, s := range subs {
			s.sender.close()
		}
	})
	defer cut.Stop()
	if err != nil {
		cut.Reset(0)
	}
	<-done
	if err != nil {
		return nil, err
	}
	m.mem = measureMemory(j.pid)
	m.collect(subs, from, to)
	return m, nil
}

// openAll opens the senders, a few at a time: thousands of connections at once
// would overflow the listener's backlog.
func (j *job) openAll(ctx context.Context) ([]*submitter, error) {
	subs := make([]*submitter, j.submitters)
	for i := range subs {
		subs[i] = &submitter{failures: make(map[string]int), seen: make([]observation, 0, 64)}
	}
	err := onAllCores(ctx, len(subs), func(i int) (err error) {
		subs[i].sender, err = j.open(i)
		return err
	})
	return subs, err
}

// running is a load under way.
type running struct {
	*job
	start     time.Time
	next      atomic.Int64
	stop      atomic.Bool
	once      sync.Once
	exhausted chan struct{} // closed when there is no request left to send
}

func (l *running) work(ctx context.Context, s *submitter) {
	for !l.stop.Load() {
		i := int(l.next.Add(1)) - 1
		if i >= len(l.requests) {
			if !l.reuse {
				l.once.Do(func() { close(l.exhausted) })
				return
			}
			i %= len(l.requests)
		}
		keep := l.see != nil || i%sampleEvery == 0
		begin := time.Since(l.start)
		reply, err := s.sender.send(ctx, l.requests[i].wire, keep)
		done := time.Since(l.start)
		if err != nil {
			s.failures[err.Error()]++
			pause(ctx, failurePause)
			continue
		}
		s.seen = append(s.seen, observation{done, done - begin})
		if l.see != nil {
			l.see(reply)
		}
		if i%sampleEvery == 0 {
			s.samples = append(s.samples, sample{l.requests[i], reply})
		}
	}
}

// clock lets the load run, and returns the span that is measured.
func (l *running) clock(ctx context.Context, m *measurement, done <-chan struct{}) (from, to time.Duration, err error) {
	if l.window == 0 {
		before := measureUsage(l.pid, l.witnesses)
		select {
		case <-done:
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
		m.cpu = measureUsage(l.pid, l.witnesses).since(before)
		return 0, time.Since(l.start), nil
	}
	if !pause(ctx, l.warmup) {
		return 0, 0, context.Cause(ctx)
	}
	before := measureUsage(l.pid, l.witnesses)
	end := time.NewTimer(l.window)
	defer end.Stop()
	select {
	case <-end.C:
	case <-l.exhausted:
		m.ranOut = true
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
	after := measureUsage(l.pid, l.witnesses)
	m.cpu = after.since(before)
	if after.at.Sub(before.at) < l.window/10 {
		return 0, 0, errors.New("the attestations were sent before the clock had run for a tenth of its time: prepare more with -prepare")
	}
	return before.at.Sub(l.start), after.at.Sub(l.start), nil
}

// collect gathers what submitters saw between two points in time.
func (m *measurement) collect(subs []*submitter, from, to time.Duration) {
	m.elapsed = to - from
	for _, s := range subs {
		for _, o := range s.seen {
			if o.done >= from && o.done <= to {
				m.latencies = append(m.latencies, o.took)
			}
		}
		for reason, n := range s.failures {
			m.failures[reason] += n
		}
		m.samples = append(m.samples, s.samples...)
	}
	m.answered = len(m.latencies)
	slices.Sort(m.latencies)
}

// add joins the measurement of a further round of the same load.
func (m *measurement) add(round *measurement) {
	total := m.elapsed + round.elapsed
	if total > 0 {
		share := float64(round.elapsed) / float64(total)
		m.cpu.Server += (round.cpu.Server - m.cpu.Server) * share
		m.cpu.Witnesses += (round.cpu.Witnesses - m.cpu.Witnesses) * share
		m.cpu.Client += (round.cpu.Client - m.cpu.Client) * share
		m.cpu.Other += (round.cpu.Other - m.cpu.Other) * share
	}
	m.elapsed = total
	m.answered += round.answered
	m.latencies = append(m.latencies, round.latencies...)
	slices.Sort(m.latencies)
	for reason, n := range round.failures {
		if m.failures == nil {
			m.failures = make(map[string]int)
		}
		m.failures[reason] += n
	}
	m.mem = memory{Peak: max(m.mem.Peak, round.mem.Peak), Now: round.mem.Now}
	m.ranOut = m.ranOut || round.ranOut
}

// rate is answers a second.
func (m *measurement) rate() float64 {
	if m.elapsed <= 0 {
		return 0
	}
	return float64(m.answered) / m.elapsed.Seconds()
}

// percentile returns the smallest of the sorted values that at least p percent
// of them do not exceed (the nearest-rank method); 0 if there are none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (p*len(sorted) + 99) / 100
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// pause waits for d, and reports whether ctx lasted that long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
