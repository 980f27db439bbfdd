package audit

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
)

// maxLate bounds how many checkpoints that are out of order are compared.
const maxLate = 1000

// history is what the checkpoints so far say.
type history struct {
	times    map[string]int64 // the latest of each witness
	last     *checked         // the last genuine note of the archive
	good     *checked         // the last whose root is that of the leaves
	late     []*checked       // notes that follow a larger one
	sawEnd   bool             // whether the audited note was in the archive
	position position         // behind the last note
	ahead    int              // notes of larger trees than the audited one
	resumeAt position         // behind the last note that was compared
}

// archiveStart is where this run begins to read the archive.
func (a *auditor) archiveStart() position {
	if a.cursor == nil {
		return position{}
	}
	return a.cursor.Archive
}

// compareNotes compares the checkpoints of the tree's present size with it.
func (a *auditor) compareNotes() error {
	if c := a.contras; c != nil && c.N() == a.tree.size() {
		a.contras = nil
		if root := a.tree.root(); root != c.tree.Hash {
			a.add(Finding{Class: Fork, Kind: "state-contradicted", Where: c.where,
				What:     fmt.Sprintf("size %d with root %s, but the leaves now give %s", c.N(), c.tree.Hash, root),
				Evidence: []string{string(c.signed), string(a.end.signed)}})
		}
	}
	for {
		c := a.notes.peek()
		if c == nil {
			return nil // drainNotes returns the error
		}
		if usable(c) && c.origin == a.end.origin && c.N() > a.tree.size() {
			return nil
		}
		a.notes.skip()
		if a.take(c); !usable(c) {
			continue
		}
		if c.N() == a.tree.size() {
			a.compareRoot(c, a.tree.root())
		} else {
			a.compareLater(c)
		}
	}
}

// compareLater has a checkpoint compared once the tiles are known to be good.
func (a *auditor) compareLater(c *checked) {
	if len(a.past.late) < maxLate {
		a.past.late = append(a.past.late, c)
		return
	}
	a.find(Incomplete, "checkpoint-uncompared", c.where, "more than %d checkpoints are out of order", maxLate)
}

// usable reports whether a note says something, about the audited log.
func usable(c *checked) bool { return c.origin != "" && c.genuine }

// take looks at the next note of the archive by itself and beside those before.
func (a *auditor) take(c *checked) {
	p := &a.past
	a.report.Coverage.Archive = true
	a.report.Counts.Checkpoints.Add(1)
	a.report.Counts.Cosignatures.Add(uint64(len(c.times)))
	p.position = c.last
	for _, w := range c.wrong {
		a.add(w)
	}
	if bytes.Equal(c.signed, a.end.signed) {
		p.sawEnd = true
	}
	if !usable(c) {
		return
	}
	if c.origin != a.end.origin {
		a.find(Corrupt, "origin-differs", c.where, "origin %q, want %q", c.origin, a.end.origin)
		c.genuine = false
		return
	}
	a.checkTimes(c)
	if last := p.last; last != nil {
		switch {
		case c.N() < last.N():
			a.find(Corrupt, "archive-order", c.where, "size %d after size %d", c.N(), last.N())
		case c.N() == last.N() && c.tree.Hash != last.tree.Hash:
			a.add(Finding{Class: Fork, Kind: "notes-conflict", Where: c.where,
				What:     fmt.Sprintf("size %d with root %s, which %s has with root %s", c.N(), c.tree.Hash, last.where, last.tree.Hash),
				Evidence: []string{string(last.signed), string(c.signed)}})
		}
	}
	p.last = c
}

// checkTimes checks that no witness went back in time: it cosigns the largest
// tree that it knows of.
func (a *auditor) checkTimes(c *checked) {
	for _, w := range c.times {
		if before, ok := a.past.times[w.witness]; ok && w.time < before {
			a.find(Policy, "witness-time", c.where, "witness %s cosigned at %d, after %d for an earlier checkpoint", w.witness, w.time, before)
			continue
		}
		a.past.times[w.witness] = w.time
	}
}

// compareRoot compares a checkpoint with the root that the leaves give at its
// size. What no leaf gives was signed all the same: that proves a fork.
func (a *auditor) compareRoot(c *checked, root tlog.Hash) {
	if c.tree.Hash == root {
		a.past.good = c
		return
	}
	evidence := []string{string(c.signed)}
	if a.past.good != nil {
		evidence = []string{string(a.past.good.signed), string(c.signed)}
	}
	a.add(Finding{Class: Fork, Kind: "root-differs", Where: c.where, Evidence: evidence,
		What: fmt.Sprintf("size %d with root %s, but the leaves give %s", c.N(), c.tree.Hash, root)})
}

// compareEnd compares the audited checkpoint, which the archive may lack.
func (a *auditor) compareEnd() {
	if last := a.past.last; last != nil && last.N() == a.end.N() && last.tree.Hash != a.end.tree.Hash && a.end.genuine {
		a.add(Finding{Class: Fork, Kind: "notes-conflict", Where: a.end.where,
			What:     fmt.Sprintf("size %d with root %s, which %s has with root %s", a.end.N(), a.end.tree.Hash, last.where, last.tree.Hash),
			Evidence: []string{string(last.signed), string(a.end.signed)}})
	}
	if !a.past.sawEnd || a.tree.root() != a.end.tree.Hash {
		a.compareRoot(a.end, a.tree.root())
	}
}

// drainNotes takes in the notes ahead of what is audited: those that were
// archived and not published yet.
func (a *auditor) drainNotes(ctx context.Context) error {
	for c := a.notes.peek(); c != nil; c = a.notes.peek() {
		a.notes.skip()
		at := a.past.position
		a.take(c)
		switch {
		case !usable(c):
		case c.N() <= a.end.N():
			a.compareLater(c)
		default:
			a.past.ahead++
			a.report.Counts.Unpublished.Add(1)
			if a.past.ahead == 1 {
				a.past.resumeAt = at // a later run compares it, and what follows
			}
		}
	}
	if a.past.ahead == 0 {
		a.past.resumeAt = a.past.position
	}
	if a.notes.err != nil {
		return a.notes.err
	}
	sawEnd := a.past.sawEnd || a.cursor != nil && a.cursor.Note == string(a.end.signed)
	if !sawEnd && a.report.Coverage.Archive {
		a.find(Incomplete, "archive-missing", a.end.where, "the published checkpoint is not in the archive")
	}
	return a.checkAhead(ctx)
}

// checkAhead wants the published checkpoint to be at most one behind the
// archive, unless it was replaced since: a checkpoint is archived right before
// it is published. A mirror copies all of the archive before its checkpoint.
func (a *auditor) checkAhead(ctx context.Context) error {
	if a.past.ahead < 2 || a.Kind == Mirror {
		return nil
	}
	now, err := a.Read(ctx, "checkpoint", checkpoint.MaxNote)
	if _, damaged := damageOf(err); err != nil && !damaged && !isMissing(err) {
		return err
	}
	if bytes.Equal(now, a.end.signed) {
		a.find(Incomplete, "checkpoint-older", "checkpoint", "%d larger checkpoints were archived", a.past.ahead)
	}
	return nil
}

// checkLate compares the checkpoints that stood behind larger ones.
func (a *auditor) checkLate(ctx context.Context) error {
	prover := engine.NewProver(tileReader{a})
	for _, c := range a.past.late {
		if c.N() > a.tree.size() {
			continue
		}
		root, err := prover.Root(ctx, c.N(), a.tree.size())
		if err != nil {
			continue // the tiles were found to be damaged
		}
		a.compareRoot(c, tlog.Hash(root))
	}
	return ctx.Err()
}

// tileReader is the source's tiles for a Prover.
type tileReader struct{ a *auditor }

// Tile implements engine.TileReader.
func (t tileReader) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	b, _, err := t.a.readGrown(ctx, int(level), index, width, tileSize)
	return b, err
}

// Entries implements engine.TileReader.
func (t tileReader) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	b, _, err := t.a.readGrown(ctx, -1, index, width, maxBundle)
	return b, err
}
