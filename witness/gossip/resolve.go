package gossip

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// relation is what is known of two checkpoints.
type relation int

const (
	unknown relation = iota
	consistent
	contradictory // and evidence is held
)

// idle is how long housekeeping sleeps if nothing is due.
const idle = time.Hour

// keepHouse has what waits be explained, and stores what is in memory alone.
func (n *Node) keepHouse(ctx context.Context) error {
	for {
		due := n.config.Now().Add(idle)
		for _, o := range n.order {
			next, err := n.keepOrigin(ctx, o)
			if err != nil {
				return ignoreDone(ctx, err)
			}
			if next.Before(due) {
				due = next
			}
		}
		t := time.NewTimer(max(0, due.Sub(n.config.Now())))
		select {
		case <-ctx.Done():
			t.Stop()
			// What is not stored by now, peers will tell again: but after an
			// orderly end they need not.
			for _, o := range n.order {
				if err := n.flush(context.WithoutCancel(ctx), o); err != nil {
					return err
				}
			}
			return nil
		case <-n.wake:
			t.Stop()
		case <-t.C:
		}
	}
}

// keepOrigin does what is due for one origin, and returns when to come again.
func (n *Node) keepOrigin(ctx context.Context, o *origin) (next time.Time, err error) {
	now := n.config.Now()
	next = now.Add(idle)
	o.mu.Lock()
	due := slices.DeleteFunc(slices.Clone(o.pending), func(p *pending) bool { return p.next.IsZero() || p.next.After(now) })
	flushAt := o.unsavedSince.Add(flushAfter)
	unsaved := len(o.unsaved) > 0
	o.mu.Unlock()
	if unsaved && !flushAt.After(now) {
		if err := n.flush(ctx, o); err != nil {
			return next, err
		}
	} else if unsaved && flushAt.Before(next) {
		next = flushAt
	}
	for _, p := range due {
		if err := n.resolve(ctx, o, p); err != nil {
			return next, err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.pending {
		if !p.next.IsZero() && p.next.Before(next) {
			next = p.next
		}
	}
	return next, nil
}

func (n *Node) flush(ctx context.Context, o *origin) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unsaved) == 0 {
		return nil
	}
	var list []state.Seen
	for _, s := range o.unsaved {
		list = append(list, s)
	}
	clear(o.unsaved)
	return n.config.State.AddSeen(ctx, list)
}

// resolve asks the log and the peers about a checkpoint that waits.
func (n *Node) resolve(ctx context.Context, o *origin, p *pending) error {
	// Its own record of that size, or the next larger one, is the best witness;
	// if there is none, the latest.
	anchor, err := n.anchor(ctx, o, p.Size)
	if err != nil {
		return err
	}
	o.mu.Lock()
	other := o.largestPending(p)
	gone := !slices.Contains(o.pending, p)
	o.mu.Unlock()
	if gone {
		return nil
	}
	found := unknown
	switch {
	case anchor != nil:
		if found, err = n.relate(ctx, o, p, *anchor); err != nil || found == contradictory {
			return err
		}
	case other == nil:
		found = consistent // with all that we know, which is nothing
	}
	// Two that wait may contradict each other, also if both extend our own.
	covered := false
	if other != nil {
		r, err := n.byTiles(ctx, o, p.signed, other.signed)
		if err != nil || r == contradictory {
			return err
		}
		covered = r == consistent && p.Size < other.Size
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return n.resolved(ctx, o, p, anchor, found, covered)
}

// resolved records what was found of a checkpoint. o.mu must be held.
func (n *Node) resolved(ctx context.Context, o *origin, p *pending, anchor *evidence.Signed, found relation, covered bool) error {
	now := n.config.Now()
	if found == consistent {
		ahead := anchor == nil || anchor.N < p.Size
		// What is a prefix of one that we keep need not be kept.
		if !ahead || covered {
			return n.explain(ctx, o, p)
		}
		p.next = time.Time{}
		return n.closeChallenge(ctx, p)
	}
	if !slices.Contains(o.pending, p) {
		return nil
	}
	p.next = now.Add(n.config.Interval)
	if !p.askPeers.After(now) {
		p.tried = now
		p.askPeers = now.Add(n.config.Interval * time.Duration(min(maxBackoff, 1<<min(p.tries, 30))))
		p.tries++
	}
	if !p.stored {
		stored, err := n.config.State.AddPending(ctx, p.Pending)
		if err != nil {
			return err
		}
		p.stored = stored
	}
	if opens := time.Unix(p.First, 0).Add(n.config.ChallengeAfter); p.Opened == 0 && !opens.After(now) {
		return n.openChallenge(ctx, p, now)
	} else if p.Opened == 0 && opens.Before(p.next) {
		p.next = opens
	}
	return nil
}

func (n *Node) openChallenge(ctx context.Context, p *pending, now time.Time) error {
	p.Opened = now.Unix()
	n.logger.ErrorContext(ctx, "open challenge: nobody shows how this checkpoint agrees with ours",
		"origin", p.Origin, "size", p.Size, "root", p.Root, "source", p.Source)
	return n.config.State.OpenChallenge(ctx, p.Pending, p.Opened)
}

// closeChallenge forgets the challenge, but not the checkpoint.
func (n *Node) closeChallenge(ctx context.Context, p *pending) error {
	if p.Opened != 0 {
		n.logger.InfoContext(ctx, "challenge met", "origin", p.Origin, "size", p.Size, "root", p.Root)
	}
	p.Opened = 0
	if !p.stored {
		return nil
	}
	p.stored = false
	return n.config.State.Resolve(ctx, p.Pending)
}

// explain forgets a checkpoint that agrees with ours. o.mu must be held.
func (n *Node) explain(ctx context.Context, o *origin, p *pending) error {
	if err := n.closeChallenge(ctx, p); err != nil {
		return err
	}
	return n.drop(ctx, o, p)
}

// anchor returns what this witness cosigned at a size, or at the next larger
// one, or else its latest; nil if it never cosigned.
func (n *Node) anchor(ctx context.Context, o *origin, size int64) (*evidence.Signed, error) {
	records, err := n.config.State.Chain(ctx, o.log.Origin, size, math.MaxInt64, 1)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		last, err := n.config.State.Latest(ctx, o.log.Origin)
		if err != nil || last == nil {
			return nil, err
		}
		records = append(records, last)
	}
	s, err := o.openRecord(records[0])
	if err != nil {
		return nil, err
	}
	return &s, nil
}

// relate finds out whether a checkpoint agrees with ours: from the log's tiles,
// from the log's latest checkpoint, or from what peers stored.
func (n *Node) relate(ctx context.Context, o *origin, p *pending, ours evidence.Signed) (relation, error) {
	r, err := n.byTiles(ctx, o, p.signed, ours)
	if err != nil || r != unknown {
		return r, err
	}
	if r, err = n.byLatest(ctx, o, p.signed, ours); err != nil || r != unknown {
		return r, err
	}
	o.mu.Lock()
	askPeers := !p.askPeers.After(n.config.Now())
	o.mu.Unlock()
	if !askPeers {
		return unknown, nil
	}
	ctx, cancel := context.WithTimeout(ctx, chainTimeout)
	defer cancel()
	for _, peer := range n.peers {
		if r, err = n.byChain(ctx, o, peer, p.signed, ours); err != nil || r != unknown {
			return r, err
		}
	}
	return unknown, nil
}

// byTiles compares two checkpoints with the log's tiles, if they are to be had
// and are those of the larger one.
func (n *Node) byTiles(ctx context.Context, o *origin, a, b evidence.Signed) (relation, error) {
	if a.N > b.N {
		a, b = b, a
	}
	switch {
	case a.N == b.N && a.Hash == b.Hash, a.N == 0:
		return consistent, nil
	case a.N == b.N:
		return n.contradicts(ctx, o, a, b, nil)
	case o.log.URL == "":
		return unknown, nil
	}
	p, err := n.prefix(ctx, o.log.URL, b.Tree, a.N)
	if err != nil {
		n.logger.DebugContext(ctx, "tiles do not help", "origin", a.Origin, "size", b.N, "err", err)
		return unknown, nil
	}
	if p.AltRoot == a.Hash {
		return consistent, nil
	}
	return n.contradicts(ctx, o, a, b, p)
}

func (n *Node) contradicts(ctx context.Context, o *origin, a, b evidence.Signed, p *evidence.Prefix) (relation, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return contradictory, n.contradiction(ctx, o, a, b, p)
}

// byLatest compares both checkpoints with the one that the log publishes. The
// tiles are that one's, if the log has any.
func (n *Node) byLatest(ctx context.Context, o *origin, x, ours evidence.Signed) (relation, error) {
	if o.log.URL == "" {
		return unknown, nil
	}
	status, msg, err := n.get(ctx, o.log.URL+"/checkpoint", evidence.MaxNoteSize)
	if err != nil || status != 200 {
		return unknown, nil
	}
	latest, err := evidence.Open(msg, o.keys)
	if err != nil {
		return unknown, nil
	}
	if err := n.observe(ctx, o, msg, o.log.URL); err != nil {
		return unknown, err
	}
	first, err := n.byTiles(ctx, o, x, latest)
	if err != nil || first != consistent {
		return first, err
	}
	return n.byTiles(ctx, o, ours, latest)
}

const (
	// maxPages is how many pages of records one peer is asked for at a time.
	maxPages = 4
	// lookBack is how many of our own records before a checkpoint are compared
	// with a peer's, and lookAhead how many at most beside one page of theirs.
	lookBack  = 64
	lookAhead = 4096
	// maxBackoff is by how much longer than the interval it takes until peers
	// are asked again about a checkpoint that they do not explain.
	maxBackoff = 64
)

// byChain compares a checkpoint with ours by what a peer stored: the notes that
// it cosigned, with the proofs that it checked, all of which are checked again.
// It helps if the two witnesses have a size in common. Upwards from x, any of
// ours that the peer's chain comes to will do; upwards from our latest, only x.
func (n *Node) byChain(ctx context.Context, o *origin, p *peer, x, ours evidence.Signed) (relation, error) {
	last, err := n.config.State.Latest(ctx, o.log.Origin)
	if err != nil || last == nil {
		return unknown, err
	}
	c := &chain{node: n, origin: o, peer: p, x: x, tip: x.Tree, linked: true}
	to := last.Size
	if x.N > ours.N {
		c.tip, c.goal, to = ours.Tree, x.Tree, x.N
	}
	if r, err := c.walk(ctx, c.tip.N, to); err != nil || r != unknown {
		return r, err
	}
	// A contradiction may lie further back, where both have one size.
	from, err := n.config.State.Back(ctx, o.log.Origin, x.N, lookBack)
	if err != nil {
		return unknown, err
	}
	c.linked = false
	return c.walk(ctx, from, x.N)
}

// chain is a walk along what a peer stored.
type chain struct {
	node   *Node
	origin *origin
	peer   *peer
	x      evidence.Signed
	// tip is how far the proofs lead, as long as they are linked, and goal where
	// they are to lead: to any of ours if it is zero.
	tip, goal tlog.Tree
	linked    bool
}

func (c *chain) walk(ctx context.Context, from, to int64) (relation, error) {
	for range maxPages {
		page, err := c.node.records(ctx, c.origin, c.peer, from, to)
		if err != nil {
			c.node.logger.DebugContext(ctx, "a peer does not help", "peer", c.peer.url, "origin", c.origin.log.Origin, "err", err)
			return unknown, nil
		}
		if len(page) == 0 {
			break
		}
		last := page[len(page)-1].tree.N
		ours, err := c.node.config.State.Roots(ctx, c.origin.log.Origin, from, last, lookAhead)
		if err != nil {
			return unknown, err
		}
		ours[c.x.N] = c.x.Hash
		for _, r := range page {
			if found, err := c.step(ctx, r, ours); err != nil || found != unknown {
				return found, err
			}
		}
		if last <= from {
			break
		}
		from = last
	}
	return unknown, nil
}

// step takes one record. ours are the roots that it may meet.
func (c *chain) step(ctx context.Context, r *record, ours map[int64]tlog.Hash) (relation, error) {
	root, met := ours[r.tree.N]
	if met && root != r.tree.Hash {
		// It is one that the log signed, or a lie.
		if err := c.node.observe(ctx, c.origin, r.note, c.peer.url); err != nil {
			c.linked = false
			return unknown, ignoreUnsigned(err)
		}
		return contradictory, nil
	}
	if c.linked = c.linked && r.extends(c.tip); !c.linked {
		return unknown, nil
	}
	c.tip = r.tree
	if c.tip == c.goal || c.goal.N == 0 && met && c.tip != c.x.Tree {
		return consistent, nil
	}
	return unknown, nil
}

// ignoreUnsigned returns nil for a checkpoint that the log did not sign.
func ignoreUnsigned(err error) error {
	if errors.Is(err, evidence.ErrSignature) || errors.Is(err, evidence.ErrMalformed) {
		return nil
	}
	return err
}
