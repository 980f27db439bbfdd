package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/trillian"
	"github.com/google/trillian/types"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/reason"
)

var errStorage = reason.Errorf(reason.StorageUnavailable, "the storage restarts")

// TestTrillianLag has a signer that is behind.
func TestTrillianLag(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	w.server.Hold(true)
	want := place(t, p, "leaf", 300)
	await(t, "leaves are fed", func() bool { return w.server.Fed() == 300 })
	for _, size := range []uint64{1, 255, 256, 300} {
		w.server.Integrate(size)
		awaitSize(t, p, size)
		if got, err := p.Size(t.Context()); err != nil || got != size {
			t.Fatalf("Size() = %d, %v, %d leaves are integrated", got, err, size)
		}
		checkTree(t, p, want[:size])
	}
}

// TestTrillianOutlivesFailures has every storage fail at some of the calls, in every
// way that may pass.
func TestTrillianOutlivesFailures(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Unknown, codes.Internal} {
		t.Run(code.String(), func(t *testing.T) {
			w := newWorld(t)
			var mu sync.Mutex
			random := rand.New(rand.NewPCG(1, 2))
			sometimes := func(oneIn int, err error) error {
				mu.Lock()
				defer mu.Unlock()
				if random.IntN(oneIn) == 0 {
					return err
				}
				return nil
			}
			w.server.Fail(func(string) error { return sometimes(3, status.Error(code, "the database restarts")) })
			w.sequence.Fail(func(method string) error {
				if method == "Place" {
					return nil
				}
				return sometimes(3, errStorage)
			})
			w.bucket.Fail(func(method, _ string) error {
				if method == "Get" {
					return nil // what a test reads by
				}
				return sometimes(20, errStorage) // for each object
			})
			p := w.run(t)
			var want [][]byte
			for i := range 10 {
				want = append(want, place(t, p, fmt.Sprint("leaf", i), 70)...)
			}
			await(t, "the tree has all leaves", func() bool {
				size, err := p.Size(t.Context())
				if e, ok := reason.Of(err); err != nil && (!ok || e.Reason != reason.StorageUnavailable || e.RetryAfter == 0 && e != errStorage.(*reason.Error)) {
					t.Fatalf("Size fails with %v", err)
				}
				return size == 700
			})
			checkTree(t, p, want)
		})
	}
}

// TestTrillianEndsOnRefusal has Trillian refuse in ways that do not pass.
func TestTrillianEndsOnRefusal(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition, codes.InvalidArgument, codes.Unimplemented} {
		for _, method := range []string{"AddSequencedLeaves", "GetLatestSignedLogRoot", "GetLeavesByRange"} {
			w := newWorld(t)
			w.server.Fail(func(m string) error {
				if m == method {
					return status.Error(code, "no such tree")
				}
				return nil
			})
			p := w.run(t)
			place(t, w.open(), "leaf", 1)
			if err := ended(t, p); err == nil || errors.Is(err, engine.ErrContradiction) {
				t.Errorf("%s of %s: Run ended with %v", code, method, err)
			}
		}
	}
}

// ended returns what Run ended with.
func ended(t *testing.T, p *process) error {
	t.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(patience):
		t.Fatal("Run does not end")
		return nil
	}
}

// TestTrillianKilledBetween kills the process after it fed leaves, and before they
// are integrated.
func TestTrillianKilledBetween(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "before", 100)
	awaitSize(t, p, 100)
	w.server.Hold(true)
	want = append(want, place(t, p, "fed", 200)...)
	await(t, "leaves are fed", func() bool { return w.server.Fed() == 300 })
	p.kill()
	next := w.run(t)
	want = append(want, place(t, next, "after", 30)...)
	w.server.Hold(false)
	awaitSize(t, next, 330)
	checkTree(t, next, want)
}

// TestTrillianKilledWhileTiling fails for good at every write of a tile, and has
// another process go on.
func TestTrillianKilledWhileTiling(t *testing.T) {
	for fatal := int64(1); fatal <= 7; fatal++ {
		w := newWorld(t)
		want := place(t, w.open(), "leaf", 600)
		var puts atomic.Int64
		w.bucket.Fail(func(method, _ string) error {
			if method == "Put" && puts.Add(1) == fatal {
				return errors.New("the disk is gone")
			}
			return nil
		})
		if err := ended(t, w.run(t)); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Fatalf("Run ended with %v at write %d", err, fatal)
		}
		next := w.run(t)
		awaitSize(t, next, 600)
		checkTree(t, next, want)
	}
}

// contradicts has the log run until it ends with a contradiction, after which it
// gives no size.
func contradicts(t *testing.T, p *process, want string) {
	t.Helper()
	err := ended(t, p)
	if !errors.Is(err, engine.ErrContradiction) || !strings.Contains(err.Error(), want) {
		t.Fatalf("Run ended with %v, want a contradiction with %q", err, want)
	}
	if e, ok := reason.Of(err); ok {
		t.Errorf("a contradiction is told as %s", e.Reason)
	}
	if size, err := p.Size(t.Context()); !errors.Is(err, engine.ErrContradiction) {
		t.Errorf("Size() = %d, %v", size, err)
	}
	if _, err := p.Place(t.Context(), []engine.Entry{{Leaf: []byte("more")}}); !errors.Is(err, engine.ErrContradiction) {
		t.Errorf("Place() = %v", err)
	}
	if _, err := p.Append(t.Context(), []byte("more"))(); !errors.Is(err, engine.ErrContradiction) {
		t.Errorf("Append() = %v", err)
	}
}

// TestTrillianContradictions has Trillian answer with what does not fit, after it
// was right about 300 leaves. Nothing of it is written.
func TestTrillianContradictions(t *testing.T) {
	forge := func(f func(*trillian.LogLeaf)) func(*world) {
		return func(w *world) { w.server.ForgeLeaf(f) }
	}
	for _, test := range []struct {
		name  string
		forge func(w *world)
		more  int // leaves placed after
		want  string
	}{
		{"another root", func(w *world) { w.server.ForgeRoot(func(r *types.LogRootV1) { r.RootHash[0] ^= 1 }) }, 3, "has the root"},
		{"another root of the same size", func(w *world) { w.server.ForgeRoot(func(r *types.LogRootV1) { r.RootHash[31] ^= 1 }) }, 0, "has the root"},
		{"another leaf", forge(func(l *trillian.LogLeaf) {
			if l.LeafIndex == 301 {
				l.LeafValue[0] ^= 1
			}
		}), 3, "has the root"},
		{"another leaf far behind the tree", forge(func(l *trillian.LogLeaf) {
			if l.LeafIndex == 3000 {
				l.LeafValue[0] ^= 1
			}
		}), 20_000, "do not lead to its tree"},
		{"a leaf that is too large", forge(func(l *trillian.LogLeaf) { l.LeafValue = make([]byte, 1<<16) }), 1, "entry too long"},
		{"a smaller tree", func(w *world) { w.server.Restore(299) }, 0, "Trillian's tree has 299 leaves, and 300"},
		{"more leaves than were placed", func(w *world) { w.sequence.Restore(290) }, 0, "only 290 indexes were given out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.run(t)
			want := place(t, p, "leaf", 300)
			awaitSize(t, p, 300)
			tree := checkTree(t, p, want)
			publish(t, p, tree)
			p.kill()
			if test.more > 0 {
				w.server.Hold(true)
				place(t, w.open(), "more", test.more)
				w.feed(t, 300+test.more)
				test.forge(w)
				w.server.Hold(false)
			} else {
				test.forge(w)
			}
			before := w.bucket.Keys()
			contradicts(t, w.run(t), test.want)
			if diff := cmp.Diff(before, w.bucket.Keys()); diff != "" {
				t.Errorf("objects were written:\n%s", diff)
			}
			checkTree(t, w.open(), want)
		})
	}
}

// feed has Trillian, which is held, take leaves by a process that is killed then.
func (w *world) feed(t *testing.T, size int) {
	t.Helper()
	p := w.run(t)
	await(t, "leaves are fed", func() bool { return w.server.Fed() == size })
	p.kill()
}

// TestTrillianOtherLeafAtIndex has the sequence restored from a backup, and give an
// index that Trillian has the leaf of to another leaf.
func TestTrillianOtherLeafAtIndex(t *testing.T) {
	for _, integrated := range []bool{true, false} {
		w := newWorld(t)
		p := w.run(t)
		place(t, p, "leaf", 10)
		awaitSize(t, p, 10)
		p.kill()
		w.server.Hold(true)
		place(t, w.open(), "lost", 5)
		w.feed(t, 15)
		w.server.Hold(!integrated)
		w.sequence.Restore(10)
		place(t, w.open(), "other", 7)
		next := w.run(t)
		w.server.Hold(false)
		contradicts(t, next, "leaf 10 is not the one")
	}
}

// TestTrillianLosesWhatItWasGiven has leaves vanish that were fed and not yet
// integrated: they are fed again.
func TestTrillianLosesWhatItWasGiven(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.Stall = 20 * time.Millisecond
	w.server.Hold(true)
	p := start(t, engine.OpenTrillian(cfg))
	want := place(t, p, "leaf", 10)
	await(t, "leaves are fed", func() bool { return w.server.Fed() == 10 })
	w.server.Restore(0)
	w.server.Hold(false)
	awaitSize(t, p, 10)
	checkTree(t, p, want)
}

// TestTrillianRootWithoutHash is what Trillian's PostgreSQL storage answers with when
// its query failed.
func TestTrillianRootWithoutHash(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 10)
	awaitSize(t, p, 10)
	var asked atomic.Int64
	w.server.ForgeRoot(func(r *types.LogRootV1) {
		if asked.Add(1) < 5 {
			*r = types.LogRootV1{}
		}
	})
	want = append(want, place(t, p, "more", 10)...)
	awaitSize(t, p, 20)
	checkTree(t, p, want)
}

// TestTrillianLostTiles has objects vanish from the bucket: they are written again.
func TestTrillianLostTiles(t *testing.T) {
	for _, test := range []struct {
		name string
		lost func(key string) bool
	}{
		{"none", func(string) bool { return false }},
		{"all", func(string) bool { return true }},
		{"all but the checkpoint", func(key string) bool { return key != "checkpoint" }},
		{"the last tile", func(key string) bool { return strings.HasPrefix(key, "tile/0/066") }},
		{"the last bundle", func(key string) bool { return strings.HasPrefix(key, "tile/entries/066") }},
		{"a tile above", func(key string) bool { return strings.HasPrefix(key, "tile/1/") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.run(t)
			want := place(t, p, "leaf", 17_000)
			awaitSize(t, p, 17_000)
			publish(t, p, checkTree(t, p, want))
			before := w.bucket.Keys()
			p.Indexed(17_000)
			await(t, "the sequence is trimmed", func() bool { return w.sequence.Trimmed() == 17_000 })
			p.kill()
			lost := slices.DeleteFunc(w.bucket.Keys(), func(key string) bool { return !test.lost(key) })
			if err := w.bucket.Delete(t.Context(), lost); err != nil {
				t.Fatal(err)
			}
			next := w.run(t)
			want = append(want, place(t, next, "more", 5)...)
			awaitSize(t, next, 17_005)
			checkTree(t, next, want)
			for _, key := range before {
				if !strings.Contains(key, ".p/") && key != "checkpoint" && !slices.Contains(w.bucket.Keys(), key) {
					t.Errorf("object %s is gone", key)
				}
			}
		})
	}
}

// TestTrillianWrongTiles has a tile of the edge, or the checkpoint, be another's.
func TestTrillianWrongTiles(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 300)
	awaitSize(t, p, 300)
	tree := checkTree(t, p, want)
	publish(t, p, tlog.Tree{N: 300})
	p.kill()
	contradicts(t, w.run(t), "the tiles have the root")
	if err := w.bucket.Delete(t.Context(), []string{"checkpoint"}); err != nil {
		t.Fatal(err)
	}
	publish(t, p, tree)
	for _, key := range []string{"tile/0/001.p/44", "tile/1/000.p/1"} {
		good, err := w.bucket.Get(t.Context(), key, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		bad := slices.Clone(good)
		bad[31] ^= 1
		w.put(t, key, bad)
		contradicts(t, w.run(t), "the tiles have the root")
		w.put(t, key, good)
	}
	awaitSize(t, w.run(t), 300)
}

func (w *world) put(t *testing.T, key string, data []byte) {
	t.Helper()
	if err := w.bucket.Put(t.Context(), []engine.Object{{Key: key, Bytes: data}}); err != nil {
		t.Fatal(err)
	}
}

// TestTrillianRestore has Trillian's database lost, or an older copy, and gives it
// the leaves again from the bucket.
func TestTrillianRestore(t *testing.T) {
	for _, left := range []uint64{0, 1, 256, 299, 512, 700} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			w := newWorld(t)
			p := w.run(t)
			want := place(t, p, "leaf", 700)
			awaitSize(t, p, 700)
			tree := checkTree(t, p, want)
			publish(t, p, tree)
			p.Indexed(700)
			await(t, "the sequence is trimmed", func() bool { return w.sequence.Trimmed() == 700 })
			want = append(want, place(t, p, "unpublished", 20)...)
			awaitSize(t, p, 720)
			p.kill()
			w.server.Restore(left)
			if left < 700 {
				contradicts(t, w.run(t), "older copy")
			}
			if err := w.open().Restore(t.Context(), tlog.Tree{N: 700}); !errors.Is(err, engine.ErrContradiction) {
				t.Fatalf("Restore of another tree: %v", err)
			}
			if n := len(w.server.Leaves()); n != int(left) {
				t.Fatalf("Trillian has %d leaves after what was refused", n)
			}
			for range 2 {
				if err := w.open().Restore(t.Context(), tree); err != nil {
					t.Fatal(err)
				}
			}
			next := w.run(t)
			awaitSize(t, next, 720)
			checkTree(t, next, want)
		})
	}
}

// TestTrillianRestoreRefuses has Trillian's tree, or a bundle, be another's.
func TestTrillianRestoreRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(t *testing.T, w *world)
	}{
		{"another tree in Trillian", "have another tree made", func(_ *testing.T, w *world) {
			w.server.Restore(300)
			w.server.ForgeRoot(func(r *types.LogRootV1) { r.RootHash[0] ^= 1 })
		}},
		{"another entry in the bucket", "restore the bucket", func(t *testing.T, w *world) {
			w.server.Restore(300)
			b, err := w.bucket.Get(t.Context(), "tile/entries/001", 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			w.put(t, "tile/entries/001", b)
		}},
		{"a larger tree in Trillian that is another", "does not extend", func(_ *testing.T, w *world) {
			w.server.ForgeRoot(func(r *types.LogRootV1) { r.RootHash[0] ^= 1 })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.run(t)
			tree := treeOf(t, place(t, p, "leaf", 700))
			awaitSize(t, p, 700)
			place(t, p, "unpublished", 1)
			awaitSize(t, p, 701)
			p.kill()
			test.change(t, w)
			had := len(w.server.Leaves())
			if err := w.open().Restore(t.Context(), tree); !errors.Is(err, engine.ErrContradiction) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Restore() = %v", err)
			}
			if n := len(w.server.Leaves()); n != had {
				t.Errorf("Trillian has %d leaves, %d before", n, had)
			}
		})
	}
}
