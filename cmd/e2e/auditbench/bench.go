package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/audit/audittest"
	"github.com/cairnlog/cairn/ledger/policy"
)

// What is to be held: design, section 10.
const (
	leastLeaves     = 150_000
	leastSignatures = 0.9
)

const (
	authors   = 8
	batchSize = 4096
	perPublic = 2 * batchSize // entries between checkpoints
)

type bench struct {
	out     io.Writer
	entries int
	dir     string
	child   string
}

func (b *bench) run(ctx context.Context) error {
	switch b.child {
	case "":
	case "write":
		return b.generate(ctx)
	default:
		return b.audit(ctx)
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "cairn-auditbench-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		b.dir = dir
	}
	if _, err := os.Stat(b.policy()); errors.Is(err, os.ErrNotExist) {
		// A process's peak memory begins with that of the one that forked it.
		if _, err := b.self(ctx, b.out, "write"); err != nil {
			return fmt.Errorf("writing a log: %w", err)
		}
	}
	structure, _, err := b.measure(ctx, "structure")
	if err != nil {
		return err
	}
	raw, rawCPU := rawVerification()
	all, usage, err := b.measure(ctx, "all")
	if err != nil {
		return err
	}
	again, againCPU := rawVerification()
	raw, rawCPU = max(raw, again), min(rawCPU, againCPU)
	leaves := float64(structure.Counts.Entries.Load()) / structure.PassSeconds
	signatures := float64(all.Counts.Attestations.Load()) / all.PassSeconds
	fmt.Fprintf(b.out, "audit  structure  %8d entries %10.0f leaves/s       §10 row 7 %s\n",
		structure.Checkpoint.Size, leaves, held(leaves >= leastLeaves))
	fmt.Fprintf(b.out, "audit  signatures %8d entries %10.0f signatures/s, raw verification on %d cores %.0f/s, ratio %.2f   §10 row 7 %s\n",
		all.Checkpoint.Size, signatures, runtime.NumCPU(), raw, signatures/raw, held(signatures/raw >= leastSignatures))
	// What others do on the machine meanwhile slows the clock more than this.
	cpu := cpuOf(usage) / time.Duration(max(all.Counts.Attestations.Load(), 1))
	fmt.Fprintf(b.out, "audit  processor  %8d entries %10v an entry, databases included; raw verification %v, ratio %.2f\n",
		all.Checkpoint.Size, cpu, rawCPU, float64(rawCPU)/float64(cpu))
	fmt.Fprintf(b.out, "audit  all        %8d entries %10.1f s, of which the pass %.1f s; peak memory %d MiB\n",
		all.Checkpoint.Size, all.Seconds, all.PassSeconds, usage.Maxrss>>10)
	return nil
}

func held(ok bool) string {
	if ok {
		return "HELD"
	}
	return "SHORT"
}

func (b *bench) policy() string { return filepath.Join(b.dir, "policy") }

// generate writes a log as a ledger with few authors has it.
func (b *bench) generate(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	began := time.Now()
	l, err := audittest.New(ctx, b.dir)
	if err != nil {
		return err
	}
	crew := make([]*audittest.Author, authors)
	first := make([]audittest.Entry, authors)
	for i := range crew {
		if crew[i], err = audittest.NewAuthor(); err != nil {
			return err
		}
		if first[i], err = crew[i].Enrolment("https://operator.example/"); err != nil {
			return err
		}
	}
	if err := l.Add(ctx, first...); err != nil {
		return err
	}
	for l.Size() < uint64(b.entries) && ctx.Err() == nil {
		batch := make([]audittest.Entry, min(batchSize, b.entries-int(l.Size())))
		if err := sign(batch, int(l.Size()), crew); err != nil {
			return err
		}
		if err := l.Add(ctx, batch...); err != nil {
			return err
		}
		if l.Size()%perPublic < batchSize || l.Size() == uint64(b.entries) {
			if err := l.Publish(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(b.out, "audit  wrote a log of %d entries in %.0f s\n", l.Size(), time.Since(began).Seconds())
	return errors.Join(l.Close(), ctx.Err(), os.WriteFile(b.policy(), []byte(l.Policy.String()), 0o644))
}

// sign fills a batch, on all cores.
func sign(batch []audittest.Entry, from int, crew []*audittest.Author) error {
	var g errgroup.Group
	each := (len(batch) + runtime.NumCPU() - 1) / runtime.NumCPU()
	for start := 0; start < len(batch); start += each {
		g.Go(func() (err error) {
			for i := start; i < min(start+each, len(batch)) && err == nil; i++ {
				batch[i], err = crew[(from+i)%len(crew)].Reproduction(from + i)
			}
			return err
		})
	}
	return g.Wait()
}

// cpuOf is the processor time of a process.
func cpuOf(u *syscall.Rusage) time.Duration { return time.Duration(u.Utime.Nano() + u.Stime.Nano()) }

// measure audits in a process of its own, and returns what that used.
func (b *bench) measure(ctx context.Context, what string) (*audit.Report, *syscall.Rusage, error) {
	var out bytes.Buffer
	state, err := b.self(ctx, &out, what)
	if err != nil {
		return nil, nil, fmt.Errorf("auditing: %w", err)
	}
	var r audit.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, nil, fmt.Errorf("reading the report: %w", err)
	}
	if !r.Clean {
		return nil, nil, fmt.Errorf("the audit found %+v", r.Findings)
	}
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return nil, nil, errors.New("the machine does not tell how much memory was used")
	}
	return &r, usage, nil
}

// self runs this program for one of its parts.
func (b *bench) self(ctx context.Context, out io.Writer, what string) (*os.ProcessState, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, "-dir", b.dir, "-entries", strconv.Itoa(b.entries), "-do", what)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	err = cmd.Run()
	return cmd.ProcessState, err
}

// audit is what the other process does.
func (b *bench) audit(ctx context.Context) (err error) {
	text, err := os.ReadFile(b.policy())
	if err != nil {
		return err
	}
	p, err := policy.Parse(text)
	if err != nil {
		return err
	}
	c, err := audit.OpenDir(b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	o := audit.Options{Policy: p}
	if b.child == "structure" {
		o.NoSignatures, c.Index = true, ""
	}
	r, err := audit.Run(ctx, c, o)
	if err != nil {
		return err
	}
	return json.NewEncoder(b.out).Encode(r)
}

// rawVerification returns how many signatures of attestations all cores verify
// in a second, with nothing around it, and the processor time that each takes.
func rawVerification() (perSecond float64, each time.Duration) {
	const span = 2 * time.Second
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		return 0, 0
	}
	msgs, sigs := make([][]byte, 256), make([][]byte, 256)
	for i := range msgs {
		msgs[i] = bytes.Repeat([]byte{byte(i)}, 950) // as long as what is signed
		sigs[i] = ed25519.Sign(priv, msgs[i])
	}
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	var wg sync.WaitGroup
	counts := make([]int, runtime.NumCPU())
	began := time.Now()
	for c := range counts {
		wg.Go(func() {
			n := 0
			for ; time.Since(began) < span; n++ {
				if !ed25519.Verify(pub, msgs[n%256], sigs[n%256]) {
					return
				}
			}
			counts[c] = n
		})
	}
	wg.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	took := time.Since(began)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	return float64(total) / took.Seconds(), (cpuOf(&after) - cpuOf(&before)) / time.Duration(max(total, 1))
}
