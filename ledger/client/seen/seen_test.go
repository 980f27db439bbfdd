package seen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/client"
)

const vkey = "log.example+1c37d26c+AR/KO"

// at returns a checkpoint of a size; two with one branch agree.
func at(size int64, branch byte) Checkpoint {
	tree := tlog.Tree{N: size, Hash: tlog.Hash{branch, byte(size), byte(size >> 8)}}
	text := fmt.Sprintf("log.example\n%d\n%s\n", tree.N, tree.Hash)
	return Checkpoint{VKey: vkey, Signed: text + "\n— log.example c2lnbmF0dXJl\n", Tree: tree}
}

// agrees is an honest proof: trees of one branch extend each other.
func agrees(_ context.Context, from, to tlog.Tree) error {
	if from.N > to.N {
		return fmt.Errorf("asked to extend %d to %d", from.N, to.N)
	}
	if from.Hash[0] != to.Hash[0] {
		return client.Misbehaved("size %d does not extend size %d", to.N, from.N)
	}
	return nil
}

func cannot(context.Context, tlog.Tree, tlog.Tree) error { return errors.New("no answer") }

func never(_ context.Context, from, to tlog.Tree) error {
	return client.Misbehaved("asked for %d and %d, which needs no proof", from.N, to.N)
}

func TestHold(t *testing.T) {
	type step struct {
		show    Checkpoint
		extends Extends
		largest int64  // remembered after it, if it is good
		err     string // otherwise
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the first is believed", []step{{at(5, 1), never, 5, ""}}},
		{"the same needs no proof", []step{{at(5, 1), never, 5, ""}, {at(5, 1), never, 5, ""}}},
		{"a larger one that extends it", []step{{at(5, 1), never, 5, ""}, {at(9, 1), agrees, 9, ""}}},
		{"a larger one that does not", []step{{at(5, 1), never, 5, ""}, {at(9, 2), agrees, 0, "does not agree with that of size 5"}, {at(5, 1), never, 5, ""}}},
		{"a larger one that is not shown to", []step{{at(5, 1), never, 5, ""}, {at(9, 1), cannot, 0, "no answer"}, {at(6, 1), agrees, 6, ""}}},
		{"another root of the size", []step{{at(5, 1), never, 5, ""}, {at(5, 2), agrees, 0, "size 5 has the root"}}},
		{"a smaller one that agrees", []step{{at(9, 1), never, 9, ""}, {at(5, 1), agrees, 9, ""}, {at(5, 1), never, 9, ""}}},
		{"a smaller one that does not", []step{{at(9, 1), never, 9, ""}, {at(5, 2), agrees, 0, "does not agree with that of size 9"}}},
		{"a smaller one that is not shown to", []step{{at(9, 1), never, 9, ""}, {at(5, 1), cannot, 0, "that they agree is not shown: no answer"}}},
		{"a smaller one that was seen", []step{{at(5, 1), never, 5, ""}, {at(9, 1), agrees, 9, ""}, {at(5, 1), never, 9, ""}}},
		{"another root of a size that was seen", []step{{at(5, 1), never, 5, ""}, {at(9, 1), agrees, 9, ""}, {at(5, 2), never, 0, "size 5 has the root"}}},
		{"one between two", []step{{at(5, 1), never, 5, ""}, {at(9, 1), agrees, 9, ""}, {at(7, 1), agrees, 9, ""}, {at(7, 1), never, 9, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "state")
			for i, s := range tt.steps {
				held, err := New(dir).Hold(t.Context(), s.show, s.extends)
				if s.err != "" {
					if err == nil || !strings.Contains(err.Error(), s.err) {
						t.Fatalf("step %d: error %v, want %q", i, err, s.err)
					}
					continue
				}
				if err != nil || held.Largest != s.largest {
					t.Fatalf("step %d: %+v, %v", i, held, err)
				}
				if got, err := New(dir).Remembered(vkey); err != nil || got.N != s.largest {
					t.Fatalf("step %d: remembered %+v, %v", i, got, err)
				}
			}
		})
	}
}

func TestAContradictionIsKept(t *testing.T) {
	s := New(t.TempDir())
	if _, err := s.Hold(t.Context(), at(5, 1), never); err != nil {
		t.Fatal(err)
	}
	_, err := s.Hold(t.Context(), at(9, 2), agrees)
	var c *ContradictionError
	var bad *client.MisbehaviourError
	if !errors.As(err, &c) || !errors.As(err, &bad) || !strings.Contains(err.Error(), c.Dir) {
		t.Fatalf("error %v", err)
	}
	for name, want := range map[string]string{"remembered.checkpoint": at(5, 1).Signed, "shown.checkpoint": at(9, 2).Signed} {
		if got, err := os.ReadFile(filepath.Join(c.Dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestLogsAreApart(t *testing.T) {
	s := New(t.TempDir())
	other := at(5, 2)
	other.VKey = "other.example+00000000+AAAA"
	for _, c := range []Checkpoint{at(5, 1), other} {
		if _, err := s.Hold(t.Context(), c, never); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConcurrently has many hold checkpoints of one log at a time, each with a
// Store of its own, as processes have.
func TestConcurrently(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 20 {
				size := int64(1 + (worker*7+i*3)%50)
				held, err := New(dir).Hold(t.Context(), at(size, 1), agrees)
				if err != nil || held.Largest < size {
					t.Errorf("size %d: %+v, %v", size, held, err)
				}
			}
		})
	}
	wg.Wait()
	got, err := New(dir).Remembered(vkey)
	if err != nil || got.N != 50 {
		t.Errorf("remembered %+v, %v", got, err)
	}
	r, err := New(dir).read(vkey)
	if err != nil || len(r.trees) != 49 {
		t.Errorf("%d trees are remembered, %v", len(r.trees), err)
	}
}

func TestTreesAreBounded(t *testing.T) {
	s := New(t.TempDir())
	r := &record{vkey: vkey, head: new(Checkpoint)}
	*r.head = at(3*maxTrees, 1)
	for i := range int64(maxTrees) {
		r.trees = append(r.trees, at(maxTrees+i, 1).Tree)
	}
	if ok, err := s.swap(&record{vkey: vkey}, r); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for _, size := range []int64{5, 2*maxTrees + 5, 4 * maxTrees} {
		if _, err := s.Hold(t.Context(), at(size, 1), agrees); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.read(vkey)
	if err != nil || len(got.trees) != maxTrees || got.trees[0].N != maxTrees+2 || got.head.N != 4*maxTrees {
		t.Errorf("%d trees from %d, head %d, %v", len(got.trees), got.trees[0].N, got.head.N, err)
	}
}

func TestADamagedFileIsAnError(t *testing.T) {
	s := New(t.TempDir())
	for _, size := range []int64{5, 9} {
		if _, err := s.Hold(t.Context(), at(size, 1), agrees); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(s.path(vkey))
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, bad := range map[string]string{
		"empty":            "",
		"cut off":          text[:len(text)/2],
		"another version":  strings.Replace(text, "seen/v1", "seen/v2", 1),
		"of another log":   strings.Replace(text, "log log.example", "log log.elsewhere", 1),
		"a negative tree":  strings.Replace(text, "tree 5", "tree -5", 1),
		"a tree in hex":    strings.Replace(text, "tree 5", "tree 0x5", 1),
		"a tree too large": strings.Replace(text, "tree 5", "tree 9", 1),
		"a root cut off":   strings.Replace(text, "=\n\n", "\n\n", 1),
		"an empty line":    text + "\n",
		"a line of more":   strings.Replace(text, "\n\n", "\nmore\n\n", 1),
	} {
		if err := os.WriteFile(s.path(vkey), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Hold(t.Context(), at(9, 1), never); err == nil || !strings.Contains(err.Error(), s.path(vkey)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := &record{vkey: vkey, trees: []tlog.Tree{at(5, 1).Tree}, head: new(Checkpoint)}
	*r.head = at(9, 1)
	f.Add(string(r.marshal()))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse([]byte(text))
		if err == nil && string(r.marshal()) != text {
			t.Errorf("what was read is not written again: %q", text)
		}
	})
}
