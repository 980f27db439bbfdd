// Package keys is who may sign when: the keys that a log enrolled, endorsed and
// revoked, by index.
//
// A key may sign once it has enrolled itself, or for as long as at least one
// endorsement of it stands. Only a key that enrolled itself endorses others. The
// key itself revokes itself, for good; an endorser withdraws its own endorsement,
// and nobody else's, unless the key has enrolled itself meanwhile: that takes it
// over. What else a log may hold about keys changes nothing.
//
// Invariants:
//   - The rules stand in state.take and state.admits and nowhere else. Intake,
//     audit, verification, mirrors and clients are served from them.
//   - An entry is judged by the entries before it: what enrols a key serves from
//     the next index on, and so does what ends it.
//   - A key that may have signed is found, whether or not it may sign now: who
//     asks learns that it was revoked, not that it is unknown.
//   - What is known of a key only grows: an old copy of it changes nothing.
//
// The package does no I/O. A History may be used concurrently.
package keys

import (
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Key is a key as a log has it at some size.
type Key struct {
	Fingerprint leaf.Fingerprint
	PEM         string // all that is known of it, as attest.ParsePublicKey reads it
	Operator    string // as the entry Enrolled claims
	URL         string
	// Enrolled is the index of its latest enrolment, that of an OpenPGP key which
	// says nothing new left out; without one, of the oldest
	// endorsement that stands, or if none does, of the last that stood.
	Enrolled uint64
	// Endorser signed the entry Enrolled, if the key did not.
	Endorser leaf.Fingerprint
	// Revoked is the index of the entry since which it may not sign; nil if it may.
	Revoked *uint64
	// Withdrawn says that Revoked is the withdrawal of the last endorsement, so
	// that the key may be endorsed again, or enrol itself.
	Withdrawn bool
	// Changed is the index of the last entry that changed any of this.
	Changed uint64
}

// Endorsement is an endorsement that stands.
type Endorsement struct {
	Key, Endorser leaf.Fingerprint
	Index         uint64
	Operator, URL string
}

// Event is what an entry does to a key.
type Event struct {
	Index uint64
	Kind  leaf.Kind // leaf.KindEnrol, leaf.KindEndorse or leaf.KindRevoke
	Key   leaf.Fingerprint
	By    leaf.Fingerprint // who signed it
	// Public is the key as the entry brings it; nil if it does not.
	Public        *attest.PublicKey
	Operator, URL string
}

// EventOf returns what an attestation that is logged at an index does to keys, or
// nil.
func EventOf(a *attest.Attestation, index uint64) *Event {
	e := EventOfLeaf(a.Leaf, index)
	if e == nil {
		return nil
	}
	brought := a.Enrolment
	if a.Endorsement != nil {
		brought = a.Endorsement
	}
	switch {
	case brought != nil:
		e.Public, e.Operator, e.URL = brought.Key, brought.Operator, brought.URL
	case e.By == e.Key:
		e.Public = a.Keys[0]
	}
	return e
}

// EventOfLeaf returns what a leaf says of it: all but the key that the entry may
// bring, and the claims about it.
func EventOfLeaf(l *leaf.Leaf, index uint64) *Event {
	switch l.Kind {
	case leaf.KindEnrol, leaf.KindEndorse, leaf.KindRevoke:
		return &Event{Index: index, Kind: l.Kind, Key: Concerned(l), By: l.Keys[0]}
	}
	return nil
}

// Concerned returns the key that an enrol, endorse or revoke leaf is about. The
// subject is its digest, which is its fingerprint unless it is an OpenPGP key; and
// that only such a key itself enrols and revokes.
func Concerned(l *leaf.Leaf) leaf.Fingerprint {
	if by := l.Keys[0]; by.OpenPGP() {
		return by
	}
	return leaf.Fingerprint(l.Subjects[0])
}

// state is what decides whether a key may sign.
type state struct {
	enrolled bool // by itself
	revoked  bool // by itself
	standing int  // endorsements
	// by has the endorsers, with the index of the endorsement, and one more; 0 for
	// one that was withdrawn. What is not in it is as in base.
	by   map[leaf.Fingerprint]uint64
	base *state
}

// on returns a state that begins as base, and leaves that as it is. base may be
// nil.
func on(base *state) *state {
	s := &state{base: base, by: make(map[leaf.Fingerprint]uint64)}
	if base != nil {
		s.enrolled, s.revoked, s.standing = base.enrolled, base.revoked, base.standing
	}
	return s
}

func (s *state) usable() bool { return !s.revoked && (s.enrolled || s.standing > 0) }

// endorsement returns where an endorsement that stands is, and one more; 0 if
// none does.
func (s *state) endorsement(by leaf.Fingerprint) uint64 {
	for ; s != nil; s = s.base {
		if at, ok := s.by[by]; ok {
			return at
		}
	}
	return 0
}

// admits says why a key in this state may not sign an entry, which does e to a
// key. s is nil for a key that is not known, e for an entry that does nothing to
// keys: who could verify it found its keys, or they came with it.
func (s *state) admits(fp leaf.Fingerprint, e *Event) error {
	switch {
	case s != nil && s.revoked:
		return reason.Errorf(reason.KeyRevoked, "key %s was revoked", fp)
	case e != nil && e.Key == e.By, s == nil && e == nil:
		return nil // it enrols itself, or revokes itself whether or not it stands
	case s == nil:
		return reason.Errorf(reason.KeyNotEnrolled, "key %s is not enrolled: enrol it with `cairn enrol --key KEY --operator URI`", fp)
	case !s.usable():
		return reason.Errorf(reason.KeyRevoked, "the endorsement of key %s was withdrawn: it may enrol itself, or be endorsed again", fp)
	}
	return nil
}

// take takes in what an entry does to the key in this state, or says why it does
// nothing. by is the state of who signed it, or nil if that key is not known.
func (s *state) take(e *Event, by *state) error {
	if err := by.admits(e.By, e); err != nil {
		return err
	}
	self := e.By == e.Key
	switch {
	case e.Kind == leaf.KindEnrol && self:
		s.enrolled = true
		s.standing, s.by, s.base = 0, nil, nil
	case e.Kind == leaf.KindRevoke && self:
		s.revoked = true
	case e.Kind == leaf.KindEndorse && !self:
		return s.endorse(e, by)
	case e.Kind == leaf.KindRevoke && s.enrolled:
		return reason.Errorf(reason.RevokerNotAuthorised, "key %s enrolled itself, so that only it may revoke itself: key %s may not", e.Key, e.By)
	case e.Kind == leaf.KindRevoke && s.endorsement(e.By) == 0:
		return reason.Errorf(reason.RevokerNotAuthorised, "key %s may not revoke key %s: no endorsement by it stands", e.By, e.Key)
	case e.Kind == leaf.KindRevoke:
		s.by[e.By] = 0
		s.standing--
	default:
		return reason.Errorf(reason.EnrolmentInvalid, "key %s may not %s key %s", e.By, e.Kind, e.Key)
	}
	return nil
}

func (s *state) endorse(e *Event, by *state) error {
	switch {
	case !by.enrolled:
		return reason.Errorf(reason.KeyNotEnrolled, "key %s was endorsed and did not enrol itself: only a key that did endorses others", e.By)
	case s.revoked:
		return reason.Errorf(reason.KeyRevoked, "key %s was revoked", e.Key)
	case s.enrolled:
		return nil // it needs nobody
	}
	if s.endorsement(e.By) == 0 {
		s.by[e.By] = e.Index + 1
		s.standing++
	}
	return nil
}
