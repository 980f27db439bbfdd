package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Run does the work that one process does for all, until ctx ends or something is
// wrong that waiting does not mend; what ends it is its error. It feeds what is
// placed to Trillian, writes what Trillian has integrated to the bucket, trims the
// sequence, and deletes partial tiles that nobody needs any more.
func (t *Trillian) Run(ctx context.Context) error {
	if !t.started.CompareAndSwap(false, true) {
		return errors.New("running the log: it is being run already")
	}
	defer t.started.Store(false)
	if err := t.catchUp(ctx); err != nil {
		return fmt.Errorf("running the log: %w", err)
	}
	t.running.Store(true)
	defer t.running.Store(false)
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{t.feedLoop, t.tileLoop, t.collectLoop} {
		g.Go(func() error { return loop(ctx) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("running the log: %w", err)
	}
	return nil
}

// catchUp begins a term: others may have written tiles since the last one.
func (t *Trillian) catchUp(ctx context.Context) error {
	if err := t.lock(ctx); err != nil {
		return err
	}
	t.state.loaded = false
	t.unlock()
	for again := t.retrier("starting on Trillian's tree"); ; {
		size, err := t.advance(ctx)
		if err == nil {
			t.resetFeeder(size)
			return nil
		}
		if err := again.wait(ctx, err); err != nil {
			return err
		}
	}
}

// tileLoop keeps the tiles up with Trillian's tree.
func (t *Trillian) tileLoop(ctx context.Context) error {
	again := t.retrier("writing tiles")
	var trimmed trimmer
	grew, at := t.size.Load(), time.Now()
	for {
		size, err := t.advance(ctx)
		if err != nil {
			if err := again.wait(ctx, err); err != nil {
				return err
			}
			continue
		}
		again.reset()
		trimmed.trim(ctx, t)
		pause, fed := t.cfg.Idle, t.fedUpTo()
		if size < fed {
			pause = t.cfg.Poll
		}
		switch {
		case size > grew || size >= fed:
			grew, at = size, time.Now()
		case time.Since(at) > t.cfg.Stall:
			t.cfg.Log.Warn("Trillian does not integrate what it was given: is a signer running?", "size", size, "fed", fed)
			t.resetFeeder(size)
			at = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.feeder.fed:
		case <-time.After(pause):
		}
	}
}

// trimmer trims the sequence, not for every leaf. Its failures end nothing: what
// stays longer does no harm.
type trimmer struct {
	below  uint64
	at     time.Time // of the last try
	warned time.Time
}

const trimLeaves, trimEvery = 4096, time.Second

func (tr *trimmer) trim(ctx context.Context, t *Trillian) {
	below := min(t.size.Load(), t.indexed.Load(), t.published.Load())
	if below <= tr.below || below < tr.below+trimLeaves && time.Since(tr.at) < trimEvery {
		return
	}
	tr.at = time.Now()
	err := t.cfg.Sequence.Trim(ctx, below)
	if err == nil {
		tr.below = below
		return
	}
	if ctx.Err() == nil && time.Since(tr.warned) > warnEvery {
		t.cfg.Log.Warn("trimming the sequence: trying again", "below", below, "error", err)
		tr.warned = tr.at
	}
}

// retrier waits longer after each failure that may pass, and warns of them now and
// then.
type retrier struct {
	t      *Trillian
	what   string
	pause  time.Duration
	warned time.Time
}

const minPause, maxPause, warnEvery = 20 * time.Millisecond, time.Second, 10 * time.Second

func (t *Trillian) retrier(what string) *retrier { return &retrier{t: t, what: what} }

func (r *retrier) reset() { r.pause = 0 }

// wait returns nil when it is time to try again, and what ends trying otherwise.
func (r *retrier) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !isTransient(err) {
		return err
	}
	if time.Since(r.warned) > warnEvery {
		r.t.cfg.Log.Warn(r.what+": trying again", "error", err)
		r.warned = time.Now()
	}
	r.pause = min(max(2*r.pause, minPause), maxPause)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(r.pause):
		return nil
	}
}
