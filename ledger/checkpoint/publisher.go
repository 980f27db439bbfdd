package checkpoint

import (
	"context"
	"errors"
	"fmt"
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

// ErrUnwitnessed is wrapped where too few witnesses answered in time. It is no
// failure: the checkpoint before keeps being served, and it is tried again.
var ErrUnwitnessed = errors.New("too few witnesses")

// Witnesses cosign checkpoints. The Publisher uses them from one goroutine.
type Witnesses interface {
	// Handshake shows the checkpoint that was signed last, and returns nil once
	// enough witnesses confirmed that they know no more.
	Handshake(ctx context.Context, signed []byte, tree tlog.Tree) error
	// Cosign returns the checkpoint with cosignatures that satisfy the policy.
	Cosign(ctx context.Context, signed []byte, tree tlog.Tree) ([]byte, error)
	// Late returns a published checkpoint with the cosignatures that arrived
	// since, and whether there are any.
	Late(published []byte, tree tlog.Tree) ([]byte, bool)
	// Arrived is signalled when cosignatures arrive.
	Arrived() <-chan struct{}
}

// Proofs computes roots and consistency proofs from the log's storage. tree is
// a size that storage is known to hold.
type Proofs interface {
	Root(ctx context.Context, size, tree uint64) ([]byte, error)
	Consistency(ctx context.Context, from, to, tree uint64) ([][]byte, error)
}

// Notes keeps every note that was made public, in the order of publication.
type Notes interface {
	// Add durably adds a note.
	Add(ctx context.Context, signed []byte) error
	// Ensure adds a note unless it is among the last that were added.
	Ensure(ctx context.Context, signed []byte) error
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
	// Witnesses cosign before a checkpoint is published; nil for none.
	Witnesses Witnesses
	// Archive gets every note before it is made public; nil for none.
	Archive Notes
	// Board shows what is public. Whoever runs the Publisher ends it, once no
	// other will show anything there.
	Board *Board
	// Restored is the checkpoint that was public when the ledger stopped. If the
	// policy still accepts it, it is served until there is a later one.
	Restored []byte
	// Interval is the least time between two publications, Retry that between
	// attempts to find enough witnesses, and Refresh the age at which an
	// unchanged tree is cosigned anew; 0 is never.
	Interval, Retry, Refresh time.Duration
	Now                      func() time.Time
	// Warn is told what is tried again.
	Warn func(error)
	// Step is told of each step of a publication, "publish" and what begins with
	// "publish." within it; it returns the context for the step and what to call at
	// its end. It may be nil.
	Step func(ctx context.Context, name string) (context.Context, func(error))
}

// Publisher makes the log's growth public: it waits to be told that the log
// grew, has the new tree indexed and signed, stores the checkpoint, and shows it
// on the Board.
type Publisher struct {
	cfg  Config
	grew chan struct{} // of capacity 1: a pending signal covers later growth

	confirmed bool // whether witnesses confirmed the state; only Run uses it
}

// NewPublisher returns a Publisher; Run makes it work.
func NewPublisher(cfg Config) *Publisher {
	return &Publisher{cfg: cfg, grew: make(chan struct{}, 1)}
}

// Grew tells the Publisher that the log grew. It never blocks.
func (p *Publisher) Grew() {
	select {
	case p.grew <- struct{}{}:
	default:
	}
}

// Run publishes until ctx is done, and then publishes once more what was
// appended meanwhile. It returns early with the error of the first publication
// that fails: storage and signed past can then no longer be trusted to agree,
// and only a restart finds out. It is called once.
func (p *Publisher) Run(ctx context.Context) error {
	// The signals of a shutdown must not interrupt a publication half-way.
	work := context.WithoutCancel(ctx)
	if err := p.restore(work); err != nil {
		return err
	}
	if err := p.settle(p.step(ctx, work, false)); err != nil {
		return err
	}
	var arrived <-chan struct{}
	if p.cfg.Witnesses != nil {
		arrived = p.cfg.Witnesses.Arrived()
	}
	grew, pause, refresh := p.grew, (<-chan time.Time)(nil), p.refreshTimer()
	for {
		var err error
		select {
		case <-ctx.Done():
			return p.settle(p.publish(work, false))
		case <-pause:
			pause, grew = nil, p.grew
			continue
		case <-arrived:
			err = p.publishLate(work)
		case <-refresh:
			err = p.step(ctx, work, true)
			refresh = p.refreshTimer()
		case <-grew:
			err = p.step(ctx, work, false)
			if delay := p.delay(err); delay > 0 {
				pause, grew = time.After(delay), nil
			}
		}
		if err := p.settle(err); err != nil {
			return err
		}
	}
}

func (p *Publisher) refreshTimer() <-chan time.Time {
	if p.cfg.Refresh == 0 {
		return nil
	}
	return time.After(p.cfg.Refresh)
}

func (p *Publisher) delay(err error) time.Duration {
	if errors.Is(err, ErrUnwitnessed) {
		return p.cfg.Retry
	}
	return p.cfg.Interval
}

// settle makes a lack of witnesses something to try again.
func (p *Publisher) settle(err error) error {
	if !errors.Is(err, ErrUnwitnessed) {
		return err
	}
	p.cfg.Warn(err)
	p.Grew()
	return nil
}

// step publishes, after the witnesses confirmed the state once. Before that
// nothing new is signed: the state may be an older copy, and what it does not
// know may have been signed.
func (p *Publisher) step(ctx, work context.Context, again bool) error {
	if !p.confirmed {
		if err := p.handshake(ctx); err != nil {
			return err
		}
		p.confirmed = true
	}
	return p.publish(work, again)
}

func (p *Publisher) handshake(ctx context.Context) error {
	last, used := p.cfg.Guard.Last()
	if p.cfg.Witnesses == nil || !used {
		return nil
	}
	signed, err := p.cfg.Guard.Sign(ctx, last, nil)
	if err != nil {
		return fmt.Errorf("signing the last checkpoint again: %w", err)
	}
	return p.cfg.Witnesses.Handshake(ctx, signed, last)
}

// Check reports whether the log is the one that was signed last, or extends it.
// It is for a start, before anything is derived from the log; Run checks again.
func (p *Publisher) Check(ctx context.Context) error {
	last, used := p.cfg.Guard.Last()
	if !used {
		return nil
	}
	size, err := p.cfg.Log.Size(ctx)
	if err != nil {
		return fmt.Errorf("comparing the log with what was signed: %w", err)
	}
	return p.inLog(ctx, "signed", last, size)
}

// restore serves the checkpoint that was public before, if it still may be.
func (p *Publisher) restore(ctx context.Context) error {
	if err := p.Check(ctx); err != nil || p.cfg.Restored == nil {
		return err
	}
	c, _, err := torchwood.VerifyCheckpoint(p.cfg.Restored, p.cfg.Policy)
	if err != nil {
		p.cfg.Warn(fmt.Errorf("the checkpoint published before is not served: %w", err))
		return nil
	}
	// Of two copies of a ledger, the other may have signed it.
	last, used := p.cfg.Guard.Last()
	if !used || c.N > last.N {
		return fmt.Errorf("%w: a checkpoint of size %d is published, but none larger than %d was signed here", ErrRollback, c.N, last.N)
	}
	size, err := p.cfg.Log.Size(ctx)
	if err != nil {
		return fmt.Errorf("restoring the published checkpoint: %w", err)
	}
	if err := p.inLog(ctx, "published", c.Tree, size); err != nil {
		return err
	}
	if err := p.cfg.Index(ctx, size); err != nil {
		return fmt.Errorf("indexing up to %d: %w", size, err)
	}
	if p.cfg.Archive != nil {
		if err := p.cfg.Archive.Ensure(ctx, p.cfg.Restored); err != nil {
			return fmt.Errorf("restoring the published checkpoint: %w", err)
		}
	}
	return p.cfg.Board.Show(&Published{Checkpoint: c, Signed: p.cfg.Restored, At: p.cfg.Now()})
}

// inLog checks that the log, of a size, is one that a tree was of.
func (p *Publisher) inLog(ctx context.Context, what string, tree tlog.Tree, size uint64) error {
	if uint64(tree.N) > size {
		return fmt.Errorf("%w: a checkpoint of size %d is %s, but the log holds only %d entries", ErrRollback, tree.N, what, size)
	}
	root, err := p.cfg.Proofs.Root(ctx, uint64(tree.N), size)
	if err != nil {
		return fmt.Errorf("comparing the log with the checkpoint that is %s: %w", what, err)
	}
	if tlog.Hash(root) != tree.Hash {
		return fmt.Errorf("%w: size %d is %s with root %s, but the log has %s: it does not extend it",
			ErrRollback, tree.N, what, tree.Hash, tlog.Hash(root))
	}
	return nil
}

// publish publishes the log's present tree, if it is not public already or if
// it is to be cosigned again.
func (p *Publisher) publish(ctx context.Context, again bool) error {
	size, err := p.cfg.Log.Size(ctx)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	if latest := p.cfg.Board.Latest(); latest != nil && uint64(latest.N) == size && !again {
		return nil
	}
	if p.cfg.Witnesses != nil && !p.confirmed {
		return fmt.Errorf("%w: none confirmed the state yet", ErrUnwitnessed)
	}
	return p.do(ctx, "publish", func(ctx context.Context) error { return p.publishSize(ctx, size) })
}

// do does a step that Config.Step is told of.
func (p *Publisher) do(ctx context.Context, name string, f func(context.Context) error) error {
	if p.cfg.Step == nil {
		return f(ctx)
	}
	ctx, end := p.cfg.Step(ctx, name)
	err := f(ctx)
	end(err)
	return err
}

func (p *Publisher) publishSize(ctx context.Context, size uint64) error {
	err := p.do(ctx, "publish.index", func(ctx context.Context) error { return p.cfg.Index(ctx, size) })
	if err != nil {
		return fmt.Errorf("indexing up to %d: %w", size, err)
	}
	var tree tlog.Tree
	var signed []byte
	err = p.do(ctx, "publish.sign", func(ctx context.Context) (err error) {
		tree, signed, err = p.sign(ctx, size)
		return err
	})
	if err == nil && p.cfg.Witnesses != nil {
		err = p.do(ctx, "publish.cosign", func(ctx context.Context) (err error) {
			signed, err = p.cfg.Witnesses.Cosign(ctx, signed, tree)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("publishing size %d: %w", size, err)
	}
	return p.makePublic(ctx, signed, tree)
}

// sign signs the log's tree of a size.
func (p *Publisher) sign(ctx context.Context, size uint64) (tlog.Tree, []byte, error) {
	root, err := p.cfg.Proofs.Root(ctx, size, size)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	tree := tlog.Tree{N: int64(size), Hash: tlog.Hash(root)}
	signed, err := p.cfg.Guard.Sign(ctx, tree, func(ctx context.Context, from, to uint64) ([][]byte, error) {
		return p.cfg.Proofs.Consistency(ctx, from, to, size)
	})
	return tree, signed, err
}

// publishLate adds cosignatures to the latest checkpoint.
func (p *Publisher) publishLate(ctx context.Context) error {
	latest := p.cfg.Board.Latest()
	if latest == nil {
		return nil
	}
	merged, ok := p.cfg.Witnesses.Late(latest.Signed, latest.Tree)
	if !ok {
		return nil
	}
	return p.do(ctx, "publish.late", func(ctx context.Context) error { return p.makePublic(ctx, merged, latest.Tree) })
}

// makePublic is the only way to a public checkpoint: the policy must accept it.
func (p *Publisher) makePublic(ctx context.Context, signed []byte, tree tlog.Tree) error {
	checked, _, err := torchwood.VerifyCheckpoint(signed, p.cfg.Policy)
	if err != nil {
		return fmt.Errorf("publishing size %d: the checkpoint does not satisfy the ledger's own policy: %w", tree.N, err)
	}
	if checked.Tree != tree {
		return errors.New("publishing: the signed checkpoint is not of the tree that was to be signed")
	}
	if p.cfg.Archive != nil {
		err := p.do(ctx, "publish.archive", func(ctx context.Context) error { return p.cfg.Archive.Add(ctx, signed) })
		if err != nil {
			return fmt.Errorf("publishing size %d: %w", tree.N, err)
		}
	}
	err = p.do(ctx, "publish.store", func(ctx context.Context) error { return p.cfg.Log.Publish(ctx, signed) })
	if err != nil {
		return fmt.Errorf("publishing size %d: %w", tree.N, err)
	}
	return p.cfg.Board.Show(&Published{Checkpoint: checked, Signed: signed, At: p.cfg.Now()})
}
