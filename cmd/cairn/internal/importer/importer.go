// Package importer logs what others signed: it takes the items of a source to a
// ledger, many at a time, and reports what became of each.
//
// A source is a Source: the archives, repositories and services of other
// projects, one file each. Whoever adds one writes its Items and hands it to an
// Import; everything else is the same for all.
//
// Invariants:
//   - Every item ends in exactly one count of the report: new, known, resumed or
//     refused. None is dropped silently, and no refusal is without a reason.
//   - An item counts as logged only once its entry was verified to be in the tree
//     of a published checkpoint.
//   - Running an import again is safe: the ledger answers what it has already.
//   - An item of which others depend, such as a key, is logged before any that
//     comes after it is submitted.
//   - Memory is bounded by the number of items in flight, and by the refusals
//     that are listed.
package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Item is one thing of a source that is to be logged.
type Item struct {
	Name  string // what the source calls it, such as a path; unique in the source
	Group string // what it is counted under, in the source's words; may be empty
	Raw   []byte // the attestation as it came
	// Err says why there is nothing to log: the item is refused with it.
	Err error
	// First says that items after it depend on it: they wait until it is logged.
	First bool
}

// Source is where items come from.
type Source interface {
	// String names the source for people, with what tells it from others of its
	// kind.
	String() string
	// Items yields the items in an order that is the same every time. A source
	// need not get an item for which done returns true, but yields it without Raw.
	// An error ends the import; what is wrong with one item is its Err.
	Items(ctx context.Context, done func(name string) bool) iter.Seq2[Item, error]
}

// Ledger logs attestations.
type Ledger interface {
	// Log logs raw and returns once its entry was verified to be in the tree of a
	// published checkpoint. It is called concurrently. Refusals are *reason.Error;
	// every other error ends the import.
	Log(ctx context.Context, raw []byte) (Entry, error)
}

// Entry is where an attestation is logged.
type Entry struct {
	Index   int64
	Created bool  // false if it was logged before
	Size    int64 // of the checkpoint that it was verified to be in
}

// InFlight is the most items that are submitted at a time.
const InFlight = 256

// maxRounds is how often an item is submitted again while the ledger logs
// nothing else meanwhile.
const maxRounds = 8

// Import takes the items of a source to a ledger.
type Import struct {
	Source Source
	// Ledger is nil for an import that only checks what it would submit.
	Ledger Ledger
	// Keys are enrolled already, for an import without a ledger.
	Keys  []*attest.PublicKey
	State *State // nil if it is not kept
	// Progress is told how far the import is, by one goroutine at a time; it may
	// be nil.
	Progress func(*Report)
	// Sleep waits until an overloaded ledger is asked again.
	Sleep func(ctx context.Context, d time.Duration) error
}

// run is an import that runs.
type run struct {
	*Import
	checker checker
	logged  atomic.Int64 // to tell a busy ledger from one that is stuck

	mu     sync.Mutex // guards report and State
	report *Report
	tally  tally
}

// Run imports until the source ends, ctx is done, or an error that concerns more
// than one item. The report says what was done before an error.
func (im *Import) Run(ctx context.Context) (*Report, error) {
	r := &run{Import: im, report: newReport(im.Source.String(), im.Ledger == nil)}
	for _, k := range im.Keys {
		r.checker.add(k)
	}
	err := r.items(ctx)
	if err == nil {
		r.report.Complete = true
	}
	r.tally.finish(r.report)
	return r.report, err
}

func (r *run) items(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(InFlight)
	var err error
	for item, serr := range r.Source.Items(gctx, r.State.Has) {
		if serr != nil {
			err = serr
			break
		}
		if gctx.Err() != nil {
			break
		}
		if item.First {
			if err = r.item(gctx, &item); err != nil {
				break
			}
			continue
		}
		g.Go(func() error { return r.item(gctx, &item) })
	}
	gerr := g.Wait()
	switch {
	case gerr != nil && (err == nil || errors.Is(err, context.Canceled)):
		return gerr // which is why the source was stopped
	case err != nil:
		return err
	}
	return ctx.Err()
}

// item takes one item to its end. An error is one that ends the import.
func (r *run) item(ctx context.Context, item *Item) error {
	if r.State.Has(item.Name) {
		r.count(item, outcome{resumed: true})
		return nil
	}
	err := item.Err
	if err == nil {
		err = r.checker.check(item.Raw, r.Ledger == nil)
	}
	var e Entry
	if err == nil && r.Ledger != nil {
		if e, err = r.submit(ctx, item.Raw); err != nil && ends(err) {
			return fmt.Errorf("logging %s: %w", item.Name, err)
		}
	}
	if err == nil && r.Ledger != nil {
		r.logged.Add(1)
		if err := r.State.Add(item.Name); err != nil {
			return err
		}
	}
	r.count(item, outcome{entry: e, err: err})
	return nil
}

// submit logs raw. A ledger that is busy is asked again for as long as it logs
// other items meanwhile.
func (r *run) submit(ctx context.Context, raw []byte) (Entry, error) {
	for round := 1; ; round++ {
		before := r.logged.Load()
		e, err := r.Ledger.Log(ctx, raw)
		refusal, ok := reason.Of(err)
		if !ok || refusal.RetryAfter <= 0 || round >= maxRounds || misbehaved(err) {
			return e, err
		}
		if serr := r.Sleep(ctx, refusal.RetryAfter); serr != nil {
			return e, serr
		}
		if r.logged.Load() > before {
			round = 0
		}
	}
}

// misbehaved reports whether an error says that the ledger's answer is untrue; its
// cause may be a refusal of what the ledger answered.
func misbehaved(err error) bool {
	var m *client.MisbehaviourError
	return errors.As(err, &m)
}

// ends reports whether an error concerns more than the item that met it. What a
// ledger did not expect may be the item's fault.
func ends(err error) bool {
	refusal, ok := reason.Of(err)
	if !ok || misbehaved(err) {
		return true
	}
	if refusal.Reason == reason.InternalError {
		return false
	}
	return reason.Lookup(refusal.Reason).Exit == reason.ExitNotAsked || refusal.Reason == reason.MirrorOnly
}

func (r *run) count(item *Item, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.add(r.report, item, o)
	if r.Progress != nil {
		r.Progress(r.report)
	}
}
