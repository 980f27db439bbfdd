package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

func newSequence(tb testing.TB, pool *postgres.Pool) *store.PostgresSequence {
	tb.Helper()
	s := store.NewPostgresSequence(pool)
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// noSync is for servers that are killed: what they wrote stays in the system's
// cache, as only a power loss takes it away.
const noSync = "fsync=off"

func TestPostgresSequence(t *testing.T) {
	server := pgtest.Start(t, noSync)
	enginetest.SequenceContract(t, func(t *testing.T) *enginetest.Storage {
		url := server.Database(t)
		return &enginetest.Storage{
			Open:  func() engine.Sequence { return newSequence(t, openPool(t, url)) },
			Index: openPostgresIndex(t, openPool(t, url)),
			Crash: func() {
				if err := server.Kill(); err != nil {
					t.Fatal(err)
				}
				if err := server.Restart(); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

// sequenceEntry returns the n-th of a series of entries.
func sequenceEntry(n uint64) engine.Entry {
	d := benchDigest(n)
	return engine.Entry{Leaf: []byte(d), Terms: [][32]byte{store.IdentityTerm([32]byte(d.Bytes())), store.EnvelopeTerm(d)}}
}

// TestKilledWhilePlacing kills the server while entries are placed. What was
// answered keeps its index; a call that failed may have placed all of its entries
// or none, and placing them again tells where they are.
func TestKilledWhilePlacing(t *testing.T) {
	const rounds, width, workers = 4, 20, 4
	server := pgtest.Start(t, noSync)
	pool := openPool(t, server.Database(t))
	openPostgresIndex(t, pool)
	s := newSequence(t, pool)
	answered := make(map[uint64]uint64) // entry to index
	var unanswered [][]engine.Entry     // calls that failed
	var mu sync.Mutex                   // guards them
	worker := func(round, g uint64, begun *sync.WaitGroup) {
		under := sync.OnceFunc(begun.Done)
		defer under()
		for call := uint64(0); ; call++ {
			var batch []engine.Entry
			first := round<<40 | g<<32 | call*width
			for i := range uint64(width) {
				batch = append(batch, sequenceEntry(first+i))
			}
			placed, err := s.Place(t.Context(), batch)
			mu.Lock()
			for i, p := range placed {
				answered[first+uint64(i)] = p.Index
			}
			if err != nil {
				unanswered = append(unanswered, batch)
				if r, ok := reason.Of(err); !ok || r.Reason != reason.StorageUnavailable {
					t.Errorf("placing without a server: %v, want %s", err, reason.StorageUnavailable)
				}
			}
			mu.Unlock()
			if call == 3 {
				under()
			}
			if err != nil {
				return
			}
		}
	}
	for round := range uint64(rounds) {
		var wg, begun sync.WaitGroup
		begun.Add(workers)
		for g := range uint64(workers) {
			wg.Go(func() { worker(round, g, &begun) })
		}
		begun.Wait()
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	wantPlaced(t, s, answered, unanswered)
}

// wantPlaced checks that entries are where they were answered to be, that calls of
// unknown outcome placed all or nothing, and that nothing else was placed.
func wantPlaced(t *testing.T, s *store.PostgresSequence, answered map[uint64]uint64, unanswered [][]engine.Entry) {
	t.Helper()
	at := make(map[uint64]bool)
	for n, index := range answered {
		if placed, err := s.Place(t.Context(), []engine.Entry{sequenceEntry(n)}); err != nil || placed[0].Created || placed[0].Index != index {
			t.Fatalf("entry %d, answered to be at %d: %+v, %v", n, index, placed, err)
		}
		at[index] = true
	}
	for _, batch := range unanswered {
		placed, err := s.Place(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range placed {
			if p.Created != placed[0].Created || p.Index != placed[0].Index+uint64(i) || at[p.Index] {
				t.Fatalf("of a call that failed, entry %d is %+v, the first %+v", i, p, placed[0])
			}
			at[p.Index] = true
		}
	}
	next, err := s.Next(t.Context())
	if err != nil || next != uint64(len(at)) {
		t.Errorf("%d entries were placed, %v, want %d", next, err, len(at))
	}
	leaves, err := s.Read(t.Context(), 0, int(next))
	if err != nil || uint64(len(leaves)) != next {
		t.Errorf("%d leaves, %v, want %d", len(leaves), err, next)
	}
}

// TestRebuiltIndex has an index of an earlier version: it is emptied, and until it
// has again what left the queue, nothing is placed and no query answered in part.
func TestRebuiltIndex(t *testing.T) {
	pool := openPool(t, pgtest.Database(t))
	x, s := openPostgresIndex(t, pool), newSequence(t, pool)
	var placed []engine.Entry
	var indexed []store.Entry
	for i := range uint64(6) {
		e := testEntry(t, i)
		indexed = append(indexed, e)
		placed = append(placed, engine.Entry{Leaf: e.Text, Terms: [][32]byte{store.IdentityTerm(e.Leaf.Identity())}})
	}
	place := func() ([]engine.Placed, error) { return s.Place(t.Context(), placed) }
	if _, err := place(); err != nil {
		t.Fatal(err)
	}
	add := func(from, to int) {
		t.Helper()
		if err := x.Add(t.Context(), indexed[from:to]); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 5)
	if err := s.Trim(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	setVersion := func(v int) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), "UPDATE index_head SET version = $1", v); err != nil {
			t.Fatal(err)
		}
	}
	setVersion(store.IndexVersion - 1)
	openPostgresIndex(t, pool)
	for size := range 4 {
		if n, err := x.Size(t.Context()); err != nil || n != uint64(size) {
			t.Fatalf("the rebuilt index has %d entries, %v, want %d", n, err, size)
		}
		wantAllRefused(t, x, place, reason.StorageUnavailable)
		add(size, size+1)
	}
	if got, err := place(); err != nil || got[0].Created || got[5].Created || got[5].Index != 5 {
		t.Errorf("placing again: %+v, %v", got, err)
	}
	setVersion(store.IndexVersion + 1)
	if _, err := store.OpenPostgresIndex(t.Context(), pool); err == nil {
		t.Error("an index of a later version was opened")
	}
	wantAllRefused(t, x, place, "")
	if err := x.Add(t.Context(), indexed[4:5]); err == nil {
		t.Error("an entry was added to an index of a later version")
	}
	if err := s.Trim(t.Context(), 5); err == nil {
		t.Error("leaves were trimmed by an index of a later version")
	}
}

// wantAllRefused checks that the index answers nothing, and nothing is placed.
func wantAllRefused(t *testing.T, x store.Index, place func() ([]engine.Placed, error), want reason.Reason) {
	t.Helper()
	term := store.EnvelopeTerm(benchDigest(0))
	_, find := x.Find(t.Context(), term, 0, 10)
	_, first := x.First(t.Context(), []store.Term{term})
	_, entries := x.Entries(t.Context(), []uint64{0})
	_, placing := place()
	for what, err := range map[string]error{"Find": find, "First": first, "Entries": entries, "Place": placing} {
		r, _ := reason.Of(err)
		if err == nil || r == nil != (want == "") || r != nil && r.Reason != want {
			t.Errorf("%s: error %v, want reason %q", what, err, want)
		}
	}
}

// testEntry returns the n-th of a series of entries of the index.
func testEntry(tb testing.TB, n uint64) store.Entry {
	tb.Helper()
	l := &leaf.Leaf{
		Kind: leaf.KindAttestation, Format: "dsse", Envelope: benchDigest(n), Payload: benchDigest(n | 1<<32),
		Claim: leaf.ClaimReproduction, Result: leaf.Identical,
		Keys:     []leaf.Fingerprint{leaf.Fingerprint(benchDigest(1 << 33))},
		Subjects: []leaf.Digest{benchDigest(1<<35 | n)},
	}
	text, err := l.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return store.Entry{Index: n, Text: text, Leaf: l}
}

// TestPausedPlacer has a front end that stops in the middle of a transaction, with
// the lock of the queue: the server ends it, and another one places.
func TestPausedPlacer(t *testing.T) {
	url := pgtest.Database(t)
	pool := openPool(t, url)
	openPostgresIndex(t, pool)
	paused, err := postgres.Open(t.Context(), url+"&idle_in_transaction_session_timeout=100")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(paused.Close)
	tx, err := paused.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT next FROM queue_head FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	placed, err := newSequence(t, pool).Place(t.Context(), []engine.Entry{sequenceEntry(0)})
	if err != nil || !placed[0].Created {
		t.Errorf("placing beside a paused front end: %+v, %v", placed, err)
	}
	_, err = tx.Exec(t.Context(), "UPDATE queue_head SET next = 7")
	if r, ok := reason.Of(postgres.Classify(t.Context(), err)); !ok || r.Reason != reason.StorageUnavailable {
		t.Errorf("the paused one goes on: %v, want %s", err, reason.StorageUnavailable)
	}
	_ = tx.Rollback(context.Background())
}

// BenchmarkPlace places batches of entries with two terms. One operation is one
// batch. The server syncs.
// TestOneTurnAtATime has a process place several batches at once: were it stopped, the
// server would end the transaction that has the lock, and no other waits to get it.
func TestOneTurnAtATime(t *testing.T) {
	url := pgtest.Database(t)
	pool := openPool(t, url)
	openPostgresIndex(t, pool)
	own := openPool(t, url)
	opened := own.Stat().NewConnsCount()
	s := newSequence(t, own)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT next FROM queue_head FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for n := range uint64(8) {
		g.Go(func() error {
			_, err := s.Place(t.Context(), []engine.Entry{sequenceEntry(n)})
			return err
		})
	}
	for waiting := false; !waiting; {
		err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Place(given, []engine.Entry{sequenceEntry(9)}); !errors.Is(err, context.Canceled) {
		t.Errorf("placing without a turn: %v, want %v", err, context.Canceled)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := own.Stat().NewConnsCount() - opened; n > 0 {
		t.Errorf("%d more connections were made to place 8 batches, want none", n)
	}
}

func BenchmarkPlace(b *testing.B) {
	for _, known := range []int{0, 200_000} {
		b.Run(fmt.Sprintf("after %d", known), func(b *testing.B) { benchPlace(b, known) })
	}
}

func benchPlace(b *testing.B, known int) {
	pool := openPool(b, pgtest.Start(b).Database(b))
	openPostgresIndex(b, pool)
	s := newSequence(b, pool)
	ctx := context.Background()
	var n uint64
	batch := func(size int) []engine.Entry {
		entries := make([]engine.Entry, size)
		for i := range entries {
			entries[i] = sequenceEntry(n)
			entries[i].Leaf = make([]byte, 600)
			n++
		}
		return entries
	}
	for int(n) < known {
		if _, err := s.Place(ctx, batch(10_000)); err != nil {
			b.Fatal(err)
		}
	}
	start := n
	for b.Loop() {
		if _, err := s.Place(ctx, batch(benchBatch)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n-start)/b.Elapsed().Seconds(), "entries/s")
}
