package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// What is offered to a ledger that takes on about a tenth of it, and who reads
// meanwhile.
const (
	overloadSubmitters = 4096
	overloadReaders    = 16
	overloadTree       = 1000
	overloadReads      = 1000 // requests, which are sent again and again

	whatOverload = "flood"
	whatRead     = "read"
)

// overloadConfig makes a ledger admit about 400 small submissions at once.
const overloadConfig = `key: DIR/ledger.key
state: DIR/signed
log: DIR/log
blobs: DIR/blobs.db
index: DIR/index.db
http: 127.0.0.1:0
grpc: 127.0.0.1:0
limits: {perKey: {perSecond: 0}, perAddress: {perSecond: 0}}
capacity: {submissions: 16MiB}
`

// overloads reports whether a ledger of our own is to be overloaded.
func (o *options) overloads() bool { return o.overload && o.url == "" && o.checkpoints == "" }

// measureOverload offers a ledger ten times what it takes on, and reads from it.
func (b *bencher) measureOverload(ctx context.Context, stderr io.Writer) error {
	o := b.beside(whatOverload)
	open := func() (*ledger, error) { return openSmall(ctx, o.options, o.work, stderr) }
	b.out.printf("")
	return o.withLedger(ctx, open, func(ctx context.Context) error {
		b.out.printf("it takes on a tenth of %d submissions at once", overloadSubmitters)
		b.out.header()
		if err := o.fill(ctx, overloadTree); err != nil {
			return err
		}
		alone, _, err := o.readDuring(ctx, nil)
		if err != nil {
			return err
		}
		b.out.add(newResult(whatRead, transportREST, overloadReaders, alone))
		flooded, flood, err := o.readDuring(ctx, o.flood)
		if err != nil {
			return err
		}
		b.out.add(newResult(whatRead, transportREST, overloadReaders, flooded))
		res := newResult(whatOverload, transportREST, overloadSubmitters, flood)
		b.out.add(res)
		b.out.printf("%s", overloadLine(res, alone, flooded))
		return nil
	})
}

// overloadLine says what was refused, and what that did to those who read.
func overloadLine(flood *result, alone, flooded *measurement) string {
	total := flood.Answered + flood.Failed
	return fmt.Sprintf("overload: of %d submissions %.0f%% refused, %d taken a second; p99 of reads %s, %s without; %d reads failed; peak RSS %s%s",
		total, 100*float64(flood.Failed)/float64(max(1, total)), int(flood.Rate), millis(percentile(flooded.latencies, 99)),
		millis(percentile(alone.latencies, 99)), len(flooded.failures), mebibytes(flood.Memory.Peak), busy(flood))
}

// openSmall starts a ledger that takes on little.
func openSmall(ctx context.Context, o *options, work string, stderr io.Writer) (*ledger, error) {
	dir := filepath.Join(work, "ledger")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for the ledger: %w", err)
	}
	l, err := launchLedger(ctx, stderr, o.ledger, "-dev", dir) // makes the key
	if err != nil {
		return nil, err
	}
	if err := l.stop(); err != nil {
		return nil, err
	}
	path := filepath.Join(work, "ledger.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(overloadConfig, "DIR", dir)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	if l, err = launchLedger(ctx, stderr, o.ledger, "-config", path); err != nil {
		return nil, err
	}
	return l.verified()
}

// flood submits over REST. What is refused for want of capacity is refused rightly;
// any other failure is not.
func (b *bencher) flood(ctx context.Context) (*measurement, error) {
	t, err := b.transport(transportREST, overloadSubmitters)
	if err != nil {
		return nil, err
	}
	defer t.close()
	j := job{submitters: overloadSubmitters, reuse: true, warmup: b.warmup, window: b.duration, open: t.open, pid: b.ledger.pid}
	n := int(float64(b.perSecond) * (b.warmup + b.duration).Seconds())
	if j.requests, err = b.workshop.prepare(ctx, n, t.frame); err != nil {
		return nil, err
	}
	m, err := j.run(ctx)
	if err != nil {
		return nil, err
	}
	for why := range m.failures {
		if why != "503 OVERLOADED" {
			return nil, fmt.Errorf("an overloaded ledger answered %q", why)
		}
	}
	return m, b.ledger.checkSubmissions(m.samples, b.workshop.keyring(), t.decode)
}

// readDuring asks for proofs while something else is done, if anything.
func (b *bencher) readDuring(ctx context.Context, other func(context.Context) (*measurement, error)) (reads, done *measurement, err error) {
	latest, err := b.client.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return nil, nil, fmt.Errorf("getting the checkpoint: %w", err)
	}
	host := b.ledger.host()
	j := job{
		submitters: overloadReaders, reuse: true, warmup: b.warmup, window: b.duration, pid: b.ledger.pid,
		open: func(int) (sender, error) { return openREST(host) },
	}
	for range overloadReads {
		j.requests = append(j.requests, frameProof(host, rand.Int64N(latest.GetSize()), latest.GetSize()))
	}
	var wg sync.WaitGroup
	var otherErr error
	if other != nil {
		wg.Go(func() { done, otherErr = other(ctx) })
	}
	reads, err = j.run(ctx)
	wg.Wait()
	return reads, done, errors.Join(err, otherErr)
}
