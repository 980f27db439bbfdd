package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/torchwood"
)

// Published is a checkpoint that was made public.
type Published struct {
	torchwood.Checkpoint
	Signed []byte // the signed note
	At     time.Time
}

// Board is where the published checkpoint hangs: who publishes, or learns of
// what another process published, shows it there, and everything that reads the
// log looks there. Its methods may be called concurrently.
//
// Invariant: what it shows never shrinks, and never becomes another tree of the
// same size. That a larger tree extends the one before is for who shows it to
// know.
type Board struct {
	mu     sync.Mutex
	latest *Published    // nil until something is shown
	next   chan struct{} // closed when latest is replaced

	end   sync.Once
	ended chan struct{} // closed when nothing more is shown
	err   error         // why; set before ended is closed
}

// NewBoard returns a Board that shows nothing.
func NewBoard() *Board {
	return &Board{next: make(chan struct{}), ended: make(chan struct{})}
}

// Show replaces the latest checkpoint, and wakes who waits for it. A smaller one
// is not shown, nor is the very note again: who shows it was overtaken, which is
// no error. Another root for the same size is ErrRollback.
func (b *Board) Show(p *Published) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.latest; now != nil {
		switch {
		case p.N == now.N && p.Hash != now.Hash:
			return fmt.Errorf("%w: size %d is published with root %s and with root %s", ErrRollback, p.N, now.Hash, p.Hash)
		case p.N < now.N || bytes.Equal(p.Signed, now.Signed):
			return nil
		}
	}
	b.latest = p
	close(b.next)
	b.next = make(chan struct{})
	return nil
}

// End tells who waits that nothing more will be shown, and why: nil if that was
// asked for. Only the first call counts.
func (b *Board) End(err error) {
	b.end.Do(func() {
		b.err = err
		close(b.ended)
	})
}

// Latest returns the latest checkpoint, or nil if there is none yet.
func (b *Board) Latest() *Published {
	latest, _ := b.watch()
	return latest
}

// watch returns the latest checkpoint and a channel that is closed when there
// is a later one.
func (b *Board) watch() (*Published, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest, b.next
}

// Wait returns the latest checkpoint as soon as its tree has at least size
// leaves. It fails as soon as none will come, because of End.
func (b *Board) Wait(ctx context.Context, size uint64) (*Published, error) {
	return b.await(ctx, func(latest *Published) bool { return latest != nil && uint64(latest.N) >= size })
}

// After returns the latest checkpoint as soon as it is another than seen. It
// fails as Wait does.
func (b *Board) After(ctx context.Context, seen *Published) (*Published, error) {
	return b.await(ctx, func(latest *Published) bool { return latest != seen })
}

func (b *Board) await(ctx context.Context, enough func(*Published) bool) (*Published, error) {
	for ended := false; ; {
		latest, next := b.watch()
		if enough(latest) {
			return latest, nil
		}
		if ended {
			return nil, errors.Join(errors.New("no more checkpoints are published"), b.err)
		}
		select {
		case <-next:
		case <-b.ended:
			ended = true // the last one may have come just before
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
