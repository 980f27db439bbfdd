// Command cairn-ledger serves a ledger: it takes signed attestations into an
// append-only Merkle log and proves what the log holds.
//
//	cairn-ledger -dev DIR [-http ADDR] [-grpc ADDR] [-policy FILE]
//	cairn-ledger -config FILE [-check-config]
//	cairn-ledger keygen -key FILE (-origin NAME|-show)
//	cairn-ledger init -config FILE
//	cairn-ledger migrate -from DIR|CONFIG -config FILE
//	cairn-ledger repair trillian|tiles -config FILE
//
// With -dev it needs no configuration: it makes a key and keeps its state under
// DIR, on loopback. Once it takes requests it prints one line of JSON on
// stdout, with its origin, verifier key and addresses; all else goes to stderr.
// SIGTERM drains and exits 0.
//
// keygen makes the key of a new log, and prints its line of a policy.
//
// A configuration with `distributed` is that of a front end: any number of them serve
// one log, which is in a database, a bucket and Trillian. init makes it; migrate
// moves the log of a ledger of one process there; repair gives Trillian or the
// bucket back what it lost, from what the others have.
//
// Exit codes: 0 stopped as asked, 1 failed while serving, 2 usage or
// configuration, 5 the log contradicts what was signed before. migrate exits as
// `cairn audit` does if an audit is not clean.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
