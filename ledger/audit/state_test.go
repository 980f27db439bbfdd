package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/policy"
)

// otherHistory is a log by the same key with other entries: what a log shows to
// whom it tells another story.
func otherHistory(t *testing.T, entries int) string {
	t.Helper()
	dir := t.TempDir()
	key, err := os.ReadFile(filepath.Join(built().log.Dir, "ledger.key"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "ledger.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := audittest.New(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w := built()
	var batch []audittest.Entry
	for i := range entries {
		e, err := w.entry(i)
		if i >= enrolments && err == nil {
			e, err = w.authors[0].Reproduction(10000 + i)
		}
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, e)
	}
	if err := l.Add(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A log that contradicts what was audited before is a fork, with both
// checkpoints to prove it, also where each of the two is flawless by itself.
func TestStateThatTheLogContradicts(t *testing.T) {
	for name, x := range map[string]struct {
		dir  func(t *testing.T) string
		kind string
	}{
		"another history":            {func(t *testing.T) string { return otherHistory(t, 400) }, "state-contradicted"},
		"another history, full tile": {func(t *testing.T) string { return otherHistory(t, 600) }, "state-contradicted"},
		"a shorter log":              {func(t *testing.T) string { return otherHistory(t, 200) }, "checkpoint-shrank"},
	} {
		t.Run(name, func(t *testing.T) {
			path := resumable(t)
			dir := x.dir(t)
			wantClean(t, run(t, open(t, dir), audit.Options{}))
			r := run(t, open(t, dir), audit.Options{State: path})
			(&damage{kind: x.kind, exit: 5}).check(t, r)
			for _, f := range r.Findings {
				if f.Kind == x.kind && len(f.Evidence) != 2 {
					t.Errorf("evidence %q", f.Evidence)
				}
			}
		})
	}
}

// A damaged tile at the place where an earlier audit ended is no fork.
func TestStateAndADamagedTile(t *testing.T) {
	path := resumable(t)
	d := &damaged{copyOf(t)}
	flip(tile1, 3)(t, d)
	r := run(t, open(t, d.dir), audit.Options{State: path})
	(&damage{kind: "tile-differs", exit: 10}).check(t, r)
	if r.Resumed {
		t.Error("it went on from there")
	}
}

func TestStateIsRefused(t *testing.T) {
	other, err := policy.Parse([]byte(strings.Replace(built().log.Policy.String(), "group ws 2", "group ws any", 1)))
	if err != nil {
		t.Fatal(err)
	}
	edited := func(from, to string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			edit(path, func(b []byte) []byte {
				after := strings.Replace(string(b), from, to, 1)
				if after == string(b) {
					t.Fatalf("the state has no %s", from)
				}
				return []byte(after)
			})(t, &damaged{"/"})
		}
	}
	for name, x := range map[string]struct {
		do func(t *testing.T, path string)
		o  audit.Options
	}{
		"of another policy":           {func(*testing.T, string) {}, audit.Options{Policy: other}},
		"of another log":              {edited(audittest.Origin, "log.example/other"), audit.Options{}},
		"of an audit without":         {edited(`"signatures":true`, `"signatures":false`), audit.Options{}},
		"of another size":             {edited(`"size":333`, `"size":334`), audit.Options{}},
		"with a size beyond its hash": {edited(`"size":333`, `"size":999`), audit.Options{}},
		"with more in it":             {edited(`{`, `{"more":1,`), audit.Options{}},
		"in another encoding":         {edited(`{`, `{ `), audit.Options{}},
		"cut short":                   {edited("}\n", "\n"), audit.Options{}},
		"of another schema":           {edited("audit-state/v2", "audit-state/v1"), audit.Options{}},
		"without its identities": {func(t *testing.T, path string) {
			if err := os.Truncate(path+".identities", 10); err != nil {
				t.Fatal(err)
			}
		}, audit.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			path := resumable(t)
			x.do(t, path)
			x.o.State = path
			if x.o.Policy == nil {
				x.o.Policy = built().log.Policy
			}
			r, err := audit.Run(t.Context(), open(t, copyOf(t)), x.o)
			if !errors.Is(err, audit.ErrState) || r.Clean {
				t.Errorf("Run() = clean %v, %v", r.Clean, err)
			}
		})
	}
}

// An entry that repeats one of an earlier audit is found.
func TestRepeatedEntryOfAnEarlierAudit(t *testing.T) {
	path := resumable(t)
	d := &damaged{earlyCopy(t)}
	logged(func(t *testing.T, w *world) []audittest.Entry {
		e, err := w.entry(earlySize) // not logged in this copy
		if err != nil {
			t.Fatal(err)
		}
		return []audittest.Entry{e}
	})(t, d)
	wantClean(t, run(t, open(t, d.dir), audit.Options{State: path}))
	first := attestations(t, d.dir)[100]
	logged(func(t *testing.T, w *world) []audittest.Entry {
		e, err := audittest.EntryOf(first, w.ring())
		if err != nil {
			t.Fatal(err)
		}
		return []audittest.Entry{e}
	})(t, d)
	(&damage{kind: "entry-repeated", exit: 10}).check(t, run(t, open(t, d.dir), audit.Options{State: path}))
}
