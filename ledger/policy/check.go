package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Check returns nil if the signatures, which must have been verified with the
// policy's verifiers, satisfy the policy for a checkpoint of origin. It ignores
// max-age, which is for those who ask about a checkpoint later, not for the log
// that is about to publish it.
func (p *Policy) Check(origin string, sigs []note.Signature) error {
	return p.check(origin, p.signers(sigs))
}

// CheckAt is Check at a time: of the witnesses, only those count whose
// cosignature is at most MaxAge older than at. Whoever is asked by a policy
// without a max-age may leave at zero; with one, nothing satisfies it then.
func (p *Policy) CheckAt(origin string, sigs []note.Signature, at time.Time) error {
	return p.check(origin, p.signersAt(sigs, at))
}

func (p *Policy) check(origin string, s signers) error {
	if !p.logSigned(origin, &s) {
		return fmt.Errorf("no log of the policy signed as %q", origin)
	}
	if !p.quorumMet(&s) {
		return fmt.Errorf("witness quorum not met: %s", strings.Join(p.explainCheckpoint(origin, s).Missing, "; "))
	}
	return nil
}

// signers are the keys that signed, so that a signature line that is repeated
// counts once, and what is asked of their time.
type signers struct {
	signed map[keyID]time.Time // zero if the signature has none

	judged bool      // whether times are to be shown
	at     time.Time // zero if it is not known
	maxAge time.Duration
}

func (p *Policy) signers(sigs []note.Signature) signers {
	s := signers{signed: make(map[keyID]time.Time, len(sigs))}
	for _, sig := range sigs {
		id := keyID{sig.Name, sig.Hash}
		// Of several cosignatures of one key, the latest says what the others do.
		if t := timeOf(sig); t.After(s.signed[id]) || s.signed[id].IsZero() {
			s.signed[id] = t
		}
	}
	return s
}

func (p *Policy) signersAt(sigs []note.Signature, at time.Time) signers {
	s := p.signers(sigs)
	s.judged, s.at, s.maxAge = true, at, p.maxAge
	return s
}

// lastSecond is the last that RFC 3339 can write.
var lastSecond = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// timeOf returns the time in a witness's cosignature, which the signature covers
// (C2SP tlog-cosignature), or zero if there is none that means anything.
func timeOf(s note.Signature) time.Time {
	t, err := formats.CoSigV1Timestamp(s)
	if err != nil || t.Unix() <= 0 || t.Unix() > lastSecond.Unix() {
		return time.Time{}
	}
	return t.UTC()
}

// What Node.Age says of a cosignature.
const (
	// AgeStale is that of one that is older than max-age, or has no time where
	// one is needed: it does not count.
	AgeStale = "stale"
	// AgeFuture is that of one that is later than the time asked about. It
	// counts, for it is not too old: clocks differ, and who asks about a past
	// time may hold a later checkpoint.
	AgeFuture = "future"
)

// age returns the time of a key's cosignature and what is to be said of it, or
// not ok if the key did not sign.
func (s *signers) age(id keyID) (t time.Time, age string, ok bool) {
	t, ok = s.signed[id]
	switch {
	case !ok:
	case s.maxAge > 0 && (s.at.IsZero() || t.IsZero() || s.at.Sub(t) > s.maxAge):
		age = AgeStale
	case !s.at.IsZero() && t.After(s.at):
		age = AgeFuture
	}
	return t, age, ok
}

// cosigned reports whether a witness's cosignature counts.
func (s *signers) cosigned(w *Witness) bool {
	_, age, ok := s.age(idOf(w.Verifier))
	return ok && age != AgeStale
}

func (p *Policy) logSigned(origin string, s *signers) bool {
	return slices.ContainsFunc(p.logs, func(l Log) bool {
		_, ok := s.signed[idOf(l.Verifier)]
		return l.Name == origin && ok
	})
}

func (p *Policy) quorumMet(s *signers) bool {
	if p.quorum == none {
		return true
	}
	return p.satisfied(p.quorum, s)
}

// satisfied ends because a group's members are defined before it, and is linear
// because a name is a member at most once.
func (p *Policy) satisfied(name string, s *signers) bool {
	c := p.components[name]
	if c.witness != nil {
		return s.cosigned(c.witness)
	}
	if c.group == nil {
		return false // only in the zero Policy
	}
	have := 0
	for _, m := range c.group.members {
		if p.satisfied(m, s) {
			have++
		}
	}
	return have >= c.group.k
}

// witnessed returns the latest time such that the cosignatures from then on are
// enough for a name; zero if there is none, as for a name that is not satisfied.
func (p *Policy) witnessed(name string, s *signers) time.Time {
	c := p.components[name]
	if c.witness != nil && s.cosigned(c.witness) {
		return s.signed[idOf(c.witness.Verifier)]
	}
	if c.group == nil {
		return time.Time{}
	}
	times := make([]time.Time, 0, len(c.group.members))
	for _, m := range c.group.members {
		times = append(times, p.witnessed(m, s))
	}
	slices.SortFunc(times, func(a, b time.Time) int { return b.Compare(a) })
	return times[c.group.k-1]
}
