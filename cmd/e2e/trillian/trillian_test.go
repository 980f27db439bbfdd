// Package trillian holds the log engine on Trillian to its contract with the real
// Trillian, on PostgreSQL and on MariaDB, each with two log servers and two signers.
// `make interop` installs these; without it the tests are skipped, and say so.
package trillian

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/bucket"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

func TestMain(m *testing.M) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // Trillian's client logs what it does
	os.Exit(m.Run())
}

// onEach runs a test on each database.
func onEach(t *testing.T, f func(t *testing.T, tr *peers.Trillian)) {
	e2etest.Interop(t)
	t.Run("PostgreSQL", func(t *testing.T) { f(t, two(t, peers.StartTrillianOnPostgreSQL(t, pgtest.Database(t)))) })
	t.Run("MariaDB", func(t *testing.T) { f(t, two(t, peers.StartTrillianOnMariaDB(t, peers.StartMariaDB(t)))) })
}

// two makes the log servers, and the signers, two.
func two(t *testing.T, tr *peers.Trillian) *peers.Trillian {
	t.Helper()
	tr.StartServer(t)
	tr.StartSigner(t)
	return tr
}

// dial returns a connection to all log servers.
func dial(t testing.TB, tr *peers.Trillian) *grpc.ClientConn {
	t.Helper()
	conn, err := engine.DialTrillian(strings.Join(tr.Addrs, ","), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// newConfig returns that of a new log, with its sequence in a database of the server
// and its tiles in a directory.
func newConfig(t testing.TB, conn *grpc.ClientConn, database string) engine.TrillianConfig {
	t.Helper()
	tree, err := engine.CreateTree(t.Context(), conn, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.Migrate(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := store.OpenPostgresIndex(t.Context(), pool); err != nil { // the sequence asks its tables
		t.Fatal(err)
	}
	sequence := store.NewPostgresSequence(pool)
	t.Cleanup(func() { _ = sequence.Close() })
	objects, err := bucket.Open(t.Context(), "file://"+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = objects.Close() })
	return engine.TrillianConfig{Conn: conn, Tree: tree, Sequence: sequence, Bucket: objects}
}

// process is one that runs a log.
type process struct {
	*engine.Trillian
	cancel context.CancelFunc
	ended  chan error
}

func start(t testing.TB, cfg engine.TrillianConfig) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Trillian: engine.OpenTrillian(cfg), cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- p.Run(ctx) }()
	t.Cleanup(cancel)
	return p
}

// Close ends the process in good order.
func (p *process) Close() error {
	if err := p.Trillian.Close(); err != nil {
		return err
	}
	p.cancel()
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Run ended with %w", err)
	}
	return nil
}

func TestContract(t *testing.T) {
	onEach(t, func(t *testing.T, tr *peers.Trillian) {
		conn := dial(t, tr)
		enginetest.Run(t, func(t *testing.T) func() engine.Log {
			cfg := newConfig(t, conn, pgtest.Database(t))
			return func() engine.Log { return start(t, cfg) }
		})
	})
}

// TestUnderKills places entries while signers and log servers are killed, and holds
// every root that is answered to what was placed.
func TestUnderKills(t *testing.T) {
	onEach(t, func(t *testing.T, tr *peers.Trillian) {
		cfg := newConfig(t, dial(t, tr), pgtest.Database(t))
		grew := make(chan uint64, 1<<16)
		cfg.Grew = func(size uint64) { grew <- size }
		p := start(t, cfg)
		const rounds, each = 8, 500
		for round := range rounds {
			entries := make([]engine.Entry, each)
			for i := range entries {
				entries[i].Leaf = fmt.Appendf(nil, "leaf %d of round %d", i, round)
			}
			if _, err := p.Place(t.Context(), entries); err != nil {
				t.Fatal(err)
			}
			if round%2 == 0 {
				kill(t, tr.Signers[round/2])
				tr.StartSigner(t)
			} else {
				kill(t, tr.Servers[round/2])
				tr.StartServer(t)
				// Another process leads from here, by the servers that there are now.
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				tr.Addrs = tr.Addrs[1:]
				cfg.Conn = dial(t, tr)
				p = start(t, cfg)
			}
		}
		awaitSize(t, p, rounds*each)
		hash := make(hashes, 0, 2*rounds*each)
		for i := range rounds * each {
			hs, err := tlog.StoredHashes(int64(i), fmt.Appendf(nil, "leaf %d of round %d", i%each, i/each), &hash)
			if err != nil {
				t.Fatal(err)
			}
			hash = append(hash, hs...)
		}
		prover := engine.NewProver(p)
		close(grew)
		for size := range grew {
			want, err := tlog.TreeHash(int64(size), &hash)
			if err != nil {
				t.Fatal(err)
			}
			got, err := prover.Root(t.Context(), size, rounds*each)
			if err != nil || tlog.Hash(got) != want {
				t.Fatalf("at size %d the root is %x, %v, want %s", size, got, err, want)
			}
		}
	})
}

// TestUnderRestartsOfPostgreSQL stops Trillian's database while entries are placed.
// What its log server then answers must pass for a failure that passes, and no root
// for one of a tree that lost its leaves.
func TestUnderRestartsOfPostgreSQL(t *testing.T) {
	e2etest.Interop(t)
	db := pgtest.Start(t)
	cfg := newConfig(t, dial(t, two(t, peers.StartTrillianOnPostgreSQL(t, db.Database(t)))), db.Database(t))
	p := start(t, cfg)
	place := func(leaf []byte) {
		entry := engine.Entry{Leaf: leaf, Terms: [][sha256.Size]byte{sha256.Sum256(leaf)}}
		for { // again finds out whether it was placed
			_, err := p.Place(t.Context(), []engine.Entry{entry})
			if err == nil {
				return
			}
			if e, ok := reason.Of(err); !ok || e.Reason != reason.StorageUnavailable {
				t.Fatal(err)
			}
		}
	}
	const rounds, each = 6, 400
	for round := range rounds {
		for i := range each {
			place(fmt.Appendf(nil, "leaf %d of round %d", i, round))
			if i != each/2 {
				continue
			}
			stop := db.Stop
			if round%2 == 1 {
				stop = db.Kill
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if err := db.Restart(); err != nil {
				t.Fatal(err)
			}
		}
		awaitSize(t, p, uint64(round+1)*each)
	}
	if size, err := p.Size(t.Context()); err != nil || size != rounds*each {
		t.Errorf("the size is %d, %v, want %d", size, err, rounds*each)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// hashes are stored hashes in memory.
type hashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (h *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = (*h)[x]
	}
	return out, nil
}

func kill(t *testing.T, p *e2etest.Process) {
	t.Helper()
	if err := p.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait(t)
}

func awaitSize(t testing.TB, log engine.Log, size uint64) {
	t.Helper()
	for deadline := time.Now().Add(e2etest.Patience); ; time.Sleep(10 * time.Millisecond) {
		got, err := log.Size(t.Context())
		if err == nil && got >= size {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the size is %d, %v, want %d", got, err, size)
		}
	}
}
