package keys

import (
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Standing is whether a key may sign the entry at an index.
type Standing int

// The standings. Of an Unknown key, the history has nothing at all.
const (
	Unknown   Standing = iota
	NotYet             // what brings it follows
	Usable             // it may sign
	Withdrawn          // no endorsement of it stands any more
	Revoked            // it revoked itself
)

// StandingAt returns whether a key may sign the entry at an index, and the index
// of the entry that last said so; of NotYet, of the one that will bring it.
func (h *History) StandingAt(fp leaf.Fingerprint, index uint64) (Standing, uint64) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.keys[fp]
	if r == nil {
		return Unknown, 0
	}
	return r.standingAt(index)
}

func (r *record) standingAt(index uint64) (Standing, uint64) {
	if r.revoked && r.ended < index {
		return Revoked, r.ended
	}
	n := sort.Search(len(r.spans), func(i int) bool { return r.spans[i].from >= index })
	switch {
	case n == 0 && len(r.spans) == 0:
		return Unknown, 0 // it revoked itself later, and nothing else is known
	case n == 0:
		return NotYet, r.spans[0].from
	case r.spans[n-1].over && r.spans[n-1].to < index:
		return Withdrawn, r.spans[n-1].to
	}
	return Usable, r.spans[n-1].from
}

// NotAllowed says that a key may not sign an entry. It wraps a *reason.Error.
type NotAllowed struct {
	Key      leaf.Fingerprint
	Standing Standing
	At       uint64 // as of StandingAt
	Err      error
}

func (e *NotAllowed) Error() string { return e.Err.Error() }
func (e *NotAllowed) Unwrap() error { return e.Err }

// Allows says why a key that signed an entry may not sign it, if so, with a
// *NotAllowed. That a key is Unknown is no reason here: who could verify with it
// had it from somewhere.
func (h *History) Allows(l *leaf.Leaf, index uint64) error {
	e := EventOfLeaf(l, index)
	free := l.BringsKeys() || e != nil && e.By == e.Key
	for _, fp := range l.Keys {
		standing, at := h.StandingAt(fp, index)
		n := &NotAllowed{Key: fp, Standing: standing, At: at}
		switch {
		case standing == Revoked:
			n.Err = reason.Errorf(reason.KeyRevoked, "key %s was revoked before, in entry %d", fp, at)
		case standing == Withdrawn && !free:
			n.Err = reason.Errorf(reason.KeyRevoked, "the endorsement of key %s was withdrawn before, in entry %d", fp, at)
		case standing == NotYet && !free:
			n.Err = reason.Errorf(reason.KeyNotEnrolled, "key %s signed it, which was enrolled later, in entry %d", fp, at)
		default:
			continue
		}
		return n
	}
	return nil
}

// HintedAt is Hinted among some keys, as the entries before an index made them
// known.
func (h *History) HintedAt(keyID string, among []leaf.Fingerprint, index uint64) []*attest.PublicKey {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var list []*attest.PublicKey
	for _, fp := range among {
		if r := h.keys[fp]; r != nil {
			if public := r.at(index); public != nil && slices.Contains(public.KeyIDs(), keyID) {
				list = append(list, public)
			}
		}
	}
	return list
}

// Grounds returns the entries that show that a key might sign the entry at an
// index, and which later ones end what they show; none if it might not. events is
// all that the log's leaves say about the key, in their order; that who endorsed
// it might do so is for others to check.
func Grounds(events []*Event, index uint64) []uint64 {
	s, endorser := on(nil), &state{enrolled: true}
	enrolled := uint64(math.MaxUint64) // none
	later := 0
	for ; later < len(events) && events[later].Index < index; later++ {
		e, by := events[later], endorser
		if e.By == e.Key {
			by = s
		}
		if s.take(e, by) == nil && s.enrolled {
			enrolled = min(enrolled, e.Index)
		}
	}
	if !s.usable() {
		return nil
	}
	first, endorsedBy := enrolled, leaf.Fingerprint("")
	for by, at := range s.by {
		if at != 0 && at-1 < first {
			first, endorsedBy = at-1, by
		}
	}
	grounds := []uint64{first}
	for _, e := range events[later:] {
		if e.Kind == leaf.KindRevoke && (e.By == e.Key || e.By == endorsedBy) {
			return append(grounds, e.Index)
		}
	}
	return grounds
}

// Withdrawal returns the entries that show that nothing a key rests on stood at an
// index, though something had: the endorsement that was withdrawn last, and its
// withdrawal. events is as for Grounds. There are none for a key that might sign,
// of which nothing was known, or that revoked itself.
func Withdrawal(events []*Event, index uint64) []uint64 {
	s, endorser := on(nil), &state{enrolled: true}
	var last []uint64
	for _, e := range events {
		if e.Index >= index {
			break
		}
		by := endorser
		if e.By == e.Key {
			by = s
		}
		at := s.endorsement(e.By)
		if s.take(e, by) == nil && e.Kind == leaf.KindRevoke && at != 0 {
			last = []uint64{at - 1, e.Index}
		}
	}
	if s.usable() || s.revoked {
		return nil
	}
	return last
}

// Admission is a history, and the entries that were admitted to the log and are
// not in it yet. They are admitted in the order in which they will be logged, so
// that none is logged behind the end of one of its keys.
type Admission struct {
	*History

	mu      sync.Mutex
	ahead   map[leaf.Fingerprint]*pending
	waiting map[[32]byte]leaf.Fingerprint // the key concerned, by the entry's identity
}

// pending is a key that admitted entries concern.
type pending struct {
	*state
	public  *attest.PublicKey
	entries int
}

// NewAdmission returns an Admission behind a history, which from now on knows the
// keys of the present alone: of a key that is updated often, all that it ever was
// would take too much memory.
func NewAdmission(h *History) *Admission {
	h.mu.Lock()
	h.presentOnly = true
	h.mu.Unlock()
	return &Admission{History: h, ahead: make(map[leaf.Fingerprint]*pending), waiting: make(map[[32]byte]leaf.Fingerprint)}
}

// Admit admits the next entry, or says why it may not follow those before it.
// stale says that an OpenPGP key which signed it is known better than when the
// entry was opened: it must be opened again, with Lookup of an Admission.
func (a *Admission) Admit(att *attest.Attestation) (stale bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.History.mu.RLock()
	defer a.History.mu.RUnlock()
	e := EventOf(att, a.next)
	if stale, err = admits(a, att, e); err != nil || stale || e == nil {
		return stale, err
	}
	return false, a.admit(e, att.Leaf.Identity())
}

// view is what some entries made known of keys: nil of those that they did not.
type view interface {
	stateOf(leaf.Fingerprint) *state
	publicOf(leaf.Fingerprint) *attest.PublicKey
}

// admits says why the keys of an attestation may not sign an entry, which does e to
// keys, if they may not. stale is as of Admission.Admit.
func admits(v view, att *attest.Attestation, e *Event) (stale bool, err error) {
	for _, k := range att.Keys {
		s := v.stateOf(k.Fingerprint)
		if att.Leaf.BringsKeys() && (s == nil || !s.revoked) {
			continue
		}
		if err := s.admits(k.Fingerprint, e); err != nil {
			return false, err
		}
		if e == nil && k.Fingerprint.OpenPGP() && v.publicOf(k.Fingerprint) != k {
			stale = true
		}
	}
	return stale, nil
}

// admit takes in what an entry will do to a key.
func (a *Admission) admit(e *Event, identity [32]byte) error {
	p := a.ahead[e.Key]
	if p == nil {
		p = &pending{state: on(a.History.stateOf(e.Key)), public: a.publicOf(e.Key)}
	}
	public, err := e.merge(p.public)
	if err != nil {
		return err
	}
	by := p.state
	if e.By != e.Key {
		by = a.stateOf(e.By)
	}
	if err := p.take(e, by); err != nil {
		return err
	}
	p.public = public
	p.entries++
	a.ahead[e.Key] = p
	a.waiting[identity] = e.Key
	return nil
}

func (a *Admission) stateOf(fp leaf.Fingerprint) *state {
	if p := a.ahead[fp]; p != nil {
		return p.state
	}
	return a.History.stateOf(fp)
}

func (a *Admission) publicOf(fp leaf.Fingerprint) *attest.PublicKey {
	if p := a.ahead[fp]; p != nil && p.public != nil {
		return p.public
	}
	return a.History.publicOf(fp)
}

// Newest returns a key as the admitted entries make it known, too.
func (a *Admission) Newest(fp leaf.Fingerprint) *attest.PublicKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.History.mu.RLock()
	defer a.History.mu.RUnlock()
	return a.publicOf(fp)
}

// Settle notes that an admitted entry is in the log, and that the history has
// taken it in.
func (a *Admission) Settle(identity [32]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fp, ok := a.waiting[identity]
	if !ok {
		return
	}
	delete(a.waiting, identity)
	if p := a.ahead[fp]; p.entries > 1 {
		p.entries--
	} else {
		delete(a.ahead, fp)
	}
}
