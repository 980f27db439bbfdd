package cluster_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
)

// TestAdopt has notes of another archive added, each once and in its place.
func TestAdopt(t *testing.T) {
	log := grown(history{}, "a", 9)
	w := newWorld(t, nil)
	_, term, end := w.process("a", cluster.MaxLease).term()
	five := w.note(log.tree(5))
	late := append(bytes.Clone(five), "— other.example AAAAAAAA\n"...)
	for _, test := range []struct {
		name  string
		seq   uint64
		notes [][]byte
		want  error
		size  int // of the archive afterwards
	}{
		{"none", 0, nil, nil, 0},
		{"with a gap", 1, [][]byte{five}, checkpoint.ErrRollback, 0},
		{"the first", 0, [][]byte{w.note(log.tree(3)), five, late}, nil, 3},
		{"the same again", 0, [][]byte{five}, checkpoint.ErrRollback, 3},
		{"the next", 3, [][]byte{w.note(log.tree(9))}, nil, 4},
	} {
		if err := term.Adopt(t.Context(), test.seq, test.notes); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if sizes, _ := w.archived(); len(sizes) != test.size {
			t.Errorf("%s: the archive has %v", test.name, sizes)
		}
	}
	if err := term.Adopt(t.Context(), 4, [][]byte{[]byte("no note")}); err == nil {
		t.Error("what is no note was adopted")
	}
	w.expire()
	if err := term.Adopt(t.Context(), 4, [][]byte{five}); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Adopt after a takeover = %v, want ErrLost", err)
	}
	end()
}
