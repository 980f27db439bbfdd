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

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/state"
)

// usageError is an error in the command line or the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run is the command; it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := do(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return reason.ExitYes
	}
	fmt.Fprintf(stderr, "cairn-witness: error: %v\n", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return reason.ExitUsage
	case errors.Is(err, state.ErrMissing), errors.Is(err, witness.ErrIdentity):
		return reason.ExitMisbehave
	}
	return reason.ExitNo
}

// do does what the arguments say.
func do(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "keygen" {
		return keygen(args[1:], stdout, stderr)
	}
	cmd, err := parseArgs(args, stderr)
	if err != nil {
		return err
	}
	return cmd.do(ctx, stdout, stderr)
}

func (cmd *command) do(ctx context.Context, stdout, stderr io.Writer) error {
	switch {
	case cmd.clear != "":
		return clearOrigin(ctx, cmd.config, cmd.clear, stdout)
	case cmd.checkConfig:
		_, err := resolve(cmd.config)
		return err
	case cmd.init:
		return initialise(ctx, cmd.config)
	}
	return serve(ctx, cmd.config, stdout, stderr)
}

// initialise makes what a witness needs for its first start.
func initialise(ctx context.Context, c *config) error {
	if exists(c.State) {
		return usageError{fmt.Errorf("%s is there already: nothing was changed", c.State)}
	}
	if c.Key.File != "" && exists(c.Key.File) {
		// The operator says that this key has never cosigned.
		db, err := state.Create(ctx, c.State, state.Options{})
		if err != nil {
			return err
		}
		return db.Close()
	}
	return makeIdentity(ctx, c)
}

// clearOrigin lets an origin be cosigned again. It needs the state's lock, so no
// witness runs meanwhile.
func clearOrigin(ctx context.Context, c *config, origin string, stdout io.Writer) (err error) {
	db, err := state.Open(ctx, c.State, state.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	cleared, err := db.Clear(ctx, origin)
	switch {
	case err != nil:
		return err
	case cleared == nil:
		return usageError{fmt.Errorf("%q is not refused", origin)}
	}
	_, err = fmt.Fprintf(stdout, "cleared %s: it was refused for %s: %s\n", origin, cleared.Cause, cleared.Detail)
	if r := cleared.Adopt; r != nil && err == nil {
		_, err = fmt.Fprintf(stdout, "size %d, which this witness had cosigned, is its state again\n", r.Size)
	}
	return err
}

// ready is the line on stdout.
type ready struct {
	Name string `json:"name"`
	VKey string `json:"vkey"`
	HTTP string `json:"http"`
}

func serve(ctx context.Context, c *config, stdout, stderr io.Writer) (err error) {
	logger := slog.New(observe.LogHandler(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: c.LogLevel})))
	parts, err := resolve(c)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return usageError{fmt.Errorf("listening for HTTP: %w", err)}
	}
	defer func() { _ = listener.Close() }()
	if c.Debug != "" {
		_, stop, err := daemon.ServeDebug(c.Debug)
		if err != nil {
			return usageError{err}
		}
		defer stop()
	}
	traces, err := daemon.StartTracing(ctx, c.Tracing, "cairn-witness", logger)
	if err != nil {
		return usageError{err}
	}
	defer traces.Stop()
	id, err := openIdentity(ctx, c, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, id.Close()) }()
	d, err := newDaemon(ctx, c, parts, id, logger, traces.Collectors()...)
	if err != nil {
		return err
	}
	return d.run(ctx, listener, func() error {
		line, err := json.Marshal(ready{
			Name: id.key.Name,
			VKey: d.witness.VKey(),
			HTTP: "http://" + listener.Addr().String(),
		})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s\n", line)
		return err
	})
}
