package gossip

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
	"github.com/cairnlog/cairn/witness/state"
)

// origin is what is known of one log, besides what this witness cosigned.
type origin struct {
	log  witness.Log
	keys []note.Verifier // the log's, also retired ones

	// mu serialises all that is observed of the log. It is not held while
	// anyone else is asked.
	mu sync.Mutex
	// seen is what each witness cosigned, by key ID: for each size and root the
	// first and the last time, smaller sizes first, at most state.MaxSeen.
	seen map[string][]state.Seen
	// unsaved are the entries of seen that are not stored, the latest for each
	// witness, and since when there are any.
	unsaved      map[string]state.Seen
	unsavedSince time.Time
	pending      []*pending // at most state.MaxPending
	evidence     []*state.Evidence
	// known are the hashes of notes that need not be looked at again.
	known map[[32]byte]bool
}

// maxKnown is how many notes are remembered as known; then all are forgotten.
const maxKnown = 1024

// pending is a checkpoint that is not known yet to agree with ours.
type pending struct {
	state.Pending
	signed evidence.Signed
	stored bool
	// next is when to ask the log. It is zero if the checkpoint was shown to
	// extend all that we know: it waits for us to come to its size, and is no
	// cause for alarm.
	next time.Time
	// askPeers is from when the peers are asked, too. They were last asked at
	// tried, tries times in vain.
	askPeers, tried time.Time
	tries           int
	// passed means that this witness has cosigned a larger size.
	passed bool
}

func (n *Node) loadOrigin(ctx context.Context, l witness.Log) (*origin, error) {
	o := &origin{
		log: l, keys: l.AllKeys(), seen: make(map[string][]state.Seen),
		unsaved: make(map[string]state.Seen), known: make(map[[32]byte]bool),
	}
	var err error
	if o.evidence, err = n.config.State.Evidence(ctx, l.Origin); err != nil {
		return nil, err
	}
	seen, err := n.config.State.SeenOf(ctx, l.Origin)
	if err != nil {
		return nil, err
	}
	for _, s := range seen {
		o.addSeen(s)
	}
	waiting, err := n.config.State.PendingOf(ctx, l.Origin)
	if err != nil {
		return nil, err
	}
	for _, p := range waiting {
		signed, err := evidence.Open(p.Note, o.keys)
		if err != nil {
			// The log's key was removed from the configuration.
			if err := n.config.State.Resolve(ctx, p); err != nil {
				return nil, err
			}
			continue
		}
		o.pending = append(o.pending, &pending{Pending: p, signed: signed, stored: true, next: n.config.Now()})
	}
	return o, nil
}

// addSeen keeps what a witness cosigned, and reports whether it is news.
func (o *origin) addSeen(s state.Seen) bool {
	list := o.seen[s.Witness]
	var same []int
	for i, have := range list {
		if have.Size == s.Size && have.Root == s.Root {
			same = append(same, i)
		}
	}
	switch len(same) {
	case 2:
		first, last := &list[same[0]], &list[same[1]]
		switch {
		case s.Time < first.Time:
			*first = s
		case s.Time > last.Time:
			*last = s
		default:
			return false
		}
		return true
	case 1:
		if list[same[0]].Time == s.Time {
			return false
		}
	}
	list = append(list, s)
	slices.SortStableFunc(list, func(a, b state.Seen) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Time, b.Time))
	})
	if len(list) > state.MaxSeen {
		list = slices.Delete(list, 0, len(list)-state.MaxSeen)
	}
	o.seen[s.Witness] = list
	return true
}

// latestOf returns what a witness cosigned at the largest size, or nil.
func (o *origin) latestOf(witness string) *state.Seen {
	list := o.seen[witness]
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1]
}

func (o *origin) remember(id [32]byte) {
	if len(o.known) >= maxKnown {
		clear(o.known)
	}
	o.known[id] = true
}

// largestPending returns the largest pending checkpoint but one.
func (o *origin) largestPending(but *pending) *pending {
	var largest *pending
	for _, p := range o.pending {
		if p != but && (largest == nil || p.Size > largest.Size) {
			largest = p
		}
	}
	return largest
}

// drop forgets a pending checkpoint. o.mu must be held.
func (n *Node) drop(ctx context.Context, o *origin, p *pending) error {
	i := slices.Index(o.pending, p)
	if i < 0 {
		return nil
	}
	o.pending = slices.Delete(o.pending, i, i+1)
	if !p.stored {
		return nil
	}
	return n.config.State.Resolve(ctx, p.Pending)
}

// openRecord opens the note of a stored record.
func (o *origin) openRecord(r *state.Record) (evidence.Signed, error) {
	s, err := evidence.Open(r.Note, o.keys)
	if err != nil {
		return evidence.Signed{}, fmt.Errorf("opening the stored checkpoint of %s at size %d: %w", r.Origin, r.Size, err)
	}
	return s, nil
}
