package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/reason"
)

var unavailable = &reason.Error{Reason: reason.StorageUnavailable, Message: "the storage is away"}

// archive adds a row behind all backs.
func (w *world) archive(tree tlog.Tree, signed []byte) {
	w.t.Helper()
	w.exec(`INSERT INTO checkpoints (seq, size, root, note)
		SELECT coalesce(max(seq) + 1, 0), $1, $2, $3 FROM checkpoints`, tree.N, tree.Hash[:], signed)
}

// TestWatchShowsWhatFollows has size 5 shown, and then another row archived.
func TestWatchShowsWhatFollows(t *testing.T) {
	log := grown(history{}, "a", 9)
	fork := grown(grown(history{}, "a", 3), "b", 6)
	for _, test := range []struct {
		name   string
		tree   tlog.Tree
		spoil  func([]byte) []byte
		tiles  history
		shown  int64
		want   error  // of Refresh
		says   string // in the error
		proves int    // notes of evidence
	}{
		{"a larger tree", log.tree(9), nil, log, 9, nil, "", 0},
		{"the same tree again", log.tree(5), func(b []byte) []byte { return append(b, "— other.example AAAAAAAA\n"...) }, log, 5, nil, "", 0},
		{"a smaller tree", log.tree(4), nil, log, 5, checkpoint.ErrRollback, "size 4", 2},
		{"another tree of the size", fork.tree(5), nil, fork, 5, checkpoint.ErrRollback, "size 5", 2},
		{"a larger tree of another branch", fork.tree(9), nil, fork, 5, checkpoint.ErrRollback, "does not extend", 2},
		{"a tree that the tiles are not of", fork.tree(9), nil, log, 5, checkpoint.ErrRollback, "does not extend", 2},
		{"the tiles are not there yet", log.tree(9), nil, grown(history{}, "a", 5), 5, unavailable, "", 0},
		{"no cosignature", log.tree(9), func(b []byte) []byte { return b[:strings.LastIndex(string(b), "— ")] }, log, 5, nil, "policy", 0},
		{"another origin", log.tree(9), func(b []byte) []byte { return append([]byte("x"), b...) }, log, 5, nil, "policy", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.tiles = log
			p := w.process("p", 0)
			w.archive(log.tree(5), w.note(log.tree(5)))
			if err := p.cluster.Refresh(t.Context()); err != nil || p.board.Latest().N != 5 {
				t.Fatalf("Refresh() = %v, and %v is shown", err, p.board.Latest())
			}
			w.tiles = test.tiles
			signed := w.note(test.tree)
			if test.spoil != nil {
				signed = test.spoil(signed)
			}
			w.archive(test.tree, signed)
			err := p.cluster.Refresh(t.Context())
			if (err != nil) != (test.want != nil || test.says != "") || test.want != nil && !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Refresh() = %v, want %v %q", err, test.want, test.says)
			}
			var proof *cluster.ContradictionError
			if errors.As(err, &proof) != (test.proves > 0) || proof != nil && (proof.Known == nil || string(proof.Found) != string(signed)) {
				t.Errorf("the evidence is %v", proof)
			}
			if got := p.board.Latest(); got.N != test.shown || got.Hash != log.tree(test.shown).Hash {
				t.Errorf("size %d is shown, want %d", got.N, test.shown)
			}
			if err := p.watched(); errors.Is(test.want, checkpoint.ErrRollback) != errors.Is(err, checkpoint.ErrRollback) {
				t.Errorf("Watch() = %v", err)
			}
		})
	}
}

// watched returns what Watch does soon: nil if it goes on.
func (p *process) watched() error {
	ctx, cancel := context.WithTimeout(p.t.Context(), 300*time.Millisecond)
	defer cancel()
	return p.cluster.Watch(ctx)
}

// TestWatchComparesTheTiles at the start, when nothing is shown.
func TestWatchComparesTheTiles(t *testing.T) {
	w := newWorld(t, nil)
	w.tiles = grown(history{}, "a", 5)
	other := grown(history{}, "b", 5).tree(5)
	w.archive(other, w.note(other))
	p := w.process("p", 0)
	if err := p.cluster.Refresh(t.Context()); !errors.Is(err, checkpoint.ErrRollback) || p.board.Latest() != nil {
		t.Errorf("Refresh() = %v, and %v is shown", err, p.board.Latest())
	}
}

func TestWatchNoticesALostArchive(t *testing.T) {
	w := newWorld(t, nil)
	w.tiles = grown(history{}, "a", 5)
	p := w.process("p", 0)
	if err := p.cluster.Refresh(t.Context()); err != nil {
		t.Errorf("of a log where nothing is published: %v", err)
	}
	w.archive(w.tiles.tree(5), w.note(w.tiles.tree(5)))
	if err := p.cluster.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec("DELETE FROM checkpoints")
	if err := p.cluster.Refresh(t.Context()); !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("Refresh() = %v, want ErrRollback", err)
	}
}

// TestRefreshSeesWhatWasThere: what was published before a call is shown after it,
// whoever else calls.
func TestRefreshSeesWhatWasThere(t *testing.T) {
	log := grown(history{}, "a", 60)
	w := newWorld(t, nil)
	w.tiles = log
	_, term, _ := w.process("a", cluster.MaxLease).term()
	p := w.process("p", 0)
	for n := int64(1); n <= 60; n++ {
		var wg sync.WaitGroup
		for range 3 { // of which some begin before the publication
			wg.Go(func() { _ = p.cluster.Refresh(t.Context()) })
		}
		if err := term.Add(t.Context(), w.note(log.tree(n))); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			wg.Go(func() {
				if err := p.cluster.Refresh(t.Context()); err != nil || p.board.Latest().N < n {
					t.Errorf("after a Refresh that began after size %d was published: %v, %v", n, err, p.board.Latest())
				}
			})
		}
		wg.Wait()
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("went away"))
	if err := p.cluster.Refresh(gone); err != nil && err.Error() != "went away" {
		t.Errorf("Refresh of one that went away: %v", err)
	}
}

// TestRestoredDatabase puts back what the database was after more was published.
func TestRestoredDatabase(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(*world) // besides
		want string
	}{
		{"the log's storage reveals it", func(*world) {}, "in the log's storage"},
		{"a witness reveals it", func(w *world) { w.bucket = nil }, "witness"},
		{"the signer's state is gone", func(w *world) { w.exec("UPDATE signer SET text = NULL") }, "in the log's storage"},
		{"the signer's state is gone, and the checkpoint in storage", func(w *world) {
			w.exec("UPDATE signer SET text = NULL; DELETE FROM checkpoints")
			w.bucket = nil
		}, "no state of the signer"},
		{"the log is older than the state", func(w *world) {
			w.exec("UPDATE signer SET text = $1", stateText(w.tiles.tree(w.tiles.size)))
			w.tiles = history{w.tiles.hashes[:tlog.StoredHashCount(3)], 3}
		}, "holds only 3 entries"},
		{"the archive alone is older", func(w *world) {
			w.exec("UPDATE signer SET text = $1", stateText(w.tiles.tree(w.tiles.size)))
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			a := w.process("a", time.Second).start()
			a.publishUntil(3)
			old := a.board.Latest().Tree
			w.exec("CREATE TABLE old_signer AS SELECT one, $1::bytea AS text FROM signer", stateText(old))
			w.exec("CREATE TABLE old_checkpoints AS SELECT * FROM checkpoints WHERE size <= $1", old.N)
			a.publishUntil(uint64(old.N) + 3)
			a.end()
			signed := len(w.signed)
			w.exec("TRUNCATE signer, checkpoints; INSERT INTO signer SELECT * FROM old_signer; INSERT INTO checkpoints SELECT * FROM old_checkpoints")
			test.lose(w)
			if err := a.cluster.Refresh(t.Context()); !errors.Is(err, checkpoint.ErrRollback) {
				t.Errorf("a process that still runs: %v, want ErrRollback", err)
			}
			b := w.process("b", time.Second)
			if stored := w.bucket != nil; stored {
				if err := b.watched(); !errors.Is(err, checkpoint.ErrRollback) || b.board.Latest() != nil {
					t.Errorf("one that starts: %v, want ErrRollback; it shows %v", err, b.board.Latest())
				}
			}
			if test.want == "" {
				return
			}
			err := b.cluster.Lead(t.Context(), func(ctx context.Context, term *cluster.Term) error {
				return b.publishOf(ctx, term, &view{history: w.tiles})
			})
			if !errors.Is(err, checkpoint.ErrRollback) || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("one that would publish: %v, want %q", err, test.want)
			}
			for _, tree := range w.signed[signed:] {
				if tree.N > old.N {
					t.Errorf("size %d was signed", tree.N)
				}
			}
		})
	}
}

// TestExplain: a witness's word is a rollback unless the state that all share is, or
// extends, what it knows.
func TestExplain(t *testing.T) {
	log, fork := grown(history{}, "a", 9), grown(history{}, "b", 9)
	w := newWorld(t, nil)
	p := w.process("p", 0)
	knows := func(tree tlog.Tree) error {
		return fmt.Errorf("publishing: %w", &cosign.RollbackError{Witness: "w", Tree: tree, Ours: log.tree(2)})
	}
	if err := p.cluster.Explain(t.Context(), knows(log.tree(7))); !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("with no state: %v, want ErrRollback", err)
	}
	w.exec("UPDATE signer SET text = $1", stateText(log.tree(7)))
	w.tiles = log
	for _, test := range []struct {
		name string
		err  error
		want error
	}{
		{"nothing", nil, nil},
		{"something else", unavailable, unavailable},
		{"another rollback", fmt.Errorf("%w: here", checkpoint.ErrRollback), checkpoint.ErrRollback},
		{"the very state", knows(log.tree(7)), cluster.ErrLost},
		{"what the state extends", knows(log.tree(5)), cluster.ErrLost},
		{"more than the state", knows(log.tree(8)), checkpoint.ErrRollback},
		{"another tree of the size", knows(fork.tree(7)), checkpoint.ErrRollback},
		{"a smaller tree of another branch", knows(fork.tree(5)), checkpoint.ErrRollback},
	} {
		err := p.cluster.Explain(t.Context(), test.err)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if lost := errors.Is(test.want, cluster.ErrLost); lost && errors.Is(err, checkpoint.ErrRollback) {
			t.Errorf("%s: %v is a rollback", test.name, err)
		}
	}
	// Whether it is one cannot be told now.
	w.tiles = history{log.hashes[:tlog.StoredHashCount(6)], 6}
	if err := p.cluster.Explain(t.Context(), knows(log.tree(5))); !errors.Is(err, unavailable) || errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("without the tiles: %v, want that they are unavailable", err)
	}
}
