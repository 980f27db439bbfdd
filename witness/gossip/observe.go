package gossip

import (
	"context"
	"crypto/sha256"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// observe takes in a checkpoint that somebody showed. The error wraps
// evidence.ErrSignature or evidence.ErrMalformed if the log did not sign it; any
// other error is of the state.
func (n *Node) observe(ctx context.Context, o *origin, msg []byte, source string) error {
	id := sha256.Sum256(msg)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known[id] {
		return nil
	}
	x, err := evidence.Open(msg, o.keys)
	if err != nil {
		return err
	}
	if err := n.cosignatures(ctx, o, msg, x); err != nil {
		return err
	}
	kept, err := n.compare(ctx, o, x, source)
	if err != nil {
		return err
	}
	if kept {
		o.remember(id)
	}
	return nil
}

// compareLocked compares a checkpoint whose signatures were verified.
func (n *Node) compareLocked(ctx context.Context, o *origin, x evidence.Signed, source string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := n.compare(ctx, o, x, source)
	return err
}

// compare compares a checkpoint with all that is at hand, and has it wait if
// that does not suffice. It reports whether it is dealt with. o.mu must be held.
func (n *Node) compare(ctx context.Context, o *origin, x evidence.Signed, source string) (kept bool, err error) {
	if x.N == 0 {
		// The empty tree is a prefix of every other.
		if x.Hash == evidence.EmptyRoot() {
			return true, nil
		}
		return true, n.contradiction(ctx, o, x, x, nil)
	}
	own, err := n.config.State.CosignedAt(ctx, o.log.Origin, x.N)
	if err != nil {
		return false, err
	}
	if own != nil {
		if own.Root == x.Hash {
			n.askAgain(o, x.N)
			return true, nil
		}
		ours, err := o.openRecord(own)
		if err != nil {
			return false, err
		}
		return true, n.contradiction(ctx, o, ours, x, nil)
	}
	for _, p := range o.pending {
		if p.Size == x.N {
			if p.Root == x.Hash {
				return true, nil
			}
			return true, n.contradiction(ctx, o, p.signed, x, nil)
		}
	}
	return n.addPending(ctx, o, x, source)
}

// askAgain is called when a peer and we have a size in common: its chain may
// explain what is smaller. o.mu must be held.
func (n *Node) askAgain(o *origin, size int64) {
	now := n.config.Now()
	for _, p := range o.pending {
		soon := p.tried.Add(n.config.Interval)
		if soon.Before(now) {
			soon = now
		}
		if p.Size < size && soon.Before(p.askPeers) {
			p.askPeers = soon
			if soon.Before(p.next) {
				p.next = soon
				signal(n.wake)
			}
		}
	}
}

// addPending has a checkpoint wait. o.mu must be held.
func (n *Node) addPending(ctx context.Context, o *origin, x evidence.Signed, source string) (kept bool, err error) {
	refused, err := n.config.State.Refused(ctx, o.log.Origin)
	if err != nil {
		return false, err
	}
	if refused != nil && refused.Cause == state.CauseEvidence {
		return false, nil // there is nothing left to find out
	}
	if len(o.pending) >= state.MaxPending {
		n.metrics.dropped.WithLabelValues(o.log.Origin).Inc()
		return false, nil
	}
	logs, _ := x.Only(o.keys...)
	now := n.config.Now()
	p := &pending{
		Pending: state.Pending{Origin: o.log.Origin, Size: x.N, Root: x.Hash, Note: logs.Note(), Source: source, First: now.Unix()},
		signed:  logs, next: now.Add(settle),
	}
	// If the log has led us past it already, waiting brings nothing.
	last, err := n.config.State.Latest(ctx, o.log.Origin)
	if err != nil {
		return false, err
	}
	if last != nil && last.Size > x.N {
		p.next, p.passed = now, true
	}
	o.pending = append(o.pending, p)
	signal(n.wake)
	return true, nil
}

// advanced is called after this witness cosigned: what waited for that is
// compared now.
func (n *Node) advanced(ctx context.Context, o *origin) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending) == 0 {
		return nil
	}
	last, err := n.config.State.Latest(ctx, o.log.Origin)
	if err != nil || last == nil {
		return err
	}
	for _, p := range slices.Clone(o.pending) {
		if p.Size > last.Size {
			continue
		}
		own, err := n.config.State.CosignedAt(ctx, o.log.Origin, p.Size)
		if err != nil {
			return err
		}
		switch {
		case own == nil && p.passed:
		case own == nil:
			p.passed, p.next = true, n.config.Now()
			signal(n.wake)
		case own.Root == p.Root:
			err = n.explain(ctx, o, p)
		default:
			var ours evidence.Signed
			if ours, err = o.openRecord(own); err == nil {
				err = n.contradiction(ctx, o, ours, p.signed, nil)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cosignatures takes in who cosigned a checkpoint. o.mu must be held.
func (n *Node) cosignatures(ctx context.Context, o *origin, msg []byte, x evidence.Signed) error {
	all, err := evidence.Open(msg, n.witnesses)
	if err != nil {
		return nil // by nobody we know
	}
	for _, sig := range all.Sigs {
		at, err := torchwood.CosignatureTimestamp(sig)
		if err != nil {
			continue
		}
		one := x
		one.Sigs = append(slices.Clone(x.Sigs), sig)
		id := keyID(sig)
		s := state.Seen{Origin: x.Origin, Witness: id, Size: x.N, Root: x.Hash, Time: at, Note: one.Note()}
		if id == n.selfID {
			if err := n.checkSelf(ctx, o, s); err != nil {
				return err
			}
			continue
		}
		if err := n.checkWitness(ctx, o, s); err != nil {
			return err
		}
		if o.addSeen(s) {
			if len(o.unsaved) == 0 {
				o.unsavedSince = n.config.Now()
				signal(n.wake)
			}
			o.unsaved[id] = s
		}
	}
	return nil
}

func keyID(sig note.Signature) string {
	return evidence.KeyID(keyName{sig.Name, sig.Hash})
}

// keyName is the part of a note.Verifier that names a key.
type keyName struct {
	name string
	hash uint32
}

func (k keyName) Name() string          { return k.name }
func (k keyName) KeyHash() uint32       { return k.hash }
func (keyName) Verify(_, _ []byte) bool { return false }

// checkWitness compares what a witness cosigned with what it cosigned before.
// o.mu must be held.
func (n *Node) checkWitness(ctx context.Context, o *origin, s state.Seen) error {
	for _, have := range o.seen[s.Witness] {
		equivocation := have.Size == s.Size && have.Root != s.Root
		rollback := have.Size > s.Size && s.Time-have.Time > rollbackSlack ||
			have.Size < s.Size && have.Time-s.Time > rollbackSlack
		if equivocation || rollback {
			if err := n.accuseWitness(ctx, o, have, s, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// accuseWitness makes evidence of two cosignatures by one witness. o.mu must be
// held.
func (n *Node) accuseWitness(ctx context.Context, o *origin, a, b state.Seen, p *evidence.Prefix) error {
	v := n.byID[a.Witness]
	keys := []note.Verifier{v}
	first, err := evidence.Open(a.Note, keys)
	if err != nil {
		return err
	}
	second, err := evidence.Open(b.Note, keys)
	if err != nil {
		return err
	}
	e, err := evidence.AgainstWitness(v, first, second, p)
	if err != nil {
		return err
	}
	_, err = n.hold(ctx, o, e)
	return err
}
