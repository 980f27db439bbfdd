package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/migrate"
	"github.com/cairnlog/cairn/ledger/reason"
)

// usageError is an error in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is the command; it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := do(ctx, args, stdout, stderr)
	contradicts := errors.Is(err, engine.ErrContradiction)
	rollback := contradicts || errors.Is(err, checkpoint.ErrRollback)
	if err == nil || errors.Is(err, flag.ErrHelp) || ctx.Err() != nil && errors.Is(err, context.Canceled) && !rollback {
		return 0 // stopped as asked, perhaps before it was ready
	}
	fmt.Fprintf(stderr, "cairn-ledger: error: %v\n", err)
	var usage usageError
	var unclean *migrate.UncleanError
	switch {
	case errors.As(err, &usage):
		return reason.ExitUsage
	case contradicts:
		fmt.Fprintf(stderr, "cairn-ledger: hint: nothing was signed; if Trillian's database was lost or restored, stop all front ends "+
			"and run `cairn-ledger repair trillian`; docs/runbooks.md has the other cases\n")
		return reason.ExitMisbehave
	case errors.As(err, &unclean):
		return unclean.Report.ExitCode()
	case rollback:
		fmt.Fprintf(stderr, "cairn-ledger: hint: nothing was signed; keep this state as evidence, "+
			"and start from the newest copy of the log\n")
		return reason.ExitMisbehave
	}
	return reason.ExitNo
}

// do does what the arguments say.
func do(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "init":
			return initLog(ctx, args[1:], stdout, stderr)
		case "migrate":
			return migrateLog(ctx, args[1:], stdout, stderr)
		case "keygen":
			return keygen(args[1:], stdout, stderr)
		case "repair":
			return repairLog(ctx, args[1:], stdout, stderr)
		}
	}
	cfg, check, err := parseArgs(args, stderr)
	if err != nil || check {
		return err
	}
	return serve(ctx, cfg, stdout, stderr)
}

// ready is the line on stdout.
type ready struct {
	Origin string `json:"origin"`
	VKey   string `json:"vkey"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
}

func serve(ctx context.Context, cfg *config, stdout, stderr io.Writer) (err error) {
	cfg.Capacity.tuneMemory()
	logger := slog.New(observe.LogHandler(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: cfg.LogLevel})))
	// Tessera logs through klog, and logs each of its steps at info.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))

	httpListener, err := net.Listen("tcp", cfg.HTTP)
	if err != nil {
		return usageError{fmt.Errorf("listening for HTTP: %w", err)}
	}
	defer func() { _ = httpListener.Close() }()
	if cfg.dev {
		cfg.Rekor = rekorOf(httpListener.Addr())
	}
	grpcListener, err := net.Listen("tcp", cfg.GRPC)
	if err != nil {
		return usageError{fmt.Errorf("listening for gRPC: %w", err)}
	}
	defer func() { _ = grpcListener.Close() }()

	if cfg.Debug != "" {
		_, stop, err := daemon.ServeDebug(cfg.Debug)
		if err != nil {
			return usageError{err}
		}
		defer stop()
	}
	traces, err := daemon.StartTracing(ctx, cfg.Tracing, "cairn-ledger", logger)
	if err != nil {
		return usageError{err}
	}
	defer traces.Stop()

	l, err := openLedger(ctx, cfg, logger, traces.Collectors()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.saveEvidence(ctx, err), l.close()) }()
	return l.run(ctx, httpListener, grpcListener, func() error {
		line, err := json.Marshal(ready{
			Origin: l.key.Signer.Name(),
			VKey:   l.key.VKey,
			HTTP:   "http://" + httpListener.Addr().String(),
			GRPC:   grpcListener.Addr().String(),
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s\n", line)
		return err
	})
}

// evidencePattern matches the files that saveEvidence makes; it is empty if it makes
// none.
func (c *config) evidencePattern() string {
	switch {
	case c.Distributed == nil:
		return c.State + ".rollback-*"
	case c.Distributed.Evidence != "":
		return filepath.Join(c.Distributed.Evidence, "rollback-*")
	}
	return ""
}

// saveEvidence keeps the checkpoints that prove a rollback: beside the state that
// does not know of them, or where a front end without any is told to.
func (l *ledger) saveEvidence(ctx context.Context, err error) error {
	if d := l.cfg.Distributed; d != nil {
		return saveSharedEvidence(ctx, d.Evidence, err, l.logger)
	}
	var rollback *cosign.RollbackError
	if !errors.As(err, &rollback) {
		return nil
	}
	path := fmt.Sprintf("%s.rollback-%d", l.cfg.State, rollback.Tree.N)
	if err := os.WriteFile(path, rollback.Note, 0o644); err != nil {
		return fmt.Errorf("saving the evidence: %w", err)
	}
	return fmt.Errorf("the checkpoint that proves it is kept in %s", path)
}
