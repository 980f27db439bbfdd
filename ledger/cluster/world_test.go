package cluster_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

const origin = "cluster.example/log"

// history is the hashes of a log by tlog.StoredHashIndex. What is there does not
// change: a copy of the value stays as it is while another grows.
type history struct {
	hashes []tlog.Hash
	size   int64
}

func (h history) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hs[i] = h.hashes[x]
	}
	return hs, nil
}

// with returns the history with a leaf more.
func (h history) with(leaf string) history {
	hs, err := tlog.StoredHashes(h.size, []byte(leaf), h)
	if err != nil {
		panic(err) // of hashes that are there
	}
	return history{append(slices.Clip(h.hashes), hs...), h.size + 1}
}

func (h history) tree(size int64) tlog.Tree {
	hash, err := tlog.TreeHash(size, h)
	if err != nil {
		panic(err)
	}
	return tlog.Tree{N: size, Hash: hash}
}

func (h history) consistency(from, to int64) ([][]byte, error) {
	p, err := tlog.ProveTree(to, from, h)
	path := make([][]byte, len(p))
	for i := range p {
		path[i] = p[i][:]
	}
	return path, err
}

// world is what several processes share, the database apart: the log's storage, the
// key, a witness; and an account of everything that was ever signed. Unlike the
// leaves of an engine, those that were not signed are each process's own: whoever
// signs what does not follow, forks the log.
type world struct {
	t        *testing.T
	server   *pgtest.Server // nil for the shared one
	url      string
	own      *postgres.Pool // see open
	key      note.Signer
	verifier note.Verifier
	witness  *torchwood.CosignatureSigner

	mu       sync.Mutex
	of       map[tlog.Tree]history // all trees that a process was about to sign
	tiles    history               // the largest that was signed
	bucket   []byte                // the checkpoint in storage
	signed   []tlog.Tree
	cosigned tlog.Tree // largest
	leaves   int
	notes    map[tlog.Tree][]byte // see note
}

func newWorld(t *testing.T, server *pgtest.Server) *world {
	t.Helper()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(make([]byte, 64)), origin)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: server, of: make(map[tlog.Tree]history), notes: make(map[tlog.Tree][]byte)}
	if w.key, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if w.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	if w.witness, err = torchwood.NewCosignatureSigner("witness.example", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))); err != nil {
		t.Fatal(err)
	}
	if server == nil {
		w.url = pgtest.Database(t)
	} else {
		w.url = server.Database(t)
	}
	if err := postgres.Migrate(t.Context(), w.url); err != nil {
		t.Fatal(err)
	}
	if w.own, err = postgres.Open(t.Context(), w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.own.Close)
	return w
}

func (w *world) policy() torchwood.Policy {
	return torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin),
		torchwood.SingleVerifierPolicy(w.verifier), torchwood.SingleVerifierPolicy(w.witness.Verifier()))
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// exec changes the database behind the processes' backs.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.open().Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

// open returns connections of the test's own, which work after a restart of the
// database, too.
func (w *world) open() *postgres.Pool {
	if w.server != nil {
		w.own.Reset()
	}
	return w.own
}

// expire takes the lease from who has it, and leaves it to anyone.
func (w *world) expire() { w.exec("UPDATE lease SET epoch = epoch + 1, until = '-infinity'") }

// archived returns the sizes and the notes of the archive.
func (w *world) archived() (sizes []int64, notes [][]byte) {
	w.t.Helper()
	rows, err := w.open().Query(w.t.Context(), "SELECT size, note FROM checkpoints ORDER BY seq")
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var size int64
		var signed []byte
		if err := rows.Scan(&size, &signed); err != nil {
			w.t.Fatal(err)
		}
		sizes, notes = append(sizes, size), append(notes, signed)
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return sizes, notes
}

// checkPast fails the test unless all that was ever signed is one log, and the
// archive a record of it that never goes back.
func (w *world) checkPast() {
	w.t.Helper()
	sizes, notes := w.archived()
	if !slices.IsSorted(sizes) {
		w.t.Errorf("the sizes of the archive are %v", sizes)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, signed := range notes {
		c, _, err := torchwood.VerifyCheckpoint(signed, w.policy())
		if err != nil || !slices.Contains(w.signed, c.Tree) {
			w.t.Errorf("archived %q: %v", signed, err)
		}
	}
	trees := slices.Clone(w.signed)
	slices.SortStableFunc(trees, func(a, b tlog.Tree) int { return int(a.N - b.N) })
	for i := 1; i < len(trees); i++ {
		if a, b := trees[i-1], trees[i]; w.of[b].tree(a.N) != a {
			w.t.Errorf("two inconsistent checkpoints were signed, of sizes %d and %d", a.N, b.N)
		}
	}
}

// checkBucket fails the test unless the log's storage has what was archived last.
func (w *world) checkBucket() {
	w.t.Helper()
	_, notes := w.archived()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(notes) == 0 || !bytes.Equal(w.bucket, notes[len(notes)-1]) {
		w.t.Errorf("the log's storage has the checkpoint %q, which is not the last of the archive", w.bucket)
	}
}

// note returns a checkpoint that satisfies the policy, made behind all backs: the
// same for the same tree, although a cosignature tells the time.
func (w *world) note(tree tlog.Tree) []byte {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if signed, ok := w.notes[tree]; ok {
		return bytes.Clone(signed)
	}
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tree}.String()}, w.key, w.witness)
	if err != nil {
		w.t.Fatal(err)
	}
	w.notes[tree] = signed
	return bytes.Clone(signed)
}

// process is a front end, as far as publishing goes.
type process struct {
	*world
	name    string
	pool    *postgres.Pool
	cluster *cluster.Cluster
	board   *checkpoint.Board
	hook    atomic.Pointer[func(point string)] // called between the steps of a publication
	grow    chan struct{}                      // appends a leaf, if this process publishes
	terms   chan int64                         // gets the epochs in which it publishes
	ended   chan int64                         // gets them when it does not any more
	failed  chan error                         // gets what Lead and Watch return
	run     func(func(context.Context) error)
	stop    func()
}

// points are where a publication may be stopped.
const (
	beforeSwap    = "before the state is stored"
	beforeSign    = "between state and signature"
	beforeCosign  = "between signature and cosignatures"
	beforeArchive = "between cosignatures and archive"
	beforeStore   = "between archive and storage"
)

var points = []string{beforeSwap, beforeSign, beforeCosign, beforeArchive, beforeStore}

func (w *world) process(name string, lease time.Duration) *process {
	w.t.Helper()
	pool, err := postgres.Open(w.t.Context(), w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{
		world: w, name: name, pool: pool, board: checkpoint.NewBoard(),
		grow: make(chan struct{}, 100), terms: make(chan int64, 1000), ended: make(chan int64, 1000), failed: make(chan error, 2),
	}
	p.cluster, err = cluster.New(cluster.Config{
		Pool: pool, Log: p, Proofs: p, Board: p.board, Policy: w.policy(), Verifier: w.verifier, Name: name,
		Lease: lease, Poll: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	p.stop = func() {
		cancel()
		wg.Wait()
	}
	w.t.Cleanup(func() {
		p.stop()
		pool.Close()
	})
	p.run = func(f func(context.Context) error) { wg.Go(func() { p.failed <- f(ctx) }) }
	return p
}
