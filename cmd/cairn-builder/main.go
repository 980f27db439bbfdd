// Command cairn-builder builds StageX-style package trees bit for bit, logs each
// result, and reproduces what others built. `cairn-builder help` lists its
// commands, docs/cli-builder.md is the same for reading, and docs/builder.md
// explains them.
//
// stdout is the answer, and nothing else; what is said beside it goes to
// stderr. The exit code is 0 for yes, and `cairn-builder help exit-codes` has
// the others.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cairnlog/cairn/cmd/cairn-builder/internal/cli"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

//go:generate go run ./internal/refdoc ../../docs/cli-builder.md

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Run(ctx, os.Args[1:], cmdline.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}))
}
