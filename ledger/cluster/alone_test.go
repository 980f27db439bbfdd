package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/engine"
)

// published returns what a process finds to be published while it is alone.
func (p *process) published() (tree tlog.Tree, signed []byte, err error) {
	err = p.cluster.Alone(p.t.Context(), func(ctx context.Context, t *cluster.Term) (err error) {
		tree, signed, err = t.Published(ctx)
		return err
	})
	return tree, signed, err
}

// TestAlone wants nobody to be alone while another publishes, and the lease to be
// waited for that a process left which is gone.
func TestAlone(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.process("a", 2*time.Second).start(), w.process("b", 500*time.Millisecond)
	await(t, "a's term", a.terms)
	a.publishUntil(3)
	err := b.cluster.Alone(t.Context(), func(context.Context, *cluster.Term) error {
		t.Error("b was alone while a published")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), `the front end "a `) {
		t.Errorf("Alone() = %v, while a publishes", err)
	}
	a.end()
	tree, signed, err := b.published()
	if want := a.board.Latest(); err != nil || tree != want.Tree || string(signed) != string(want.Signed) {
		t.Errorf("Published() = %v, %q, %v; want %v", tree, signed, err, want)
	}

	w.exec("UPDATE lease SET epoch = epoch + 1, holder = 'killed', until = clock_timestamp() + interval '400 milliseconds'")
	if _, _, err := b.published(); err != nil {
		t.Errorf("after another was killed: %v", err)
	}
}

// TestAloneNoMore has another process take over meanwhile.
func TestAloneNoMore(t *testing.T) {
	w := newWorld(t, nil)
	a := w.process("a", 500*time.Millisecond)
	err := a.cluster.Alone(t.Context(), func(ctx context.Context, term *cluster.Term) error {
		w.expire()
		<-ctx.Done()
		if _, _, err := term.Published(t.Context()); !errors.Is(err, cluster.ErrLost) {
			t.Errorf("Published() = %v after the term", err)
		}
		return ctx.Err()
	})
	if !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Alone() = %v, want %v", err, cluster.ErrLost)
	}
}

// forged returns a checkpoint by another key of the log's name.
func forged(t *testing.T, tree tlog.Tree) []byte {
	t.Helper()
	skey, _, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{1}, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tree}.String()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestPublished wants it to refuse databases that are older than the log's storage, or
// do not fit together.
func TestPublished(t *testing.T) {
	for _, test := range []struct {
		name string
		undo func(w *world)
		want error
	}{
		{"nothing was published", func(w *world) {
			w.exec("DELETE FROM checkpoints")
			w.bucket = nil
		}, engine.ErrNotFound},
		{"no archive", func(w *world) { w.exec("DELETE FROM checkpoints") }, checkpoint.ErrRollback},
		{"an older archive", func(w *world) { w.exec("DELETE FROM checkpoints WHERE size > 2") }, checkpoint.ErrRollback},
		{"no state of the signer", func(w *world) { w.exec("UPDATE signer SET text = NULL") }, checkpoint.ErrRollback},
		{"an older state of the signer", func(w *world) {
			w.exec("UPDATE signer SET text = convert_to($1, 'UTF8')", "cluster.example/log\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
		}, checkpoint.ErrRollback},
		{"another tree in the log's storage", func(w *world) {
			w.bucket = w.note(tlog.Tree{N: 5, Hash: tlog.Hash{1}})
			w.exec("DELETE FROM checkpoints WHERE size > 5")
		}, checkpoint.ErrRollback},
		{"an archive that the log's key did not sign", func(w *world) {
			w.exec("UPDATE checkpoints SET note = $1", forged(t, tlog.Tree{N: 5}))
		}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			a := w.process("a", time.Second).start()
			for size := uint64(1); size <= 5; size++ {
				a.publishUntil(size)
			}
			a.end()
			test.undo(w)
			tree, signed, err := w.process("b", time.Second).published()
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Published() = %v, %q, %v; want %v", tree, signed, err, test.want)
			}
		})
	}
}
