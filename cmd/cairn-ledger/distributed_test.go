package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// TestSharedEvidence wants what proves a rollback to be kept, by a front end that
// keeps nothing else.
func TestSharedEvidence(t *testing.T) {
	rollback := fmt.Errorf("publishing: %w", &cosign.RollbackError{Tree: tlog.Tree{N: 7}, Note: []byte("a note of size 7")})
	fork := fmt.Errorf("watching: %w", &cluster.ContradictionError{Known: []byte("a known note"), Found: []byte("a found note")})
	for _, test := range []struct {
		name string
		err  error
		want map[string]string
	}{
		{"what a witness knows", rollback, map[string]string{"rollback-witnessed-7": "a note of size 7"}},
		{"a fork", fork, map[string]string{"rollback-known": "a known note", "rollback-found": "a found note"}},
		{"what is missing", &cluster.ContradictionError{Known: []byte("a known note")}, map[string]string{"rollback-known": "a known note"}},
		{"nothing of that kind", errors.New("the disk is full"), nil},
		{"no error", nil, nil},
	} {
		dir := t.TempDir()
		var logged bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&logged, nil))
		told := saveSharedEvidence(t.Context(), dir, test.err, logger)
		for name, note := range test.want {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != note {
				t.Errorf("%s: %s has %q, %v; want %q", test.name, name, got, err, note)
			}
			if told == nil || !strings.Contains(told.Error(), name) {
				t.Errorf("%s: it is not told where %s is: %v", test.name, name, told)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != len(test.want) || logged.Len() > 0 {
			t.Errorf("%s: left %v, %v, and said %q", test.name, left, err, logged.String())
		}
		if err := saveSharedEvidence(t.Context(), "", test.err, logger); err != nil {
			t.Errorf("%s, without a directory: %v", test.name, err)
		}
		for _, note := range test.want {
			if !strings.Contains(logged.String(), note) {
				t.Errorf("%s, without a directory: logged %q, want %q in it", test.name, logged.String(), note)
			}
		}
	}
	if err := saveSharedEvidence(t.Context(), "/dev/null/evidence", rollback, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "saving the evidence") {
		t.Errorf("a directory that is none: %v", err)
	}
}

// TestOtherKey starts a front end whose key has the name of the log's and is another.
func TestOtherKey(t *testing.T) {
	url := pgtest.Database(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	const origin = "log.example"
	if _, err := pool.InitLog(t.Context(), origin, func(context.Context) (int64, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, postgres.ErrOtherKey} {
		skey, vkey, err := note.GenerateKey(nil, origin)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := note.NewSigner(skey)
		if err != nil {
			t.Fatal(err)
		}
		d := &distributed{ledger: &ledger{
			cfg: &config{Distributed: &distributedConfig{Database: url}},
			key: &checkpoint.Key{Signer: signer, VKey: vkey},
		}}
		_, err = d.openDatabase(t.Context())
		if !errors.Is(err, want) {
			t.Errorf("front end %d: %v, want %v", i, err, want)
		}
		for _, c := range d.closers {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
