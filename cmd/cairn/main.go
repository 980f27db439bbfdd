// Command cairn attests builds and rebuilds, logs what was attested, and
// checks what a ledger holds. `cairn help` lists its commands; docs/cli.md is
// the same for reading.
//
// stdout is the answer, and nothing else; what is said beside it goes to
// stderr. The exit code is 0 for yes, and `cairn help exit-codes` has the
// others.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairnlog/cairn/cmd/cairn/internal/cli"
)

//go:generate go run ./internal/errdoc -errors ../../docs/errors.md -cli ../../docs/cli.md

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Run(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}
