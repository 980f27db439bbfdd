package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/migrate"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// TestMigrateArguments wants what cannot be moved to be refused before anything is
// made.
func TestMigrateArguments(t *testing.T) {
	f := newFiles(t)
	other, err := checkpoint.CreateKey(filepath.Join(f.dir, "other.key"), "other.example/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"log", "other", "other/log"} {
		if err := os.Mkdir(filepath.Join(f.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.write("signed", "")
	f.write("blobs.db", "")
	front, alone := f.write("front.yaml", shared), f.write("alone.yaml", paths)
	strict := f.write("strict.yaml", paths+"policy: "+f.write("strict.policy", "log VKEY\nlog "+other.VKey+"\nquorum none\n")+"\n")
	another := f.write("another.yaml", strings.Replace(shared, "ledger.key", "other.key", 1))
	for _, tt := range []struct{ name, from, config, says string }{
		{"no source", "", front, "give -from DIR or -from CONFIG"},
		{"no target", f.dir, "", "give -config FILE"},
		{"a target of one process", f.dir, alone, "an embedded log needs no migrate"},
		{"a source that is not there", filepath.Join(f.dir, "none"), front, "no such file"},
		{"a directory of something else", filepath.Join(f.dir, "other"), front, "is no ledger"},
		{"a source of several", front, front, "only the log of a ledger of one process is moved"},
		{"another key", f.dir, another, "a log keeps its key"},
		{"another policy", strict, front, "move with the same"},
	} {
		args := []string{"migrate"}
		if tt.from != "" {
			args = append(args, "-from", tt.from)
		}
		if tt.config != "" {
			args = append(args, "-config", tt.config)
		}
		code, out, errs := command(t, args...)
		if code != 2 || out != "" || !strings.Contains(errs, tt.says) {
			t.Errorf("%s: exit code %d, %q, %q; want %q", tt.name, code, out, errs, tt.says)
		}
	}
}

// TestMigrateRefuses wants the log to stay where it is.
func TestMigrateRefuses(t *testing.T) {
	m := newMoving(t)
	refused := func(name string, wantCode int, says string) {
		t.Helper()
		before, err := os.ReadFile(filepath.Join(m.dir, "signed"))
		if err != nil {
			t.Fatal(err)
		}
		code, out, errs := command(t, "migrate", "-from", m.dir, "-config", m.file)
		after, err := os.ReadFile(filepath.Join(m.dir, "signed"))
		if code != wantCode || out != "" || !strings.Contains(errs, says) || err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: exit code %d, %q, %q, %v; want %d and %q", name, code, out, errs, err, wantCode, says)
		}
	}
	state, err := checkpoint.OpenFileState(filepath.Join(m.dir, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	refused("a ledger that runs", 2, "in use by another process")
	if err := state.Close(); err != nil {
		t.Fatal(err)
	}

	bundle := filepath.Join(m.dir, "log", "tile", "entries", "000")
	whole, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(bundle, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	refused("a log that is damaged", 10, "the log was not moved")
	if err := os.WriteFile(bundle, whole, 0o644); err != nil {
		t.Fatal(err)
	}

	// What was moved of it is more than an older copy of it has.
	older := m.copy()
	m.write(func(l *audittest.Log) {
		m.reproductions(l, 10)
		m.publish(l)
	})
	if _, err := m.move(migrate.Signer); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	newest := m.dir
	m.dir = older
	refused("an older copy", 1, "holds another log than the source")
	m.dir = newest

	// A database that front ends may have signed in.
	text, err := os.ReadFile(m.file)
	if err != nil {
		t.Fatal(err)
	}
	m.file = m.put("initialised.yaml", strings.Replace(string(text), m.database(), pgtest.Database(t), 1))
	if code, _, errs := command(t, "init", "-config", m.file); code != 0 {
		t.Fatal(errs)
	}
	refused("a database of front ends", 2, "a log moves to a database that")
}

// database returns the URL of the target's.
func (m *moving) database() string {
	m.t.Helper()
	c, err := readConfig(m.file)
	if err != nil {
		m.t.Fatal(err)
	}
	return c.Distributed.Database
}

func (m *moving) exec(statement string) {
	m.t.Helper()
	conn, err := pgx.Connect(m.t.Context(), m.database())
	if err == nil {
		_, err = conn.Exec(m.t.Context(), statement)
	}
	if err == nil {
		err = conn.Close(m.t.Context())
	}
	if err != nil {
		m.t.Fatalf("%s: %v", statement, err)
	}
}

// TestMigrateComparesTheTarget has what an earlier run wrote change before the move
// goes on.
func TestMigrateComparesTheTarget(t *testing.T) {
	m := newMoving(t)
	signed := func(from, to int) string {
		return fmt.Sprintf(`UPDATE signer SET text = convert_to(replace(convert_from(text, 'UTF8'), E'\n%d\n', E'\n%d\n'), 'UTF8')`, from, to)
	}
	const line = `convert_to(E'— x.example AAAAAAAA\n', 'UTF8')`
	lost := filepath.Join(m.bucket, "attestations")
	for _, tt := range []struct {
		name        string
		after       migrate.Step
		spoil, mend func()
		says        string
	}{
		{"the archive", migrate.Archived,
			func() { m.exec("UPDATE checkpoints SET note = note || " + line + " WHERE seq = 0") },
			func() {
				m.exec("UPDATE checkpoints SET note = substr(note, 1, length(note) - length(" + line + ")) WHERE seq = 0")
			}, "segment 000000000 of the archive differs"},
		{"the keys", migrate.Tail,
			func() { m.exec("UPDATE keys SET operator = operator || 'x'") },
			func() { m.exec("UPDATE keys SET operator = left(operator, -1)") }, "is another in its index"},
		{"the signer's state, a later one", migrate.Signer, func() { m.exec(signed(300, 301)) }, func() { m.exec(signed(301, 300)) },
			"the source is an older copy"},
		{"the signer's state, another", migrate.Signer, func() { m.exec(signed(300, 299)) }, func() { m.exec(signed(299, 300)) },
			"size 299 was signed with root"},
		{"the attestations", migrate.Signer,
			func() { m.rename(lost, lost+".away") }, func() { m.rename(lost+".away", lost) }, "is not clean"},
		{"the signer's state, after the switch", migrate.Switched, func() { m.exec(signed(300, 299)) }, func() { m.exec(signed(299, 300)) },
			"an older copy was restored"},
	} {
		if _, err := m.move(tt.after); !errors.Is(err, errKilled) {
			t.Fatalf("%s: %v", tt.name, err)
		}
		tt.spoil()
		if out, err := m.move(""); err == nil || !strings.Contains(err.Error(), tt.says) || out != "" {
			t.Errorf("%s: %q, %v, want that it %s", tt.name, out, err, tt.says)
		}
		tt.mend()
	}
	if _, err := m.move(""); err != nil {
		t.Fatal(err)
	}
	m.served()
	m.audited(300)
}

func (m *moving) rename(from, to string) {
	m.t.Helper()
	if err := os.Rename(from, to); err != nil {
		m.t.Fatal(err)
	}
}

// copy copies the ledger. Partial tiles may be deleted meanwhile, which nobody needs.
func (m *moving) copy() (dir string) {
	m.t.Helper()
	for try := 0; ; try++ {
		dir = m.t.TempDir()
		err := os.CopyFS(dir, os.DirFS(m.dir))
		if err == nil {
			err = os.Chmod(filepath.Join(dir, "ledger.key"), 0o600)
		}
		if err == nil {
			return dir
		}
		if try == 5 {
			m.t.Fatal(err)
		}
	}
}

// TestMigrateNeverPublished has no log to be moved.
func TestMigrateNeverPublished(t *testing.T) {
	m := newMoving(t)
	if err := os.RemoveAll(filepath.Join(m.dir, "log", checkpoint.ArchiveDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.move(""); err == nil || !strings.Contains(err.Error(), "nothing of the log was published yet") {
		t.Errorf("without an archive: %v", err)
	}
}

// TestMigrateWhileTrillianFails has every few calls of Trillian fail.
func TestMigrateWhileTrillianFails(t *testing.T) {
	m := newMoving(t)
	proofs := m.saved(300)
	var calls atomic.Int64
	m.trillian.Fail(func(method string) error {
		if calls.Add(1)%3 == 0 {
			return status.Error(codes.Unavailable, fmt.Sprint("no ", method, " now"))
		}
		return nil
	})
	if _, err := m.move(""); err != nil {
		t.Fatal(err)
	}
	m.trillian.Fail(nil)
	m.audited(300)
	m.holds(proofs)
}
