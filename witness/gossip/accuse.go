package gossip

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// errNotProven is wrapped if an evidence does not prove what it says to us.
var errNotProven = errors.New("the evidence proves nothing here")

// contradiction makes evidence of two checkpoints of a log: against the log, and
// against each witness that was seen to cosign both. o.mu must be held.
func (n *Node) contradiction(ctx context.Context, o *origin, a, b evidence.Signed, p *evidence.Prefix) error {
	e, err := evidence.AgainstLog(o.keys, a, b, p)
	if err != nil {
		return err
	}
	if _, err := n.hold(ctx, o, e); err != nil {
		return err
	}
	for _, list := range o.seen {
		var sa, sb *state.Seen
		for i, s := range list {
			switch {
			case s.Size == a.N && s.Root == a.Hash:
				sa = &list[i]
			case s.Size == b.N && s.Root == b.Hash:
				sb = &list[i]
			}
		}
		if sa != nil && sb != nil {
			if err := n.accuseWitness(ctx, o, *sa, *sb, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// hold stores an evidence, refuses the origin if it follows, and has everyone
// told. It reports whether the evidence was news. o.mu must be held.
func (n *Node) hold(ctx context.Context, o *origin, e *evidence.Evidence) (added bool, err error) {
	v := e.Verify(evidence.Keys{Logs: o.keys, Witnesses: n.witnesses})
	if v.Result != evidence.Proven {
		return false, fmt.Errorf("%w: %s: %s", errNotProven, v.Result, strings.Join(v.Sentences, " "))
	}
	s := state.Evidence{
		Hash: e.Hash(), Origin: e.Origin, Kind: string(e.Kind), Subject: e.Subject(), Text: e.Marshal(), Time: n.config.Now().Unix(),
	}
	hash := hex.EncodeToString(s.Hash[:])
	var refusal *state.Refusal
	// What another witness did says nothing about the log.
	if !e.Kind.AccusesWitness() || e.Witness == n.selfID {
		refusal = &state.Refusal{Origin: e.Origin, Cause: state.CauseEvidence, Detail: hash, Time: s.Time}
	}
	added, err = n.config.State.AddEvidence(ctx, s, refusal)
	if err != nil || !added {
		return false, err
	}
	o.evidence = append(o.evidence, &s)
	n.logger.ErrorContext(ctx, "evidence", "origin", e.Origin, "kind", e.Kind, "accused", v.Accused, "hash", hash,
		"why", strings.Join(v.Sentences, " "), "refusing", refusal != nil)
	for _, sink := range n.sinks {
		sink.evidence(e.Origin, hash, s.Text)
	}
	if refusal != nil {
		for _, p := range slices.Clone(o.pending) {
			if err := n.drop(ctx, o, p); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// receive takes in an evidence that somebody sent.
func (n *Node) receive(ctx context.Context, o *origin, e *evidence.Evidence) (added bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.knows(e.Subject()) {
		return false, nil
	}
	return n.hold(ctx, o, e)
}

func (o *origin) knows(subject [32]byte) bool {
	return slices.ContainsFunc(o.evidence, func(e *state.Evidence) bool { return e.Subject == subject })
}

// checkSelf compares a cosignature of our own, which somebody showed, with our
// state. The state has all that was ever signed, unless it is an older copy or
// somebody else has the key. o.mu must be held.
func (n *Node) checkSelf(ctx context.Context, o *origin, s state.Seen) error {
	last, err := n.config.State.Latest(ctx, s.Origin)
	if err != nil {
		return err
	}
	own, err := n.config.State.CosignedAt(ctx, s.Origin, s.Size)
	if err != nil {
		return err
	}
	r := state.Refusal{Origin: s.Origin, Cause: state.CauseRollback, Time: n.config.Now().Unix()}
	switch {
	case last == nil || s.Size > last.Size:
		r.Detail = fmt.Sprintf("size %d was cosigned at %d, the state ends before it", s.Size, s.Time)
		r.Adopt = &state.Record{Origin: s.Origin, Size: s.Size, Root: s.Root, Time: s.Time, Note: s.Note}
		signed, err := evidence.Open(s.Note, o.keys)
		if err != nil {
			return err
		}
		r.Adopt.Note = signed.Note()
	case own != nil && own.Root != s.Root:
		r.Detail = fmt.Sprintf("size %d was cosigned with root %s, the state has another", s.Size, s.Root)
	case s.Size < last.Size && s.Time > last.Time:
		r.Detail = fmt.Sprintf("size %d was cosigned at %d, after size %d at %d", s.Size, s.Time, last.Size, last.Time)
	default:
		return nil
	}
	before, err := n.config.State.Refused(ctx, s.Origin)
	if err != nil {
		return err
	}
	if before == nil {
		n.logger.ErrorContext(ctx, "this witness's state was rolled back, or its key is used elsewhere", "origin", s.Origin, "why", r.Detail)
	}
	return n.config.State.Refuse(ctx, r)
}
