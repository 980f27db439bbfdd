package audit_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// damage is one thing that can happen to a copy of a log, and what an audit must
// say of it.
type damage struct {
	name string
	do   func(t *testing.T, d *damaged)
	kind string
	exit int
}

// damaged is a copy that is being damaged.
type damaged struct{ dir string }

const (
	bundle1  = "log/tile/entries/001"
	bundle2  = "log/tile/entries/002.p/188"
	tile01   = "log/tile/0/001"
	tile02   = "log/tile/0/002.p/188"
	tile1    = "log/tile/1/000.p/2"
	notePath = "log/checkpoint"
	segment  = "log/checkpoints/000000000"
	blobsDB  = "blobs.db"
	indexDB  = "index.db"
)

// TestDamage has every damage found, named and classed: in an audit from the
// first entry, and in one that goes on from before it.
func TestDamage(t *testing.T) {
	all := slices.Concat(fileDamage(), tileDamage(), noteDamage(), archiveDamage(), databaseDamage(), entryDamage())
	if len(all) < 60 {
		t.Errorf("%d kinds of damage, want 60", len(all))
	}
	names := make(map[string]bool)
	for _, x := range all {
		if names[x.name] {
			t.Errorf("%s is there twice", x.name)
		}
		names[x.name] = true
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			d := &damaged{copyOf(t)}
			x.do(t, d)
			x.check(t, run(t, open(t, d.dir), audit.Options{}))
			path := resumable(t)
			r := run(t, open(t, d.dir), audit.Options{State: path})
			x.check(t, r)
			if after, _ := os.ReadFile(path); !bytes.Equal(after, early.state) {
				t.Error("an audit that found something wrote its state")
			}
		})
	}
}

func (x *damage) check(t *testing.T, r *audit.Report) {
	t.Helper()
	if !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Kind == x.kind && f.Where != "" && f.What != "" }) {
		t.Errorf("resumed %v: no finding %s in %s", r.Resumed, x.kind, list(r))
	}
	if r.ExitCode() != x.exit || r.Clean {
		t.Errorf("resumed %v: exit %d, want %d: %s", r.Resumed, r.ExitCode(), x.exit, list(r))
	}
	for _, f := range r.Findings {
		if f.Class == audit.Fork && len(f.Evidence) == 0 {
			t.Errorf("a fork without evidence: %+v", f)
		}
	}
}

func list(r *audit.Report) string {
	var b strings.Builder
	for i, f := range r.Findings {
		if i == 12 {
			b.WriteString("\n…")
			break
		}
		b.WriteString("\n  " + string(f.Class) + " " + f.Kind + " " + f.Where + ": " + f.What)
	}
	return b.String()
}

func (d *damaged) path(name string) string { return filepath.Join(d.dir, name) }

func (d *damaged) get(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(d.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put writes a file; name may be absolute.
func (d *damaged) put(t *testing.T, name string, b []byte) {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = d.path(name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (d *damaged) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(d.path(name)); err != nil {
		t.Fatal(err)
	}
}

// edit changes a file by f.
func edit(name string, f func([]byte) []byte) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) { d.put(t, name, f(d.get(t, name))) }
}

// flip flips a bit, counted from the end if at is negative.
func flip(name string, at int) func(*testing.T, *damaged) {
	return edit(name, func(b []byte) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 1
		return b
	})
}

func cut(name string, n int) func(*testing.T, *damaged) {
	return edit(name, func(b []byte) []byte { return b[:len(b)-n] })
}

func extend(name string, more []byte) func(*testing.T, *damaged) {
	return edit(name, func(b []byte) []byte { return append(b, more...) })
}

func remove(names ...string) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		for _, name := range names {
			d.remove(t, name)
		}
	}
}

func create(name string, content []byte) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) { d.put(t, name, content) }
}

// link moves a file away, and leaves a symbolic link to it.
func link(name string) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		away := d.path("away")
		if err := os.Rename(d.path(name), away); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(away, d.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// instead puts something else in a file's place.
func instead(name string, put func(path string) error) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		d.remove(t, name)
		if err := put(d.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

func exec(db string, statements ...string) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		c, err := sql.Open("sqlite", d.path(db))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		for _, s := range statements {
			if r, err := c.Exec(s); err != nil {
				t.Fatal(err)
			} else if n, _ := r.RowsAffected(); n == 0 && !strings.HasPrefix(s, "DROP") && !strings.HasPrefix(s, "PRAGMA") {
				t.Fatalf("%s changed nothing", s)
			}
		}
	}
}

// splitBundle returns the entries of a bundle.
func splitBundle(b []byte) (entries [][]byte) {
	for len(b) > 0 {
		n := int(binary.BigEndian.Uint16(b))
		entries = append(entries, b[2:2+n])
		b = b[2+n:]
	}
	return entries
}

func joinBundle(entries [][]byte) (b []byte) {
	for _, e := range entries {
		b = binary.BigEndian.AppendUint16(b, uint16(len(e)))
		b = append(b, e...)
	}
	return b
}

func reorder(name string, f func(entries [][]byte) [][]byte) func(*testing.T, *damaged) {
	return edit(name, func(b []byte) []byte { return joinBundle(f(splitBundle(b))) })
}

// rearchive changes the notes of the archive.
func rearchive(f func(t *testing.T, notes [][]byte) [][]byte) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		rest := d.get(t, segment)
		var notes [][]byte
		for len(rest) > 0 {
			var signed []byte
			var err error
			if signed, rest, err = checkpoint.ReadArchived(rest); err != nil {
				t.Fatal(err)
			}
			notes = append(notes, signed)
		}
		var b []byte
		for _, n := range f(t, notes) {
			b = checkpoint.AppendArchived(b, n)
		}
		d.put(t, segment, b)
	}
}

// forged is a checkpoint of a size and a root of nothing, by the log's own key.
func forged(t *testing.T, size int64, witnesses int) []byte {
	t.Helper()
	signed, err := built().log.Sign(tlog.Tree{N: size, Hash: tlog.Hash{1}}, witnesses)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// logged logs further entries, whatever they are, and publishes.
func logged(entries func(t *testing.T, w *world) []audittest.Entry) func(*testing.T, *damaged) {
	return func(t *testing.T, d *damaged) {
		l, err := audittest.New(t.Context(), d.dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(t.Context(), entries(t, built())...); err != nil {
			t.Fatal(err)
		}
		if err := l.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func fileDamage() []damage {
	mkfifo := func(path string) error { return unix.Mkfifo(path, 0o644) }
	mkdir := func(path string) error { return os.Mkdir(path, 0o755) }
	large := func(path string) error {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
		return os.Truncate(path, 1<<30)
	}
	return []damage{
		{"a flipped bit in an entry of a full bundle", flip(bundle1, 40000), "entry-differs", 10},
		{"a flipped bit in an entry of the last bundle", flip(bundle2, -20), "entry-differs", 10},
		{"a flipped bit in the length of an entry", reorderRaw(bundle1, 200), "bundle-truncated", 10},
		{"a bundle that lacks its last byte", cut(bundle1, 1), "bundle-truncated", 10},
		{"an empty bundle", edit(bundle1, func([]byte) []byte { return nil }), "bundle-truncated", 10},
		{"a byte behind the last entry", extend(bundle1, []byte{0}), "bundle-trailing", 10},
		{"an entry behind the last", extend(bundle2, []byte{0, 1, 'x'}), "bundle-trailing", 10},
		{"a missing bundle", remove(bundle1), "bundle-missing", 3},
		{"a missing last bundle", remove(bundle2), "bundle-missing", 3},
		{"a bundle that is a symbolic link", link(bundle1), "file-unreadable", 10},
		{"a bundle that is a directory", instead(bundle1, mkdir), "file-unreadable", 10},
		{"a bundle that is a pipe", instead(bundle1, mkfifo), "file-unreadable", 10},
		{"a bundle of a gigabyte", instead(bundle1, large), "file-unreadable", 10},
		{"two entries in another order", reorder(bundle1, func(e [][]byte) [][]byte {
			e[100], e[101] = e[101], e[100]
			return e
		}), "entry-differs", 10},
		{"an entry in place of another", reorder(bundle2, func(e [][]byte) [][]byte {
			e[100] = e[99]
			return e
		}), "entry-differs", 10},
		{"an entry less in the middle", reorder(bundle1, func(e [][]byte) [][]byte {
			return slices.Delete(e, 100, 101)
		}), "bundle-truncated", 10},
		{"a bundle in place of another", func(t *testing.T, d *damaged) {
			d.put(t, bundle1, d.get(t, "log/tile/entries/000"))
		}, "entry-differs", 10},
		{"a stray file in the log", create("log/notes.txt", nil), "file-stray", 10},
		{"a stray file among the tiles", create("log/tile/0/readme", nil), "file-stray", 10},
		{"a name of dots", create("log/tile/0/...", nil), "file-stray", 10},
		{"a tile under another name", create("log/tile/0/1", nil), "file-stray", 10},
		{"the name that bundles have elsewhere", create("log/tile/data/000", nil), "file-stray", 10},
		{"a bundle of entries that nobody logged", create("log/tile/entries/x001/000", nil), "file-stray", 10},
		{"a tile far behind the tree", create("log/tile/0/900", make([]byte, 8192)), "file-stray", 10},
		{"a tile of a level that the tree has not", create("log/tile/3/000.p/1", make([]byte, 32)), "file-stray", 10},
		{"a pipe among the tiles", instead("log/tile/0/pipe", mkfifo), "file-irregular", 10},
		{"a directory of tiles that is a symbolic link", link("log/tile/1"), "file-irregular", 10},
	}
}

// reorderRaw flips a bit in the length of an entry.
func reorderRaw(name string, entry int) func(*testing.T, *damaged) {
	return edit(name, func(b []byte) []byte {
		at := 0
		for range entry {
			at += 2 + int(binary.BigEndian.Uint16(b[at:]))
		}
		b[at] ^= 0x40
		return b
	})
}
