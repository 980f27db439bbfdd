package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

// used returns the directory of a stopped ledger with two states: the files as
// they were at an earlier size, and as they are now.
func used(t *testing.T) (dir, earlier string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 1)
	c.work(t.Context(), t, p, 4, 20)
	p.Stop(t)
	earlier = copyDir(t, dir)
	p = start(t, dir)
	c.work(t.Context(), t, p, 4, 20)
	p.Stop(t)
	if t.Failed() || len(c.unknown) > 0 {
		t.Fatalf("a submission was not taken: %v", c.refused)
	}
	return dir, earlier
}

// restore puts a file or directory of another copy in its place.
func restore(t *testing.T, dir, from, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	if from == "" {
		return
	}
	if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(from, name))); err != nil {
		t.Fatal(err)
	}
}

// signedOn returns what a ledger's directory knows to be signed.
func signedOn(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, name := range []string{"signed", "log/checkpoint"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			found[name] = string(b)
		}
	}
	return found
}

// TestRollback gives a ledger back a past that contradicts what it signed.
func TestRollback(t *testing.T) {
	for _, test := range []struct {
		name string
		undo func(t *testing.T, dir, earlier string)
		says []string
	}{
		{"an older copy of the log", func(t *testing.T, dir, earlier string) {
			restore(t, dir, earlier, "log")
		}, []string{"a checkpoint of size 41 was signed", "holds only 21 entries", "older copy"}},
		{"an older copy of all but the signer's state", func(t *testing.T, dir, earlier string) {
			restore(t, dir, earlier, "log")
			for _, name := range []string{"blobs.db", "blobs.db-wal", "blobs.db-shm", "index.db", "index.db-wal", "index.db-shm"} {
				replaceFile(t, dir, earlier, name)
			}
		}, []string{"holds only 21 entries"}},
		{"an older state of the tree", func(t *testing.T, dir, earlier string) {
			replaceFile(t, dir, earlier, "log/.state/treeState")
		}, []string{"holds only 21 entries"}},
		{"no log", func(t *testing.T, dir, _ string) {
			restore(t, dir, "", "log")
		}, []string{"holds only 0 entries"}},
		{"an emptied log, as of a disk that was not mounted", func(t *testing.T, dir, _ string) {
			restore(t, dir, "", "log")
			if err := os.Mkdir(filepath.Join(dir, "log"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"a log without the state of its tree", func(t *testing.T, dir, _ string) {
			restore(t, dir, "", "log/.state")
		}, nil},
		{"no signer's state", func(t *testing.T, dir, _ string) {
			restore(t, dir, "", "signed")
		}, []string{"the signer's state is missing", "41 entries"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, earlier := used(t)
			test.undo(t, dir, earlier)
			// More than once: a refusal must not make the next start succeed.
			for range 2 {
				before := signedOn(t, dir)
				code, stderr := refuse(t, "-dev", dir)
				if code != 5 {
					t.Errorf("exit code %d, want 5", code)
				}
				for _, want := range append(test.says, "contradicts what was signed before", "nothing was signed") {
					if !strings.Contains(stderr, want) {
						t.Errorf("stderr does not say %q:\n%s", want, stderr)
					}
				}
				if diff := cmp.Diff(before, signedOn(t, dir)); diff != "" {
					t.Errorf("something was signed (-before +after):\n%s", diff)
				}
			}
		})
	}
}

func replaceFile(t *testing.T, dir, from, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(from, name))
	if os.IsNotExist(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFork lets two copies of one ledger grow apart, and gives one the other's
// log: larger than what was signed, and not an extension of it.
func TestFork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 1)
	p.Stop(t)
	other := copyDir(t, dir)
	for i, d := range []string{dir, other} {
		p := start(t, d)
		fork := &crew{history: newHistory(t, p.VKey), authors: c.authors}
		fork.work(t.Context(), t, p, 4, 10+10*i)
		if len(fork.unknown) > 0 {
			t.Fatalf("a submission was not taken: %v", fork.refused)
		}
		p.Stop(t)
		if d == dir {
			c.history.entries = append(c.history.entries, fork.history.entries...)
		}
	}
	right := copyDir(t, dir)
	restore(t, dir, other, "log")
	for _, index := range []string{"with its index", "without an index"} {
		before := signedOn(t, dir)["signed"]
		code, stderr := refuse(t, "-dev", dir)
		if code != 5 || !strings.Contains(stderr, "does not extend") {
			t.Errorf("%s: exit code %d, want 5\n%s", index, code, stderr)
		}
		if after := signedOn(t, dir)["signed"]; after != before {
			t.Errorf("%s: something was signed: %q after %q", index, after, before)
		}
		restore(t, dir, "", "index.db")
	}

	// With the right log, all is well again.
	restore(t, dir, right, "log")
	p = start(t, dir)
	c.history.keep(t, p, c.history.entries)
	p.Stop(t)
}

// TestRefusedLogIsNotIndexed gives a ledger the log of another copy of it, and
// then its own back. In between, nothing may have been learnt from it.
func TestRefusedLogIsNotIndexed(t *testing.T) {
	dir, _ := used(t)
	other := copyDir(t, dir)
	for i, d := range []string{dir, other} {
		p := start(t, d)
		c := newCrew(t, p, 1)
		c.work(t.Context(), t, p, 4, 10+10*i)
		p.Stop(t)
	}
	right := copyDir(t, dir)
	restore(t, dir, other, "log")
	for _, name := range []string{"blobs.db", "blobs.db-wal", "blobs.db-shm"} {
		replaceFile(t, dir, other, name)
	}
	if code, stderr := refuse(t, "-dev", dir); code != 5 {
		t.Fatalf("exit code %d, want 5\n%s", code, stderr)
	}
	restore(t, dir, right, "log")
	for _, name := range []string{"blobs.db", "blobs.db-wal", "blobs.db-shm"} {
		replaceFile(t, dir, right, name)
	}
	p := start(t, dir)
	r := newREST(t, p)
	h := newHistory(t, p.VKey)
	if err := h.audit.extend(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	var l listed
	if err := r.get(t.Context(), "/v1/attestations?page_size=1000", &l); err != nil {
		t.Fatal(err)
	}
	if int64(len(l.Entries)) != h.audit.size {
		t.Fatalf("%d of %d entries are listed", len(l.Entries), h.audit.size)
	}
	for _, e := range l.Entries {
		if got, _ := h.audit.leafHash(e.Index); got != tlog.RecordHash([]byte(e.Leaf)) {
			t.Errorf("the index has another entry %d than the log", e.Index)
		}
	}
	p.Stop(t)
}

// TestIndexCanBeDeleted starts a ledger that lost what it can rebuild.
func TestIndexCanBeDeleted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	c := newCrew(t, p, 2)
	c.work(t.Context(), t, p, 4, 300)
	revoked := newAuthor(t)
	r := newREST(t, p)
	for _, raw := range [][]byte{revoked.enrolment(t), revoked.attestation(), revoked.revocation(t)} {
		if err := c.history.submit(t.Context(), r, raw, ""); err != nil {
			t.Fatal(err)
		}
	}
	p.Stop(t)
	for _, name := range []string{"index.db", "index.db-wal", "index.db-shm", "log/checkpoint"} {
		restore(t, dir, "", name)
	}
	p = start(t, dir)
	c.history.keep(t, p, c.history.entries)
	_, err := newREST(t, p).submit(t.Context(), revoked.attestation(), "")
	wantRefusal(t, "an attestation by the revoked key", err, "KEY_REVOKED")
	p.Stop(t)
}

func TestOneProcessPerLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	first := start(t, dir)
	code, stderr := refuse(t, "-dev", dir)
	if code != 2 || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("a second process ended with code %d, want 2\n%s", code, stderr)
	}
	// The first does not notice.
	c := newCrew(t, first, 1)
	c.history.keep(t, first, c.history.entries)
	first.Kill(t)
	// A lock that a killed process held is gone with it.
	start(t, dir).Stop(t)
}

// TestKeys takes a ledger's key away, or shows it to others.
func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	p := start(t, dir)
	p.Stop(t)
	key, err := os.ReadFile(filepath.Join(dir, "ledger.key"))
	if err != nil {
		t.Fatal(err)
	}
	restore(t, dir, "", "ledger.key")
	if code, stderr := refuse(t, "-dev", dir); code != 2 || !strings.Contains(stderr, "ledger.key is missing") {
		t.Errorf("without its key: exit code %d, want 2\n%s", code, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "ledger.key"), key, 0o644); err != nil {
		t.Fatal(err)
	}
	code, stderr := refuse(t, "-dev", dir)
	if code != 2 || !strings.Contains(stderr, "chmod 600") {
		t.Errorf("with a key that others may read: exit code %d, want 2\n%s", code, stderr)
	}
	if strings.Contains(stderr, string(bytes.TrimSpace(key))) {
		t.Error("the key is on stderr")
	}
	if err := os.Chmod(filepath.Join(dir, "ledger.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	if again.VKey != p.VKey || again.Origin != p.Origin {
		t.Errorf("the key is %s, was %s", again.VKey, p.VKey)
	}
	again.Stop(t)
}
