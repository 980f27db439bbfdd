package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// history is all that a ledger ever promised: the acknowledgements it gave and
// the trees it signed.
type history struct {
	audit *audit

	mu      sync.Mutex
	entries []entry
	trees   map[int64]tlog.Hash // by size
	proofs  int                 // consistency proofs that were verified
	retries int
}

// entry is an attestation that was acknowledged.
type entry struct {
	raw  []byte
	ack  *ack
	leaf tlog.Hash
}

func newHistory(t *testing.T, vkey string) *history {
	t.Helper()
	return &history{audit: newAudit(t, vkey), trees: make(map[int64]tlog.Hash)}
}

// saw notes a signed checkpoint.
func (h *history) saw(signed string) (tlog.Tree, error) {
	tree, err := h.audit.open(signed)
	if err != nil {
		return tree, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if root, ok := h.trees[tree.N]; ok && root != tree.Hash {
		return tree, fmt.Errorf("signed size %d with roots %s and %s", tree.N, root, tree.Hash)
	}
	h.trees[tree.N] = tree.Hash
	return tree, nil
}

// acknowledged notes an acknowledgement, and checks the proof in it.
func (h *history) acknowledged(raw []byte, a *ack) error {
	e := entry{raw: raw, ack: a, leaf: tlog.RecordHash([]byte(a.leaf))}
	if a.checkpoint != "" {
		tree, err := h.saw(a.checkpoint)
		if err != nil {
			return err
		}
		path := make(tlog.RecordProof, len(a.proof))
		for i, b := range a.proof {
			path[i] = tlog.Hash(b)
		}
		if err := tlog.CheckRecord(path, tree.N, tree.Hash, a.index, e.leaf); err != nil {
			return fmt.Errorf("the proof of entry %d: %w", a.index, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries = append(h.entries, e)
	return nil
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.entries)
}

// submit submits an attestation and notes the answer.
func (h *history) submit(ctx context.Context, by transport, raw []byte, wait string) error {
	a, err := by.submit(ctx, raw, wait)
	if err != nil {
		return err
	}
	if err := h.acknowledged(raw, a); err != nil {
		return contradiction{err}
	}
	return nil
}

// contradiction is an error that no crash excuses.
type contradiction struct{ error }

// keep asks a ledger to keep what it promised about some entries: each is
// where it was, its bytes are held, and a retry learns its place.
func (h *history) keep(t *testing.T, p *process, entries []entry) {
	t.Helper()
	r, g := newREST(t, p), newRPC(t, p)
	defer r.hangUp()
	last := int64(-1)
	for _, e := range entries {
		last = max(last, e.ack.index)
	}
	if err := g.published(t.Context(), last+1); err != nil {
		t.Fatalf("LOST: the acknowledged entry %d is never published: %v\n%s", last, err, p.Stderr)
	}
	if err := h.audit.extend(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	work := make(chan entry)
	var wg sync.WaitGroup
	for i := range 64 {
		by := []transport{r, g}[i%2]
		wg.Go(func() {
			for e := range work {
				if err := h.keepOne(t.Context(), r, by, e); err != nil {
					t.Errorf("entry %d: %v", e.ack.index, err)
				}
			}
		})
	}
	for _, e := range entries {
		work <- e
	}
	close(work)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (h *history) keepOne(ctx context.Context, r *rest, by transport, e entry) error {
	if got, ok := h.audit.leafHash(e.ack.index); !ok || got != e.leaf {
		return fmt.Errorf("LOST: the log of %d entries has another leaf there", h.audit.size)
	}
	raw, err := r.attestation(ctx, envelopeOf(e.raw))
	if err != nil || !bytes.Equal(raw, e.raw) {
		return fmt.Errorf("LOST: its bytes are %.60q, %w", raw, err)
	}
	again, err := by.submit(ctx, e.raw, "")
	if err != nil {
		return fmt.Errorf("the retry: %w", err)
	}
	if again.created || again.index != e.ack.index || again.leaf != e.ack.leaf {
		return fmt.Errorf("LOST: the retry got index %d, created %v", again.index, again.created)
	}
	h.mu.Lock()
	h.retries++
	h.mu.Unlock()
	_, err = h.saw(again.checkpoint)
	return err
}

// consistent asks for proofs that some trees lead to the newest one.
func (h *history) consistent(t *testing.T, p *process, trees []tlog.Tree) {
	t.Helper()
	r := newREST(t, p)
	defer r.hangUp()
	if err := h.audit.extend(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	newest := tlog.Tree{N: h.audit.size}
	var err error
	if newest.Hash, err = tlog.TreeHash(newest.N, h.audit); err != nil {
		t.Fatal(err)
	}
	for _, tree := range trees {
		if err := prove(t.Context(), r, tree, newest); err != nil {
			t.Fatal(err)
		}
		h.proofs++
	}
}

// pairs asks for the proofs between all pairs of some trees.
func (h *history) pairs(t *testing.T, p *process, trees []tlog.Tree) {
	t.Helper()
	r := newREST(t, p)
	defer r.hangUp()
	type pair struct{ from, to tlog.Tree }
	work := make(chan pair)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for w := range work {
				if err := prove(t.Context(), r, w.from, w.to); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i, to := range trees {
		for _, from := range trees[:i] {
			work <- pair{from, to}
			h.proofs++
		}
	}
	close(work)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// signed returns the trees that were signed, by size, and checks that each is
// one that the log had. That makes every pair of them consistent.
func (h *history) signed(t *testing.T) []tlog.Tree {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var trees []tlog.Tree
	for n, root := range h.trees {
		tree := tlog.Tree{N: n, Hash: root}
		if n <= h.audit.size && !h.audit.holds(tree) {
			t.Fatalf("the tree of size %d that was signed is not of this log", n)
		}
		trees = append(trees, tree)
	}
	slices.SortFunc(trees, func(a, b tlog.Tree) int { return cmp.Compare(a.N, b.N) })
	return trees
}

// fresh reads the whole log anew, so that what changed on disk is seen too.
func (h *history) fresh(t *testing.T, p *process) {
	t.Helper()
	a := newAudit(t, p.VKey)
	r := newREST(t, p)
	defer r.hangUp()
	if err := a.extend(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if a.size < h.audit.size {
		t.Fatalf("the log shrank from %d to %d entries", h.audit.size, a.size)
	}
	h.audit = a
}

// spread returns at most n elements, evenly chosen, with the first and last.
func spread[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	some := make([]T, n)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(n-1)]
	}
	return some
}

// crew loads a ledger from many goroutines over both transports, until it stops
// answering or is told to stop.
type crew struct {
	history *history
	authors []*author

	mu      sync.Mutex
	unknown [][]byte // submitted, and not answered
	refused []error  // answered with a refusal
}

// work submits until ctx ends, the ledger is gone, or most submissions were
// made; 0 is no bound.
func (c *crew) work(ctx context.Context, t *testing.T, p *process, submitters, most int) {
	t.Helper()
	r := newREST(t, p)
	defer r.hangUp()
	transports := []transport{r, newRPC(t, p)}
	waits := []string{"", "sequenced", "published"}
	var wg sync.WaitGroup
	for s := range submitters {
		n := most/submitters + min(1, max(0, most%submitters-s))
		wg.Go(func() {
			for i := 0; (most == 0 || i < n) && ctx.Err() == nil; i++ {
				raw := c.authors[s%len(c.authors)].attestation()
				err := c.history.submit(t.Context(), transports[s%2], raw, waits[(s/2+i)%len(waits)])
				if err != nil {
					c.failed(t, raw, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func (c *crew) failed(t *testing.T, raw []byte, err error) {
	var bad contradiction
	if errors.As(err, &bad) {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unknown = append(c.unknown, raw)
	var r *refusal
	if errors.As(err, &r) {
		c.refused = append(c.refused, r)
	}
}

// again submits what was not answered once more. It must be taken now.
func (c *crew) again(t *testing.T, p *process) int {
	t.Helper()
	r := newREST(t, p)
	defer r.hangUp()
	for _, raw := range c.unknown {
		if err := c.history.submit(t.Context(), r, raw, "sequenced"); err != nil {
			t.Fatalf("submitting again: %v", err)
		}
	}
	n := len(c.unknown)
	c.unknown, c.refused = nil, nil
	return n
}

// newCrew enrols some authors on a ledger.
func newCrew(t *testing.T, p *process, authors int) *crew {
	t.Helper()
	c := &crew{history: newHistory(t, p.VKey)}
	r := newREST(t, p)
	defer r.hangUp()
	for range authors {
		a := newAuthor(t)
		if err := c.history.submit(t.Context(), r, a.enrolment(t), ""); err != nil {
			t.Fatalf("enrolling: %v", err)
		}
		c.authors = append(c.authors, a)
	}
	return c
}
