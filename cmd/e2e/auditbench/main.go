// Command auditbench measures an audit of a large log, beside what the machine
// can do.
//
//	auditbench [-entries N] [-dir DIR]
//
// It writes a log of N entries, by default 200,000, or takes the one in DIR, and audits it in processes of their own: the structure
// alone, and everything. Signatures are compared with crypto/ed25519 on all cores
// in the same run, before and after.
//
// Exit codes: 0 measured, 1 the measurement failed, 2 usage. A number that is not
// held is printed as SHORT and is no failure.
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
	flag.IntVar(&b.entries, "entries", 200_000, "audit a log of `N` entries")
	flag.StringVar(&b.dir, "dir", "", "keep the log in `DIR`")
	flag.StringVar(&b.child, "audit", "", "only audit: structure or all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "auditbench: error:", err)
		os.Exit(1)
	}
}
