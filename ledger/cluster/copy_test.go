package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/engine"
)

// objects is a bucket in memory.
type objects struct {
	data map[string][]byte
	puts []string
	err  error
}

func (o *objects) Exists(_ context.Context, key string) (bool, error) {
	_, ok := o.data[key]
	return ok, o.err
}

func (o *objects) Put(_ context.Context, list []engine.Object) error {
	if o.err != nil {
		return o.err
	}
	for _, l := range list {
		o.data[l.Key] = l.Bytes
		o.puts = append(o.puts, l.Key)
	}
	return nil
}

// archives puts notes of the empty tree into the archive, up to a number.
func (w *world) archives(from, to int) {
	w.t.Helper()
	empty := history{}.tree(0)
	w.exec(`INSERT INTO checkpoints (seq, size, root, note) SELECT n, 0, $3, $4 FROM generate_series($1::bigint, $2::bigint - 1) n`,
		from, to, empty.Hash[:], w.note(empty))
}

// TestArchiveCopy copies an archive that grows, by a new process each time.
func TestArchiveCopy(t *testing.T) {
	w := newWorld(t, nil)
	p := w.process("a", cluster.MaxLease)
	to := &objects{data: make(map[string][]byte)}
	copyNow := func() error { return p.cluster.NewArchiveCopy(to).Copy(t.Context()) }
	if err := copyNow(); err != nil || len(to.data) != 0 {
		t.Errorf("an empty archive: %v, %v", to.puts, err)
	}
	one := checkpoint.AppendArchived(nil, w.note(history{}.tree(0)))
	have := 0
	for _, notes := range []int{1, 10, checkpoint.SegmentNotes, checkpoint.SegmentNotes + 1, 3*checkpoint.SegmentNotes + 5, 7*checkpoint.SegmentNotes + 1} {
		w.archives(have, notes)
		to.puts = nil
		if err := copyNow(); err != nil {
			t.Fatal(err)
		}
		for n, left := 0, notes; left > 0; n, left = n+1, left-checkpoint.SegmentNotes {
			name := "checkpoints/" + checkpoint.SegmentName(uint64(n))
			if want := bytes.Repeat(one, min(left, checkpoint.SegmentNotes)); !bytes.Equal(to.data[name], want) {
				t.Errorf("of %d notes, segment %d has %d bytes, want %d", notes, n, len(to.data[name]), len(want))
			}
		}
		if oldest := (have - 1) / checkpoint.SegmentNotes; have > 0 && slices.Contains(to.puts, fmt.Sprintf("checkpoints/%09d", oldest-1)) {
			t.Errorf("of %d notes after %d, what was full is written again: %v", notes, have, to.puts)
		}
		have = notes
	}
	to.err = errors.New("away")
	if err := copyNow(); !errors.Is(err, to.err) {
		t.Errorf("to a bucket that is away: %v", err)
	}
}

// What is there already is not written again.
func TestArchiveCopyIsQuiet(t *testing.T) {
	w := newWorld(t, nil)
	p := w.process("a", cluster.MaxLease)
	to := &objects{data: make(map[string][]byte)}
	a := p.cluster.NewArchiveCopy(to)
	w.archives(0, 3)
	for range 3 {
		if err := a.Copy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(to.puts) != 1 {
		t.Errorf("written: %v", to.puts)
	}
}
