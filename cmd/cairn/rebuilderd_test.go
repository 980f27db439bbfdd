package main

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer/rebuilderdtest"
)

// startRebuilderd is `rebuilderd`: it starts a rebuilderd of a few packages, sets
// REBUILDERD to its URL, and writes its worker's public key to worker.pub.
func startRebuilderd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: rebuilderd")
	}
	d := rebuilderdtest.New(
		rebuilderdtest.Package{Name: "attested", Version: "1.0-1", Architecture: "amd64", Status: "GOOD", Build: "GOOD", Attested: true, Content: "a"},
		rebuilderdtest.Package{Name: "good", Version: "2.0-1", Architecture: "amd64", Status: "GOOD", Build: "GOOD", Content: "b"},
		rebuilderdtest.Package{Name: "bad", Version: "3.0-1", Architecture: "arm64", Status: "BAD", Build: "BAD", Content: "c"},
		rebuilderdtest.Package{Name: "failed", Version: "4.0-1", Architecture: "amd64", Build: "FAIL", Content: "d"},
		rebuilderdtest.Package{Name: "untried", Version: "5.0-1", Architecture: "amd64", Content: "e"},
		rebuilderdtest.Package{Name: "gone", Version: "7.0-1", Architecture: "amd64", Status: "BAD", Build: "BAD", Gone: true},
	)
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		d.ServeHTTP(w, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv("REBUILDERD", server.URL)
	worker := rebuilderdtest.PEM(d.Worker.Public().(ed25519.PublicKey))
	ts.Check(os.WriteFile(ts.MkAbs("worker.pub"), []byte(worker), 0o600))
}
