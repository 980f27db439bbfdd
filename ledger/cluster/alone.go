package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store/postgres"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Alone calls f once, while this process holds the lease and so nobody publishes,
// and gives the lease back when f returns. It fails if another process holds the
// lease and renews it; one that was killed is waited for until its lease runs out.
// The ctx of f ends with its Term, and Alone fails with ErrLost then.
func (c *Cluster) Alone(ctx context.Context, f func(context.Context, *Term) error) error {
	for end := time.Now().Add(c.cfg.Lease + c.cfg.Lease/3); ; {
		t, err := c.campaign(ctx)
		if err != nil {
			return err
		}
		if t != nil {
			return c.hold(ctx, t, f)
		}
		if time.Now().After(end) {
			return c.busy(ctx)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.cfg.Lease / 6):
		}
	}
}

// busy says who publishes.
func (c *Cluster) busy(ctx context.Context) error {
	var holder string
	if err := c.pool.QueryRow(ctx, "SELECT holder FROM lease").Scan(&holder); err != nil {
		return fmt.Errorf("finding out who publishes: %w", postgres.Classify(ctx, err))
	}
	return fmt.Errorf("the front end %q publishes: stop all front ends first", holder)
}

// Published returns the newest checkpoint that was published, whose signature by the
// log's key it has verified, without a look at the log's tiles. It fails with
// ErrRollback if the database is an older copy than the log's storage, and with
// engine.ErrNotFound if nothing was published yet. Cosignatures are not looked at:
// the policy may ask for other witnesses by now.
func (t *Term) Published(ctx context.Context) (tree tlog.Tree, signed []byte, err error) {
	if err := t.Lost(); err != nil {
		return tree, nil, err
	}
	c := t.c
	stored, err := c.stored(ctx) // in the order of Publisher
	if err != nil {
		return tree, nil, err
	}
	last, err := c.last(ctx)
	if err != nil {
		return tree, nil, err
	}
	if last == nil {
		if stored != nil {
			return tree, nil, stored.ahead("the archive in the database is empty")
		}
		return tree, nil, fmt.Errorf("nothing was published yet: %w", engine.ErrNotFound)
	}
	found, sigs, err := tlogproof.Open(last.note, note.VerifierList(c.cfg.Verifier))
	if err != nil || len(sigs) == 0 || found.Origin != c.cfg.Verifier.Name() {
		return tree, nil, errors.Join(fmt.Errorf("the checkpoint in the database is not one that %s signed", c.cfg.Verifier.Name()), err)
	}
	if stored != nil && stored.N > found.N {
		return tree, nil, stored.ahead("the archive in the database ends before it")
	}
	if stored != nil && stored.N == found.N && stored.Hash != found.Hash {
		return tree, nil, &ContradictionError{Known: stored.signed, Found: last.note, why: fmt.Sprintf(
			"size %d was published with root %s, and is in the log's storage with root %s", found.N, found.Hash, stored.Hash)}
	}
	return found.Tree, last.note, t.knows(ctx, found.Tree)
}

// knows checks that the signer's state is not older than a tree that was published.
func (t *Term) knows(ctx context.Context, published tlog.Tree) error {
	text, err := t.Load(ctx)
	if err != nil {
		return err
	}
	if text == nil {
		return fmt.Errorf("%w: size %d was published, but the database has no state of the signer", checkpoint.ErrRollback, published.N)
	}
	state, err := tlogproof.ParseCheckpoint(string(text))
	if err != nil {
		return fmt.Errorf("parsing the signer's state: %w", err)
	}
	if state.N < published.N || state.N == published.N && state.Hash != published.Hash {
		return fmt.Errorf("%w: size %d with root %s was published, and the signer's state is of size %d with root %s",
			checkpoint.ErrRollback, published.N, published.Hash, state.N, state.Hash)
	}
	return nil
}
