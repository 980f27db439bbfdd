package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// maxAhead bounds how many leaves Trillian is given that its signer has not
// integrated.
const maxAhead = 1 << 16

// feeder is how far the leaves of the sequence were fed to Trillian. Its fields but
// the channels are guarded by Trillian.mu.
type feeder struct {
	next   uint64        // the index of the leaf to be fed next
	base   uint64        // the index of hashes[0]
	hashes []tlog.Hash   // of leaves that were fed, and not yet read back
	wake   chan struct{} // there may be leaves to feed
	fed    chan struct{} // some were fed
}

// reset has the feeder begin at an index.
func (t *Trillian) resetFeeder(next uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feeder.next, t.feeder.base, t.feeder.hashes = next, next, nil
	signal(t.feeder.wake)
}

func (t *Trillian) fedUpTo() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.feeder.next
}

// fedHash returns the hash of a leaf, if this process fed it and did not forget it.
func (t *Trillian) fedHash(index uint64) (tlog.Hash, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := &t.feeder; index >= f.base && index < f.base+uint64(len(f.hashes)) {
		return f.hashes[index-f.base], true
	}
	return tlog.Hash{}, false
}

// forgetFed drops the hashes of the leaves below an index.
func (t *Trillian) forgetFed(below uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &t.feeder
	if n := min(uint64(len(f.hashes)), max(below, f.base)-f.base); n > 0 {
		f.hashes, f.base = f.hashes[n:], f.base+n
	}
}

// feedLoop feeds leaves until ctx ends, or something is wrong that does not pass.
func (t *Trillian) feedLoop(ctx context.Context) error {
	again := t.retrier("feeding Trillian")
	for {
		n, err := t.feedSome(ctx)
		if err != nil {
			if err := again.wait(ctx, err); err != nil {
				return err
			}
			continue
		}
		again.reset()
		if n > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.cfg.Sequence.Placements():
		case <-t.feeder.wake:
		case <-time.After(t.cfg.Idle):
		}
	}
}

// feedSome feeds the next leaves, and returns how many.
func (t *Trillian) feedSome(ctx context.Context) (int, error) {
	from := t.fedUpTo()
	if from >= t.size.Load()+maxAhead {
		return 0, nil
	}
	leaves, err := t.cfg.Sequence.Read(ctx, from, feedLeaves)
	if errors.Is(err, ErrNotFound) {
		return t.skipFed(ctx, from)
	}
	if err != nil {
		return 0, fmt.Errorf("reading the sequence from %d on: %w", from, err)
	}
	if len(leaves) == 0 {
		return 0, nil
	}
	fed := len(leaves)
	for next := from; len(leaves) > 0; {
		n := fits(leaves)
		if err := t.logs.add(ctx, next, leaves[:n]); err != nil {
			return 0, err
		}
		t.noteFed(next, leaves[:n])
		leaves, next = leaves[n:], next+uint64(n)
	}
	return fed, nil
}

// noteFed remembers the leaves that were fed from an index on, unless the feeder was
// reset meanwhile.
func (t *Trillian) noteFed(from uint64, leaves [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := &t.feeder; f.next == from {
		for _, leaf := range leaves {
			f.hashes = append(f.hashes, tlog.Hash(rfc6962.DefaultHasher.HashLeaf(leaf)))
		}
		f.next += uint64(len(leaves))
	}
	signal(t.feeder.fed)
}

// skipFed goes on behind what Trillian's tree has, since the sequence has no leaf at
// an index any more: a call that was not answered in time may have fed it, and so may
// another process. It returns how many leaves that were.
func (t *Trillian) skipFed(ctx context.Context, from uint64) (int, error) {
	root, err := t.logs.root(ctx)
	if err != nil {
		return 0, err
	}
	size := uint64(root.N)
	if size <= from {
		return 0, t.settle(fmt.Errorf("%w: Trillian's tree ends before leaf %d, which left the sequence because the tree had it: "+
			"Trillian's database is an older copy: restore the newest one, or have the leaves added again from the tiles", ErrContradiction, from))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := &t.feeder; f.next == from { // else it was reset meanwhile
		f.next, f.base, f.hashes = size, size, nil
	}
	signal(t.feeder.fed)
	return int(size - from), nil
}

// fits returns how many of leaves, which are not none, go into one call.
func fits(leaves [][]byte) int {
	bytes := 0
	for i, leaf := range leaves {
		if bytes += len(leaf) + 64; bytes > feedBytes && i > 0 {
			return i
		}
	}
	return len(leaves)
}
