package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/attest"
)

// storm is more work than a ledger takes on: its capacity admits about 200 small
// submissions at once, or one of the largest size.
type storm struct {
	*process
	history *history
	author  *author
	memory  int64

	taken, shed, reads, other atomic.Int64
	slowest                   atomic.Int64 // of the reads, in nanoseconds
}

const stormCapacity = `capacity:
  memory: %d
  submissions: 8MiB
  httpConnections: 4096
  grpcConnections: 64
limits: {perKey: {perSecond: 0}, perAddress: {perSecond: 0}}
`

func newStorm(t *testing.T, memory int64) *storm {
	t.Helper()
	s := &storm{memory: memory}
	s.process = startWith(t, configured(t, t.TempDir(), fmt.Sprintf(stormCapacity, memory))...)
	s.history = newHistory(t, s.VKey)
	s.author = newAuthor(t)
	r := newREST(t, s.process)
	defer r.hangUp()
	for _, raw := range [][]byte{s.author.enrolment(t), s.author.attestation()} {
		if err := s.history.submit(t.Context(), r, raw, ""); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// submits submits new attestations until ctx ends. Each must be taken, or be refused
// with when to come back.
func (s *storm) submits(ctx context.Context, t *testing.T, by transport, make func() []byte) {
	for ctx.Err() == nil {
		err := s.history.submit(t.Context(), by, make(), "")
		var r *refusal
		switch {
		case err == nil:
			s.taken.Add(1)
		case errors.As(err, &r) && r.reason == "OVERLOADED" && (r.http == 0 || r.http == http.StatusServiceUnavailable) && r.retry != "" && r.retry != "0":
			s.shed.Add(1)
		default:
			s.other.Add(1)
			t.Errorf("a submission: %v, retry %+v", err, r)
			return
		}
	}
}

// big returns an attestation of almost the largest size.
func (s *storm) big() []byte {
	statement := `{"_type":%q,"subject":[{"name":"big","digest":{"sha256":%q}}],"predicateType":"https://example.com/test/v1","predicate":{"n":%d,"x":%q}}`
	return s.author.sign(fmt.Sprintf(statement, attest.StatementV1, strings.Repeat("ab", 32), s.author.next.Add(1), strings.Repeat("x", 3*attest.MaxEnvelope/4-2048)))
}

// reader reads whatever a verifier needs until ctx ends: each answer must be good.
func (s *storm) reader(ctx context.Context, t *testing.T, r *rest) {
	logged := s.history.entries[1]
	for ctx.Err() == nil {
		for _, path := range []string{"/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/2", "/v1/log/proofs/inclusion?index=1&size=2", "/v1/attestations/" + envelopeOf(logged.raw)} {
			began := time.Now()
			var b []byte
			if err := r.get(t.Context(), path, &b); err != nil || len(b) == 0 {
				t.Errorf("reading %s: %v", path, err)
				return
			}
			took := int64(time.Since(began))
			for was := s.slowest.Load(); took > was && !s.slowest.CompareAndSwap(was, took); was = s.slowest.Load() {
			}
			s.reads.Add(1)
		}
	}
}

// idler keeps a connection on which it says only this, slowly, until ctx ends; when it
// is thrown out, it comes back.
func (s *storm) idler(ctx context.Context, addr, says string) {
	for ctx.Err() == nil {
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
		_, _ = io.WriteString(nc, says)
		_, _ = io.Copy(io.Discard, nc) // ends when the ledger closes it
		stop()
		_ = nc.Close()
	}
}

// blow lets the storm go on until so many submissions were taken and refused, and so
// many reads made.
func (s *storm) blow(t *testing.T, taken, shed, reads int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), e2etest.Patience)
	defer cancel()
	var wg sync.WaitGroup
	many := func(n int, f func(i int)) {
		for i := range n {
			wg.Go(func() { f(i) })
		}
	}
	load := func(n int, make func() []byte, transports ...transport) {
		many(n, func(i int) { s.submits(ctx, t, transports[i%len(transports)], make) })
	}
	r := newREST(t, s.process)
	r.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 4096
	load(2000, s.author.attestation, r)
	load(200, s.author.attestation, newRPC(t, s.process), newRPC(t, s.process))
	load(24, s.big, r)
	load(8, s.big, newRPC(t, s.process))
	addr := strings.TrimPrefix(s.HTTP, "http://")
	many(200, func(int) { s.idler(ctx, addr, "") })
	many(100, func(int) { s.idler(ctx, addr, "GET /checkpoint HTTP/1.1\r\nHost") })
	many(100, func(int) {
		s.idler(ctx, addr, "POST /v1/attestations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
	})
	many(50, func(int) { s.idler(ctx, s.GRPC, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") })
	many(4, func(int) { s.reader(ctx, t, newREST(t, s.process)) })
	for ctx.Err() == nil && !t.Failed() && (s.taken.Load() < taken || s.shed.Load() < shed || s.reads.Load() < reads) {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("in %v, only %d submissions were taken, %d refused and %d reads made", e2etest.Patience, s.taken.Load(), s.shed.Load(), s.reads.Load())
		}
	}
	cancel()
	wg.Wait()
	r.hangUp()
}

// statusBytes returns a value of /proc/<pid>/status.
func (s *storm) statusBytes(t *testing.T, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == name+":" {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("no %s in the status of the process", name)
	return 0
}

// TestStorm offers ten times as many submissions at once as the ledger takes on,
// largest ones, slow bodies, slow headers and idle connections. What is not taken is
// refused with when to come back, what is taken is kept, reads are served, and memory
// stays within its bound.
func TestStorm(t *testing.T) {
	const taken, shed, reads = 1000, 10000, 100
	s := newStorm(t, 384<<20)
	s.blow(t, taken, shed, reads)
	peak := s.statusBytes(t, "VmHWM")
	t.Logf("%d taken, %d refused, %d reads, the slowest after %v; peak memory %d MiB of %d",
		s.taken.Load(), s.shed.Load(), s.reads.Load(), time.Duration(s.slowest.Load()).Round(time.Millisecond), peak>>20, s.memory>>20)
	if peak > s.memory {
		t.Errorf("the ledger took %d bytes of memory, and may take %d", peak, s.memory)
	}
	r := newREST(t, s.process)
	defer r.hangUp()
	if err := s.history.submit(t.Context(), r, s.author.attestation(), ""); err != nil {
		t.Errorf("after the storm: %v", err)
	}
	s.history.keep(t, s.process, spread(s.history.entries, 300))
	s.Stop(t)
}
