package survey

import (
	"context"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store"
)

// leaves is an index of enrolments, each by its text alone.
type leaves struct {
	noKeys
	texts []string
}

// Entries implements store.Index.
func (l leaves) Entries(_ context.Context, indexes []uint64) ([]store.Entry, error) {
	var list []store.Entry
	for _, i := range indexes {
		list = append(list, store.Entry{Index: i, Text: []byte(l.texts[i])})
	}
	return list, nil
}

// TestTableOfAnotherLog: a table answers nothing for a log that is shorter than what it
// looked at, or has other entries, though its origin is the same.
func TestTableOfAnotherLog(t *testing.T) {
	for _, c := range []struct {
		name    string
		is      []string
		size    int64
		problem string
	}{
		{"the same", []string{"a", "b"}, 2, ""},
		{"longer", []string{"a", "b", "c"}, 3, ""},
		{"shorter", []string{"a"}, 1, "has 1: it may be of another log"},
		{"another", []string{"a", "x", "c"}, 3, "entry 1 is not the one"},
	} {
		f := newFilled(t, 1)
		err := f.inBatch(t.Context(), func(b *batch) error {
			return b.exec("INSERT INTO tip (one, hash) VALUES (1, ?)", tipOf([]store.Entry{{Text: []byte("b")}}))
		})
		if err != nil {
			t.Fatal(err)
		}
		f.says(word("r0", hello, digestOf("a"), Obtained), word("r0", hello, digestOf("a"), Obtained))
		f.current.Store(0)
		f.cfg.Index = leaves{texts: c.is}
		published := &checkpoint.Published{Checkpoint: torchwood.Checkpoint{Tree: tlog.Tree{N: c.size}}, At: f.now}
		f.cfg.Latest = func() (*checkpoint.Published, error) { return published, nil }
		err = f.claim(t.Context())
		if c.problem == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: %v, want that %s", c.name, err, c.problem)
		}
		if err := f.Step(t.Context()); err == nil {
			t.Errorf("%s: it goes on", c.name)
		}
		if f.Answerable() == nil {
			t.Errorf("%s: it answers", c.name)
		}
	}
}
