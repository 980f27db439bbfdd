// Command buildbench measures what the builder adds to BuildKit, and how long it
// takes to find out that nothing changed.
//
//	buildbench [-tree DIR] [-package NAME] [-from DIR] [-dir DIR] [-rounds N]
//
// It builds the package by turns with cairn-builder and with plain buildctl, of
// the same buildkitd, from the same files, without cache. Then it builds what is
// built already: all of the tree's packages that are.
//
// It needs root, and what `make deps build` makes. Exit codes: 0 measured, 1 the
// measurement failed, 2 usage. A number that is not held is printed as SHORT and
// is no failure.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.tree, "tree", "builder/packages", "the package tree in `DIR`")
	flag.StringVar(&b.pkg, "package", "bootstrap/stage2", "the package `NAME` to build")
	flag.StringVar(&b.from, "from", "", "take sources from `DIR`")
	flag.StringVar(&b.dir, "dir", ".tree/bench", "keep state in `DIR`")
	flag.IntVar(&b.rounds, "rounds", 3, "build `N` times with each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "buildbench: error:", err)
		os.Exit(1)
	}
}
