// Command trillianbench measures what a running Trillian sequences by itself, with
// nothing of Cairn around it.
//
//	trillianbench -trillian ADDRESS [-leaves N] [-o json]
//
// Leaves of the size that Cairn's have are given to new trees: to one of the kind
// PREORDERED_LOG by AddSequencedLeaves, in batches of 256 and of 1000, by one
// caller; and to one of the kind LOG by QueueLeaf, by 64 and by 256 callers at once.
// The rate is of leaves per second from the first call until a root with all of
// them is answered.
//
// Exit codes: 0 measured, 1 the measurement failed, 2 usage.
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
	b := &bench{out: os.Stdout}
	flag.StringVar(&b.target, "trillian", "", "measure the log servers at `ADDRESS`, as dns:///localhost:8090")
	flag.IntVar(&b.leaves, "leaves", 20_000, "give each tree `N` leaves")
	flag.StringVar(&b.format, "o", "text", "print the figures as `FORMAT`: text or json")
	flag.Parse()
	if b.target == "" || b.leaves < 1 || b.format != "text" && b.format != "json" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "trillianbench: error:", err)
		os.Exit(1)
	}
}
