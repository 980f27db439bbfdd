// Package migrate moves an embedded ledger's log to where several front ends share
// it: the same origin and key, the same entries at the same indexes, the same
// checkpoints.
//
// Invariants:
//   - Never can both sign. Until the embedded signer's state says, durably, that the
//     log moved, the database says that a log is being moved into it, and no front end
//     opens it. Whoever moves the log holds the lock of that state all the while.
//   - The state says so only after all of the target was audited, and compared with
//     the source.
//   - Every step may be cut short anywhere and done again: what is there is compared,
//     and what is missing is added. The source may have grown meanwhile.
//   - Bytes are durable before their entry is placed, and an entry is placed at the
//     index that it has, or the move ends.
//   - Nothing is lost that the source acknowledged: entries that no checkpoint covers
//     yet are moved too.
package migrate

import (
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// Source is an embedded ledger that does not run, with the lock of its state held.
type Source struct {
	Log     engine.Log
	Prover  *engine.Prover
	Blobs   store.Blobs
	Index   store.Index
	Archive Archive
	State   checkpoint.State
	Copy    audit.Copy
}

// Target is where the log goes to: what Pool.BeginMove made of the database, a bucket,
// and a tree of Trillian's.
type Target struct {
	Name     string // where it is, on one line: what the source's state then says
	Pool     *postgres.Pool
	Sequence engine.Sequence
	Log      *engine.Trillian
	Prover   *engine.Prover
	Blobs    store.Blobs
	Index    store.Index
	Cluster  *cluster.Cluster
	Objects  Objects
	// Follow indexes the log up to a size, as Intake.Follow.
	Follow func(ctx context.Context, size uint64) error
}

// Objects is the target's bucket.
type Objects interface {
	cluster.Objects
	audit.Objects
}

// Step is one after which a move can have been cut short.
type Step string

// The steps, in their order.
const (
	SourceAudited Step = "the source was audited"
	Published     Step = "the published entries were moved"
	Archived      Step = "the checkpoints were moved"
	Signed        Step = "the entries that were signed were moved"
	Tail          Step = "the unpublished entries were moved"
	Signer        Step = "the signer's state was copied"
	TargetAudited Step = "the target was audited"
	Switched      Step = "the source signs no more"
)

// Move is one log's.
type Move struct {
	From   Source
	To     Target
	Policy torchwood.Policy // that the published checkpoint must satisfy
	// Audit is how both are audited. Its Progress is set by the Move.
	Audit audit.Options
	// Progress is told how far the work is that is under way; it may be nil. It is not
	// called concurrently.
	Progress func(what string, n, of uint64)
	// After is called after each step, and may end the move; it may be nil. It is for
	// tests.
	After func(Step) error

	plan plan
}

// plan is what is there to be moved.
type plan struct {
	size      uint64 // of the source's tree
	signed    []byte // its signer's state, and the tree of that
	last      tlog.Tree
	published uint64 // the size of the newest archived checkpoint
	note      []byte // that checkpoint
	source    *audit.Report
}

// Summary is what was moved.
type Summary struct {
	Size      uint64 // entries, of which Published are covered by a checkpoint
	Published uint64
	Before    *audit.Report // of the source
	After     *audit.Report // of the target
}

// UncleanError is that an audit found something: nothing was switched.
type UncleanError struct{ Report *audit.Report }

func (e *UncleanError) Error() string {
	r := e.Report
	said := fmt.Sprintf("the audit of %s is not clean (%d findings), and the log was not moved", r.Place, len(r.Findings)+r.LeftOut)
	for _, f := range r.Findings[:min(len(r.Findings), shownFindings)] {
		said += fmt.Sprintf("\n%s %s %s: %s", f.Class, f.Kind, f.Where, f.What)
	}
	return said
}

// shownFindings is how many findings an error shows: `cairn audit` shows them all.
const shownFindings = 5

// Steps returns all steps.
func Steps() []Step {
	return []Step{SourceAudited, Published, Archived, Signed, Tail, Signer, TargetAudited, Switched}
}

// Run moves the log. When it returns nil, the front ends may start, and the source
// signs no more.
func (m *Move) Run(ctx context.Context) (*Summary, error) {
	if m.Progress == nil {
		m.Progress = func(string, uint64, uint64) {}
	}
	if m.After == nil {
		m.After = func(Step) error { return nil }
	}
	if err := m.survey(ctx); err != nil {
		return nil, err
	}
	var err error
	if m.plan.source, err = m.audit(ctx, m.From.Copy, "auditing the source"); err != nil {
		return nil, err
	}
	if err := m.After(SourceAudited); err != nil {
		return nil, err
	}
	if err := lead(ctx, m.To.Cluster, m.fill); err != nil {
		return nil, err
	}
	target, err := m.audit(ctx, audit.OpenBucket(m.To.Name, m.To.Objects, m.plan.size), "auditing the target")
	if err != nil {
		return nil, err
	}
	if err := m.compare(ctx, target); err != nil {
		return nil, err
	}
	if err := m.After(TargetAudited); err != nil {
		return nil, err
	}
	if err := m.switchOver(ctx); err != nil {
		return nil, err
	}
	return &Summary{Size: m.plan.size, Published: m.plan.published, Before: m.plan.source, After: target}, nil
}

// survey finds out what there is to move, and refuses what cannot be.
func (m *Move) survey(ctx context.Context) (err error) {
	p := &m.plan
	if p.size, err = m.From.Log.Size(ctx); err != nil {
		return err
	}
	if p.signed, err = m.From.State.Load(ctx); err != nil {
		return err
	}
	if p.note, err = lastNote(ctx, m.From.Archive); err != nil {
		return err
	}
	const publishFirst = "start the ledger, stop it once it has published, and move it then (an empty log is made by `cairn-ledger init`)"
	if p.note == nil || p.signed == nil {
		return errors.New("nothing of the log was published yet: " + publishFirst)
	}
	c, _, err := torchwood.VerifyCheckpoint(p.note, m.Policy)
	if err != nil {
		return fmt.Errorf("the source's last checkpoint does not satisfy the policy of the front ends: move with the ledger's policy, and change it before or after: %w", err)
	}
	p.published = uint64(c.N)
	public, err := m.From.Log.Published(ctx)
	if err != nil {
		return err
	}
	if shown, _, err := torchwood.VerifyCheckpoint(public, m.Policy); err != nil || shown.N > c.N {
		return errors.Join(errors.New("the source's archive ends before its published checkpoint: "+publishFirst), err)
	}
	if p.last, err = treeOfState(p.signed); err != nil {
		return fmt.Errorf("reading the signer's state: %w", err)
	}
	if p.last.N < c.N || uint64(p.last.N) > p.size {
		return fmt.Errorf("%w: size %d was signed, %d is published, and the log holds %d entries", checkpoint.ErrRollback, p.last.N, c.N, p.size)
	}
	return nil
}

// lead calls f as the one that publishes: no other process that moves the same log
// writes meanwhile. After a failure that may pass, f is called again.
func lead(ctx context.Context, c *cluster.Cluster, f func(context.Context, *cluster.Term) error) error {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := false
	err := c.Lead(leading, func(ctx context.Context, term *cluster.Term) error {
		err := f(ctx, term)
		if err == nil {
			done = true
			stop()
		}
		return err
	})
	if err == nil && !done {
		return context.Cause(ctx)
	}
	return err
}

// fill writes the target, while Trillian takes in what is placed.
func (m *Move) fill(ctx context.Context, term *cluster.Term) error {
	g, working := errgroup.WithContext(ctx)
	running, stop := context.WithCancel(working)
	g.Go(func() error {
		if err := m.To.Log.Run(running); running.Err() == nil || !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		defer stop()
		return m.fillAll(running, term)
	})
	return g.Wait()
}

func (m *Move) fillAll(ctx context.Context, term *cluster.Term) error {
	c, err := m.newCopier(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		is Step
		do func() error
	}{
		{Published, func() error { return c.upTo(ctx, m.plan.published) }},
		{Archived, func() error { return m.archive(ctx, term) }},
		// Front ends read the tree that was signed last at its own size.
		{Signed, func() error { return c.upTo(ctx, uint64(m.plan.last.N)) }},
		{Tail, func() error { return c.upTo(ctx, m.plan.size) }},
		{Signer, func() error { return m.signer(ctx, term) }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		if err := m.After(step.is); err != nil {
			return err
		}
	}
	return nil
}

// switchOver ends the source's time, and begins the target's.
func (m *Move) switchOver(ctx context.Context) error {
	moved := &checkpoint.MovedError{To: m.To.Name, Last: m.plan.signed}
	if err := m.From.State.Swap(ctx, m.plan.signed, moved.State()); err != nil {
		return fmt.Errorf("switching: %w", err)
	}
	if err := m.After(Switched); err != nil {
		return err
	}
	return m.To.Pool.EndMove(ctx)
}

// Finish ends a move that was cut short after the source's state said where the log
// moved to, which must be the target. If it is not moving any more, there is nothing
// to do.
func Finish(ctx context.Context, moved *checkpoint.MovedError, to *Target, moving bool) error {
	if moved.To != to.Name {
		return fmt.Errorf("the log moved to %s already, and this is %s", moved.To, to.Name)
	}
	if !moving {
		return nil
	}
	return lead(ctx, to.Cluster, func(ctx context.Context, term *cluster.Term) error {
		text, err := term.Load(ctx)
		if err != nil {
			return err
		}
		if string(text) != string(moved.Last) {
			return fmt.Errorf("%w: the database does not have the signer's state that was moved to it: an older copy was restored", checkpoint.ErrRollback)
		}
		return to.Pool.EndMove(ctx)
	})
}
