package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
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
	"github.com/cairnlog/cairn/ledger/survey"
)

// ledger is the parts of one ledger, or of one front end of it.
type ledger struct {
	cfg    *config
	logger *slog.Logger
	key    *checkpoint.Key
	trust  *policy.Policy // that checkpoints must satisfy
	board  *checkpoint.Board
	intake *intake.Intake
	// publish keeps the board up to the log until ctx is done.
	publish func(ctx context.Context) error
	builds  *builds        // nil if there is no queue
	survey  *survey.Survey // nil if this front end keeps no table of packages
	// rebuilderd answers rebuilderd's clients; nil for nobody.
	rebuilderd *rebuilderd.Service
	server     *server.Server
	watched    *watched
	metrics    []prometheus.Collector
	closers    []io.Closer // in the order of opening
}

// storage is what a ledger keeps its log in, embedded in its process or shared with
// others.
type storage struct {
	log     engine.Log
	prover  *engine.Prover
	archive server.Archive
	blobs   store.Blobs
	index   store.Index
	// refresh shows on the board what any process published; nil if none else does.
	refresh func(context.Context) error
}

// openLedger opens the ledger's storage and refuses one that contradicts what was
// signed. It shows the metrics, and its own.
func openLedger(ctx context.Context, cfg *config, logger *slog.Logger, metrics ...prometheus.Collector) (l *ledger, err error) {
	l = &ledger{cfg: cfg, logger: logger, board: checkpoint.NewBoard(), watched: newWatched(cfg.evidencePattern()), metrics: metrics}
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
	if l.key, err = checkpoint.ReadKey(cfg.Key); err != nil {
		return l, usageError{err}
	}
	if l.trust, err = loadPolicy(cfg.Policy, l.key); err != nil {
		return l, usageError{err}
	}
	open := l.openEmbedded
	if cfg.Distributed != nil {
		open = l.openDistributed
	}
	stored, err := open(ctx)
	if err != nil {
		return l, err
	}
	return l, l.assemble(ctx, stored)
}

// newIntake makes the intake, which needs the keys of the index.
func (l *ledger) newIntake(ctx context.Context, s *storage, grew func()) error {
	_, pending := l.cfg.Capacity.capacity()
	c := intake.Config{
		Log: s.log, Prover: s.prover, Blobs: s.blobs, Index: s.index, Verifying: l.cfg.Capacity.Verifying, MaxBytes: pending,
		Limits: l.cfg.Limits, Window: l.cfg.BatchWindow, Failed: l.watched.saw, Grew: grew,
	}
	var err error
	if c.Certificate, err = l.cfg.certificate(); err != nil {
		return err
	}
	l.intake, err = intake.New(ctx, c)
	return err
}

// certificate returns what refuses certificates that nobody vouches for; nil refuses
// them all.
func (c *config) certificate() (func(*attest.Attestation) error, error) {
	if c.TrustedRoot == "" {
		return nil, nil
	}
	trusted, err := sigstore.ReadRoot(c.TrustedRoot)
	if err != nil {
		return nil, usageError{err}
	}
	return trusted.Check, nil
}

// assemble makes what serves the log.
func (l *ledger) assemble(ctx context.Context, s *storage) error {
	if err := l.openBuilds(ctx, s); err != nil {
		return err
	}
	reads := &query.Service{
		Latest: query.LatestOf(l.board), Refresh: s.refresh,
		Prover: s.prover, Blobs: s.blobs, Index: s.index, Keys: l.intake.Keyring(),
	}
	if s.refresh != nil {
		reads.Learn = l.intake.CatchUp
	}
	if err := l.openSurvey(ctx, s, reads); err != nil {
		return err
	}
	rekor, err := l.cfg.Rekor.alias(l.key)
	if err != nil {
		return usageError{err}
	}
	capacity, _ := l.cfg.Capacity.capacity()
	sc := server.Config{
		Intake: l.intake, Board: l.board, Refresh: s.refresh, Prover: s.prover, Log: s.log, Archive: s.archive,
		Blobs: s.blobs, Index: s.index, Rekor: rekor, Logger: l.logger, Now: time.Now, Capacity: capacity,
		Metrics: append(l.metrics, l.collectors(s)...),
	}
	if l.builds != nil {
		sc.Builds = l.builds
	}
	if l.rebuilderd != nil {
		sc.Rebuilderd = l.rebuilderd
	}
	if sc.Web, err = l.openWeb(reads); err != nil {
		return err
	}
	l.server, err = server.New(ctx, sc)
	return err
}

// publishing returns what every publisher works with, and the witnesses that it asks,
// which must run; nil if the policy names none.
func (l *ledger) publishing(ctx context.Context, prover *engine.Prover) (checkpoint.Config, *cosign.Collector) {
	c := checkpoint.Config{
		Interval: l.cfg.PublishInterval, Retry: l.cfg.WitnessRetry, Now: time.Now, Step: l.publicationStep,
		Warn: func(err error) { l.logger.WarnContext(ctx, "trying again", slog.Any("err", err)) },
	}
	if len(l.trust.Witnesses()) == 0 {
		return c, nil
	}
	witnesses := cosign.New(cosign.Config{
		Policy: l.trust, Log: l.key.Verifier, Logger: l.logger, Metrics: l.watched.witnesses,
		Prove: func(ctx context.Context, from, to uint64) ([][]byte, error) {
			return prover.Consistency(ctx, from, to, to)
		},
	})
	c.Witnesses, c.Refresh = witnesses, l.cfg.RefreshInterval
	return c, witnesses
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
	g.Go(func() error {
		defer stopServing()
		err := l.publish(publishing)
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
	if l.survey != nil {
		g.Go(func() error { l.survey.Run(serving); return nil })
	}
	g.Go(func() error {
		defer stopAppending()
		return l.server.Serve(serving, httpListener, grpcListener, l.cfg.Grace)
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
	if len(l.trust.Witnesses()) > 0 {
		return nil
	}
	_, err := l.board.Wait(ctx, 0)
	return err
}

// awaitSize returns the number of published entries, once it is at least this.
func (l *ledger) awaitSize(ctx context.Context, least uint64) (uint64, error) {
	p, err := l.board.Wait(ctx, least)
	if err != nil {
		return 0, err
	}
	return uint64(p.N), nil
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
