package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

const guarded = "guard.example/log"

// branch is one history of a log. Branches of the same seed share their first
// leaves.
type branch struct {
	hashes []tlog.Hash // by tlog.StoredHashIndex
	size   int64
}

// grow appends leaves that are a branch's own.
func (b *branch) grow(t testing.TB, own string, n int) *branch {
	t.Helper()
	for range n {
		hs, err := tlog.StoredHashes(b.size, fmt.Appendf(nil, "%s %d", own, b.size), b)
		if err != nil {
			t.Fatal(err)
		}
		b.hashes = append(b.hashes, hs...)
		b.size++
	}
	return b
}

func (b *branch) fork() *branch { return &branch{append([]tlog.Hash(nil), b.hashes...), b.size} }

func (b *branch) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = b.hashes[x]
	}
	return hs, nil
}

func (b *branch) tree(t testing.TB, size int64) tlog.Tree {
	t.Helper()
	h, err := tlog.TreeHash(size, b)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: h}
}

// prove is a checkpoint.ProveFunc.
func (b *branch) prove(_ context.Context, from, to uint64) ([][]byte, error) {
	p, err := tlog.ProveTree(int64(to), int64(from), b)
	if err != nil {
		return nil, err
	}
	path := make([][]byte, len(p))
	for i := range p {
		path[i] = p[i][:]
	}
	return path, nil
}

// desk is a state and a key that note what is done to them, in order.
type desk struct {
	note.Signer
	vkey   string
	text   []byte // stored
	events []string

	mu       sync.Mutex
	lost     error // Swap fails, and stores nothing
	kept     error // Swap fails, but stores
	mute     error // signing fails
	loadFail error
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(make([]byte, 64)), guarded)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{Signer: signer, vkey: vkey}
}

func (d *desk) Load(context.Context) ([]byte, error) { return bytes.Clone(d.text), d.loadFail }

func (d *desk) Swap(_ context.Context, old, text []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, "swap")
	if !bytes.Equal(old, d.text) {
		return errors.New("the state is another")
	}
	if d.lost != nil {
		return d.lost
	}
	d.text = bytes.Clone(text)
	return d.kept
}

func (d *desk) Sign(msg []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, "sign")
	if d.mute != nil {
		return nil, d.mute
	}
	return d.Signer.Sign(msg)
}

func (*desk) Close() error { return nil }

// state returns what is stored, also while a guard is at work.
func (d *desk) state() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.text)
}

func (d *desk) signatures() int {
	n := 0
	for _, e := range d.events {
		if e == "sign" {
			n++
		}
	}
	return n
}

// guard returns a Guard as a new process would have it.
func (d *desk) guard(t testing.TB) *checkpoint.Guard {
	t.Helper()
	g, err := checkpoint.NewGuard(t.Context(), d, d)
	if err != nil {
		t.Fatalf("NewGuard: %v", err)
	}
	return g
}

// signed returns the tree of a note that must be signed by the desk's key.
func (d *desk) signed(t testing.TB, b []byte) tlog.Tree {
	t.Helper()
	v, err := note.NewVerifier(d.vkey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(b, note.VerifierList(v))
	if err != nil {
		t.Fatalf("opening %q: %v", b, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil || c.Origin != guarded || c.Extension != "" {
		t.Fatalf("signed %q: %v", n.Text, err)
	}
	return c.Tree
}

func mustSign(t testing.TB, d *desk, g *checkpoint.Guard, tree tlog.Tree, prove checkpoint.ProveFunc) {
	t.Helper()
	b, err := g.Sign(t.Context(), tree, prove)
	if err != nil {
		t.Fatalf("signing size %d: %v", tree.N, err)
	}
	if got := d.signed(t, b); got != tree {
		t.Fatalf("signed %v, want %v", got, tree)
	}
	if last, used := g.Last(); !used || last != tree {
		t.Fatalf("Last() = %v, %v after signing %v", last, used, tree)
	}
}

func TestGuardSignsAGrowingLog(t *testing.T) {
	d, log := newDesk(t), (&branch{}).grow(t, "a", 300)
	g := d.guard(t)
	for _, size := range []int64{0, 0, 1, 2, 5, 5, 8, 255, 256, 257, 300, 300} {
		mustSign(t, d, g, log.tree(t, size), log.prove)
		if size%2 == 0 {
			g = d.guard(t)
		}
	}
}

func TestGuardMayBeginAnywhere(t *testing.T) {
	d, log := newDesk(t), (&branch{}).grow(t, "a", 7)
	mustSign(t, d, d.guard(t), log.tree(t, 7), nil)
}

// refused is a tree that a guard must not sign after size 6 of the log.
type refused struct {
	name     string
	tree     tlog.Tree
	prove    checkpoint.ProveFunc
	rollback bool
}

func refusedTrees(t *testing.T, log, fork *branch) []refused {
	t.Helper()
	at := func(b *branch, size int64) tlog.Tree { return b.tree(t, size) }
	flawed := func(flaw func([][]byte) [][]byte) checkpoint.ProveFunc {
		return func(ctx context.Context, from, to uint64) ([][]byte, error) {
			path, err := log.prove(ctx, from, to)
			return flaw(path), err
		}
	}
	return []refused{
		{"a smaller size", at(log, 5), log.prove, true},
		{"a smaller size that both branches have", at(log, 4), log.prove, true},
		{"an empty tree", at(log, 0), log.prove, true},
		{"an empty tree with a root", tlog.Tree{Hash: at(log, 1).Hash}, log.prove, false},
		{"a negative size", tlog.Tree{N: -1, Hash: at(log, 1).Hash}, log.prove, false},
		{"the same size with another root", at(fork, 6), fork.prove, true},
		{"a larger size of a fork with the fork's proof", at(fork, 9), fork.prove, true},
		{"a larger size of a fork with the log's proof", at(fork, 9), log.prove, true},
		{"a larger size with the fork's proof", at(log, 9), fork.prove, true},
		{"a larger size with the root of another", tlog.Tree{N: 9, Hash: at(log, 8).Hash}, log.prove, true},
		{"a larger size with no proof", at(log, 9), func(context.Context, uint64, uint64) ([][]byte, error) { return nil, nil }, true},
		{"a larger size whose proof cannot be read", at(log, 9),
			func(context.Context, uint64, uint64) ([][]byte, error) { return nil, errors.New("no such tile") }, false},
		{"a proof from another size", at(log, 9),
			func(ctx context.Context, _, to uint64) ([][]byte, error) { return log.prove(ctx, 5, to) }, true},
		{"a proof to another size", at(log, 9),
			func(ctx context.Context, from, _ uint64) ([][]byte, error) { return log.prove(ctx, from, 10) }, true},
		{"a proof that lacks its end", at(log, 9), flawed(func(p [][]byte) [][]byte { return p[:len(p)-1] }), true},
		{"a proof with one hash more", at(log, 9), flawed(func(p [][]byte) [][]byte { return append(p, p[0]) }), true},
		{"a proof with a flipped bit", at(log, 9), flawed(func(p [][]byte) [][]byte {
			p[0] = bytes.Clone(p[0])
			p[0][31] ^= 0x80
			return p
		}), true},
		{"a proof with a short hash", at(log, 9), flawed(func(p [][]byte) [][]byte {
			p[0] = p[0][:31]
			return p
		}), true},
	}
}

func TestGuardRefuses(t *testing.T) {
	log := (&branch{}).grow(t, "a", 4)
	fork := log.fork().grow(t, "b", 10)
	log.grow(t, "a", 10)
	for _, test := range refusedTrees(t, log, fork) {

		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			mustSign(t, d, d.guard(t), log.tree(t, 6), log.prove)
			before := string(d.text)
			for _, g := range []*checkpoint.Guard{d.guard(t), d.guard(t)} {
				b, err := g.Sign(t.Context(), test.tree, test.prove)
				if err == nil || b != nil {
					t.Fatalf("signed %v", d.signed(t, b))
				}
				if errors.Is(err, checkpoint.ErrRollback) != test.rollback {
					t.Errorf("the error %q says rollback: %v, want %v", err, !test.rollback, test.rollback)
				}
				if string(d.text) != before || d.signatures() != 1 {
					t.Errorf("a refusal left the state %q and %d signatures", d.text, d.signatures())
				}
			}
			// A refusal is no reason to stop: the true log goes on.
			g := d.guard(t)
			_, _ = g.Sign(t.Context(), test.tree, test.prove)
			mustSign(t, d, g, log.tree(t, 9), log.prove)
		})
	}
}

func TestGuardSignsTheSameTreeAgain(t *testing.T) {
	d, log := newDesk(t), (&branch{}).grow(t, "a", 6)
	g := d.guard(t)
	mustSign(t, d, g, log.tree(t, 6), log.prove)
	for _, g := range []*checkpoint.Guard{g, d.guard(t)} {
		d.events = nil
		mustSign(t, d, g, log.tree(t, 6), nil)
		if got := strings.Join(d.events, " "); got != "sign" {
			t.Errorf("signing again did %q, want the signature alone", got)
		}
	}
}

// TestGuardStoresBeforeItSigns breaks each step of a signature. Whatever
// breaks, a process that starts afterwards must refuse what contradicts a tree
// that may have been signed.
func TestGuardStoresBeforeItSigns(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name   string
		fault  func(*desk)
		events string
		stored bool // whether size 6 is now taken
	}{
		{"nothing fails", func(*desk) {}, "swap sign", true},
		{"the swap is lost", func(d *desk) { d.lost = broken }, "swap", false},
		{"the swap fails but is kept", func(d *desk) { d.kept = broken }, "swap", true},
		{"the signature fails", func(d *desk) { d.mute = broken }, "swap sign", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := (&branch{}).grow(t, "a", 4)
			fork := log.fork().grow(t, "b", 10)
			log.grow(t, "a", 10)
			d := newDesk(t)
			g := d.guard(t)
			mustSign(t, d, g, log.tree(t, 3), log.prove)
			d.events = nil
			test.fault(d)
			if b, err := g.Sign(t.Context(), log.tree(t, 6), log.prove); (b == nil) != (err != nil) || err != nil && !errors.Is(err, broken) {
				t.Fatalf("Sign = %q, %v", b, err)
			}
			if got := strings.Join(d.events, " "); got != test.events {
				t.Fatalf("the steps were %q, want %q", got, test.events)
			}

			d.lost, d.kept, d.mute = nil, nil, nil
			restarted := d.guard(t)
			if !test.stored {
				// Size 6 was never signed, so the log may still become another.
				mustSign(t, d, restarted, fork.tree(t, 6), fork.prove)
				return
			}
			for _, g := range []*checkpoint.Guard{g, restarted} {
				if b, err := g.Sign(t.Context(), fork.tree(t, 6), fork.prove); err == nil {
					t.Fatalf("size 6 was signed again with another root: %v", d.signed(t, b))
				}
			}
			mustSign(t, d, restarted, log.tree(t, 6), log.prove)
			mustSign(t, d, restarted, log.tree(t, 9), log.prove)
		})
	}
}

// TestGuardIsUnsureAfterAFailedSwap: what is stored then, only a new Guard knows,
// and it signs either way. The old one must not mistake what it finds for a
// rollback.
func TestGuardIsUnsureAfterAFailedSwap(t *testing.T) {
	broken := errors.New("broken")
	for name, fault := range map[string]func(*desk){
		"lost": func(d *desk) { d.lost = broken },
		"kept": func(d *desk) { d.kept = broken },
	} {
		t.Run(name, func(t *testing.T) {
			d, log := newDesk(t), (&branch{}).grow(t, "a", 9)
			g := d.guard(t)
			mustSign(t, d, g, log.tree(t, 3), log.prove)
			fault(d)
			for _, size := range []int64{6, 6, 9, 3} {
				if b, err := g.Sign(t.Context(), log.tree(t, size), log.prove); b != nil || !errors.Is(err, broken) || errors.Is(err, checkpoint.ErrRollback) {
					t.Errorf("Sign(%d) = %q, %v, want what failed first", size, b, err)
				}
				d.lost, d.kept = nil, nil
			}
			mustSign(t, d, d.guard(t), log.tree(t, 9), log.prove)
		})
	}
}

// TestGuardsOfOneState are two processes that loaded the same state, as if
// nothing had kept the second one out.
func TestGuardsOfOneState(t *testing.T) {
	log := (&branch{}).grow(t, "a", 4)
	fork := log.fork().grow(t, "b", 10)
	log.grow(t, "a", 10)
	d := newDesk(t)
	mustSign(t, d, d.guard(t), log.tree(t, 3), log.prove)
	one, two := d.guard(t), d.guard(t)
	mustSign(t, d, one, log.tree(t, 6), log.prove)
	if b, err := two.Sign(t.Context(), fork.tree(t, 6), fork.prove); err == nil {
		t.Fatalf("the second guard signed %v", d.signed(t, b))
	}
	mustSign(t, d, one, log.tree(t, 9), log.prove)
}
