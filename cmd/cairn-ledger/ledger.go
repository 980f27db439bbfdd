package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/rebuilderd"
	"github.com/cairnlog/cairn/ledger/server"
	"github.com/cairnlog/cairn/ledger/sigstore"
	"github.com/cairnlog/cairn/ledger/store"
)

// ledger is the parts of one ledger.
type ledger struct {
	grace     time.Duration
	vkey      string
	guard     *checkpoint.Guard
	intake    *intake.Intake
	publisher *checkpoint.Publisher
	board     *checkpoint.Board
	witnesses *cosign.Collector // nil if the policy names none
	builds    *builds           // nil if there is no queue
	// rebuilderd answers rebuilderd's clients; nil for nobody.
	rebuilderd *rebuilderd.Service
	server     *server.Server
	log        engine.Log
	archive    *checkpoint.Archive
	closers    []io.Closer // in the order of opening
}

// openLedger opens the ledger's storage and refuses one that contradicts what
// was signed. The lock of the signer's state keeps a second process out before
// anything else is touched.
func openLedger(ctx context.Context, cfg *config, logger *slog.Logger) (l *ledger, err error) {
	l = &ledger{grace: cfg.Grace, board: checkpoint.NewBoard()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if cfg.dev {
		if err := prepareDev(cfg); err != nil {
			return l, err
		}
	}
	key, err := checkpoint.ReadKey(cfg.Key)
	if err != nil {
		return l, usageError{err}
	}
	l.vkey = key.VKey
	trust, err := loadPolicy(cfg.Policy, key)
	if err != nil {
		return l, usageError{err}
	}
	if err := l.openGuard(ctx, cfg, key); err != nil {
		return l, err
	}
	if err := l.openLog(ctx, cfg); err != nil {
		return l, err
	}
	return l, l.assemble(ctx, cfg, key, trust, logger)
}

func (l *ledger) openGuard(ctx context.Context, cfg *config, key *checkpoint.Key) error {
	state, err := checkpoint.OpenFileState(cfg.State)
	if err != nil {
		return usageError{err}
	}
	l.closers = append(l.closers, state)
	l.guard, err = checkpoint.NewGuard(ctx, key.Signer, state)
	return err
}

func (l *ledger) openLog(ctx context.Context, cfg *config) error {
	// Opening a log that is not there creates an empty one: whether there
	// should be one is asked first.
	if _, err := os.Stat(cfg.Log); errors.Is(err, os.ErrNotExist) {
		if err := l.guard.Check(0); err != nil {
			return err
		}
	}
	log, err := engine.OpenTessera(ctx, cfg.Log, l.guard.Genesis(ctx))
	if err != nil {
		return err
	}
	l.log = log
	l.closers = append(l.closers, log)
	if l.archive, err = checkpoint.OpenArchive(filepath.Join(cfg.Log, checkpoint.ArchiveDir)); err != nil {
		return err
	}
	l.closers = append(l.closers, l.archive)
	size, err := log.Size(ctx)
	if err != nil {
		return err
	}
	return l.guard.Check(size)
}

func (l *ledger) assemble(ctx context.Context, cfg *config, key *checkpoint.Key, trust *policy.Policy, logger *slog.Logger) error {
	blobs, err := store.OpenSQLiteBlobs(ctx, cfg.Blobs)
	if err != nil {
		return err
	}
	l.closers = append(l.closers, blobs)
	index, err := store.OpenSQLiteIndex(ctx, cfg.Index)
	if err != nil {
		return err
	}
	l.closers = append(l.closers, index)

	prover := engine.NewProver(l.log)
	c := intake.Config{
		Log: l.log, Prover: prover, Blobs: blobs, Index: index, Limits: cfg.Limits, Window: cfg.BatchWindow,
		Grew: func() { l.publisher.Grew() },
	}
	if cfg.TrustedRoot != "" {
		trusted, err := sigstore.ReadRoot(cfg.TrustedRoot)
		if err != nil {
			return usageError{err}
		}
		c.Certificate = trusted.Check
	}
	if l.intake, err = intake.New(ctx, c); err != nil {
		return err
	}
	if err := l.newPublisher(ctx, cfg, key, trust, prover, logger); err != nil {
		return err
	}
	if err := l.openBuilds(ctx, cfg, index, blobs, logger); err != nil {
		return err
	}
	reads := &query.Service{Latest: query.LatestOf(l.board), Prover: prover, Blobs: blobs, Index: index, Keys: l.intake.Keyring()}
	if err := l.openRebuilderd(ctx, cfg, reads, key, trust, logger); err != nil {
		return err
	}
	rekor, err := cfg.Rekor.alias(key)
	if err != nil {
		return usageError{err}
	}
	sc := server.Config{
		Intake: l.intake, Board: l.board, Prover: prover, Log: l.log, Archive: l.archive, Blobs: blobs, Index: index,
		Rekor: rekor, VKey: l.vkey, Logger: logger, Now: time.Now,
	}
	if l.builds != nil {
		sc.Builds = l.builds
	}
	if l.rebuilderd != nil {
		sc.Rebuilderd = l.rebuilderd
	}
	l.server, err = server.New(ctx, sc)
	return err
}

func (l *ledger) newPublisher(ctx context.Context, cfg *config, key *checkpoint.Key, trust *policy.Policy, prover *engine.Prover, logger *slog.Logger) error {
	c := checkpoint.Config{
		Guard: l.guard, Log: l.log, Archive: l.archive, Board: l.board, Proofs: prover, Policy: trust, Index: l.intake.Follow,
		Interval: cfg.PublishInterval, Retry: cfg.WitnessRetry, Now: time.Now,
		Warn: func(err error) { logger.WarnContext(ctx, "trying again", slog.Any("err", err)) },
	}
	published, err := l.log.Published(ctx)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	c.Restored = published
	if len(trust.Witnesses()) > 0 {
		l.witnesses = cosign.New(cosign.Config{
			Policy: trust, Log: key.Verifier, Logger: logger,
			Prove: func(ctx context.Context, from, to uint64) ([][]byte, error) {
				return prover.Consistency(ctx, from, to, to)
			},
		})
		c.Witnesses, c.Refresh = l.witnesses, cfg.RefreshInterval
	}
	l.publisher = checkpoint.NewPublisher(c)
	return l.catchUp(ctx)
}

// catchUp indexes what was appended before a crash, before a submission that
// repeats it is taken. A log that contradicts what was signed is not indexed:
// once the right one is restored, the index must be of that.
func (l *ledger) catchUp(ctx context.Context) error {
	if err := l.publisher.Check(ctx); err != nil {
		return err
	}
	size, err := l.log.Size(ctx)
	if err != nil {
		return err
	}
	if err := l.intake.Follow(ctx, size); err != nil {
		return fmt.Errorf("indexing up to %d: %w", size, err)
	}
	return nil
}

// run serves until ctx is done or storage fails, and calls ready once the
// ledger takes requests. The parts stop in the order of what needs what:
// requests need the intake and the publisher to be answered, and what the
// intake appended last must still be published.
func (l *ledger) run(ctx context.Context, httpListener, grpcListener net.Listener, ready func() error) error {
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	appending, stopAppending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAppending()
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()

	var g errgroup.Group
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAsking()
	if l.witnesses != nil {
		g.Go(func() error { l.witnesses.Run(asking); return nil })
	}
	g.Go(func() error {
		defer stopAsking()
		defer stopServing()
		err := l.publisher.Run(publishing)
		l.board.End(err)
		if err != nil {
			l.intake.Halt(err)
		}
		return err
	})
	if err := l.awaitFirst(serving); err != nil {
		stopPublishing()
		return g.Wait() // nil if it was asked to stop before it was ready
	}
	g.Go(func() error {
		defer stopPublishing()
		defer stopServing()
		return l.intake.Run(appending)
	})
	if l.builds != nil {
		g.Go(func() error { l.builds.run(serving); return nil })
	}
	if l.rebuilderd != nil {
		g.Go(func() error { l.rebuilderd.Run(serving); return nil })
	}
	g.Go(func() error {
		defer stopAppending()
		return l.server.Serve(serving, httpListener, grpcListener, l.grace)
	})
	if err := ready(); err != nil {
		stopServing()
		return errors.Join(fmt.Errorf("printing the ready line: %w", err), g.Wait())
	}
	return g.Wait()
}

// awaitFirst waits for the first publication, unless that needs witnesses: the
// ledger then starts, and serves what was published before, without them.
func (l *ledger) awaitFirst(ctx context.Context) error {
	if l.witnesses != nil {
		return nil
	}
	_, err := l.board.Wait(ctx, 0)
	return err
}

// close releases what was opened, last first.
func (l *ledger) close() error {
	var errs []error
	for i := len(l.closers) - 1; i >= 0; i-- {
		errs = append(errs, l.closers[i].Close())
	}
	l.closers = nil
	return errors.Join(errs...)
}
