package interop

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// restored returns the directory of a ledger that was put back as it was before
// the log grew, with all that the ledger knows about what it signed. The ledger
// does not run. It also returns who submitted to it, the newest tree that was
// published, and where the directory is that knows that tree.
func restored(t *testing.T, l *ledger, policy string) (by *author, newest tlog.Tree, kept string) {
	t.Helper()
	by = l.enrol(t)
	l.submitAll(t, by, 3)
	l.Stop(t)
	old := filepath.Join(t.TempDir(), "old")
	copyDir(t, l.dir, old)

	l = startLedger(t, l.dir, "-policy", policy)
	for range 5 {
		l.submit(t, by)
	}
	newest = l.tree(t, l.published(t))
	l.Stop(t)
	kept = l.dir + ".newest"
	if err := os.Rename(l.dir, kept); err != nil {
		t.Fatal(err)
	}
	copyDir(t, old, l.dir)
	return by, newest, kept
}

// memory is what a ledger that publishes or signs would change.
type memory struct{ published, signed []byte }

func remember(t *testing.T, dir string) memory {
	t.Helper()
	var m memory
	var err error
	if m.published, err = os.ReadFile(filepath.Join(dir, "log", "checkpoint")); err != nil {
		t.Fatal(err)
	}
	if m.signed, err = os.ReadFile(filepath.Join(dir, "signed")); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m memory) check(t *testing.T, dir string) {
	t.Helper()
	now := remember(t, dir)
	if !bytes.Equal(m.published, now.published) {
		t.Errorf("published %q, after %q was restored", now.published, m.published)
	}
	if !bytes.Equal(m.signed, now.signed) {
		t.Errorf("signed %q, after %q was restored", now.signed, m.signed)
	}
}

// TestRestoredIsRefuted restores a ledger whose witnesses show what they
// cosigned: a single one of them suffices to stop it.
func TestRestoredIsRefuted(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	var witnesses []*witness
	for i := range 3 {
		witnesses = append(witnesses, newCairnWitness(t, l, fmt.Sprintf("cairn-%d", i)))
	}
	policy := writePolicy(t, l, 2, witnesses...)
	l = l.restart(t, policy)
	by, newest, kept := restored(t, l, policy)
	before := remember(t, l.dir)
	evidence := filepath.Join(l.dir, fmt.Sprintf("signed.rollback-%d", newest.N))

	for _, alive := range []int{3, 1} {
		for _, w := range witnesses[alive:] {
			w.Kill(t)
		}
		p := launch(t, filepath.Join(bin, "cairn-ledger"), "-dev", l.dir, "-policy", policy)
		p.Wait(t)
		if p.Code() != 5 {
			t.Fatalf("with %d witnesses: exit code %d, want 5\n%s", alive, p.Code(), p.Stderr)
		}
		before.check(t, l.dir)
		text, err := os.ReadFile(evidence)
		if err != nil {
			t.Fatalf("with %d witnesses: %v\n%s", alive, err, p.Stderr)
		}
		if tree := l.tree(t, string(text)); tree != newest {
			t.Errorf("the evidence is of size %d and root %s, want %d and %s", tree.N, tree.Hash, newest.N, newest.Hash)
		}
		if err := os.Remove(evidence); err != nil {
			t.Fatal(err)
		}
	}

	// It was the copy that was at fault: the newest one goes on.
	for _, w := range witnesses[1:] {
		w.start(t)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(kept, l.dir); err != nil {
		t.Fatal(err)
	}
	l = startLedger(t, l.dir, "-policy", policy)
	if r := l.submit(t, by); l.tree(t, r.Checkpoint).N <= newest.N {
		t.Errorf("published %q, after size %d", r.Checkpoint, newest.N)
	}
	l.Stop(t)
}

// TestRestoredIsNotCosigned restores a ledger whose witnesses show nothing. They
// refuse, and so it serves what it has, and publishes nothing.
func TestRestoredIsNotCosigned(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	witnesses := []*witness{newOmniwitness(t, l), newLitewitness(t, l)}
	policy := writePolicy(t, l, 1, witnesses...)
	l = l.restart(t, policy)
	by, newest, _ := restored(t, l, policy)
	before := remember(t, l.dir)

	l = startLedger(t, l.dir, "-policy", policy)
	resp, err := http.Post(l.HTTP+"/v1/attestations", "application/json", bytes.NewReader(by.attestation()))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(answer, []byte(`"PUBLICATION_DELAYED"`)) {
		t.Errorf("a submission is answered with %s and %s, want 503 PUBLICATION_DELAYED", resp.Status, answer)
	}
	l.Stderr.AwaitN(t, "too few confirm the state of size", 3)
	if served := l.get(t, "/checkpoint"); served != string(before.published) {
		t.Errorf("served %q, want the restored %q", served, before.published)
	}
	old := l.tree(t, string(before.published))
	if old.N >= newest.N {
		t.Fatalf("the copy has size %d, the newest %d", old.N, newest.N)
	}
	for i := range old.N {
		l.get(t, fmt.Sprintf("/v1/log/entries/%d", i))
	}
	before.check(t, l.dir)
	l.Stop(t)
	before.check(t, l.dir)
}
