package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// loadKeys makes the history that of an index.
func loadKeys(ctx context.Context, h *keys.History, index store.Index) error {
	size, list, standing, err := keysOf(ctx, index)
	if err != nil {
		return err
	}
	if err := h.Reset(size, list, standing); err != nil {
		return fmt.Errorf("the keys of the index: %w", err)
	}
	return nil
}

// keysOf returns the size of an index, and its keys at that size.
func keysOf(ctx context.Context, index store.Index) (uint64, []store.Key, []store.Endorsement, error) {
	if x, ok := index.(KeyIndex); ok {
		return x.KeysAt(ctx)
	}
	size, err := index.Size(ctx)
	if err != nil {
		return 0, nil, nil, err
	}
	list, standing, err := index.Keys(ctx) // nobody else writes
	return size, list, standing, err
}

// KeyIndex is an index that tells which entries changed keys: what an intake needs
// that is not alone. Both methods answer while the index is being rebuilt, too.
type KeyIndex interface {
	store.Index
	// KeyChanges returns the entries from an index on that changed keys, at most
	// limit.
	KeyChanges(ctx context.Context, from uint64, limit int) (*store.KeyChanges, error)
	// KeysAt is Keys, with the size of the index, of one state of it.
	KeysAt(ctx context.Context) (size uint64, list []store.Key, standing []store.Endorsement, err error)
}

// follower keeps the keys of an intake up to the index, whoever writes that.
//
// Invariant: between two of its passes the keys are those of the entries below
// their Next, all of which the index had.
type follower struct {
	index KeyIndex
	ring  *keys.History
	// change takes in what an entry does to keys.
	change func(context.Context, *store.Entry) error

	turn sync.Mutex // held by whoever changes the keys

	mu      sync.Mutex
	waiting *pass // the next one; nil if nobody waits for it
}

// pass is a time at which the index is looked at.
type pass struct {
	done chan struct{} // closed when err is set
	err  error
}

// Bounds of catching up.
const (
	keysPatience = 10 * time.Second      // for the storage, in one pass
	indexPause   = 20 * time.Millisecond // between two looks at an index that is behind
	keysBatch    = 256                   // entries read at once
)

// catchUp takes in what the index has, as of some time after the call. All who ask
// before that time share one look at it.
func (f *follower) catchUp(ctx context.Context) error {
	f.mu.Lock()
	p := f.waiting
	if p == nil {
		p = &pass{done: make(chan struct{})}
		f.waiting = p
		go f.run(p)
	}
	f.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *follower) run(p *pass) {
	defer close(p.done)
	f.turn.Lock()
	defer f.turn.Unlock()
	f.mu.Lock()
	f.waiting = nil // who asks from now on may know of something later
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), keysPatience)
	defer cancel()
	_, err := f.follow(ctx)
	p.err = unavailable(err)
}

// catchUpTo takes in all entries below an index, once the index has them.
func (f *follower) catchUpTo(ctx context.Context, below uint64) error {
	for {
		if err := f.catchUp(ctx); err != nil || f.ring.Next() >= below {
			return err
		}
		select {
		case <-time.After(indexPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follow makes the keys those of the index as it is, and returns its last entry, or
// nil if it has none. f.turn must be held.
func (f *follower) follow(ctx context.Context) (last *store.Entry, err error) {
	for {
		c, err := f.index.KeyChanges(ctx, f.ring.Next(), keysBatch)
		if err != nil {
			return nil, err
		}
		if c.Size < f.ring.Next() {
			// What was read from the log was not indexed after all, or the index is
			// built anew.
			return c.Last, loadKeys(ctx, f.ring, f.index)
		}
		for i := range c.Entries {
			e := &c.Entries[i]
			if e.Leaf, err = leaf.Parse(e.Text); err != nil {
				return nil, fmt.Errorf("parsing entry %d: %w", e.Index, err)
			}
			if err := f.change(ctx, e); err != nil {
				return nil, err
			}
			f.ring.Pass(e.Index + 1)
		}
		if len(c.Entries) < keysBatch {
			f.ring.Pass(c.Size)
			return c.Last, nil
		}
	}
}
