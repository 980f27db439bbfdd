package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
)

// openPGP is `pgp key SEED OUT`, `pgp sign SEED IN OUT`, which signs inline, and
// `pgp detach SEED IN OUT` or `pgp detach-binary SEED IN OUT`: the key of a seed is
// the same every time.
func openPGP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || (len(args) == 3) != (args[0] == "key") {
		ts.Fatalf("usage: pgp key SEED OUT, pgp sign|detach|detach-binary SEED IN OUT")
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	t := fatal{ts: ts}
	s := stagextest.New(t, seed, 0)
	out := ts.MkAbs(args[len(args)-1])
	if args[0] == "key" {
		ts.Check(os.WriteFile(out, s.Public(t), 0o600))
		return
	}
	document := []byte(ts.ReadFile(args[2]))
	at := stagextest.Made.AddDate(0, 1, 0)
	var signed []byte
	switch args[0] {
	case "sign":
		signed = s.Sign(t, document, at)
	case "detach", "detach-binary":
		signed = s.Detach(t, document, at, args[0] == "detach")
	default:
		ts.Fatalf("pgp: unknown command %q", args[0])
	}
	ts.Check(os.WriteFile(out, signed, 0o600))
}

// fatal is a script as a test that makes keys needs it.
type fatal struct {
	testing.TB
	ts *testscript.TestScript
}

func (f fatal) Helper() {}

func (f fatal) Fatal(args ...any) { f.ts.Fatalf("%v", args) }
