// Command cairn-witness is a transparency log witness: it cosigns checkpoints
// that extend what it has seen, and tells other witnesses of them.
//
//	cairn-witness -dev DIR [-http ADDR] [-name NAME] -log VKEY[,URL]... [-peer PEER]... [-policy FILE]
//	cairn-witness -config FILE [-check-config|-init]
//	cairn-witness (-dev DIR|-config FILE) -clear ORIGIN
//	cairn-witness keygen -key FILE (-name NAME|-show)
//
// With -dev it needs no configuration: it makes a key and keeps its state under
// DIR, on loopback. Once it takes requests it prints one line of JSON on
// stdout, with its name, verifier key and address; all else goes to stderr.
// SIGTERM drains and exits 0.
//
// With -clear, and while no witness runs on the state, it lets an origin be
// cosigned again that was refused for evidence or a rollback.
//
// keygen makes the key of a witness, which -init would make, too, and prints its line
// of a policy.
//
// Exit codes: 0 stopped as asked, 1 failed while serving, 2 usage or
// configuration, 5 the state is missing or belongs to another key.
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
