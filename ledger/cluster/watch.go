package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// ContradictionError is proof that what is shared was rolled back or replaced: two
// checkpoints, both signed by the log's key, that cannot both be of one log whose
// storage is as it is here.
type ContradictionError struct {
	Known []byte // the note that was published before; nil for what storage holds
	Found []byte
	why   string
}

func (e *ContradictionError) Error() string { return e.why }

// Unwrap makes it a checkpoint.ErrRollback.
func (e *ContradictionError) Unwrap() error { return checkpoint.ErrRollback }

// Watch shows on the Board what is published, by whichever process, until ctx ends;
// then it returns nil. It fails with checkpoint.ErrRollback, and the evidence of a
// *ContradictionError, once something is published that contradicts what the Board
// shows. What is published without satisfying the policy is not shown. Several
// publications may be seen as one.
func (c *Cluster) Watch(ctx context.Context) error {
	heard := c.pool.Listen(ctx, channel)
	poll := time.NewTicker(c.cfg.Poll)
	defer poll.Stop()
	var told string // of the failure before
	for look := c.first; ; {
		err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, checkpoint.ErrRollback):
			return err
		case err != nil && err.Error() != told:
			c.cfg.Logger.WarnContext(ctx, "looking at what is published, and looking again", slog.Any("err", err))
			told = err.Error()
		case err == nil:
			look, told = c.Refresh, ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-heard:
		case <-poll.C:
		}
	}
}

// first compares the database with the log's storage, before it shows anything of
// either.
func (c *Cluster) first(ctx context.Context) error {
	stored, err := c.stored(ctx)
	if err != nil {
		return err
	}
	last, err := c.last(ctx)
	if err != nil {
		return err
	}
	if stored != nil {
		var size int64 = -1
		if last != nil {
			found, err := treeOf(last.note)
			if err != nil {
				return fmt.Errorf("reading what is published: %w", err)
			}
			size = found.N
		}
		if stored.N > size {
			return stored.ahead("the archive in the database ends before it")
		}
	}
	return c.Refresh(ctx)
}

// round is one look at what is published, for all who asked before it began.
type round struct {
	done chan struct{}
	err  error // set before done is closed
}

// Refresh shows on the Board what is published now: at least what was when it was
// called. Callers that come together share a look at the database. It fails as
// Watch does.
func (c *Cluster) Refresh(ctx context.Context) error {
	c.mu.Lock()
	if c.next == nil {
		c.next = &round{done: make(chan struct{})}
	}
	r := c.next
	if !c.running {
		c.running = true
		go c.rounds(context.WithoutCancel(ctx))
	}
	c.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// rounds looks until nobody waits for another look.
func (c *Cluster) rounds(ctx context.Context) {
	for {
		c.mu.Lock()
		r := c.next
		c.next = nil
		c.running = r != nil
		c.mu.Unlock()
		if r == nil {
			return
		}
		r.err = c.look(ctx)
		close(r.done)
	}
}

// look shows the newest row of the archive.
func (c *Cluster) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	// In this order: what is shown was in the archive before, so the archive cannot
	// end before it.
	seen := c.cfg.Board.Latest()
	last, err := c.last(ctx)
	switch {
	case err != nil:
		return err
	case last == nil && seen == nil:
		return nil
	case last == nil:
		return &ContradictionError{Known: seen.Signed, why: fmt.Sprintf(
			"a checkpoint of size %d was published, but the archive in the database is empty", seen.N)}
	case seen != nil && string(seen.Signed) == string(last.note):
		return nil
	}
	found, _, err := torchwood.VerifyCheckpoint(last.note, c.cfg.Policy)
	if err != nil {
		return fmt.Errorf("the checkpoint that is published does not satisfy the ledger's own policy: %w", err)
	}
	if err := c.follows(ctx, seen, found, last.note); err != nil {
		return err
	}
	return c.cfg.Board.Show(&checkpoint.Published{Checkpoint: found, Signed: last.note, At: last.at})
}

// follows checks that the log's storage holds the tree that was found, as an
// extension of the one that is shown.
func (c *Cluster) follows(ctx context.Context, seen *checkpoint.Published, found torchwood.Checkpoint, signed []byte) error {
	if seen != nil && (found.N < seen.N || found.N == seen.N && found.Hash != seen.Hash) {
		return &ContradictionError{Known: seen.Signed, Found: signed, why: fmt.Sprintf(
			"size %d with root %s is published now, after size %d with root %s", found.N, found.Hash, seen.N, seen.Hash)}
	}
	if seen == nil {
		root, err := c.cfg.Proofs.Root(ctx, uint64(found.N), uint64(found.N))
		if err != nil {
			return fmt.Errorf("comparing the log with what is published: %w", err)
		}
		if tlog.Hash(root) != found.Hash {
			return &ContradictionError{Found: signed, why: fmt.Sprintf(
				"size %d is published with root %s, but the log has %s", found.N, found.Hash, tlog.Hash(root))}
		}
		return nil
	}
	consistent, err := c.extends(ctx, seen.Tree, found.Tree)
	if err != nil {
		return err
	}
	if !consistent {
		return &ContradictionError{Known: seen.Signed, Found: signed, why: fmt.Sprintf(
			"size %d with root %s is published now, which does not extend size %d with root %s", found.N, found.Hash, seen.N, seen.Hash)}
	}
	return nil
}

// extends reports whether the log's storage proves that a tree extends another,
// which is no larger.
func (c *Cluster) extends(ctx context.Context, from, to tlog.Tree) (bool, error) {
	if from.N == to.N {
		return from.Hash == to.Hash, nil
	}
	if from.N == 0 {
		return from == emptyTree(), nil
	}
	path, err := c.cfg.Proofs.Consistency(ctx, uint64(from.N), uint64(to.N), uint64(to.N))
	if err != nil {
		return false, fmt.Errorf("proving that size %d extends size %d: %w", to.N, from.N, err)
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from.N), uint64(to.N), path, from.Hash[:], to.Hash[:]) == nil, nil
}

func emptyTree() tlog.Tree { return tlog.Tree{Hash: tlog.Hash(rfc6962.DefaultHasher.EmptyRoot())} }

// stored is the checkpoint in the log's storage.
type stored struct {
	tlog.Tree
	signed []byte
}

func (s *stored) ahead(why string) error {
	return &ContradictionError{Known: s.signed, why: fmt.Sprintf(
		"a checkpoint of size %d is in the log's storage, but %s: it is an older copy; restore the newest one", s.N, why)}
}

// stored returns the checkpoint in the log's storage, or nil if there is none.
func (c *Cluster) stored(ctx context.Context) (*stored, error) {
	signed, err := c.cfg.Log.Published(ctx)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint in the log's storage: %w", err)
	}
	found, sigs, err := tlogproof.Open(signed, note.VerifierList(c.cfg.Verifier))
	if err != nil || len(sigs) == 0 || found.Origin != c.cfg.Verifier.Name() {
		return nil, errors.Join(fmt.Errorf("the checkpoint in the log's storage is not one that %s signed", c.cfg.Verifier.Name()), err)
	}
	return &stored{found.Tree, signed}, nil
}
