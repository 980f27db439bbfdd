package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"

	auditor "github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/policy"
)

// TestFsck has Tessera's own checker judge the directory that a load of
// CAIRN_FSCK_ENTRIES left, and wants every pair of the checkpoints that were
// seen meanwhile to be consistent.
func TestFsck(t *testing.T) {
	entries := number(t, "CAIRN_FSCK_ENTRIES", 2000)
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 8)
	began := time.Now()
	c.work(t.Context(), t, p, 64, entries)
	loaded := time.Since(began)
	if got, want := c.history.count(), entries+len(c.authors); got != want || t.Failed() {
		t.Fatalf("%d entries were acknowledged, want %d; refused %v", got, want, c.refused)
	}
	p.Stop(t)
	check(t, dir, p)

	p = start(t, dir)
	h := c.history
	if err := newRPC(t, p).published(t.Context(), int64(len(h.entries))); err != nil {
		t.Fatal(err)
	}
	if err := h.audit.extend(t.Context(), newREST(t, p)); err != nil {
		t.Fatal(err)
	}
	if h.audit.size != int64(len(h.entries)) {
		t.Errorf("the log has %d entries, but %d were acknowledged", h.audit.size, len(h.entries))
	}
	for _, e := range h.entries {
		if got, ok := h.audit.leafHash(e.ack.index); !ok || got != e.leaf {
			t.Fatalf("LOST: entry %d is another", e.ack.index)
		}
	}
	trees := h.signed(t)
	saved := spread(trees, 200)
	h.pairs(t, p, saved)
	p.Stop(t)
	check(t, dir, p)
	t.Logf("%d entries acknowledged in %v; %d checkpoints seen, %d saved, all %d pairs of them consistent; ready again after %v",
		len(h.entries), loaded.Round(time.Millisecond), len(trees), len(saved), h.proofs, p.took)
}

// check runs Tessera's fsck on the log of a ledger that is stopped.
func check(t *testing.T, dir string, p *process) {
	t.Helper()
	v, err := note.NewVerifier(p.VKey)
	if err != nil {
		t.Fatal(err)
	}
	log := client.FileFetcher{Root: filepath.Join(dir, "log")}
	if err := fsck.New(p.Origin, v, log, leafHashes, fsck.Opts{N: 2}).Check(t.Context()); err != nil {
		t.Fatalf("fsck: %v", err)
	}
	checkAll(t, dir, p)
}

// checkAll has our own audit judge the whole directory.
func checkAll(t *testing.T, dir string, p *process) {
	t.Helper()
	pol, err := policy.Parse(fmt.Appendf(nil, "log %s\nquorum none\n", p.VKey))
	if err != nil {
		t.Fatal(err)
	}
	c, err := auditor.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	r, err := auditor.Run(t.Context(), c, auditor.Options{Policy: pol})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Clean {
		t.Fatalf("the audit found %+v", r.Findings)
	}
}

// leafHashes returns the leaf hashes of a bundle.
func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, e := range b.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return hashes, nil
}
