package worker

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
)

const (
	// maxHeld is how many bytes of a log are held that the ledger has not taken.
	maxHeld = 1 << 20
	// maxSent is how many bytes are sent at a time.
	maxSent = 128 << 10
	// sendAfter is how long bytes wait for others before they are sent, and
	// sendFull how many are sent at once.
	sendAfter = time.Second
	sendFull  = 64 << 10
)

// jobLog is the log of a job, on its way to the ledger. Writing to it never
// blocks and never fails.
type jobLog struct {
	take   func(ctx context.Context, offset int64, data []byte) (size int64, err error)
	full   chan struct{} // of capacity 1: there is enough to send
	sendMu sync.Mutex    // held while bytes are sent

	mu      sync.Mutex
	offset  int64  // of held
	held    []byte // not yet taken by the ledger
	dropped int64  // bytes that came when held was full
	over    bool   // the lease has ended: nothing will be taken
}

func newJobLog(offset int64, take func(context.Context, int64, []byte) (int64, error)) *jobLog {
	return &jobLog{take: take, full: make(chan struct{}, 1), offset: offset}
}

// Write implements io.Writer.
func (l *jobLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayDropped()
	if room := maxHeld - len(l.held); l.over || l.dropped > 0 || len(p) > room {
		l.dropped += int64(len(p))
		return len(p), nil
	}
	l.held = append(l.held, p...)
	if len(l.held) >= sendFull {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

// sayDropped notes what was dropped, once there is room again. l.mu is held.
func (l *jobLog) sayDropped() {
	if l.dropped > 0 && len(l.held) < maxHeld/2 && !l.over {
		l.held = fmt.Appendf(l.held, "\ncairn: %d bytes of the log were dropped: the ledger did not take them in time\n", l.dropped)
		l.dropped = 0
	}
}

// send sends what is written, until ctx ends.
func (l *jobLog) send(ctx context.Context) {
	t := time.NewTicker(sendAfter)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-l.full:
		}
		for l.sendOne(ctx) {
		}
	}
}

// flush sends what is left, until it is sent, the ledger refuses it or ctx ends.
func (l *jobLog) flush(ctx context.Context) {
	for failed := 1; failed <= 3 && ctx.Err() == nil; failed++ {
		for l.sendOne(ctx) {
			failed = 0
		}
		if l.empty() {
			return
		}
		rest(ctx, pauseAfter(failed+1))
	}
}

func (l *jobLog) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayDropped()
	return len(l.held) == 0 || l.over
}

// sendOne sends a piece of what is held, and reports whether there is more that
// could be sent at once.
func (l *jobLog) sendOne(ctx context.Context) bool {
	l.sendMu.Lock()
	defer l.sendMu.Unlock()
	l.mu.Lock()
	offset, piece := l.offset, bytes.Clone(l.held[:min(len(l.held), maxSent)])
	over := l.over
	l.mu.Unlock()
	if len(piece) == 0 || over {
		return false
	}
	size, err := l.take(ctx, offset, piece)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		e, refused := reason.Of(err)
		l.over = refused && e.Reason == reason.LeaseLost
		return false
	}
	if size < offset {
		// The ledger has less than it said before: what it lost is lost.
		l.offset = size
		return true
	}
	taken := min(size-offset, int64(len(piece)))
	l.offset, l.held = offset+taken, l.held[taken:]
	l.sayDropped()
	return taken > 0 && len(l.held) > 0
}
