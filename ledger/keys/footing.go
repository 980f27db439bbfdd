package keys

import (
	"crypto/sha256"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Footing is what an entry rests on, and what it changes, for a log that several
// processes append to: as it was judged by the entries below Seen, it may be logged
// unless a later one marked something that it follows.
//
// Each key has two marks. Its state is marked by what changes who endorses it, or
// whether it enrolled or revoked itself. Its end is marked by those of them that
// keep it from signing any more, and by what says more of an OpenPGP key, which may
// keep it from having signed. What a key signed follows its end alone: who else
// endorses it is nothing to that, and cannot hold it up.
type Footing struct {
	Seen    uint64
	Follows []Mark
	Marks   []Mark
}

// Mark is the hash of something about a key that entries change.
type Mark [sha256.Size]byte

func markState(fp leaf.Fingerprint) Mark { return sha256.Sum256([]byte("state " + fp)) }
func markEnd(fp leaf.Fingerprint) Mark   { return sha256.Sum256([]byte("end " + fp)) }

// Footing returns what an entry rests on that is to follow those which were taken
// in, or says why it may not. stale is as of Admission.Admit. Nothing is taken in.
func (h *History) Footing(att *attest.Attestation) (f *Footing, stale bool, err error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	e := EventOf(att, h.next)
	if stale, err = admits(h, att, e); err != nil || stale {
		return nil, stale, err
	}
	f = &Footing{Seen: h.next}
	for _, k := range att.Keys {
		f.Follows = append(f.Follows, markEnd(k.Fingerprint))
	}
	if e != nil {
		err = h.foot(e, f)
	}
	return f, false, err
}

// foot adds what an entry does to a key.
func (h *History) foot(e *Event, f *Footing) error {
	known := h.publicOf(e.Key)
	public, err := e.merge(known)
	if err != nil {
		return err
	}
	before := h.stateOf(e.Key)
	after := on(before)
	by := after
	if e.By != e.Key {
		by = h.stateOf(e.By)
		f.Follows = append(f.Follows, markState(e.Key))
	}
	if before == nil {
		before = new(state)
	}
	if err := after.take(e, by); err != nil {
		return err
	}
	changed := before.enrolled != after.enrolled || before.revoked != after.revoked || before.standing != after.standing
	if changed {
		f.Marks = append(f.Marks, markState(e.Key))
	}
	learnt := e.Key.OpenPGP() && public != known
	if learnt || before.revoked != after.revoked || before.usable() && !after.usable() {
		f.Marks = append(f.Marks, markEnd(e.Key))
	}
	return nil
}

// Pass says that the entries below an index were all looked at: those that do
// something to keys were taken in.
func (h *History) Pass(below uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = max(h.next, below)
}
