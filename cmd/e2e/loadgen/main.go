// Command loadgen measures what a ledger holds under load, and the ceilings
// that bound it: raw signature verification, Tessera alone, SQLite alone.
//
//	loadgen [-ledger FILE] [-dir DIR] [-duration 10s] [-concurrency 16,256,1024,4096] [-transport grpc,rest]
//	loadgen -witnesses N -quorum K
//	loadgen -url URL -grpc-addr ADDR
//	loadgen -count N -save-checkpoints FILE
//
// It starts cairn-ledger on loopback with fresh state, enrols keys, signs
// attestations, and only then starts a clock: each submitter sends its next
// attestation when the last one is answered. Every attestation is sent once and
// is really signed. Every hundredth answer is checked in full after the run: the
// leaf against the attestation's bytes, the inclusion proof against the
// checkpoint's root, the checkpoint against the log's key.
//
// Then it does the same at 1,024 submitters to a ledger that publishes with a
// quorum of witnesses, and by turns to one without, and prints the ratio. And it
// offers a ledger ten times what it takes on at once, and prints what was refused,
// and how long reads took meanwhile.
//
// The load comes from the same cores that the ledger runs on, so the columns of
// CPU say how much of them the ledger had.
//
// Only addresses on loopback are loaded. Exit codes: 0 measured, 1 an answer
// was wrong or the measurement failed, 2 usage. A number that is not held is
// printed as SHORT and is no failure.
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
