package cluster

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Publisher returns what publishes during the Term. Of cfg, it sets what the
// processes share: Guard, Log, Proofs, Policy, Archive, Board and Restored. Its
// Witnesses must be of this Term alone: a Collector that once saw a rollback, which
// Explain may find to be none, cosigns no more.
//
// It fails with checkpoint.ErrRollback if the signer's state or the log is an older
// copy than the checkpoint in the log's storage, or if the log has entries without
// a state: a log's first publisher signs the empty tree, before anything is appended
// to it.
func (t *Term) Publisher(ctx context.Context, signer note.Signer, cfg checkpoint.Config) (*checkpoint.Publisher, error) {
	c := t.c
	// In this order: a publisher stores its state before it archives a checkpoint,
	// and archives it before it writes it to the log's storage, so each of what is
	// read holds what was read before it, also while others work.
	stored, err := c.stored(ctx)
	if err != nil {
		return nil, err
	}
	last, err := c.last(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Guard, err = checkpoint.NewGuard(ctx, signer, t); err != nil {
		return nil, err
	}
	if err := t.begin(ctx, cfg.Guard, stored); err != nil {
		return nil, err
	}
	log := &newestLog{c}
	if last != nil {
		cfg.Restored = last.note
		// Who published it may have ended before it was written.
		if stored == nil || string(stored.signed) != string(last.note) {
			if err := log.Publish(ctx, last.note); err != nil {
				return nil, fmt.Errorf("publishing again what was published: %w", err)
			}
		}
	}
	cfg.Log, cfg.Archive, cfg.Board = log, t, c.cfg.Board
	cfg.Proofs, cfg.Policy = c.cfg.Proofs, c.cfg.Policy
	return checkpoint.NewPublisher(cfg), nil
}

// begin compares the signer's state with the log and its storage.
func (t *Term) begin(ctx context.Context, guard *checkpoint.Guard, stored *stored) error {
	signed, used := guard.Last()
	if stored != nil && (!used || stored.N > signed.N) {
		return stored.ahead("the signer's state in the database does not know of it")
	}
	size, err := t.c.cfg.Log.Size(ctx)
	if err != nil {
		return fmt.Errorf("comparing the log with what was signed: %w", err)
	}
	switch {
	case !used && size > 0:
		return fmt.Errorf("%w: the log holds %d entries, but the database has no state of the signer; "+
			"restore the database, or nobody can tell what was signed", checkpoint.ErrRollback, size)
	case used && uint64(signed.N) > size:
		return fmt.Errorf("%w: a checkpoint of size %d was signed, but the log holds only %d entries: it is an older copy; restore the newest one",
			checkpoint.ErrRollback, signed.N, size)
	case !used:
		if _, err := guard.Sign(ctx, emptyTree(), nil); err != nil {
			return fmt.Errorf("signing the empty log: %w", err)
		}
	}
	if stored == nil {
		return nil
	}
	consistent, err := t.c.extends(ctx, stored.Tree, signed)
	if err == nil && !consistent {
		err = &ContradictionError{Known: stored.signed, why: fmt.Sprintf(
			"the checkpoint of size %d in the log's storage is not of the tree of size %d that was signed", stored.N, signed.N)}
	}
	return err
}

// newestLog is the log, whose storage always gets the newest checkpoint: a process
// that was stopped just before it wrote may write an older one over it.
type newestLog struct{ c *Cluster }

func (l *newestLog) Size(ctx context.Context) (uint64, error) { return l.c.cfg.Log.Size(ctx) }

// Publish implements checkpoint.Log. Whoever writes last has seen afterwards that
// nothing newer was archived, so what is stored in the end is the newest.
func (l *newestLog) Publish(ctx context.Context, signed []byte) error {
	for {
		if err := l.c.cfg.Log.Publish(ctx, signed); err != nil {
			return err
		}
		last, err := l.c.last(ctx)
		if err != nil {
			return err
		}
		if last == nil || string(last.note) == string(signed) {
			return nil
		}
		signed = last.note
	}
}

// Explain returns an error of a Publisher, or one that wraps ErrLost in place of a
// *cosign.RollbackError that is none: a witness may know a later checkpoint than
// this process, because another one published it. That is so if the signer's state,
// which all share and which is stored before anything is signed, extends what the
// witness knows. If that cannot be read now, the error is that, and no rollback:
// whoever publishes next asks the witnesses again.
func (c *Cluster) Explain(ctx context.Context, err error) error {
	var known *cosign.RollbackError
	if !errors.As(err, &known) {
		return err
	}
	explained, failed := c.signed(ctx, known.Tree)
	switch {
	case isUnavailable(failed):
		return fmt.Errorf("whether the log was rolled back is not known (%v): %w", err, failed)
	case failed != nil:
		return errors.Join(err, failed)
	case explained:
		return fmt.Errorf("%w: it signed the checkpoint of size %d that witness %s knows", ErrLost, known.Tree.N, known.Witness)
	}
	return err
}

// signed reports whether a tree is the one that was signed last, by any process, or
// extended by it.
func (c *Cluster) signed(ctx context.Context, tree tlog.Tree) (bool, error) {
	text, _, err := c.signer(ctx)
	if err != nil || text == nil {
		return false, err
	}
	state, err := tlogproof.ParseCheckpoint(string(text))
	if err != nil {
		return false, fmt.Errorf("parsing the signer's state: %w", err)
	}
	if state.N < tree.N {
		return false, nil
	}
	return c.extends(ctx, tree, state.Tree)
}
