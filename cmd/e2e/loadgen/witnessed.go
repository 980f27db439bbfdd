package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/torchwood"
)

// Submitters of the design's section 10, row 2, and what its runs are called.
const (
	witnessedSubmitters = 1024
	whatAlone           = "alone"
	whatWitnessed       = "quorum"
)

// compareWitnessed loads a ledger that witnesses cosign and one without, both
// fresh, by turns: what else the machine does then falls on both.
func (b *bencher) compareWitnessed(ctx context.Context, stderr io.Writer) error {
	alone, witnessed := b.beside(whatAlone), b.beside(whatWitnessed)
	b.out.printf("")
	return alone.withLedger(ctx, func() (*ledger, error) { return openLedger(ctx, alone.options, alone.work, stderr) },
		func(ctx context.Context) error {
			return witnessed.withLedger(ctx, func() (*ledger, error) { return openWitnessed(ctx, witnessed.options, witnessed.work, stderr) },
				func(ctx context.Context) error {
					b.out.printf("the second publishes with %d of %d witnesses, which gossip", b.quorum, b.witnesses)
					b.out.header()
					for _, turn := range []*bencher{alone, witnessed, witnessed, alone} {
						if err := turn.submit(ctx, transportGRPC, witnessedSubmitters, nil); err != nil {
							return fmt.Errorf("submitting to the ledger %q: %w", turn.what, err)
						}
					}
					return nil
				})
		})
}

// beside returns a bencher for a ledger of its own.
func (b *bencher) beside(what string) *bencher {
	o := *b.options
	o.state = "" // is of the first ledger
	if o.ledger == "" {
		o.ledger = filepath.Join(b.work, "cairn-ledger") // is built by now
	}
	return &bencher{options: &o, out: b.out, work: filepath.Join(b.work, what), what: what}
}

// openWitnessed starts witnesses, as peers of each other, and a ledger that they
// cosign. Each must know the others' keys or addresses, so each starts twice.
func openWitnessed(ctx context.Context, o *options, work string, stderr io.Writer) (l *ledger, err error) {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for witnesses: %w", err)
	}
	if l, err = startLedger(ctx, o, work, stderr); err != nil {
		return nil, err
	}
	if err := l.stop(); err != nil {
		return nil, err
	}
	ws, err := newWitnesses(ctx, o, work, l.VKey, stderr)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(work, "policy")
	text := ws.policy(l, o.quorum)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("writing the policy: %w", err)
	}
	if err := ws.start(ctx, func(w *witness) []string { return append(ws.peersOf(w), "-http", w.addr(), "-policy", path) }); err != nil {
		return nil, err
	}
	if l, err = launchLedger(ctx, stderr, o.ledger, "-dev", filepath.Join(work, "ledger"), "-http", l.host(), "-policy", path); err != nil {
		return nil, errors.Join(err, ws.stop())
	}
	for _, w := range ws.all {
		l.witnesses = append(l.witnesses, w.pid)
	}
	stop := l.stop
	l.stop = func() error { return errors.Join(stop(), ws.stop()) }
	if l.policy, err = torchwood.ParsePolicy([]byte(text)); err != nil {
		return nil, errors.Join(fmt.Errorf("parsing the policy: %w", err), l.stop())
	}
	return l.verified()
}

// witnesses are those of one ledger.
type witnesses struct {
	binary string
	stderr io.Writer
	all    []*witness
}

// witness is one of them. It keeps its key and address when it starts again.
type witness struct {
	VKey string `json:"vkey"`
	HTTP string `json:"http"`

	name string
	args []string // of every start
	pid  int
	stop func() error
}

func (w *witness) addr() string { return strings.TrimPrefix(w.HTTP, "http://") }

// newWitnesses makes witnesses for a log, which do not run.
func newWitnesses(ctx context.Context, o *options, work, log string, stderr io.Writer) (*witnesses, error) {
	binary, err := binaryOf(ctx, o.witness, "cairn-witness", work, stderr)
	if err != nil {
		return nil, err
	}
	ws := &witnesses{binary: binary, stderr: stderr}
	for i := range o.witnesses {
		name := fmt.Sprintf("w%d", i+1)
		ws.all = append(ws.all, &witness{
			name: name, args: []string{"-dev", filepath.Join(work, name), "-name", name + ".example", "-log", log},
		})
	}
	if err := ws.start(ctx, func(*witness) []string { return nil }); err != nil {
		return nil, err
	}
	return ws, ws.stop()
}

// start starts all of them, or none.
func (ws *witnesses) start(ctx context.Context, args func(*witness) []string) (err error) {
	for _, w := range ws.all {
		w.pid, w.stop, err = launch(ctx, ws.stderr, w, ws.binary, append(slices.Clone(w.args), args(w)...)...)
		if err != nil {
			return errors.Join(err, ws.stop())
		}
	}
	return nil
}

// stop stops those that run.
func (ws *witnesses) stop() error {
	var errs []error
	for _, w := range ws.all {
		if w.stop != nil {
			errs = append(errs, w.stop())
			w.stop = nil
		}
	}
	return errors.Join(errs...)
}

func (ws *witnesses) peersOf(w *witness) []string {
	var args []string
	for _, other := range ws.all {
		if other != w {
			args = append(args, "-peer", other.name)
		}
	}
	return args
}

// policy is the tlog-policy of a log that k of the witnesses must cosign. They
// read the log's tiles to explain what a peer cosigned and they did not.
func (ws *witnesses) policy(l *ledger, k int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "log %s %s\n", l.VKey, l.HTTP)
	group := fmt.Sprintf("group enough %d", k)
	for _, w := range ws.all {
		fmt.Fprintf(&b, "witness %s %s %s\n", w.name, w.VKey, w.HTTP)
		group += " " + w.name
	}
	fmt.Fprintf(&b, "%s\nquorum enough\n", group)
	return b.String()
}
