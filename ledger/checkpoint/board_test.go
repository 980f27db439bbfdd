package checkpoint_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// shown returns a published checkpoint of a size of a branch.
func shown(t *testing.T, log *branch, size int64, signed string) *checkpoint.Published {
	t.Helper()
	return &checkpoint.Published{
		Checkpoint: torchwood.Checkpoint{Origin: guarded, Tree: log.tree(t, size)}, Signed: []byte(signed), At: time.Unix(size, 0),
	}
}

func TestBoardNeverGoesBack(t *testing.T) {
	log, other := (&branch{}).grow(t, "a", 9), (&branch{}).grow(t, "b", 9)
	for _, test := range []struct {
		name    string
		next    *checkpoint.Published // after size 5
		replace bool
		want    error
	}{
		{"a larger tree", shown(t, log, 7, "new"), true, nil},
		{"a smaller tree", shown(t, log, 4, "new"), false, nil},
		{"a smaller tree of another branch", shown(t, other, 4, "new"), false, nil},
		{"the same tree with more signatures", shown(t, log, 5, "more"), true, nil},
		{"the same note", shown(t, log, 5, "old"), false, nil},
		{"another tree of the size", shown(t, other, 5, "new"), false, checkpoint.ErrRollback},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := checkpoint.NewBoard()
			first := shown(t, log, 5, "old")
			if err := b.Show(first); err != nil || b.Latest() != first {
				t.Fatalf("Show = %v, then Latest = %v", err, b.Latest())
			}
			if err := b.Show(test.next); !errors.Is(err, test.want) {
				t.Errorf("Show = %v, want %v", err, test.want)
			}
			want := first
			if test.replace {
				want = test.next
			}
			if got := b.Latest(); got != want {
				t.Errorf("shows size %d as %q, want size %d as %q", got.N, got.Signed, want.N, want.Signed)
			}
		})
	}
}

func TestBoardTellsWhyItEnded(t *testing.T) {
	b := checkpoint.NewBoard()
	if b.Latest() != nil {
		t.Error("a new board shows something")
	}
	waiting := make(chan error)
	go func() {
		_, err := b.Wait(t.Context(), 1)
		waiting <- err
	}()
	b.End(errors.New("the first reason"))
	b.End(errors.New("the second"))
	if err := <-waiting; err == nil || !strings.Contains(err.Error(), "the first reason") {
		t.Errorf("Wait = %v, want the first reason", err)
	}
	// What was shown last can still be waited for.
	last := shown(t, (&branch{}).grow(t, "a", 3), 3, "last")
	if err := b.Show(last); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Wait(t.Context(), 3); got != last || err != nil {
		t.Errorf("Wait(3) = %v, %v", got, err)
	}
	if _, err := b.Wait(t.Context(), 4); err == nil {
		t.Error("waits for what cannot come")
	}
}
