package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of a batch of Append's.
const (
	batchLeaves = 1024
	batchBytes  = 4 << 20
)

var errClosed = errors.New("the log is closed")

// batcher places the leaves of Append, as many at a time as have come.
type batcher struct {
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{}

	mu     sync.Mutex
	queue  []*pending
	closed bool
}

// pending is a leaf that Append was given.
type pending struct {
	leaf  []byte
	done  chan struct{} // closed when index or err is set
	index uint64
	err   error
}

// Append implements Log. It is for a process that is the only one to append, or
// does not mind equal leaves: what must not be twice in the log is placed.
func (t *Trillian) Append(_ context.Context, leaf []byte) Future {
	p := &pending{leaf: leaf, done: make(chan struct{})}
	if err := t.batch.add(p); err != nil {
		return func() (uint64, error) { return 0, err }
	}
	return func() (uint64, error) {
		<-p.done
		if p.err == nil {
			p.err = t.awaitSize(p.index)
		}
		if p.err != nil {
			return 0, fmt.Errorf("appending to the log: %w", p.err)
		}
		return p.index, nil
	}
}

// awaitSize waits until the tree has an index.
func (t *Trillian) awaitSize(index uint64) error {
	for {
		t.mu.Lock()
		grown := t.grown
		err := t.err
		t.mu.Unlock()
		if err != nil {
			return err
		}
		if t.size.Load() > index {
			return nil
		}
		select {
		case <-grown:
		case <-t.batch.ctx.Done():
			return errClosed
		case <-time.After(t.cfg.Idle):
			// Whoever runs the log may be another process.
			if _, err := t.Size(t.batch.ctx); err != nil && !isTransient(err) {
				return err
			}
		}
	}
}

func (b *batcher) start(t *Trillian) {
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.done, b.wake = make(chan struct{}), make(chan struct{}, 1)
	go func() {
		defer close(b.done)
		for b.next(t) {
		}
	}()
}

// stop waits for what was added to be placed.
func (b *batcher) stop() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.wake)
	<-b.done
	b.cancel()
}

func (b *batcher) add(p *pending) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed
	}
	b.queue = append(b.queue, p)
	signal(b.wake)
	return nil
}

// next waits for leaves and places them. It is false when there will be no more.
func (b *batcher) next(t *Trillian) bool {
	batch, closed := b.take()
	if len(batch) == 0 {
		if closed {
			return false
		}
		<-b.wake
		return true
	}
	entries := make([]Entry, len(batch))
	for i, p := range batch {
		entries[i].Leaf = p.leaf
	}
	placed, err := t.Place(b.ctx, entries)
	for i, p := range batch {
		if err != nil {
			p.err = err
		} else {
			p.index = placed[i].Index
		}
		close(p.done)
	}
	return true
}

func (b *batcher) take() (batch []*pending, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bytes := 0
	for len(b.queue) > 0 && len(batch) < batchLeaves && (len(batch) == 0 || bytes+len(b.queue[0].leaf) <= batchBytes) {
		bytes += len(b.queue[0].leaf)
		batch = append(batch, b.queue[0])
		b.queue = b.queue[1:]
	}
	return batch, b.closed
}
