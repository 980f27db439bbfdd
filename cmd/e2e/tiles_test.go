package e2e

import (
	"errors"
	"fmt"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// TestTiles reads a log of 300 entries by its tiles: what the published tree
// has is served for good, at every width, and nothing else.
func TestTiles(t *testing.T) {
	p := start(t, t.TempDir())
	c := newCrew(t, p, 2)
	c.work(t.Context(), t, p, 16, 298)
	r := newREST(t, p)
	if err := newRPC(t, p).published(t.Context(), 300); err != nil {
		t.Fatal(err)
	}
	a := c.history.audit
	if err := a.extend(t.Context(), r); err != nil || a.size != 300 {
		t.Fatalf("the audit read %d entries: %v", a.size, err)
	}
	for _, at := range []tlog.Tile{{L: 0, N: 0, W: 256}, {L: 0, N: 0, W: 1}, {L: 0, N: 0, W: 255}, {L: 0, N: 1, W: 44}, {L: 0, N: 1, W: 7}, {L: 1, N: 0, W: 1}} {
		at.H = 8
		want, err := tlog.ReadTileData(at, a)
		if err != nil {
			t.Fatal(err)
		}
		resp, body := page(t, p, "GET", "/"+torchwood.TilePath(at))
		if resp.StatusCode != 200 || body != string(want) {
			t.Errorf("%v: status %d, %d bytes, want those of the tree", at, resp.StatusCode, len(body))
		}
		if at.L > 0 {
			continue
		}
		at.L = -1
		resp, body = page(t, p, "GET", "/"+torchwood.TilePath(at))
		if err := a.sameEntries(at, []byte(body)); resp.StatusCode != 200 || err != nil {
			t.Errorf("%v: status %d, %v", at, resp.StatusCode, err)
		}
	}
	for _, path := range []string{
		"0/002", "0/001", "0/001.p/45", "0/001.p/255", "1/000.p/2", "1/000", "2/000.p/1", "7/000.p/1", "8/000", "63/000.p/1", "64/000",
		"entries/001", "entries/001.p/45", "entries/002.p/1", "entries/x999/999", "0/000.p/0", "0/000.p/256", "0/0", "0/000.p/01",
		"0/000.p/", "00/000", "-1/000", "0/x000/000", "entries/../0/000", "0/000/", "", "0", "data/000",
		"..%2f..%2fledger.key", "entries/%2e%2e/%2e%2e/.state/treeState", "entries/000.p/1%00",
	} {
		if resp, body := page(t, p, "GET", "/tile/"+path); resp.StatusCode != 404 && resp.StatusCode/100 != 3 {
			t.Errorf("/tile/%s: status %d, %d bytes", path, resp.StatusCode, len(body))
		}
	}
}

// sameEntries checks that a bundle holds the entries of a tile and no more.
func (a *audit) sameEntries(at tlog.Tile, bundle []byte) error {
	for i := range int64(at.W) {
		entry, rest, err := torchwood.ReadTileEntry(bundle)
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if want, ok := a.leafHash(at.N*bundleWidth + i); !ok || tlog.RecordHash(entry) != want {
			return fmt.Errorf("entry %d is another", i)
		}
		bundle = rest
	}
	if len(bundle) > 0 {
		return errors.New("the bundle goes on")
	}
	return nil
}

// TestUnpublishedIsNotServed has entries that are in the log, but in no
// published tree: nobody may see them.
func TestUnpublishedIsNotServed(t *testing.T) {
	dir := t.TempDir()
	args := configured(t, dir, "publishInterval: 1h", "batchWindow: 0s")
	p := startWith(t, args...)
	c := newCrew(t, p, 1) // which is published, and the last for an hour
	r := newREST(t, p)
	var raws [][]byte
	for range 5 {
		raws = append(raws, c.authors[0].attestation())
		if err := c.history.submit(t.Context(), r, raws[len(raws)-1], "sequenced"); err != nil {
			t.Fatal(err)
		}
	}
	for path, status := range map[string]int{
		"/tile/0/000.p/1": 200, "/tile/0/000.p/2": 404, "/tile/0/000.p/6": 404, "/tile/0/000": 404,
		"/tile/entries/000.p/1": 200, "/tile/entries/000.p/2": 404, "/tile/entries/000.p/6": 404, "/tile/entries/000": 404,
		"/v1/log/entries/0": 200, "/v1/log/entries/1": 404, "/v1/log/entries/5": 404,
		"/v1/log/proofs/inclusion?index=0": 200, "/v1/log/proofs/inclusion?index=1": 400, "/v1/log/proofs/inclusion?index=1&size=6": 400,
		"/v1/log/proofs/consistency?from=1": 200, "/v1/log/proofs/consistency?from=1&to=6": 400,
		"/v1/attestations/" + envelopeOf(raws[0]): 404, "/v1/attestations/" + envelopeOf(raws[4]): 404,
	} {
		if resp, body := page(t, p, "GET", path); resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d: %.100s", path, resp.StatusCode, status, body)
		}
	}
	var l listed
	if err := r.get(t.Context(), "/v1/attestations", &l); err != nil || len(l.Entries) != 1 || l.CompleteUpTo != 1 {
		t.Errorf("%d entries are listed, up to %d: %v", len(l.Entries), l.CompleteUpTo, err)
	}
	// The end of the ledger publishes them.
	p.Stop(t)
	p = startWith(t, args...)
	c.history.keep(t, p, c.history.entries)
	p.Stop(t)
}
