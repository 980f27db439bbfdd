package main

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveFiles is `serve DIR`: it serves a directory as any web server does, and
// sets SERVED to the URL.
func serveFiles(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	srv := &http.Server{Handler: http.FileServer(http.Dir(ts.MkAbs(args[0])))}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	ts.Defer(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			ts.Logf("serving %s: %v", args[0], err)
		}
	})
	ts.Setenv("SERVED", "http://"+l.Addr().String())
}

// sameAnswers is `same LEDGER LEDGER LEDGER ARGS...`: cairn must print the same,
// and exit with the same code, whichever ledger it asks.
func sameAnswers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: same LEDGER LEDGER LEDGER ARGS...")
	}
	var first string
	for i, ledger := range args[:3] {
		got := answerOf(ts, ledger, args[3:])
		if i == 0 {
			first = got
		}
		if got != first {
			ts.Fatalf("of %s:\n%s\nof %s:\n%s", args[0], first, ledger, got)
		}
	}
}

// answerOf runs cairn, and returns its exit code, its answer, and its error if
// there is no answer.
func answerOf(ts *testscript.TestScript, ledger string, args []string) string {
	cairn, err := exec.LookPath("cairn")
	ts.Check(err)
	cmd := exec.Command(cairn, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "CAIRN_LEDGER="+ledger, "CAIRN_POLICY="+ts.MkAbs("policy"), "XDG_STATE_HOME="+ts.MkAbs("state"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("cairn %s: %v", strings.Join(args, " "), err)
	}
	answer := out.String()
	if answer == "" {
		answer = errs.String()
	}
	return cmd.ProcessState.String() + "\n" + answer
}
