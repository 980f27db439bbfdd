// Package cosign collects witnesses' cosignatures for a ledger's checkpoints,
// as C2SP tlog-witness describes.
//
// Each witness of the policy has a worker of its own, which always works on the
// newest checkpoint, so a slow witness delays nobody and falls behind alone.
// Witnesses outside the quorum are asked too.
//
// Invariants:
//   - A cosignature is used only if it verifies with the witness's key of the
//     policy; what else a witness answers is ignored.
//   - What one witness can cost is bounded: one request at a time, with a
//     deadline, a bounded answer, no redirects, and a pause after a failure.
//   - A witness's word never stops the ledger; only a checkpoint that its own
//     key signed, and that its state cannot have led to, does.
package cosign

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"filippo.io/torchwood"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Config is what a Collector works with. Zero durations have defaults.
type Config struct {
	Policy *policy.Policy
	// Log verifies the log's own signatures.
	Log note.Verifier
	// Prove returns a consistency proof between two sizes of the log.
	Prove  checkpoint.ProveFunc
	Logger *slog.Logger
	// Metrics show what the witnesses answer; nil for nobody.
	Metrics *Metrics
	// RequestTimeout bounds one request to a witness; default 3 s.
	RequestTimeout time.Duration
	// CollectTimeout bounds the wait for a quorum; default 5 s.
	CollectTimeout time.Duration
	// Pause is how long a witness is left alone after a failure; it doubles up
	// to 16 times. Default 250 ms.
	Pause time.Duration
}

// Collector asks the policy's witnesses to cosign one log's checkpoints.
type Collector struct {
	cfg     Config
	client  *http.Client
	workers []*worker
	arrived chan struct{} // of capacity 1: cosignatures arrived

	mu       sync.Mutex
	tree     tlog.Tree // what is being collected for
	sigs     map[string]note.Signature
	rollback *RollbackError // once there is proof of one, for good
}

var (
	_ checkpoint.Witnesses = (*Collector)(nil)
	// Package policy does not import torchwood, whose policies it can stand for.
	_ torchwood.Policy = (*policy.Policy)(nil)
)

// New returns a Collector; Run makes its workers work.
func New(cfg Config) *Collector {
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, 3*time.Second)
	cfg.CollectTimeout = cmp.Or(cfg.CollectTimeout, 5*time.Second)
	cfg.Pause = cmp.Or(cfg.Pause, 250*time.Millisecond)
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	c := &Collector{cfg: cfg, client: newHTTPClient(), arrived: make(chan struct{}, 1), tree: tlog.Tree{N: unknownSize}}
	for _, w := range cfg.Policy.Witnesses() {
		if w.URL != "" {
			c.workers = append(c.workers, &worker{
				collector: c,
				peer:      peer{witness: w, client: c.client},
				logger:    cfg.Logger.With(slog.String("witness", w.Name)),
				target:    make(chan target, 1),
				pause:     cfg.Pause,
			})
			cfg.Metrics.know(w.Name)
		}
	}
	return c
}

// Run runs the workers until ctx is done.
func (c *Collector) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, w := range c.workers {
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	c.client.CloseIdleConnections()
}

// Cosign implements checkpoint.Witnesses: it returns as soon as the
// cosignatures satisfy the policy.
func (c *Collector) Cosign(ctx context.Context, signed []byte, tree tlog.Tree) ([]byte, error) {
	c.begin(ctx, signed, tree)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.CollectTimeout)
	defer cancel()
	for {
		merged, err := c.merge(signed)
		if err != nil {
			return nil, err
		}
		_, n, refused := torchwood.VerifyCheckpoint(merged, c.cfg.Policy)
		if refused == nil {
			c.attempted(n.Sigs)
			return merged, nil
		} else if ctx.Err() != nil {
			if n, err := openAll(merged, c.cfg.Policy); err == nil {
				c.attempted(n.Sigs)
			}
			return nil, fmt.Errorf("%w for size %d: %w", checkpoint.ErrUnwitnessed, tree.N, refused)
		}
		select {
		case <-c.arrived:
		case <-ctx.Done():
		}
	}
}

// Late implements checkpoint.Witnesses.
func (c *Collector) Late(published []byte, tree tlog.Tree) ([]byte, bool) {
	c.mu.Lock()
	same := c.tree == tree
	c.mu.Unlock()
	if !same {
		return nil, false
	}
	merged, err := c.merge(published)
	if err != nil || len(merged) == len(published) {
		return nil, false
	}
	if n, err := openAll(merged, c.cfg.Policy); err == nil {
		c.attempted(n.Sigs)
	}
	return merged, true
}

// Arrived implements checkpoint.Witnesses.
func (c *Collector) Arrived() <-chan struct{} { return c.arrived }

// begin makes every worker ask for the cosignature of a checkpoint.
func (c *Collector) begin(ctx context.Context, signed []byte, tree tlog.Tree) {
	c.mu.Lock()
	c.tree, c.sigs = tree, make(map[string]note.Signature)
	c.mu.Unlock()
	for _, w := range c.workers {
		w.aim(target{signed: signed, tree: tree, place: observe.Here(ctx)})
	}
}

// deliver takes a verified cosignature.
func (c *Collector) deliver(w *worker, tree tlog.Tree, sig note.Signature) {
	c.mu.Lock()
	current := tree == c.tree
	if current {
		c.sigs[w.peer.witness.VKey] = sig
	}
	c.mu.Unlock()
	if current {
		c.signal()
	}
}

func (c *Collector) signal() {
	select {
	case c.arrived <- struct{}{}:
	default:
	}
}

// merge returns a note with the collected cosignatures that it lacks.
func (c *Collector) merge(signed []byte) ([]byte, error) {
	n, err := openAll(signed, c.cfg.Policy)
	if err != nil {
		return nil, err
	}
	has := make(map[string]bool)
	for _, s := range n.Sigs {
		has[keyOf(s)] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rollback != nil {
		return nil, c.rollback
	}
	for _, w := range c.workers {
		if s, ok := c.sigs[w.peer.witness.VKey]; ok && !has[keyOf(s)] {
			n.Sigs = append(n.Sigs, s)
		}
	}
	merged, err := note.Sign(n)
	if err != nil {
		return nil, fmt.Errorf("merging cosignatures: %w", err)
	}
	return merged, nil
}

func keyOf(s note.Signature) string { return fmt.Sprintf("%s+%08x", s.Name, s.Hash) }

// openAll opens a note that the policy's keys signed, whether or not they are
// enough.
func openAll(signed []byte, known note.Verifiers) (*note.Note, error) {
	n, err := note.Open(signed, known)
	if err != nil {
		return nil, fmt.Errorf("opening the checkpoint: %w", err)
	}
	n.UnverifiedSigs = nil
	return n, nil
}

// target is a checkpoint to be cosigned, with the log's signatures alone.
type target struct {
	signed []byte
	tree   tlog.Tree
	place  trace.SpanContext // of the publication
}

// worker asks one witness.
type worker struct {
	collector *Collector
	peer      peer
	logger    *slog.Logger
	target    chan target // of capacity 1: only the newest counts

	// Only run uses what follows.
	known int64 // size that the witness cosigned last, as far as is known
	pause time.Duration
}

// aim replaces what the worker does next. Only one goroutine may call it.
func (w *worker) aim(t target) {
	select {
	case <-w.target:
	default:
	}
	w.target <- t
}

func (w *worker) run(ctx context.Context) {
	for {
		var t target
		select {
		case t = <-w.target:
		case <-ctx.Done():
			return
		}
		for !w.attempt(ctx, t) {
			select {
			case <-time.After(w.pause):
			case <-ctx.Done():
				return
			}
			w.pause = min(2*w.pause, 16*w.collector.cfg.Pause)
			// The same is tried again, unless there is something newer: a log may
			// not grow for long, and its last checkpoint should have all it can.
			select {
			case t = <-w.target:
			default:
			}
		}
	}
}

// attempt asks for a cosignature once, and reports whether it came.
func (w *worker) attempt(ctx context.Context, t target) bool {
	ctx, span := observe.StartClient(observe.At(ctx, t.place), "cosign.ask")
	span.Text("cairn.witness", w.peer.witness.Name)
	sig, err := w.ask(ctx, t)
	span.End(err)
	w.asked(err)
	if err != nil {
		if ctx.Err() == nil {
			w.logger.WarnContext(ctx, "no cosignature", slog.Int64("size", t.tree.N), slog.Any("err", err))
		}
		return false
	}
	w.pause = w.collector.cfg.Pause
	w.collector.deliver(w, t.tree, sig)
	return true
}

// maxAttempts bounds how often a witness may correct the size it is asked from.
const maxAttempts = 3

// ask gets a cosignature, starting from the size that the witness knows.
func (w *worker) ask(ctx context.Context, t target) (note.Signature, error) {
	ctx, cancel := context.WithTimeout(ctx, w.collector.cfg.RequestTimeout)
	defer cancel()
	var err error
	for range maxAttempts {
		var sig note.Signature
		if sig, err = w.askFrom(ctx, t, min(w.known, t.tree.N)); err == nil {
			w.known = t.tree.N
			return sig, nil
		}
		var conflict *errConflict
		if !errors.As(err, &conflict) {
			return note.Signature{}, err
		}
		if conflict.size == unknownSize || conflict.size > t.tree.N {
			w.collector.investigate(ctx, w)
			return note.Signature{}, err
		}
		w.known = conflict.size
	}
	return note.Signature{}, fmt.Errorf("after %d attempts: %w", maxAttempts, err)
}

func (w *worker) askFrom(ctx context.Context, t target, old int64) (note.Signature, error) {
	var proof [][]byte
	if old > 0 && old < t.tree.N {
		var err error
		if proof, err = w.collector.cfg.Prove(ctx, uint64(old), uint64(t.tree.N)); err != nil {
			return note.Signature{}, err
		}
	}
	return w.peer.addCheckpoint(ctx, old, proof, t.signed)
}
