// Package intake takes attestations into the log.
//
// A submission is verified where it arrives, then joins a batch: the bytes of
// the whole batch are committed in one transaction, its leaves are appended,
// and each submitter learns its index once that is durable. Follow, which the
// publisher calls before it signs, reads the new entries back from the log and
// indexes them.
//
// Invariants:
//   - Bytes are durable before their leaf is appended; an index is given out
//     only when it is durable.
//   - Two submissions of the same identity, or of the same bytes, get one entry:
//     while the first is under way the second joins it, and afterwards the index
//     knows it. A call leaves the map of those under way only once its entry is
//     indexed.
//   - Entries are appended in the order in which they were admitted, and what
//     each does to keys is taken into account then: no entry follows the
//     revocation of one of its keys, or the withdrawal of its last endorsement.
//   - A key serves who submits with it once the entry that brought it was read
//     back from the log, just before the index shows it.
//   - What Follow indexed was read from the log's storage and hashes to the
//     log's leaf hash.
//   - The first failure of storage halts the intake for good: what happened is
//     found out by the next start, from storage.
//   - The work queued is bounded in number and in bytes, and what is verified at once
//     in number, so that those who read keep their share of the cores.
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Bounds of the work under way.
const (
	maxQueued     = 16384                 // submissions waiting for a batch
	defaultBytes  = 256 << 20             // bytes of attestations under way
	maxBatch      = 1024                  // submissions in one transaction
	maxBatchBytes = 16 << 20              // bytes in one transaction
	retryOverload = 2 * time.Second       // advice to a refused submitter
	followBatch   = 16 * engine.TileWidth // entries indexed in one transaction
	followBytes   = 16 << 20              // bytes of them
)

// Config is what an Intake works with.
type Config struct {
	Log    engine.Log
	Prover *engine.Prover
	Blobs  store.Blobs
	Index  store.Index
	Limits Limits
	// Window is how long a batch waits for more after its first submission.
	// What a batch costs, mostly fsyncs, is shared by all in it.
	Window time.Duration
	// Certificate refuses an attestation whose key comes with a certificate that is
	// not trusted; nil refuses them all.
	Certificate func(*attest.Attestation) error
	// Failed is told what of storage failed; it may be nil.
	Failed func(operation string, err error)
	// Verifying is how many submissions are verified at once: one for each core if it is
	// 0. More would only keep everything else from the cores.
	Verifying int
	// MaxBytes is how many bytes of attestations may be under way; 256 MiB if it is 0.
	MaxBytes int64
	// Grew is called when entries were appended.
	Grew func()
}

// Intake takes attestations into one log.
type Intake struct {
	cfg      Config
	ring     *keys.Admission
	limits   *limiters
	others   *others // nil if the log has no other intake
	queue    chan *call
	appended chan appended // by an intake that is alone
	bytes    atomic.Int64
	cores    chan struct{} // a place for each who may verify

	unpublished observe.Handover // where in traces batches were appended

	mu    sync.Mutex
	calls map[store.Term]*call // under way, by each of their terms

	halt   context.CancelCauseFunc
	halted context.Context
}

// call is one submission under way, shared by all who submit the same.
type call struct {
	att    *attest.Attestation
	terms  [2]store.Term // as of TermsOf
	future engine.Future
	asked  trace.SpanContext // where in a trace it was submitted

	done    chan struct{} // closed when the fields below are set
	index   uint64
	text    []byte // the leaf as logged
	created bool
	err     error
}

// Result is where a submission stands in the log. Its index is durable.
type Result struct {
	Index   uint64
	Leaf    []byte // the leaf's text
	Created bool   // whether this submission added the entry
}

// New returns an Intake over an index that may be behind the log; Follow must
// have caught it up before Run and Submit are called.
func New(ctx context.Context, cfg Config) (*Intake, error) {
	history := new(keys.History)
	if err := loadKeys(ctx, history, cfg.Index); err != nil {
		return nil, err
	}
	cfg.Verifying = cmp.Or(cfg.Verifying, runtime.GOMAXPROCS(0))
	cfg.MaxBytes = cmp.Or(cfg.MaxBytes, defaultBytes)
	halted, halt := context.WithCancelCause(context.Background())
	in := &Intake{
		cfg:      cfg,
		ring:     keys.NewAdmission(history),
		limits:   newLimiters(cfg.Limits),
		queue:    make(chan *call, maxQueued),
		appended: make(chan appended, 2),
		cores:    make(chan struct{}, cfg.Verifying),
		calls:    make(map[store.Term]*call),
		halt:     halt,
		halted:   halted,
	}
	if log, ok := cfg.Log.(engine.Shared); ok {
		index, ok := cfg.Index.(KeyIndex)
		if !ok {
			return nil, errors.New("several intakes need an index that tells them which entries changed keys")
		}
		in.others = newOthers(log, &follower{index: index, ring: history, change: in.changeKeys})
	}
	return in, nil
}

// Submit takes one attestation from addr, and returns when its index is
// durable. Refusals are *reason.Error. If ctx ends first, the submission goes
// on: a retry learns its index.
func (in *Intake) Submit(ctx context.Context, raw []byte, addr string) (*Result, error) {
	return in.SubmitIf(ctx, raw, addr, func(*attest.Attestation) error { return nil })
}

// SubmitIf is Submit of an attestation that is acceptable: what verifies, and is
// not, is refused with accept's error.
func (in *Intake) SubmitIf(ctx context.Context, raw []byte, addr string, accept func(*attest.Attestation) error) (*Result, error) {
	if err := in.limits.allowAddress(addr); err != nil {
		return nil, err
	}
	held := int64(len(raw))
	defer func() { in.bytes.Add(-held) }()
	if in.bytes.Add(held) > in.cfg.MaxBytes {
		return nil, overloaded("bytes", in.cfg.MaxBytes)
	}
	att, err := in.verify(ctx, raw, accept)
	if err != nil {
		return nil, err
	}
	c, first := in.join(att)
	if first {
		held = 0 // the call holds them now, also if ctx ends before it
		c.asked = observe.Here(ctx)
		in.begin(c)
	}
	select {
	case <-c.done:
	case <-in.halted.Done():
		return nil, in.haltedError()
	case <-ctx.Done():
		return nil, reason.Errorf(reason.DeadlinePassed, "the request ended before the entry was sequenced: %w", context.Cause(ctx))
	}
	if c.err != nil {
		return nil, c.err
	}
	return &Result{Index: c.index, Leaf: c.text, Created: c.created && first}, nil
}

// trusted refuses an attestation with a certificate that nobody vouches for: its key
// needs no enrolment, so that anybody could make one up.
func (in *Intake) trusted(ctx context.Context, att *attest.Attestation) error {
	switch {
	case !att.Certified():
		return nil
	case in.cfg.Certificate == nil:
		return reason.Errorf(reason.CertificateUntrusted, "this ledger was given no trusted root, and takes no bundle with a certificate")
	}
	return in.inTurn(ctx, func() error { return in.cfg.Certificate(att) })
}

// TermsOf returns what no two entries have in common. The same bytes may have
// another identity once more keys are known, if two of these have a part in common.
func TermsOf(l *leaf.Leaf) [2]store.Term {
	return [2]store.Term{store.IdentityTerm(l.Identity()), store.EnvelopeTerm(l.Envelope)}
}

// join returns the call of an attestation, and whether it is new.
func (in *Intake) join(att *attest.Attestation) (c *call, first bool) {
	terms := TermsOf(att.Leaf)
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, t := range terms {
		if c, ok := in.calls[t]; ok {
			return c, false
		}
	}
	c = &call{att: att, terms: terms, done: make(chan struct{})}
	for _, t := range terms {
		in.calls[t] = c
	}
	return c, true
}

// begin queues a new call.
func (in *Intake) begin(c *call) {
	select {
	case in.queue <- c:
	default:
		in.finish(c, overloaded("submissions", maxQueued))
	}
}

func overloaded(what string, limit int64) error {
	return &reason.Error{
		Reason:     reason.Overloaded,
		Message:    fmt.Sprintf("the ledger has %d %s under way, as many as it takes", limit, what),
		RetryAfter: retryOverload,
	}
}

// finish answers a call, and forgets it: it adds no entry, or the log knows of the
// entry.
func (in *Intake) finish(c *call, err error) {
	c.err = err
	in.letGo(c)
	in.forget(c.terms)
	close(c.done)
}

// letGo frees the bytes of a call; it may stay in the map for as long as
// publication takes.
func (in *Intake) letGo(c *call) {
	in.bytes.Add(-int64(len(c.att.Raw)))
	c.att = nil
}

func (in *Intake) forget(done ...[2]store.Term) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, terms := range done {
		for _, t := range terms {
			delete(in.calls, t)
		}
	}
}

// Run makes entries of what is submitted until ctx is done and the queue is empty.
// It returns the first failure of storage.
func (in *Intake) Run(ctx context.Context) error {
	if in.others != nil {
		in.runBeside(ctx)
	} else {
		in.runAlone(ctx)
	}
	return context.Cause(in.halted)
}

// collect waits for a submission and returns it with those that follow within
// the window; nil when there is nothing left to do.
func (in *Intake) collect(ctx context.Context) []*call {
	var first *call
	select {
	case first = <-in.queue:
	case <-in.halted.Done():
		return nil
	case <-ctx.Done():
		select {
		case first = <-in.queue:
		default:
			return nil
		}
	}
	batch := []*call{first}
	size := len(first.att.Raw)
	window := time.NewTimer(in.cfg.Window)
	defer window.Stop()
	for passed := false; len(batch) < maxBatch && size < maxBatchBytes; {
		select {
		case c := <-in.queue:
			batch = append(batch, c)
			size += len(c.att.Raw)
			continue
		default:
		}
		if passed {
			break
		}
		select {
		case c := <-in.queue:
			batch = append(batch, c)
			size += len(c.att.Raw)
		case <-window.C:
			passed = true // what is queued by now still comes along
		}
	}
	return batch
}

// answerKnown answers the calls whose entry is indexed, and returns the others;
// with an error, all that were not answered.
// A call is looked up after it joined the map, so no entry with a term of it can
// have been indexed and forgotten in between.
func (in *Intake) answerKnown(ctx context.Context, batch []*call) ([]*call, error) {
	terms := make([]store.Term, 0, 2*len(batch))
	for _, c := range batch {
		terms = append(terms, c.terms[:]...)
	}
	var first []uint64
	err := in.step(ctx, "index.lookup", func(ctx context.Context) (err error) {
		first, err = in.cfg.Index.First(ctx, terms)
		return err
	})
	if err != nil {
		return batch, err
	}
	unknown := batch[:0]
	for i, c := range batch {
		known := first[2*i]
		if known == store.NoEntry {
			known = first[2*i+1]
		}
		if known == store.NoEntry {
			unknown = append(unknown, c)
			continue
		}
		entries, err := in.cfg.Index.Entries(ctx, []uint64{known})
		if err != nil {
			return append(unknown, batch[i:]...), err
		}
		c.index, c.text = entries[0].Index, entries[0].Text
		in.finish(c, nil)
	}
	return unknown, nil
}

// Halt stops the intake for good. Submissions under way and later ones are
// refused with reason.LedgerHalted.
func (in *Intake) Halt(err error) { in.halt(err) }

// Err returns why the intake was halted, or nil.
func (in *Intake) Err() error { return context.Cause(in.halted) }

func (in *Intake) haltedError() error {
	return &reason.Error{
		Reason:     reason.LedgerHalted,
		Message:    "the ledger stopped writing: its storage failed or contradicts what it signed",
		RetryAfter: 10 * time.Second,
		Cause:      context.Cause(in.halted),
	}
}

// Pending returns the number of submissions that are not indexed yet.
func (in *Intake) Pending() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.calls) / len(call{}.terms)
}

// Keyring returns the keys of the indexed entries.
func (in *Intake) Keyring() *keys.History { return in.ring.History }

// errContradiction is wrapped where the log and its index disagree.
var errContradiction = errors.New("the log and its index contradict each other")
