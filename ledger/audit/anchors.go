package audit

import (
	"context"
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/engine"
)

// Anchor is a checkpoint of the log that was kept elsewhere, such as in another
// log, out of reach of whoever could change this one.
type Anchor struct {
	Where  string // what it is called in findings
	Signed []byte // the signed checkpoint, as it was kept
	// Problem is what is wrong with it by itself, if something is: then it is a
	// finding of class Corrupt and of this kind, and is not compared.
	Problem string
	Kind    string
}

// checkAnchors compares every anchor with the log. None is passed over: it is
// compared, or there is a finding.
func (a *auditor) checkAnchors(ctx context.Context) error {
	prover := engine.NewProver(tileReader{a})
	for _, x := range a.o.Anchors {
		if x.Problem != "" {
			a.find(Corrupt, x.Kind, x.Where, "%s", x.Problem)
			continue
		}
		c := a.verify.check(x.Where, x.Signed)
		for _, w := range c.wrong {
			a.add(w)
		}
		switch {
		case !usable(c):
			continue // which check found
		case c.origin != a.end.origin:
			a.find(Policy, "anchor-origin", c.where, "the anchored checkpoint is of the log %q, and this is %q", c.origin, a.end.origin)
			continue
		}
		if err := a.compareAnchor(ctx, prover, c); err != nil {
			return err
		}
	}
	return nil
}

// compareAnchor compares an anchored checkpoint, which a log of the policy signed.
func (a *auditor) compareAnchor(ctx context.Context, prover *engine.Prover, c *checked) error {
	if c.N() > a.end.N() {
		a.anchorAhead(c)
		return nil
	}
	root, proven, err := a.earlierRoot(ctx, prover, c.N())
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || !proven:
		// The tiles do not give the audited root: what they give at the anchor's
		// size accuses nobody.
		a.find(Incomplete, "anchor-uncompared", c.where, "the tiles do not show which root the log has at size %d", c.N())
		return nil
	}
	a.report.Counts.Anchors.Add(1)
	if c.tree.Hash != root {
		a.add(Finding{Class: Fork, Kind: "anchor-contradicted", Where: c.where,
			What:     fmt.Sprintf("size %d was anchored with root %s, but the leaves give %s", c.N(), c.tree.Hash, root),
			Evidence: []string{string(c.signed), string(a.end.signed)}})
	}
	return nil
}

// anchorAhead reports an anchor of more entries than the copy has. A ledger's own
// directory never lacks what was published; of another copy that is no surprise.
func (a *auditor) anchorAhead(c *checked) {
	a.report.Counts.Anchors.Add(1)
	if a.Kind == Ledger {
		a.add(Finding{Class: Fork, Kind: "checkpoint-shrank", Where: a.end.where,
			What:     fmt.Sprintf("size %d, but %s has size %d", a.end.N(), c.where, c.N()),
			Evidence: []string{string(c.signed), string(a.end.signed)}})
		return
	}
	a.find(Incomplete, "anchor-ahead", c.where, "size %d was anchored, and this copy ends at %d", c.N(), a.end.N())
}

// earlierRoot returns the root at a smaller size as the tiles give it, and whether
// the same tiles prove that the audited root extends it: an audit that went on
// from a state has not compared all of them with the entries.
func (a *auditor) earlierRoot(ctx context.Context, prover *engine.Prover, size uint64) (root tlog.Hash, proven bool, err error) {
	end := a.end.N()
	if size == end { // which the log signed, whatever the tiles give
		return a.end.tree.Hash, true, nil
	}
	got, err := prover.Root(ctx, size, end)
	if err != nil {
		return root, false, err
	}
	path, err := prover.Consistency(ctx, size, end, end)
	if err != nil {
		return root, false, err
	}
	proven = proof.VerifyConsistency(rfc6962.DefaultHasher, size, end, path, got, a.end.tree.Hash[:]) == nil
	return tlog.Hash(got), proven, nil
}
