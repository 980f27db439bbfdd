package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/server"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// served is a ledger on loopback.
type served struct {
	http, grpc string            // addresses
	rekor      *checkpoint.Alias // as Rekor's clients know it
}

// benchServer serves a ledger with entries enrolments in it.
func benchServer(b testing.TB, entries int) served {
	b.Helper()
	cfg, in, pub := benchParts(b)
	s := benchServe(b, cfg, in, pub)
	patience, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range entries {
		wg.Go(func() { benchEnrol(b, in) })
	}
	if _, err := cfg.Board.Wait(patience, uint64(entries)); err != nil {
		b.Fatal(err)
	}
	wg.Wait()
	return s
}

// benchServe serves a ledger of these parts until the test ends.
func benchServe(b testing.TB, cfg *benchConfig, in *intake.Intake, pub *checkpoint.Publisher) served {
	b.Helper()
	_, addresses := benchServeAs(b, cfg, in, pub)
	return addresses
}

// benchServeAs is benchServe, and returns the server, too.
func benchServeAs(b testing.TB, cfg *benchConfig, in *intake.Intake, pub *checkpoint.Publisher) (*server.Server, served) {
	b.Helper()
	ctx := context.Background()
	s, err := server.New(ctx, cfg.Config)
	if err != nil {
		b.Fatal(err)
	}
	httpListener, grpcListener := benchListen(b), benchListen(b)
	serving, stopServing := context.WithCancel(ctx)
	appending, stopAppending := context.WithCancel(ctx)
	publishing, stopPublishing := context.WithCancel(ctx)
	var wg sync.WaitGroup
	start := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				b.Error(err)
			}
		})
	}
	start(func() error {
		err := pub.Run(publishing)
		cfg.Board.End(err)
		return err
	})
	start(func() error {
		defer stopPublishing()
		return in.Run(appending)
	})
	start(func() error {
		defer stopAppending()
		return s.Serve(serving, httpListener, grpcListener, 10*time.Second)
	})
	b.Cleanup(func() {
		stopServing()
		wg.Wait()
	})
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := cfg.Board.Wait(patience, 0); err != nil {
		b.Fatal(err)
	}
	return s, served{httpListener.Addr().String(), grpcListener.Addr().String(), cfg.Rekor}
}

func benchListen(b testing.TB) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func benchEnrol(b testing.TB, in *intake.Intake) {
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		b.Error(err)
		return
	}
	env, err := attest.Enrol(s, "https://operator.example/", "")
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := in.Submit(context.Background(), env, ""); err != nil {
		b.Error(err)
	}
}

// benchParts opens the parts of a ledger in a temporary directory.
func benchParts(b testing.TB) (*benchConfig, *intake.Intake, *checkpoint.Publisher) {
	b.Helper()
	cfg, in, pub, _ := benchPartsIn(b)
	return cfg, in, pub
}

// benchConfig is a server's configuration, and the verifier key of its log.
type benchConfig struct {
	server.Config
	VKey string
}

// benchPartsIn is benchParts, and tells the directory.
func benchPartsIn(b testing.TB) (cfg *benchConfig, in *intake.Intake, pub *checkpoint.Publisher, dir string) {
	b.Helper()
	ctx := context.Background()
	dir = b.TempDir()
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // Tessera logs each of its steps
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	key, err := checkpoint.CreateKey(filepath.Join(dir, "ledger.key"), "localhost/bench")
	must(err)
	alias, err := key.Alias("127.0.0.1")
	must(err)
	state, err := checkpoint.OpenFileState(filepath.Join(dir, "signed"))
	must(err)
	guard, err := checkpoint.NewGuard(ctx, key.Signer, state)
	must(err)
	log, err := engine.OpenTessera(ctx, filepath.Join(dir, "log"), guard.Genesis(ctx))
	must(err)
	blobs, err := store.OpenSQLiteBlobs(ctx, filepath.Join(dir, "blobs.db"))
	must(err)
	index, err := store.OpenSQLiteIndex(ctx, filepath.Join(dir, "index.db"))
	must(err)
	b.Cleanup(func() {
		for _, c := range []io.Closer{index, blobs, log, state} {
			_ = c.Close()
		}
	})
	prover := engine.NewProver(log)
	in, err = intake.New(ctx, intake.Config{Log: log, Prover: prover, Blobs: blobs, Index: index,
		Window: 5 * time.Millisecond, Grew: func() { pub.Grew() }})
	must(err)
	board := checkpoint.NewBoard()
	pub = checkpoint.NewPublisher(checkpoint.Config{
		Guard: guard, Board: board, Log: log, Proofs: prover, Index: in.Follow, Interval: 20 * time.Millisecond, Now: time.Now,
		Policy: torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(key.Signer.Name()), torchwood.SingleVerifierPolicy(key.Verifier)),
	})
	return &benchConfig{Config: server.Config{
		Intake: in, Board: board, Prover: prover, Log: log, Blobs: blobs, Index: index,
		Rekor: alias, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}, VKey: key.VKey}, in, pub, dir
}

const benchSize = 3000

// BenchmarkInclusionProof asks for proofs from eight requesters for each core:
// through the gateway, over connections that are kept, and without it.
func BenchmarkInclusionProof(b *testing.B) {
	s := benchServer(b, benchSize)
	b.Run("REST", func(b *testing.B) { benchREST(b, s.http) })
	b.Run("gRPC", func(b *testing.B) { benchGRPC(b, s.grpc) })
}

func benchREST(b *testing.B, addr string) {
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		r := bufio.NewReader(conn)
		for pb.Next() {
			if err := benchGet(conn, r, mathrand.IntN(benchSize)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func benchGet(conn net.Conn, r *bufio.Reader, index int) error {
	_, err := fmt.Fprintf(conn, "GET /v1/log/proofs/inclusion?index=%d&size=%d HTTP/1.1\r\nHost: x\r\n\r\n", index, benchSize)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("index %d: %s", index, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func benchGRPC(b *testing.B, addr string) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := cairnv1.NewLedgerServiceClient(conn)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			index := mathrand.Int64N(benchSize)
			_, err := client.GetInclusionProof(context.Background(), &cairnv1.GetInclusionProofRequest{Index: &index, Size: benchSize})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
