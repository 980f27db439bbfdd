package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// term returns a Term of the process, which lasts until end is called, and its
// context.
func (p *process) term() (ctx context.Context, term *cluster.Term, end func()) {
	p.t.Helper()
	type serving struct {
		context.Context
		*cluster.Term
	}
	begun, over, done := make(chan serving, 1), make(chan struct{}), make(chan struct{})
	p.run(func(ctx context.Context) error {
		defer close(done)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return p.cluster.Lead(ctx, func(ctx context.Context, t *cluster.Term) error {
			begun <- serving{ctx, t}
			select {
			case <-over:
			case <-ctx.Done():
			}
			cancel() // it is led once
			return nil
		})
	})
	s := await(p.t, "a term", begun)
	return s.Context, s.Term, sync.OnceFunc(func() {
		close(over)
		await(p.t, "the end of the term", done)
	})
}

func stateText(tree tlog.Tree) []byte {
	return []byte(torchwood.Checkpoint{Origin: origin, Tree: tree}.String())
}

// grown returns a history with leaves of its own.
func grown(h history, own string, n int) history {
	for range n {
		h = h.with(fmt.Sprint(own, h.size))
	}
	return h
}

func TestSwapIsOfOneTerm(t *testing.T) {
	log := grown(history{}, "a", 5)
	w := newWorld(t, nil)
	a := w.process("a", cluster.MaxLease)
	_, term, _ := a.term()
	if text, err := term.Load(t.Context()); text != nil || err != nil {
		t.Errorf("Load() = %q, %v, want nothing", text, err)
	}
	one, two := stateText(log.tree(1)), stateText(log.tree(2))
	if err := term.Swap(t.Context(), one, two); !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("Swap of what is not stored = %v", err)
	}
	if err := term.Swap(t.Context(), nil, one); err != nil {
		t.Errorf("Swap() = %v", err)
	}
	if err := term.Swap(t.Context(), nil, two); !errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("Swap of nothing, with something stored = %v", err)
	}
	if text, err := term.Load(t.Context()); !bytes.Equal(text, one) || err != nil {
		t.Errorf("Load() = %q, %v, want %q", text, err, one)
	}

	w.expire()
	b := w.process("b", cluster.MaxLease)
	_, next, end := b.term()
	// a does not know yet, and its clock says that it has time.
	if err := term.Lost(); err != nil {
		t.Fatal(err)
	}
	if err := term.Swap(t.Context(), one, two); !errors.Is(err, cluster.ErrLost) || errors.Is(err, checkpoint.ErrRollback) {
		t.Errorf("Swap after a takeover = %v, want ErrLost", err)
	}
	if text, err := next.Load(t.Context()); !bytes.Equal(text, one) || err != nil {
		t.Errorf("the next Load() = %q, %v, want %q", text, err, one)
	}
	if next.Epoch() <= term.Epoch() || term.Lost() == nil || a.cluster.Leading() || !b.cluster.Leading() {
		t.Errorf("epoch %d follows %d, a leads: %v, b leads: %v", next.Epoch(), term.Epoch(), a.cluster.Leading(), b.cluster.Leading())
	}
	if _, err := term.Load(t.Context()); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Load after a takeover = %v, want ErrLost", err)
	}
	end()
	if err := next.Swap(t.Context(), one, two); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Swap after the end = %v, want ErrLost", err)
	}
}

// TestLoadIsFenced: what a process loads after it was taken over from is not its to
// build on.
func TestLoadIsFenced(t *testing.T) {
	w := newWorld(t, nil)
	_, term, _ := w.process("a", cluster.MaxLease).term()
	w.expire()
	if _, err := term.Load(t.Context()); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Load() = %v, want ErrLost", err)
	}
}

// TestSwapRace: of a holder and its successor, who store at once, one does, and
// never the holder after the successor.
func TestSwapRace(t *testing.T) {
	log, fork := grown(history{}, "a", 200), grown(history{}, "b", 200)
	w := newWorld(t, nil)
	a, b := w.process("a", cluster.MaxLease), w.process("b", cluster.MaxLease)
	_, old, _ := a.term()
	var text []byte
	for n := range int64(20) {
		next := stateText(log.tree(n + 1))
		if err := old.Swap(t.Context(), text, next); err != nil {
			t.Fatal(err)
		}
		text = next
	}
	var wg sync.WaitGroup
	stored := make(chan []byte, 1)
	wg.Go(func() {
		at := text
		for n := int64(20); n < 200; n++ {
			next := stateText(log.tree(n + 1))
			if err := old.Swap(t.Context(), at, next); err != nil {
				if !errors.Is(err, cluster.ErrLost) {
					t.Errorf("Swap of the old = %v, want ErrLost", err)
				}
				break
			}
			at = next
		}
		stored <- at
	})
	w.expire()
	_, term, _ := b.term()
	loaded, err := term.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := term.Swap(t.Context(), loaded, stateText(fork.tree(200))); err != nil {
		t.Errorf("Swap of the new = %v", err)
	}
	wg.Wait()
	if at := <-stored; !bytes.Equal(at, loaded) {
		t.Errorf("the old one stored %q last, and the new one loaded %q", at, loaded)
	}
}

func TestArchiveNeverGoesBack(t *testing.T) {
	log, fork := grown(history{}, "a", 9), grown(history{}, "b", 9)
	w := newWorld(t, nil)
	_, term, end := w.process("a", cluster.MaxLease).term()
	five := w.note(log.tree(5))
	for _, test := range []struct {
		name string
		note []byte
		want error
		size int // of the archive afterwards
	}{
		{"the first", w.note(log.tree(3)), nil, 1},
		{"a larger tree", five, nil, 2},
		{"a smaller tree", w.note(log.tree(4)), checkpoint.ErrRollback, 2},
		{"another tree of the size", w.note(fork.tree(5)), checkpoint.ErrRollback, 2},
		{"the tree again", append(bytes.Clone(five), "— other.example AAAAAAAA\n"...), nil, 3},
	} {
		if err := term.Add(t.Context(), test.note); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if sizes, _ := w.archived(); len(sizes) != test.size {
			t.Errorf("%s: the archive has %v", test.name, sizes)
		}
	}
	if err := term.Add(t.Context(), []byte("no note")); err == nil {
		t.Error("what is no note was archived")
	}
	last := w.note(log.tree(9))
	for range 2 {
		if err := term.Ensure(t.Context(), last); err != nil {
			t.Errorf("Ensure() = %v", err)
		}
	}
	if sizes, _ := w.archived(); len(sizes) != 4 {
		t.Errorf("the archive has %v, want the last note once", sizes)
	}
	w.expire()
	if err := term.Add(t.Context(), last); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Add after a takeover = %v, want ErrLost", err)
	}
	end()
	if err := term.Add(t.Context(), last); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("Add after the end = %v, want ErrLost", err)
	}
}

// TestSegments writes what it is given to files, and has them read as an archive.
func TestSegments(t *testing.T) {
	const more = 3 // than a full segment
	tree := grown(history{}, "a", 3).tree(3)
	w := newWorld(t, nil)
	p := w.process("p", 0)
	none := func(n uint64) {
		t.Helper()
		if _, err := p.cluster.Segment(t.Context(), n); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("segment %d: %v, want that there is none", n, err)
		}
	}
	none(0)
	signed := w.note(tree)
	w.exec(`INSERT INTO checkpoints (seq, size, root, note)
		SELECT i, 3, $1, $2::bytea || convert_to('— n' || i || E'.example AAAAAAAA\n', 'UTF8') FROM generate_series(0, $3::bigint - 1) i`,
		tree.Hash[:], signed, checkpoint.SegmentNotes+more)
	var want [][]byte
	dir := t.TempDir()
	for n := range uint64(2) {
		var data []byte
		for range 2 { // of which the second may be from memory
			s, err := p.cluster.Segment(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(s); err != nil || s.Close() != nil {
				t.Fatal(err)
			}
			want = append(want, data)
		}
		if err := os.WriteFile(filepath.Join(dir, checkpoint.SegmentName(n)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none(2)
	none(1 << 60)
	if !bytes.Equal(want[0], want[1]) || !bytes.Equal(want[2], want[3]) {
		t.Error("a segment changes")
	}
	if _, err := checkpoint.OpenArchive(dir); err != nil {
		t.Error(err)
	}
	for i, data := range [][]byte{want[0], want[2]} {
		for n := range []int{checkpoint.SegmentNotes, more}[i] {
			line := fmt.Appendf(nil, "— n%d.example AAAAAAAA\n", i*checkpoint.SegmentNotes+n)
			got, rest, err := checkpoint.ReadArchived(data)
			if err != nil || !bytes.Equal(got, append(bytes.Clone(signed), line...)) {
				t.Fatalf("note %d of segment %d is %q: %v", n, i, got, err)
			}
			data = rest
		}
		if len(data) > 0 {
			t.Errorf("segment %d has %d bytes more", i, len(data))
		}
	}
}

// TestTermEndsWithoutTheDatabase: nobody can say that the lease still holds.
func TestTermEndsWithoutTheDatabase(t *testing.T) {
	server := pgtest.Start(t)
	w := newWorld(t, server)
	a := w.process("a", 4*time.Second)
	ctx, term, _ := a.term()
	if !a.cluster.Leading() || a.cluster.Epoch() != term.Epoch() {
		t.Error("it does not publish, by its own account")
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the term", ctx.Done())
	if err := context.Cause(ctx); !errors.Is(err, cluster.ErrLost) {
		t.Errorf("the term ended because of %v", err)
	}
	if a.cluster.Leading() || a.cluster.Epoch() != 0 || a.cluster.RenewalAge() != 0 {
		t.Error("it publishes still, by its own account")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	a.end()
	_, next, _ := w.process("b", cluster.MaxLease).term()
	if next.Epoch() <= term.Epoch() {
		t.Errorf("epoch %d follows %d", next.Epoch(), term.Epoch())
	}
}

// TestTermOutlivesARestart of the database that is shorter than the lease.
func TestTermOutlivesARestart(t *testing.T) {
	server := pgtest.Start(t)
	w := newWorld(t, server)
	_, term, _ := w.process("a", cluster.MaxLease).term()
	if err := errors.Join(server.Kill(), server.Restart()); err != nil {
		t.Fatal(err)
	}
	// The connections of before fail once each.
	var err error
	for range 20 {
		if _, err = term.Load(t.Context()); err == nil {
			break
		}
		if errors.Is(err, cluster.ErrLost) {
			t.Fatal(err)
		}
	}
	if err == nil {
		err = term.Swap(t.Context(), nil, stateText(grown(history{}, "a", 1).tree(1)))
	}
	if err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// TestKilledPublisherIsReplaced without a word from it.
func TestKilledPublisherIsReplaced(t *testing.T) {
	w := newWorld(t, nil)
	a := w.process("a", 500*time.Millisecond)
	_, old, _ := a.term()
	a.pool.Close() // it neither renews nor gives back
	_, term, _ := w.process("b", 3*time.Second).term()
	if term.Epoch() != old.Epoch()+1 {
		t.Errorf("epoch %d follows %d", term.Epoch(), old.Epoch())
	}
}

// TestCleanStopHandsOver long before the lease would end.
func TestCleanStopHandsOver(t *testing.T) {
	w := newWorld(t, nil)
	a := w.process("a", cluster.MaxLease)
	_, old, end := a.term()
	end()
	_, term, _ := w.process("b", cluster.MaxLease).term()
	if term.Epoch() != old.Epoch()+1 {
		t.Errorf("epoch %d follows %d", term.Epoch(), old.Epoch())
	}
}

// TestLeaseOfAnotherClock: a server whose clock was an hour ahead wrote it.
func TestLeaseOfAnotherClock(t *testing.T) {
	w := newWorld(t, nil)
	w.exec("UPDATE lease SET epoch = 5, holder = 'gone', until = now() + interval '1 hour'")
	_, term, _ := w.process("a", cluster.MaxLease).term()
	if term.Epoch() != 6 {
		t.Errorf("epoch %d follows 5", term.Epoch())
	}
}

func TestLeaseHasBounds(t *testing.T) {
	for lease, ok := range map[time.Duration]bool{
		0: true, cluster.MinLease: true, cluster.MaxLease: true,
		cluster.MinLease - 1: false, cluster.MaxLease + 1: false, -1: false,
	} {
		if _, err := cluster.New(cluster.Config{Lease: lease}); (err == nil) != ok {
			t.Errorf("a lease of %v: %v", lease, err)
		}
	}
}

// TestLeadReturnsWhatOnlyAPersonCanMend, and asks again after the rest.
func TestLeadReturnsWhatOnlyAPersonCanMend(t *testing.T) {
	w := newWorld(t, nil)
	a := w.process("a", time.Second)
	broken := errors.New("broken")
	calls := 0
	err := a.cluster.Lead(t.Context(), func(ctx context.Context, term *cluster.Term) error {
		calls++
		switch calls {
		case 1:
			return unavailable
		case 2:
			return fmt.Errorf("publishing: %w", cluster.ErrLost)
		case 3:
			w.expire()
			<-ctx.Done()
			return ctx.Err()
		case 4:
			w.expire()
			return term.Add(ctx, w.note(grown(history{}, "a", 1).tree(1)))
		}
		return broken
	})
	if !errors.Is(err, broken) || calls != 5 {
		t.Errorf("Lead() = %v after %d calls, want the fifth", err, calls)
	}
}
