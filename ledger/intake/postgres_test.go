package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// shared is what the front ends of one log share: PostgreSQL, a bucket and a
// Trillian in memory.
type shared struct {
	*testing.T
	url    string
	bucket *enginetest.Bucket
	conn   *grpc.ClientConn
	disk   *disk // for the bytes
}

func newShared(t *testing.T) *shared {
	t.Helper()
	s := &shared{T: t, url: pgtest.Database(t), bucket: new(enginetest.Bucket), disk: newDisk()}
	if err := postgres.Migrate(t.Context(), s.url); err != nil {
		t.Fatal(err)
	}
	_, s.conn = trilliantest.Start(t)
	return s
}

// front is one process's part.
type front struct {
	*Intake
	*shared
	pool     *postgres.Pool
	index    *store.PostgresIndex
	trillian *engine.Trillian
	run      func() error // ends the intake, once
}

// front opens what a further front end has, and starts its intake.
func (s *shared) front() *front {
	s.Helper()
	f := &front{shared: s}
	var err error
	if f.pool, err = postgres.Open(s.Context(), s.url); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(f.pool.Close)
	if f.index, err = store.OpenPostgresIndex(s.Context(), f.pool); err != nil {
		s.Fatal(err)
	}
	sequence := store.NewPostgresSequence(f.pool)
	s.Cleanup(func() { _ = sequence.Close() })
	f.trillian = engine.OpenTrillian(engine.TrillianConfig{Conn: s.conn, Tree: trilliantest.Tree, Sequence: sequence, Bucket: s.bucket})
	s.Cleanup(func() { _ = f.trillian.Close() })
	f.Intake, err = New(s.Context(), Config{
		Log: f.trillian, Prover: engine.NewProver(f.trillian), Blobs: blobs{s.disk}, Index: f.index, Grew: func() {},
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	f.run = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	s.Cleanup(func() {
		if err := f.run(); err != nil {
			s.Errorf("the intake ended: %v", err)
		}
	})
	return f
}

// leads has a front end do what the publisher does, until it is told to stop: feed
// Trillian, and index what it integrated.
func (f *front) leads() (stop func()) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.trillian.Run(ctx); !errors.Is(err, context.Canceled) {
			f.Errorf("running the log: %v", err)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			size, err := f.trillian.Size(ctx)
			if err == nil {
				err = f.Follow(ctx, size)
			}
			if err != nil && ctx.Err() == nil {
				f.Errorf("following the log: %v", err)
				return
			}
			runtime.Gosched()
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	f.Cleanup(stop)
	return stop
}

func (f *front) submit(raw []byte) (*Result, error) { return f.Submit(f.Context(), raw, "127.0.0.1") }

// must submits, while a front end leads, and returns once it is indexed.
func (f *front) must(raw []byte) *Result {
	f.Helper()
	res, err := f.submit(raw)
	if err != nil {
		f.Fatal(err)
	}
	f.awaitIndex(res.Index + 1)
	return res
}

func (f *front) awaitIndex(size uint64) {
	f.Helper()
	await(f.T, fmt.Sprint("indexed up to ", size), func() bool {
		n, err := f.index.Size(f.Context())
		return err == nil && n >= size
	})
}

// leaves returns the log, once it has a size.
func (f *front) leaves(size uint64) [][]byte {
	f.Helper()
	f.awaitIndex(size)
	n, err := f.trillian.Size(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	var leaves [][]byte
	for i := uint64(0); i < n; i += engine.TileWidth {
		data, err := f.trillian.Entries(f.Context(), i/engine.TileWidth, int(min(n-i, engine.TileWidth)))
		if err != nil {
			f.Fatal(err)
		}
		for len(data) > 0 {
			entry, rest, err := torchwood.ReadTileEntry(data)
			if err != nil {
				f.Fatal(err)
			}
			leaves, data = append(leaves, bytes.Clone(entry)), rest
		}
	}
	return leaves
}

// TestFrontEndsOnPostgreSQL has three front ends take the same and other things at
// once, while one of their keys is revoked at one of them.
func TestFrontEndsOnPostgreSQL(t *testing.T) {
	s := newShared(t)
	fronts := []*front{s.front(), s.front(), s.front()}
	stop := fronts[0].leads()
	a, k := newAuthor(t), newAuthor(t)
	fronts[1].must(a.enrolment())
	fronts[1].must(k.enrolment())
	revoked, last := crowd(t, fronts, a, k)
	leaves := fronts[0].leaves(max(last, revoked) + 1)
	for i := int(revoked) + 1; i < len(leaves); i++ {
		if bytes.Contains(leaves[i], []byte("key "+k.Public.Fingerprint+"\n")) {
			t.Errorf("entry %d follows the revocation in entry %d", i, revoked)
		}
	}
	if _, err := fronts[1].submit(k.about(9999)); err == nil {
		t.Error("a key that was revoked signs")
	}

	// Another front end takes over, and has the same keys.
	stop()
	fronts[1].leads()
	res := fronts[2].must(a.about(100))
	fronts[1].leaves(res.Index + 1)
	want, standing := s.front().Keyring().Snapshot()
	for i, f := range fronts {
		if err := f.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, again := f.Keyring().Snapshot()
		if diff := cmp.Diff(want, got) + cmp.Diff(standing, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("the keys of front end %d (-index +front end):\n%s", i, diff)
		}
	}
}

// crowd has front ends take each of a's attestations, and others of k, at once, and
// one of them k's revocation. It returns the index of that, and the last of all.
func crowd(t *testing.T, fronts []*front, a, k author) (revoked, last uint64) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	seen := make(map[int]map[uint64]int) // what was created, by what and index
	begun := make(chan struct{}, 1)
	for n := range 40 {
		seen[n] = make(map[uint64]int)
	}
	for n := range 40 {
		for i, f := range fronts {
			raw := encodings(a.about(n))[i]
			wg.Go(func() {
				res, err := f.submit(raw)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Errorf("attestation %d at front end %d: %v", n, i, err)
					return
				}
				if seen[n][res.Index] += 0; res.Created {
					seen[n][res.Index]++
				}
				last = max(last, res.Index)
			})
			wg.Go(func() {
				res, err := f.submit(k.about(1000*i + n))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					last = max(last, res.Index)
				} else if e, ok := reason.Of(err); !ok || e.Reason != reason.KeyRevoked {
					t.Errorf("by the key that is revoked: %v", err)
				}
				select {
				case begun <- struct{}{}:
				default:
				}
			})
		}
	}
	<-begun
	revoked = fronts[2].must(k.revocation()).Index
	wg.Wait()
	for n, at := range seen {
		for index, created := range at {
			if len(at) != 1 || created != 1 {
				t.Errorf("attestation %d: created %d times at %d, of %v", n, created, index, at)
			}
		}
	}
	return revoked, last
}

// TestTheSharedIndexIsRebuilt empties the index, and lets a front end begin to
// rebuild it, and another finish.
func TestTheSharedIndexIsRebuilt(t *testing.T) {
	s := newShared(t)
	first := s.front()
	stop := first.leads()
	authors := []author{newAuthor(t), newAuthor(t), newAuthor(t)}
	var last *Result
	for _, a := range authors {
		first.must(a.enrolment())
		last = first.must(a.about(1))
	}
	leaves := first.leaves(last.Index + 1)
	want, _ := first.Keyring().Snapshot()
	stop()
	size := uint64(len(leaves))
	trim := store.NewPostgresSequence(first.pool)
	if err := errors.Join(trim.Trim(t.Context(), size), trim.Close()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"entries", "terms", "keys", "endorsements", "key_changes"} {
		if _, err := first.pool.Exec(t.Context(), "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := first.pool.Exec(t.Context(), "UPDATE index_head SET size = 0"); err != nil {
		t.Fatal(err)
	}
	second := s.front()
	if err := second.Follow(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	_, err := second.submit(authors[0].about(2))
	if e, ok := reason.Of(err); !ok || e.Reason != reason.StorageUnavailable {
		t.Errorf("while the index is rebuilt: %v", err)
	}
	third := s.front()
	for _, f := range []*front{third, first, second} {
		if err := f.Follow(t.Context(), size); err != nil {
			t.Fatal(err)
		}
		if err := f.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := f.Keyring().Snapshot(); !cmp.Equal(want, got) {
			t.Errorf("the keys after a rebuild (-before +after):\n%s", cmp.Diff(want, got))
		}
	}
	if res, err := second.submit(authors[0].about(2)); err != nil || res.Index != size || !res.Created {
		t.Errorf("after the rebuild: %+v, %v", res, err)
	}
	if res, err := third.submit(authors[0].about(1)); err != nil || res.Index != 1 || res.Created {
		t.Errorf("what was there before: %+v, %v", res, err)
	}
}
