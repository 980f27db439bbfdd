package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnlog/cairn/ledger/sigstore/sigstoretest"
)

// makeBundle is `sigstore BUNDLE ROOT`: it writes a bundle with a certificate of a new
// Sigstore instance, and its trusted root.
func makeBundle(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sigstore BUNDLE ROOT")
	}
	t := ts.Value(scriptTest{}).(testing.TB)
	s := sigstoretest.New(t)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), s.Sign(t, []byte("artifact")), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), s.Root(t, false), 0o600))
}

// scriptTest is the key of the test that runs a script.
type scriptTest struct{}
