package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/ledger/attest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// run is the command; it returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = bench(ctx, o, stdout, stderr)
	} else if !errors.Is(err, errUsage) {
		return 2 // the flag package has said why
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "loadgen: error: %v\n", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// bencher is one invocation.
type bencher struct {
	*options
	out      *report
	ledger   *ledger
	client   cairnv1.LedgerServiceClient
	workshop *workshop
	work     string // directory for temporary state
	what     string // is submitted to, in the report
}

func bench(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	// The client's heap is requests without pointers, made before the clock
	// starts: collecting it often would only take CPU from the ledger.
	debug.SetGCPercent(400)
	// Tessera, whose ceiling is measured, logs each of its steps through klog.
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err := raiseFileLimit(8192 + 256); err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, "cairn-loadgen-")
	if err != nil {
		return fmt.Errorf("making a directory for the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &bencher{options: o, out: newReport(stdout), work: work, what: "submit"}
	b.out.printf("%s; state on %s in %s", machine(), filesystem(work), o.dir)
	b.out.printf("attestations are signed before the clock starts; one of %d answers is checked in full", sampleEvery)
	err = b.withLedger(ctx, func() (*ledger, error) { return openLedger(ctx, o, work, stderr) }, b.measure)
	if err == nil && o.compares() {
		err = b.compareWitnessed(ctx, stderr)
	}
	if err == nil && o.overloads() {
		err = b.measureOverload(ctx, stderr)
	}
	if err == nil && o.ceilings && o.checkpoints == "" {
		err = b.measureCeilings(ctx)
	}
	b.out.summary()
	return errors.Join(err, b.out.save(o.json))
}

// withLedger calls f while there is a ledger with enrolled keys.
func (b *bencher) withLedger(ctx context.Context, open func() (*ledger, error), f func(context.Context) error) (err error) {
	if b.ledger, err = open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.ledger.stop()) }()
	closeAll, err := b.dial()
	if err != nil {
		return err
	}
	defer closeAll()
	if b.workshop, err = newWorkshop(b.keys, b.padding); err != nil {
		return err
	}
	if err := b.enrol(ctx); err != nil {
		return err
	}
	example, err := b.workshop.make()
	if err != nil {
		return err
	}
	b.out.printf("ledger %s at %s and %s; %d keys enrolled; attestations of %d bytes, signed with Ed25519",
		b.ledger.Origin, b.ledger.HTTP, b.ledger.GRPC, b.keys, len(example))
	return f(ctx)
}

// dial makes the client that is not part of any load.
func (b *bencher) dial() (closeAll func(), err error) {
	conns, closeAll, err := dialGRPC(1, b.ledger.GRPC)
	if err == nil {
		b.client = cairnv1.NewLedgerServiceClient(conns[0])
	}
	return closeAll, err
}

func (b *bencher) enrol(ctx context.Context) error {
	return onAllCores(ctx, len(b.workshop.signers), func(i int) error {
		env, err := attest.Enrol(b.workshop.signers[i], operator(i), "")
		if err != nil {
			return fmt.Errorf("signing an enrolment: %w", err)
		}
		if _, err := b.client.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: env}); err != nil {
			return fmt.Errorf("enrolling a key: %w", err)
		}
		return nil
	})
}

// measure makes all runs against the ledger.
func (b *bencher) measure(ctx context.Context) error {
	if b.checkpoints != "" {
		return b.saveCheckpoints(ctx)
	}
	b.out.header()
	for _, t := range b.transports {
		for _, n := range b.concurrency {
			if err := b.submit(ctx, t, n, nil); err != nil {
				return fmt.Errorf("submitting over %s at %d: %w", t, n, err)
			}
		}
	}
	if !b.proofs {
		return nil
	}
	if err := b.measureProofs(ctx); err != nil {
		return fmt.Errorf("asking for proofs: %w", err)
	}
	return nil
}

// transport is how attestations are submitted in one run.
type transport struct {
	frame  func([]byte) request
	open   func(int) (sender, error)
	decode func([]byte) (*cairnv1.SubmitAttestationResponse, error)
	close  func()
}

func (b *bencher) transport(name string, submitters int) (*transport, error) {
	if name == transportREST {
		host := b.ledger.host()
		return &transport{
			frame:  restFrame(host),
			open:   func(int) (sender, error) { return openREST(host) },
			decode: decodeREST,
			close:  func() {},
		}, nil
	}
	conns, closeAll, err := dialGRPC(min(maxConns, 1+(submitters-1)/submittersPerConn), append([]string{b.ledger.GRPC}, b.ledger.beside...)...)
	if err != nil {
		return nil, err
	}
	return &transport{
		frame:  frameGRPC,
		open:   func(i int) (sender, error) { return &grpcSender{conn: conns[i%len(conns)]}, nil },
		decode: decodeGRPC,
		close:  closeAll,
	}, nil
}

func (l *ledger) host() string { return strings.TrimPrefix(l.HTTP, "http://") }

// maxPrepared bounds how many attestations are held at once, about 150 MB of
// them. A larger -count is sent in rounds, and the clock stands between them.
const maxPrepared = 100_000

// submit makes one run of submissions and reports it.
func (b *bencher) submit(ctx context.Context, name string, submitters int, see func(*cairnv1.SubmitAttestationResponse)) error {
	t, err := b.transport(name, submitters)
	if err != nil {
		return err
	}
	defer t.close()
	j := job{submitters: submitters, open: t.open, pid: b.ledger.pid, witnesses: b.ledger.witnesses}
	rounds := []int{int(float64(b.perSecond) * (b.warmup + b.duration).Seconds())}
	if b.count == 0 {
		j.warmup, j.window = b.warmup, b.duration
	} else {
		rounds = split(b.count, maxPrepared)
	}
	if see != nil {
		j.see = seeDecoded(t, see)
	}
	total := &measurement{}
	for _, n := range rounds {
		if j.requests, err = b.workshop.prepare(ctx, n, t.frame); err != nil {
			return err
		}
		m, err := j.run(ctx)
		if err != nil {
			return err
		}
		if err := b.ledger.checkSubmissions(m.samples, b.workshop.keyring(), t.decode); err != nil {
			return err
		}
		total.add(m)
	}
	b.out.add(newResult(b.what, name, submitters, total))
	return nil
}

func seeDecoded(t *transport, see func(*cairnv1.SubmitAttestationResponse)) func([]byte) {
	return func(reply []byte) {
		// What does not parse is found by the check of the samples.
		if resp, err := t.decode(reply); err == nil {
			see(resp)
		}
	}
}

// split divides n into rounds of at most most.
func split(n, most int) []int {
	var rounds []int
	for n > 0 {
		rounds = append(rounds, min(n, most))
		n -= min(n, most)
	}
	return rounds
}

const (
	proofRequests = 20_000
	// minProofTree makes proofs realistic, and more tiles than one.
	minProofTree = 20_000
)

// measureProofs asks for inclusion proofs of random entries.
func (b *bencher) measureProofs(ctx context.Context) error {
	latest, err := b.client.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return fmt.Errorf("getting the checkpoint: %w", err)
	}
	if missing := minProofTree - int(latest.GetSize()); missing > 0 {
		if err := b.fill(ctx, missing); err != nil {
			return err
		}
		if latest, err = b.client.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{}); err != nil {
			return fmt.Errorf("getting the checkpoint: %w", err)
		}
	}
	tree, err := b.ledger.openCheckpoint(latest.GetCheckpoint())
	if err != nil {
		return err
	}
	host := b.ledger.host()
	j := job{
		submitters: b.proofConc, reuse: true, warmup: b.warmup, window: b.duration, pid: b.ledger.pid,
		open: func(int) (sender, error) { return openREST(host) },
	}
	for range proofRequests {
		j.requests = append(j.requests, frameProof(host, rand.Int64N(tree.N), tree.N))
	}
	m, err := j.run(ctx)
	if err != nil {
		return err
	}
	if err := b.ledger.checkProofs(ctx, b.client, m.samples, tree); err != nil {
		return err
	}
	b.out.add(newResult("proof", transportREST, b.proofConc, m))
	return nil
}

// fill submits n attestations outside of any measurement.
func (b *bencher) fill(ctx context.Context, n int) error {
	t, err := b.transport(transportGRPC, submittersPerConn)
	if err != nil {
		return err
	}
	defer t.close()
	j := job{submitters: submittersPerConn, open: t.open}
	if j.requests, err = b.workshop.prepare(ctx, n, t.frame); err != nil {
		return err
	}
	_, err = j.run(ctx)
	return err
}

// result is one measurement as it is reported.
type result struct {
	What       string         `json:"what"` // submit, proof, or a ceiling
	Transport  string         `json:"transport,omitempty"`
	Submitters int            `json:"submitters"`
	Rate       float64        `json:"perSecond"`
	Answered   int            `json:"answered"`
	Seconds    float64        `json:"seconds"`
	P50        time.Duration  `json:"p50Nanoseconds"`
	P90        time.Duration  `json:"p90Nanoseconds"`
	P99        time.Duration  `json:"p99Nanoseconds"`
	Max        time.Duration  `json:"maxNanoseconds"`
	Failures   map[string]int `json:"failures,omitempty"`
	Failed     int            `json:"failed"`
	RanOut     bool           `json:"ranOut,omitempty"`
	CPU        load           `json:"cpuPercent"`
	Memory     memory         `json:"serverMemoryBytes"`
}

func newResult(what, transport string, submitters int, m *measurement) *result {
	r := &result{
		What: what, Transport: transport, Submitters: submitters,
		Rate: m.rate(), Answered: m.answered, Seconds: m.elapsed.Seconds(),
		P50: percentile(m.latencies, 50), P90: percentile(m.latencies, 90),
		P99: percentile(m.latencies, 99), Max: percentile(m.latencies, 100),
		Failures: m.failures, RanOut: m.ranOut, CPU: m.cpu, Memory: m.mem,
	}
	for _, n := range m.failures {
		r.Failed += n
	}
	return r
}
