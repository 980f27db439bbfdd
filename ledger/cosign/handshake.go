package cosign

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// RollbackError is proof that the ledger's state was rolled back: a checkpoint
// that its own key signed and that its state cannot have led to.
type RollbackError struct {
	Witness string
	Note    []byte    // the checkpoint, with the log's signature
	Tree    tlog.Tree // of that checkpoint
	Ours    tlog.Tree // the latest that the state knows
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("witness %s holds a checkpoint of size %d and root %s that this log's key signed, "+
		"but the state here ends at size %d and root %s", e.Witness, e.Tree.N, e.Tree.Hash, e.Ours.N, e.Ours.Hash)
}

// Unwrap makes it a checkpoint.ErrRollback.
func (e *RollbackError) Unwrap() error { return checkpoint.ErrRollback }

// Handshake implements checkpoint.Witnesses: a *RollbackError is proof of one
// witness that the state was rolled back. It is called before Cosign, while no
// worker has anything to do.
func (c *Collector) Handshake(ctx context.Context, signed []byte, tree tlog.Tree) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CollectTimeout)
	defer cancel()
	own, err := note.Open(signed, note.VerifierList(c.cfg.Log))
	if err != nil {
		return fmt.Errorf("opening the last checkpoint: %w", err)
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		agree   = own.Sigs
		refuted *RollbackError
	)
	for _, w := range c.workers {
		wg.Go(func() {
			err := w.greet(ctx, target{signed: signed, tree: tree})
			mu.Lock()
			defer mu.Unlock()
			var rollback *RollbackError
			switch {
			case err == nil:
				v := w.peer.witness.Verifier
				agree = append(agree, note.Signature{Name: v.Name(), Hash: v.KeyHash()})
			case errors.As(err, &rollback):
				refuted = rollback
			default:
				w.logger.WarnContext(ctx, "the witness does not confirm the log's state", slog.Any("err", err))
			}
		})
	}
	wg.Wait()
	if refuted != nil {
		return refuted
	}
	if err := c.cfg.Policy.Check(c.cfg.Log.Name(), agree); err != nil {
		return fmt.Errorf("%w: too few confirm the state of size %d: %w", checkpoint.ErrUnwitnessed, tree.N, err)
	}
	return nil
}

// greet returns nil if the witness knows no more than t.
func (w *worker) greet(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(ctx, w.collector.cfg.RequestTimeout)
	defer cancel()
	_, err := w.peer.addCheckpoint(ctx, t.tree.N, nil, t.signed)
	var conflict *errConflict
	switch {
	case err == nil:
		w.known = t.tree.N
		return nil
	case !errors.As(err, &conflict):
		return err
	case conflict.size != unknownSize && conflict.size < t.tree.N:
		w.known = conflict.size
		return nil
	}
	if rollback := w.collector.prove(ctx, w, t.tree); rollback != nil {
		return rollback
	}
	return err
}

// investigate looks for proof behind a witness's claim to know another tree. If
// there is one, nothing is cosigned any more.
func (c *Collector) investigate(ctx context.Context, w *worker) {
	c.mu.Lock()
	newest := c.tree
	c.mu.Unlock()
	rollback := c.prove(ctx, w, newest)
	if rollback == nil {
		return
	}
	c.mu.Lock()
	c.rollback = rollback
	c.mu.Unlock()
	c.signal()
}

// prove returns the proof that the witness holds a checkpoint of this log's key
// that ours cannot have led to, if it shows one.
func (c *Collector) prove(ctx context.Context, w *worker, ours tlog.Tree) *RollbackError {
	signed, err := w.peer.checkpoint(ctx, c.cfg.Log.Name())
	if err != nil {
		w.logger.WarnContext(ctx, "the witness claims to know another tree, and shows no checkpoint", slog.Any("err", err))
		return nil
	}
	n, err := note.Open(signed, note.VerifierList(c.cfg.Log))
	if err != nil {
		w.logger.WarnContext(ctx, "the witness shows a checkpoint that this log did not sign", slog.Any("err", err))
		return nil
	}
	cp, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || cp.Origin != c.cfg.Log.Name() {
		return nil
	}
	if cp.N < ours.N || cp.Tree == ours {
		return nil
	}
	return &RollbackError{Witness: w.peer.witness.Name, Note: signed, Tree: cp.Tree, Ours: ours}
}
