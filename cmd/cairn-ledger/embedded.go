package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store"
)

// embedded is a log that is in files of this machine, of which this process alone
// takes care.
type embedded struct {
	*ledger
	storage
	state     *checkpoint.FileState
	guard     *checkpoint.Guard
	notes     *checkpoint.Archive
	publisher *checkpoint.Publisher
	witnesses *cosign.Collector // nil if the policy names none
}

// openEmbedded opens the log. The lock of the signer's state keeps a second process
// out before anything else is touched.
func (l *ledger) openEmbedded(ctx context.Context) (*storage, error) {
	e := &embedded{ledger: l}
	if err := e.openGuard(ctx); err != nil {
		return nil, err
	}
	if err := e.openLog(ctx); err != nil {
		return nil, err
	}
	if err := e.openStore(ctx); err != nil {
		return nil, err
	}
	if err := l.newIntake(ctx, &e.storage, func() { e.publisher.Grew() }); err != nil {
		return nil, err
	}
	if err := e.newPublisher(ctx); err != nil {
		return nil, err
	}
	l.publish = e.publish
	return &e.storage, nil
}

func (e *embedded) openGuard(ctx context.Context) error {
	state, err := checkpoint.OpenFileState(e.cfg.State)
	if err != nil {
		return usageError{err}
	}
	e.closers = append(e.closers, state)
	e.state = state
	e.guard, err = checkpoint.NewGuard(ctx, e.key.Signer, state)
	if _, moved := errors.AsType[*checkpoint.MovedError](err); moved {
		return usageError{err}
	}
	return err
}

func (e *embedded) openLog(ctx context.Context) error {
	// Opening a log that is not there creates an empty one: whether there
	// should be one is asked first.
	if _, err := os.Stat(e.cfg.Log); errors.Is(err, os.ErrNotExist) {
		if err := e.guard.Check(0); err != nil {
			return err
		}
	}
	log, err := engine.OpenTessera(ctx, e.cfg.Log, e.guard.Genesis(ctx))
	if err != nil {
		return err
	}
	e.closers = append(e.closers, log)
	e.log, e.prover = log, engine.NewProver(log)
	if e.notes, err = checkpoint.OpenArchive(filepath.Join(e.cfg.Log, checkpoint.ArchiveDir)); err != nil {
		return err
	}
	e.closers = append(e.closers, e.notes)
	e.archive = e.notes
	size, err := log.Size(ctx)
	if err != nil {
		return err
	}
	return e.guard.Check(size)
}

func (e *embedded) openStore(ctx context.Context) error {
	blobs, err := store.OpenSQLiteBlobs(ctx, e.cfg.Blobs)
	if err != nil {
		return err
	}
	e.closers = append(e.closers, blobs)
	index, err := store.OpenSQLiteIndex(ctx, e.cfg.Index)
	if err != nil {
		return err
	}
	e.closers = append(e.closers, index)
	e.blobs, e.index = blobs, index
	return nil
}

func (e *embedded) newPublisher(ctx context.Context) error {
	published, err := e.log.Published(ctx)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	var c checkpoint.Config
	c, e.witnesses = e.publishing(ctx, e.prover)
	c.Guard, c.Log, c.Archive, c.Board, c.Proofs = e.guard, e.log, e.notes, e.board, e.prover
	c.Policy, c.Index, c.Restored = e.trust, e.intake.Follow, published
	e.publisher = checkpoint.NewPublisher(c)
	return e.catchUp(ctx)
}

// catchUp indexes what was appended before a crash, before a submission that
// repeats it is taken. A log that contradicts what was signed is not indexed:
// once the right one is restored, the index must be of that.
func (e *embedded) catchUp(ctx context.Context) error {
	if err := e.publisher.Check(ctx); err != nil {
		return err
	}
	size, err := e.log.Size(ctx)
	if err != nil {
		return err
	}
	if err := e.intake.Follow(ctx, size); err != nil {
		return fmt.Errorf("indexing up to %d: %w", size, err)
	}
	return nil
}

// publish asks the witnesses, and publishes, until ctx is done.
func (e *embedded) publish(ctx context.Context) error {
	if e.witnesses == nil {
		return e.publisher.Run(ctx)
	}
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		e.witnesses.Run(asking)
	}()
	err := e.publisher.Run(ctx)
	stopAsking()
	<-asked
	return err
}
