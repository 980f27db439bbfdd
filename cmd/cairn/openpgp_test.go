package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex/stagextest"
)

// openPGP is `pgp key SEED OUT`, `pgp maintainers OUT PERSON=SEED...`, `pgp sign
// SEED IN OUT`, which signs inline, and `pgp detach SEED IN OUT` or `pgp
// detach-binary SEED IN OUT`: the key of a seed is the same every time.
func openPGP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: pgp key SEED OUT, pgp maintainers OUT PERSON=SEED..., pgp sign|detach|detach-binary SEED IN OUT")
	}
	t := fatal{ts: ts}
	signer := func(seed string) *stagextest.Signer {
		n, err := strconv.ParseUint(seed, 10, 64)
		ts.Check(err)
		return stagextest.New(t, n, 0)
	}
	if args[0] == "maintainers" {
		var text strings.Builder
		for _, arg := range args[2:] {
			person, seed, _ := strings.Cut(arg, "=")
			fmt.Fprintf(&text, "[keys.%s.personal]\nid = %q\n", person, strings.TrimPrefix(string(signer(seed).Fingerprint()), "openpgp:"))
		}
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o600))
		return
	}
	s := signer(args[1])
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
