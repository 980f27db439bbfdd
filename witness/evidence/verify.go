package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
)

// Keys are what a verifier believes: the keys of its policy, and older ones of
// the same logs, which evidence may be signed with.
type Keys struct {
	Logs      []note.Verifier // each named as its log's origin
	Witnesses []note.Verifier
}

// Result is the outcome of a verification.
type Result int

// The results. The zero Result proves nothing.
const (
	// Unjudged means that the keys do not include the accused's.
	Unjudged Result = iota
	// Refuted means that the evidence does not show what it claims.
	Refuted
	// Proven means that the accused signed what it must not have signed.
	Proven
)

// String returns the result in one word.
func (r Result) String() string {
	switch r {
	case Proven:
		return "proven"
	case Refuted:
		return "refuted"
	}
	return "unjudged"
}

// Verdict is what a verification found.
type Verdict struct {
	Result Result
	// Accused is "log <origin>" or "witness <key ID>".
	Accused string
	// Sentences say why, for people.
	Sentences []string
}

func (v Verdict) because(r Result, format string, args ...any) Verdict {
	v.Result = r
	v.Sentences = append(v.Sentences, fmt.Sprintf(format, args...))
	return v
}

// Verify checks an evidence with the given keys alone.
func (e *Evidence) Verify(keys Keys) Verdict {
	v := Verdict{Accused: "log " + e.Origin}
	known := func(k note.Verifier) bool { return k.Name() == e.Origin }
	candidates := keys.Logs
	if e.Kind.AccusesWitness() {
		v.Accused = "witness " + e.Witness
		known = func(k note.Verifier) bool { return KeyID(k) == e.Witness }
		candidates = keys.Witnesses
	}
	if err := e.check(); err != nil {
		return v.because(Refuted, "The evidence is malformed: %v.", err)
	}
	accused := slices.DeleteFunc(slices.Clone(candidates), func(k note.Verifier) bool { return !known(k) })
	if len(accused) == 0 {
		return v.because(Unjudged, "No key of %s is known here.", v.Accused)
	}
	var signed []Signed
	for i, n := range e.Notes {
		s, err := Open(n, accused)
		var wrong *note.InvalidSignatureError
		switch {
		case errors.As(err, &wrong):
			return v.because(Refuted, "Checkpoint %d is not signed by %s: the signature is wrong.", i+1, v.Accused)
		case errors.Is(err, ErrSignature):
			return v.because(Unjudged, "Checkpoint %d bears no signature by a key of %s that is known here.", i+1, v.Accused)
		case err != nil:
			return v.because(Refuted, "Checkpoint %d cannot be read: %v.", i+1, err)
		}
		signed = append(signed, s)
		v.Sentences = append(v.Sentences, fmt.Sprintf("Checkpoint %d, of size %d with root %s, is signed by %s.", i+1, s.N, s.Hash, signers(s)))
	}
	if e.Kind == KindWitnessRollback {
		return v.rollback(signed[0], signed[1])
	}
	return v.contradiction(signed[0], signed[len(signed)-1], e.Prefix)
}

func signers(s Signed) string {
	var ids []string
	for _, sig := range s.Sigs {
		ids = append(ids, fmt.Sprintf("%s+%08x", sig.Name, sig.Hash))
	}
	return strings.Join(ids, " and ")
}

// contradiction judges two trees. For an empty root, a and b are the same.
func (v Verdict) contradiction(a, b Signed, p *Prefix) Verdict {
	if a.N == 0 && a.Hash != EmptyRoot() {
		return v.because(Proven, "The tree of size 0 has the root %s, and no other.", EmptyRoot())
	}
	if a.N == b.N {
		if a.Hash == b.Hash {
			return v.because(Refuted, "Both say the same.")
		}
		return v.because(Proven, "An append-only log has one root at size %d, and these are two.", a.N)
	}
	path := make([][]byte, len(p.Proof))
	for i := range p.Proof {
		path[i] = p.Proof[i][:]
	}
	if a.N == 0 {
		return v.because(Refuted, "Every tree extends the tree of size 0.")
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(a.N), uint64(b.N), path, p.AltRoot[:], b.Hash[:])
	if err != nil {
		return v.because(Refuted, "The proof does not show which tree of size %d the one of size %d extends: %v.", a.N, b.N, err)
	}
	if p.AltRoot == a.Hash {
		return v.because(Refuted, "The tree of size %d extends the one of size %d, as it should.", b.N, a.N)
	}
	return v.because(Proven, "The first %d entries of the tree of size %d have the root %s: it does not extend the tree of checkpoint 1.",
		a.N, b.N, p.AltRoot)
}

// rollback judges two cosignatures by one key, a on the smaller tree.
func (v Verdict) rollback(a, b Signed) Verdict {
	ta, err := torchwood.CosignatureTimestamp(a.Sigs[0])
	if err != nil {
		return v.because(Refuted, "The first cosignature has no time: %v.", err)
	}
	tb, err := torchwood.CosignatureTimestamp(b.Sigs[0])
	if err != nil {
		return v.because(Refuted, "The second cosignature has no time: %v.", err)
	}
	if ta <= tb {
		return v.because(Refuted, "The smaller tree was cosigned first, at %d, and the larger at %d.", ta, tb)
	}
	return v.because(Proven, "At %d size %d was cosigned, and %d s later size %d: a witness that has seen a tree cosigns no smaller one.",
		tb, b.N, ta-tb, a.N)
}

// AgainstLog returns the evidence that a log contradicts itself with two
// checkpoints that keys of the log signed, in either order. p shows the prefix
// of the larger one, and is nil if both have one size. It fails if the evidence
// would not be proven.
func AgainstLog(keys []note.Verifier, a, b Signed, p *Prefix) (*Evidence, error) {
	kind := KindSameSize
	switch {
	case a.N == 0 && a.Hash != EmptyRoot():
		return build(keys, Keys{Logs: keys}, Evidence{Kind: KindEmptyRoot}, a)
	case b.N == 0 && b.Hash != EmptyRoot():
		return build(keys, Keys{Logs: keys}, Evidence{Kind: KindEmptyRoot}, b)
	case a.N != b.N:
		kind = KindPrefix
	}
	return build(keys, Keys{Logs: keys}, Evidence{Kind: kind, Prefix: p}, a, b)
}

// AgainstWitness returns the evidence that a witness contradicts itself with two
// checkpoints that it cosigned, in either order. With p it is for equivocation
// at two sizes; without, for that at one size, or for a rollback. It fails if
// the evidence would not be proven.
func AgainstWitness(witness note.Verifier, a, b Signed, p *Prefix) (*Evidence, error) {
	kind := KindWitnessEquivocation
	if a.N != b.N && p == nil {
		kind = KindWitnessRollback
	}
	keys := []note.Verifier{witness}
	return build(keys, Keys{Witnesses: keys}, Evidence{Kind: kind, Witness: KeyID(witness), Prefix: p}, a, b)
}

// build completes e with the notes, and returns it if it is proven.
func build(accused []note.Verifier, keys Keys, e Evidence, notes ...Signed) (*Evidence, error) {
	slices.SortFunc(notes, func(a, b Signed) int {
		if a.N != b.N {
			return int(max(-1, min(1, a.N-b.N)))
		}
		return bytes.Compare(a.Hash[:], b.Hash[:])
	})
	for _, n := range notes {
		only, ok := n.Only(accused...)
		if !ok {
			return nil, fmt.Errorf("making evidence of %s: %w", e.Kind, ErrSignature)
		}
		e.Origin = n.Origin
		e.Notes = append(e.Notes, only.Note())
	}
	if v := e.Verify(keys); v.Result != Proven {
		return nil, fmt.Errorf("making evidence of %s: %s: %s", e.Kind, v.Result, strings.Join(v.Sentences, " "))
	}
	if n := len(e.Marshal()); n > MaxSize {
		return nil, fmt.Errorf("making evidence of %s: it would have %d bytes", e.Kind, n)
	}
	return &e, nil
}
