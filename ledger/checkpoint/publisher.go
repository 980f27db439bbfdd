package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// Log is what a Publisher needs of the Merkle log.
type Log interface {
	// Size returns the number of leaves in the tree, published or not.
	Size(ctx context.Context) (uint64, error)
	// Publish durably stores the signed checkpoint.
	Publish(ctx context.Context, signed []byte) error
}

// Proofs computes roots and consistency proofs from the log's storage. tree is
// a size that storage is known to hold.
type Proofs interface {
	Root(ctx context.Context, size, tree uint64) ([]byte, error)
	Consistency(ctx context.Context, from, to, tree uint64) ([][]byte, error)
}

// Published is a checkpoint that was made public.
type Published struct {
	torchwood.Checkpoint
	Signed []byte // the signed note
	At     time.Time
}

// Config is what a Publisher works with.
type Config struct {
	Guard  *Guard
	Log    Log
	Proofs Proofs
	// Policy must accept a checkpoint before it is published.
	Policy torchwood.Policy
	// Index is called before a larger tree is signed, with its size. What is
	// published is thus indexed, and was read back from storage.
	Index func(ctx context.Context, size uint64) error
	// Interval is the least time between two publications.
	Interval time.Duration
	Now      func() time.Time
}

// Publisher makes the log's growth public: it waits to be told that the log
// grew, has the new tree indexed and signed, stores the checkpoint, and wakes
// who waits for it.
type Publisher struct {
	cfg  Config
	grew chan struct{} // of capacity 1: a pending signal covers later growth

	mu     sync.Mutex
	latest *Published    // nil until the first publication
	next   chan struct{} // closed when latest is replaced
}

// NewPublisher returns a Publisher; Run makes it work.
func NewPublisher(cfg Config) *Publisher {
	return &Publisher{cfg: cfg, grew: make(chan struct{}, 1), next: make(chan struct{})}
}

// Grew tells the Publisher that the log grew. It never blocks.
func (p *Publisher) Grew() {
	select {
	case p.grew <- struct{}{}:
	default:
	}
}

// Latest returns the latest published checkpoint, or nil.
func (p *Publisher) Latest() *Published {
	latest, _ := p.watch()
	return latest
}

// watch returns the latest checkpoint and a channel that is closed when there
// is a later one.
func (p *Publisher) watch() (*Published, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest, p.next
}

// Wait returns the latest checkpoint as soon as its tree has at least size
// leaves.
func (p *Publisher) Wait(ctx context.Context, size uint64) (*Published, error) {
	for {
		latest, next := p.watch()
		if latest != nil && uint64(latest.N) >= size {
			return latest, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// After returns the latest checkpoint as soon as it is another than seen.
func (p *Publisher) After(ctx context.Context, seen *Published) (*Published, error) {
	for {
		latest, next := p.watch()
		if latest != seen {
			return latest, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Run publishes until ctx is done, and then publishes once more what was
// appended meanwhile. It returns early with the error of the first publication
// that fails: storage and signed past can then no longer be trusted to agree,
// and only a restart finds out.
func (p *Publisher) Run(ctx context.Context) error {
	// The signals of a shutdown must not interrupt a publication half-way.
	work := context.WithoutCancel(ctx)
	if err := p.publish(work); err != nil {
		return err
	}
	var pause <-chan time.Time
	grew := p.grew
	for {
		select {
		case <-ctx.Done():
			return p.publish(work)
		case <-pause:
			pause, grew = nil, p.grew
			continue
		case <-grew:
		}
		if err := p.publish(work); err != nil {
			return err
		}
		if p.cfg.Interval > 0 {
			pause, grew = time.After(p.cfg.Interval), nil
		}
	}
}

// publish publishes the log's present tree, unless it is already public.
func (p *Publisher) publish(ctx context.Context) error {
	size, err := p.cfg.Log.Size(ctx)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if latest := p.Latest(); latest != nil && uint64(latest.N) == size {
		return nil
	}
	if err := p.cfg.Index(ctx, size); err != nil {
		return fmt.Errorf("indexing up to %d: %w", size, err)
	}
	root, err := p.cfg.Proofs.Root(ctx, size, size)
	if err != nil {
		return fmt.Errorf("publishing size %d: %w", size, err)
	}
	tree := tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}
	signed, err := p.cfg.Guard.Sign(ctx, tree, func(ctx context.Context, from, to uint64) ([][]byte, error) {
		return p.cfg.Proofs.Consistency(ctx, from, to, size)
	})
	if err != nil {
		return fmt.Errorf("publishing size %d: %w", size, err)
	}
	checked, _, err := torchwood.VerifyCheckpoint(signed, p.cfg.Policy)
	if err != nil {
		return fmt.Errorf("publishing size %d: the checkpoint does not satisfy the ledger's own policy: %w", size, err)
	}
	if checked.Tree != tree {
		return errors.New("publishing: the signed checkpoint is not of the tree that was to be signed")
	}
	if err := p.cfg.Log.Publish(ctx, signed); err != nil {
		return fmt.Errorf("publishing size %d: %w", size, err)
	}
	p.set(&Published{Checkpoint: checked, Signed: signed, At: p.cfg.Now()})
	return nil
}

func (p *Publisher) set(latest *Published) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = latest
	close(p.next)
	p.next = make(chan struct{})
}
