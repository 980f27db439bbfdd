package verify

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Claim is a logged claim that was verified.
type Claim struct {
	Index    int64
	Entry    string // origin#index
	Envelope leaf.Digest
	Claim    attest.Claim
	Keys     []leaf.Fingerprint // that signed, sorted
}

// Evidence is claims that were verified against a log that a policy believes. It
// does not change, and its methods may be called concurrently. The zero Evidence
// holds nothing.
type Evidence struct {
	policy    *policy.Policy // nil if nobody's signature was asked for
	at        time.Time
	log       LogState
	witnesses Witnesses

	claims    []Claim               // ascending by index, each payload and keys once
	bySubject map[leaf.Digest][]int // of claims
	byOutput  map[leaf.Digest][]int
	enrolled  map[leaf.Fingerprint]enrolment
	same      map[leaf.Fingerprint][]leaf.Fingerprint // keys of one key material, sorted
}

// enrolment is the entry that brought a key into the log.
type enrolment struct {
	operator string
	index    int64
	endorsed bool // by another key
}

// Log returns the newest checkpoint of the evidence.
func (ev *Evidence) Log() LogState { return ev.log }

// Claims returns all claims, in log order.
func (ev *Evidence) Claims() []Claim { return slices.Clone(ev.claims) }

// About returns the claims that have an artifact as subject or as output, in log
// order.
func (ev *Evidence) About(d leaf.Digest) []Claim {
	var list []Claim
	for _, i := range sortedUnique(append(slices.Clone(ev.bySubject[d]), ev.byOutput[d]...)) {
		list = append(list, ev.claims[i])
	}
	return list
}

// Operator returns whom the enrolment of a key names, or its endorsement, if the
// evidence has one.
func (ev *Evidence) Operator(key leaf.Fingerprint) (string, bool) {
	e, ok := ev.enrolled[key]
	return e.operator, ok
}

// OpenError says which entry of a bundle is wrong, or what it lacks.
type OpenError struct {
	Entry string // origin#index, or "entry <index>" while the origin is not known
	// Outcome is Refuted if the entry is wrong, and Unproven if evidence is
	// lacking, such as the cosignatures of enough witnesses.
	Outcome Outcome
	Reasons []string
	// Fork is set if the log misbehaved: it is two signed checkpoints that the
	// policy believes and that contradict each other.
	Fork [][]byte
}

func (e *OpenError) Error() string { return e.Entry + ": " + strings.Join(e.Reasons, "; ") }

// Exit returns the exit code for the error.
func (e *OpenError) Exit() int {
	switch {
	case e.Fork != nil:
		return reason.ExitMisbehave
	case e.Outcome == Refuted:
		return reason.ExitNo
	}
	return reason.ExitUnproven
}

// Open verifies every entry of a bundle as Entry does, with the cosignatures'
// age judged at a time. All must be of one log. Its errors are *OpenError and say
// which entry is wrong; of a bundle with one wrong entry, nothing is believed.
//
// With no policy, nobody's signature of the checkpoints is asked for: such
// evidence answers only to Rules, and the report says so.
func Open(b *bundle.Bundle, pol *policy.Policy, at time.Time) (*Evidence, error) {
	if b == nil {
		return nil, &OpenError{Entry: "bundle", Reasons: []string{"there is none"}}
	}
	o := &opening{policy: pol, at: at, heads: make(map[string]*onceHead)}
	entries, err := o.verify(b.Entries)
	if err != nil {
		return nil, err
	}
	ev := &Evidence{
		policy: pol, at: at,
		bySubject: make(map[leaf.Digest][]int), byOutput: make(map[leaf.Digest][]int),
		enrolled: make(map[leaf.Fingerprint]enrolment),
	}
	if err := ev.takeHeads(entries); err != nil {
		return nil, err
	}
	history := new(keys.History)
	if err := ev.takeKeys(entries, history); err != nil {
		return nil, err
	}
	ev.takeMaterial(entries)
	ev.takeClaims(entries, history)
	return ev, nil
}

// opening is the work of Open.
type opening struct {
	policy *policy.Policy
	at     time.Time

	mu    sync.Mutex
	heads map[string]*onceHead // by the checkpoint's bytes
}

type onceHead struct {
	once sync.Once
	head *head
}

// openHead verifies a checkpoint that many proofs share once.
func (o *opening) openHead(signed []byte, pol *policy.Policy, at time.Time) *head {
	o.mu.Lock()
	h := o.heads[string(signed)]
	if h == nil {
		h = new(onceHead)
		o.heads[string(signed)] = h
	}
	o.mu.Unlock()
	h.once.Do(func() { h.head = openHead(signed, pol, at) })
	return h.head
}

// verified is an entry whose checks are all ok.
type verified struct {
	index int64
	id    string
	head  *head
	*attest.Attestation
}

// verify verifies entries on all cores, and returns the error of the first that
// is wrong.
func (o *opening) verify(entries []bundle.Entry) ([]verified, error) {
	done := make([]verified, len(entries))
	errs := make([]*OpenError, len(entries))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(entries)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(entries)); i = next.Add(1) - 1 {
				done[i], errs[i] = o.entry(&entries[i])
			}
		})
	}
	workers.Wait()
	for i := range entries {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if i > 0 && entries[i].Index <= entries[i-1].Index {
			return nil, refuted(done[i].id, "it follows entry %d: entries must ascend", entries[i-1].Index)
		}
	}
	return done, nil
}

// entry verifies one entry.
func (o *opening) entry(e *bundle.Entry) (verified, *OpenError) {
	v := &entry{
		in: EntryInput{Attestation: e.Attestation, Proof: e.Proof, Policy: o.policy, At: o.at},
		r:  newEntryReport(), openHead: o.openHead, unsignedToo: o.policy == nil,
	}
	if v.in.Attestation == nil {
		v.in.Attestation = []byte{} // it was not left out, it is empty
	}
	v.run()
	v.r.decide()
	id := fmt.Sprintf("entry %d", e.Index)
	if v.head != nil {
		id = fmt.Sprintf("%s#%d", v.head.Origin, e.Index)
	}
	if !v.believable() {
		return verified{}, &OpenError{Entry: id, Outcome: v.r.Outcome, Reasons: v.r.Reasons}
	}
	if v.parsed.Index != e.Index {
		return verified{}, refuted(id, "the proof is of entry %d", v.parsed.Index)
	}
	return verified{index: e.Index, id: id, head: v.head, Attestation: v.opened}, nil
}

// believable reports whether every check is ok. Without a policy there is nobody
// whose signature could be asked for, and the other checks decide.
func (v *entry) believable() bool {
	if v.in.Policy != nil {
		return v.r.Outcome == Proven
	}
	rest := 0
	for _, c := range v.r.Checks {
		if c.Status == OK && c.Name != CheckLogSignature && c.Name != CheckQuorum {
			rest++
		}
	}
	return rest == len(entryChecks)-2
}

func refuted(entry, format string, args ...any) *OpenError {
	return &OpenError{Entry: entry, Outcome: Refuted, Reasons: []string{fmt.Sprintf(format, args...)}}
}

// takeHeads checks that all entries are of one log, and that its checkpoints do
// not contradict each other where that can be seen.
func (ev *Evidence) takeHeads(entries []verified) error {
	bySize := make(map[int64]*head)
	var newest *head
	for i := range entries {
		h := entries[i].head
		if newest != nil && h.Origin != newest.Origin {
			return refuted(entries[i].id, "it is of another log than %s: a bundle has entries of one", entries[0].id)
		}
		other := bySize[h.N]
		if other == nil {
			bySize[h.N] = h
		} else if other.Hash != h.Hash {
			err := refuted(entries[i].id, "its checkpoint of size %d contradicts another of the same size", h.N)
			if ev.policy != nil {
				err.Fork = [][]byte{other.signed, h.signed}
			}
			return err
		}
		if newest == nil || h.N > newest.N {
			newest = h
		}
	}
	if newest == nil {
		return nil
	}
	ev.log = LogState{Origin: newest.Origin, Size: newest.N, SignatureChecked: ev.policy != nil}
	if ev.policy != nil {
		if t := newest.explained.Witnessed; !t.IsZero() {
			ev.log.Time = &t
		}
		ev.witnesses = newest.witnesses(ev.policy)
	}
	return nil
}

// takeKeys takes what the entries do to keys, and checks that none is signed by a
// key that might not sign it: one that was enrolled or endorsed only later, that
// was revoked before, or whose endorsements were withdrawn. Where the bundle has
// nothing about a key, nothing is known against it.
func (ev *Evidence) takeKeys(entries []verified, history *keys.History) error {
	for i := range entries {
		e := &entries[i]
		event := keys.EventOf(e.Attestation, uint64(e.index))
		if event == nil {
			continue
		}
		change, err := history.Apply(event)
		if err != nil || change.Key.Revoked != nil {
			continue // what it may not do, it does not
		}
		// Of the enrolments of a key the first counts, and before all endorsements.
		if known, ok := ev.enrolled[event.Key]; !ok || known.endorsed && change.Key.Endorser == "" {
			ev.enrolled[event.Key] = enrolment{change.Key.Operator, e.index, change.Key.Endorser != ""}
		}
	}
	for i := range entries {
		e := &entries[i]
		var not *keys.NotAllowed
		if !errors.As(history.Allows(e.Leaf, uint64(e.index)), &not) {
			continue
		}
		by := fmt.Sprintf("%s#%d", e.head.Origin, not.At)
		switch not.Standing {
		case keys.Revoked:
			return refuted(e.id, "entry %s revoked key %s before", by, not.Key)
		case keys.Withdrawn:
			return refuted(e.id, "entry %s withdrew the endorsement of key %s before", by, not.Key)
		default:
			return refuted(e.id, "%v", not)
		}
	}
	return nil
}

// takeClaims takes the attestations. Who logs one again says nothing new. What
// brings its key may be logged whatever became of the key's endorsements; but once
// they are withdrawn it counts no more than what the key signs without a
// certificate, which whoever has the key is given.
func (ev *Evidence) takeClaims(entries []verified, history *keys.History) {
	known := make(map[string]bool)
	for i := range entries {
		e := &entries[i]
		withdrawn := func(fp leaf.Fingerprint) bool {
			standing, _ := history.StandingAt(fp, uint64(e.index))
			return standing == keys.Withdrawn
		}
		if e.Leaf.Kind != leaf.KindAttestation || slices.ContainsFunc(e.Leaf.Keys, withdrawn) {
			continue
		}
		identity := string(e.Leaf.Payload)
		for _, k := range e.Leaf.Keys {
			identity += " " + string(k)
		}
		if known[identity] {
			continue
		}
		known[identity] = true
		ev.add(Claim{Index: e.index, Entry: e.id, Envelope: e.Leaf.Envelope, Claim: e.Claim, Keys: e.Leaf.Keys}, e.Leaf)
	}
}

func (ev *Evidence) add(c Claim, l *leaf.Leaf) {
	n := len(ev.claims)
	ev.claims = append(ev.claims, c)
	for _, d := range l.Subjects {
		ev.bySubject[d] = append(ev.bySubject[d], n)
	}
	for _, d := range l.Outputs {
		ev.byOutput[d] = append(ev.byOutput[d], n)
	}
}
