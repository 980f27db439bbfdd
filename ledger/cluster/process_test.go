package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/cosign"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// view is the log as a publisher has it during a Term.
type view struct {
	mu sync.Mutex
	history
}

type viewKey struct{}

// log returns the log as ctx has it: a publisher's own view, or what is in storage.
func (p *process) log(ctx context.Context) history {
	if v, ok := ctx.Value(viewKey{}).(*view); ok {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.history
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tiles
}

// Size implements cluster.Log.
func (p *process) Size(ctx context.Context) (uint64, error) { return uint64(p.log(ctx).size), nil }

// Publish implements cluster.Log.
func (p *process) Publish(_ context.Context, signed []byte) error {
	p.gate(beforeStore)
	p.do(func() { p.bucket = signed })
	return nil
}

// Published implements cluster.Log.
func (p *process) Published(context.Context) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bucket == nil {
		return nil, engine.ErrNotFound
	}
	return p.bucket, nil
}

// Root implements checkpoint.Proofs.
func (p *process) Root(ctx context.Context, size, _ uint64) ([]byte, error) {
	log := p.log(ctx)
	if int64(size) > log.size {
		return nil, unavailable
	}
	tree := log.tree(int64(size))
	p.do(func() { p.of[tree] = history{log.hashes[:tlog.StoredHashCount(tree.N)], tree.N} })
	return tree.Hash[:], nil
}

// Consistency implements checkpoint.Proofs.
func (p *process) Consistency(ctx context.Context, from, to, _ uint64) ([][]byte, error) {
	if ctx.Value(viewKey{}) != nil {
		p.gate(beforeSwap)
	}
	log := p.log(ctx)
	if int64(to) > log.size {
		return nil, unavailable
	}
	return log.consistency(int64(from), int64(to))
}

// pen is the log's key in the hands of a process.
type pen struct {
	note.Signer
	p *process
}

func (s pen) Sign(msg []byte) ([]byte, error) {
	s.p.gate(beforeSign)
	c, err := tlogproof.ParseCheckpoint(string(msg))
	if err != nil {
		return nil, err
	}
	s.p.do(func() {
		s.p.signed = append(s.p.signed, c.Tree)
		if h, ok := s.p.of[c.Tree]; ok && h.size > s.p.tiles.size {
			s.p.tiles = h
		}
	})
	return s.Signer.Sign(msg)
}

// witnesses is the world's witness, as a process asks it.
type witnesses struct{ p *process }

// check compares a tree with the largest that was cosigned.
func (w witnesses) check(tree tlog.Tree) error {
	p := w.p
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.cosigned
	if tree.N < known.N || tree.N == known.N && known.N > 0 && tree != known {
		text := fmt.Sprintf("%s\n%d\n%s\n", origin, known.N, known.Hash)
		evidence, err := note.Sign(&note.Note{Text: text}, p.key)
		return errors.Join(&cosign.RollbackError{Witness: "witness.example", Note: evidence, Tree: known, Ours: tree}, err)
	}
	if known.N > 0 && p.of[tree].tree(known.N) != known {
		p.t.Errorf("the witness is shown size %d, which does not extend size %d", tree.N, known.N)
	}
	return nil
}

// Handshake implements checkpoint.Witnesses.
func (w witnesses) Handshake(_ context.Context, _ []byte, tree tlog.Tree) error {
	return w.check(tree)
}

// Cosign implements checkpoint.Witnesses.
func (w witnesses) Cosign(_ context.Context, signed []byte, tree tlog.Tree) ([]byte, error) {
	w.p.gate(beforeCosign)
	if err := w.check(tree); err != nil {
		return nil, err
	}
	n, err := note.Open(signed, note.VerifierList(w.p.verifier))
	if err != nil {
		return nil, err
	}
	signed, err = note.Sign(n, w.p.witness)
	w.p.do(func() {
		if tree.N > w.p.cosigned.N {
			w.p.cosigned = tree
		}
	})
	w.p.gate(beforeArchive)
	return signed, err
}

// Late implements checkpoint.Witnesses.
func (witnesses) Late([]byte, tlog.Tree) ([]byte, bool) { return nil, false }

// Arrived implements checkpoint.Witnesses.
func (witnesses) Arrived() <-chan struct{} { return nil }

// start makes the process follow, and publish when it may.
func (p *process) start() *process {
	p.run(p.cluster.Watch)
	p.run(func(ctx context.Context) error { return p.cluster.Lead(ctx, p.publish) })
	return p
}

// publish is what a process does as publisher.
func (p *process) publish(ctx context.Context, t *cluster.Term) error {
	text, err := t.Load(ctx)
	if err != nil {
		return err
	}
	own := &view{}
	if text != nil {
		c, err := tlogproof.ParseCheckpoint(string(text))
		if err != nil {
			return err
		}
		p.do(func() { own.history = p.of[c.Tree] })
	}
	return p.publishOf(ctx, t, own)
}

func (p *process) publishOf(ctx context.Context, t *cluster.Term, own *view) error {
	ctx = context.WithValue(ctx, viewKey{}, own)
	pub, err := t.Publisher(ctx, pen{p.key, p}, checkpoint.Config{
		Index: func(context.Context, uint64) error { return nil }, Witnesses: witnesses{p},
		Interval: time.Millisecond, Retry: time.Millisecond, Now: time.Now, Warn: func(error) {},
	})
	if err != nil {
		return err
	}
	p.terms <- t.Epoch()
	defer func() { p.ended <- t.Epoch() }()
	growing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		for {
			select {
			case <-growing.Done():
				return
			case <-p.grow:
			}
			var n int
			p.do(func() { p.leaves++; n = p.leaves })
			own.mu.Lock()
			own.history = own.with(fmt.Sprint(p.name, n))
			own.mu.Unlock()
			pub.Grew()
		}
	})
	return pub.Run(ctx)
}

// await returns what comes, or fails the test.
func await[T any](t *testing.T, what string, from <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s has not come", what)
	}
	return got
}

// publishUntil appends, by whichever process publishes, until the process shows a
// tree of a size. What a publisher appended and did not sign goes with its view.
func (p *process) publishUntil(size uint64, by ...*process) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		for _, b := range append(by, p) {
			select {
			case b.grow <- struct{}{}:
			default:
			}
		}
		ctx, cancel := context.WithTimeout(p.t.Context(), 100*time.Millisecond)
		_, err := p.board.Wait(ctx, size)
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s does not show size %d: %v; it shows %v", p.name, size, err, p.board.Latest())
		}
	}
}

// awaitBucket waits until the log's storage has what was archived last.
func (w *world) awaitBucket() {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		_, notes := w.archived()
		var same bool
		w.do(func() { same = len(notes) > 0 && bytes.Equal(w.bucket, notes[len(notes)-1]) })
		if same {
			return
		}
	}
	w.checkBucket()
}

// end stops the process and fails the test if it had failed.
func (p *process) end() {
	p.t.Helper()
	p.stop()
	for range len(p.failed) {
		if err := <-p.failed; err != nil {
			p.t.Errorf("%s failed: %v", p.name, err)
		}
	}
}

func (p *process) gate(point string) {
	if hook := p.hook.Load(); hook != nil {
		(*hook)(point)
	}
}

// stopAt makes the process stop when it comes to a point next: reached is closed
// then, and it goes on when resume is called.
func (p *process) stopAt(point string) (reached <-chan struct{}, resume func()) {
	there, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hook := func(at string) {
		if at == point {
			once.Do(func() {
				close(there)
				<-goOn
			})
		}
	}
	p.hook.Store(&hook)
	return there, func() { close(goOn) }
}
