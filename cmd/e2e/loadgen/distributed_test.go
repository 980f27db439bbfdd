package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/cluster"
	"github.com/cairnlog/cairn/cmd/e2e/e2etest/peers"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// holdDistributed is the number to hold of the design's section 10, row 5: of the
// leaves that Trillian sequences alone.
const holdDistributed = 0.8

// The load of a turn.
const (
	distributedWindow = 10 * time.Second
	distributedWarmup = 2 * time.Second
	trillianLeaves    = 6_000
)

// What Trillian is measured with alone.
const (
	oneByOne = "QueueLeaf"          // as it sequences by itself
	inRanges = "AddSequencedLeaves" // as the front ends have it sequence
)

// postgresSettings are those of the server that Trillian and the front ends share.
// It syncs every commit, as by default; the rest is what a machine with 8 GB gives
// its database.
var postgresSettings = []string{"shared_buffers=1GB", "max_wal_size=4GB", "wal_buffers=16MB", "checkpoint_timeout=15min"}

// BenchmarkDistributed is row 5: what front ends on Trillian and PostgreSQL take in,
// next to what Trillian alone sequences, before and after, on the same servers. The
// servers are Debian's PostgreSQL, one log server and one signer. `make bench` runs
// it, once.
func BenchmarkDistributed(b *testing.B) {
	e2etest.Interop(b)
	for b.Loop() {
		newShared(b).measure()
	}
}

// shared is the servers that Trillian alone and the front ends are measured on.
type shared struct {
	b        *testing.B
	out      *report
	bin      string
	trillian *peers.Trillian
	log      *cluster.Cluster
	bencher  *bencher
	alone    map[string][]trillianFigure // by call
	taken    []taken
}

// trillianFigure is one of trillianbench's.
type trillianFigure struct {
	Call           string
	Batch, Callers int
	Rate           float64
}

// taken is what front ends took in, in one turn.
type taken struct {
	fronts int
	*result
}

func newShared(b *testing.B) *shared {
	e2etest.Tool(b, "bin/trillian_log_server") // says at once what to install
	debug.SetGCPercent(400)                    // as for every load
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	s := &shared{b: b, out: newReport(os.Stdout), bin: b.TempDir(), alone: make(map[string][]trillianFigure)}
	if err := os.Mkdir(filepath.Join(s.bin, "e2e"), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := e2etest.Build(s.bin, "cairn-ledger", "e2e/trillianbench"); err != nil {
		b.Fatal(err)
	}
	db := pgtest.Start(b, postgresSettings...)
	s.trillian = peers.StartTrillianOnPostgreSQL(b, db.Database(b))
	s.log = cluster.New(b, cluster.Config{Bin: s.bin, Database: db, Trillian: s.trillian.Addr, Origin: "several.example/log"})
	s.out.printf("%s; state on %s; load average %s", machine(), filesystem(s.bin), loadAverage())
	s.out.printf("PostgreSQL with %s; one log server, one signer of Trillian", strings.Join(postgresSettings, " "))
	return s
}

func (s *shared) measure() {
	s.measureTrillian()
	s.open("anna")
	for _, n := range []int{64, 256, 1024} {
		s.submit(n)
	}
	s.join("bert", "carl")
	for _, n := range []int{256, 1024} {
		s.submit(n)
	}
	s.measureTrillian()
	for _, line := range s.summary() {
		s.out.printf("%s", line)
	}
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

// measureTrillian measures Trillian alone, on new trees. The front ends are idle.
func (s *shared) measureTrillian() {
	cmd := exec.Command(filepath.Join(s.bin, "e2e/trillianbench"), "-trillian", s.trillian.Addr, "-leaves", fmt.Sprint(trillianLeaves), "-o", "json")
	code, stdout, stderr := e2etest.Run(s.b, cmd)
	if code != 0 {
		s.b.Fatalf("%s: exit code %d\n%s", cmd, code, stderr)
	}
	for d := json.NewDecoder(bytes.NewBufferString(stdout)); d.More(); {
		var f trillianFigure
		if err := d.Decode(&f); err != nil {
			s.b.Fatal(err)
		}
		s.alone[f.Call] = append(s.alone[f.Call], f)
		s.out.printf("Trillian alone  %-18s %4d a call, %4d callers: %6.0f leaves/s   (load average %s)", f.Call, f.Batch, f.Callers, f.Rate, loadAverage())
	}
}

// open starts the first front end, and prepares the load.
func (s *shared) open(name string) {
	s.b.Helper()
	f := s.log.Start(name)
	l := &ledger{Origin: "several.example/log", VKey: s.log.VKey, HTTP: f.URL, GRPC: f.GRPC, pid: f.Cmd.Process.Pid}
	var err error
	if l.verifier, err = note.NewVerifier(l.VKey); err != nil {
		s.b.Fatal(err)
	}
	o := &options{duration: distributedWindow, warmup: distributedWarmup, perSecond: 2500, keys: 64}
	s.bencher = &bencher{options: o, out: newReport(&bytes.Buffer{}), ledger: l, what: "submit"}
	if s.bencher.workshop, err = newWorkshop(o.keys, o.padding); err != nil {
		s.b.Fatal(err)
	}
	closeAll, err := s.bencher.dial()
	if err != nil {
		s.b.Fatal(err)
	}
	s.b.Cleanup(closeAll)
	if err := s.bencher.enrol(s.b.Context()); err != nil {
		s.b.Fatal(err)
	}
}

// join starts further front ends. The first goes on publishing.
func (s *shared) join(names ...string) {
	s.b.Helper()
	for _, name := range names {
		l := s.bencher.ledger
		l.beside = append(l.beside, s.log.Start(name).GRPC)
	}
}

// submit is one turn of the front ends.
func (s *shared) submit(submitters int) {
	s.b.Helper()
	bench := s.bencher
	if err := bench.submit(s.b.Context(), transportGRPC, submitters, nil); err != nil {
		s.b.Fatal(err)
	}
	r := bench.out.results[len(bench.out.results)-1]
	t := taken{1 + len(bench.ledger.beside), r}
	s.taken = append(s.taken, t)
	s.out.printf("%d front end(s)   %4d submitters: %6.0f/s  p50 %s  p99 %s  max %s  %d failures %s  first front end's CPU %s (%s each)  (load average %s)",
		t.fronts, submitters, r.Rate, millis(r.P50), millis(r.P99), millis(r.Max), r.Failed, reasons(r.Failures),
		percent(r.CPU.Server), micros(r.each()), loadAverage())
}

// best is the most that Trillian alone did with a call: of the numbers of callers and
// of leaves a call that were tried, the best on average over the turns.
func (s *shared) best(call string) float64 {
	sum, n, best := make(map[[2]int]float64), make(map[[2]int]float64), 0.0
	for _, f := range s.alone[call] {
		at := [2]int{f.Batch, f.Callers}
		sum[at] += f.Rate
		n[at]++
	}
	for at := range sum {
		best = max(best, sum[at]/n[at])
	}
	return best
}

func (s *shared) summary() []string {
	queued, ranged := s.best(oneByOne), s.best(inRanges)
	var lines []string
	for _, t := range s.taken {
		lines = append(lines, fmt.Sprintf("§10 row 5  on Trillian and PostgreSQL, %d front end(s), %d submitters: %d/s, %.2f of the %d/s that Trillian alone sequences "+
			"(to hold ≥ %.1f)  %s; %.2f of the %d/s that it is given in ranges; p50 %s, p99 %s, %d failures",
			t.fronts, t.Submitters, int(t.Rate), share(t.Rate, queued), int(queued), holdDistributed, verdict(share(t.Rate, queued) >= holdDistributed),
			share(t.Rate, ranged), int(ranged), millis(t.P50), millis(t.P99), t.Failed))
	}
	return lines
}

// share rounds down, so that no number looks held that is not.
func share(part, of float64) float64 {
	if of <= 0 {
		return 0
	}
	return math.Floor(part/of*100) / 100
}

// TestSummaryOfDistributed wants the best that Trillian did on average to be what
// the front ends are compared with, and nothing rounded up.
func TestSummaryOfDistributed(t *testing.T) {
	s := &shared{alone: map[string][]trillianFigure{
		oneByOne: {{Batch: 1, Callers: 64, Rate: 900}, {Batch: 1, Callers: 256, Rate: 1200}, {Batch: 1, Callers: 64, Rate: 1100}, {Batch: 1, Callers: 256, Rate: 300}},
		inRanges: {{Batch: 1000, Callers: 1, Rate: 4000}},
	}}
	for rate, want := range map[float64]string{
		800: "0.80 of the 1000/s that Trillian alone sequences (to hold ≥ 0.8)  HELD; 0.20 of the 4000/s",
		799: "0.79 of the 1000/s that Trillian alone sequences (to hold ≥ 0.8)  SHORT; 0.19 of the 4000/s",
	} {
		s.taken = []taken{{3, &result{Submitters: 1024, Rate: rate}}}
		if got := s.summary(); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("at %v/s: %q, want %q", rate, got, want)
		}
	}
}
