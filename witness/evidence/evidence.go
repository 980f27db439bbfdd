// Package evidence is what convicts a log, or a witness, of having signed two
// things that cannot both be true. Anyone who has the policy's keys can check
// it, with no network and no clock.
//
// An evidence is UTF-8 text, in exactly this form:
//
//	cairn.evidence/v1
//	origin <origin>
//	kind same-size|prefix|empty-root|witness-equivocation|witness-rollback
//	witness <key name>+<key hash in hex>     in the witness-… kinds
//	alt-root <base64>                        where sizes differ, not in witness-rollback
//	proof <base64>                           with alt-root, 0 to 63 times
//	checkpoint <base64 of signed note A>
//	checkpoint <base64 of signed note B>     but in empty-root
//
// A is the smaller tree, or of two of one size the one with the smaller root.
// The notes are canonical: see Signed.
//
// What each kind shows:
//   - same-size: the log signed two roots for one size.
//   - prefix: the log signed A and B, and A is not a prefix of B. proof is the
//     consistency proof (RFC 6962, section 2.1.2) from alt-root, at A's size, to
//     B's root. A tree has one prefix of each size, so alt-root is B's, and it
//     is not A's root.
//   - empty-root: the log signed a root for size 0 that is not the empty tree's.
//   - witness-equivocation: the same as same-size or prefix, of two checkpoints
//     that one witness cosigned.
//   - witness-rollback: a witness cosigned B and, at a later time, A, which is
//     smaller. A cosignature says that no larger tree was seen.
//
// Invariants:
//   - Whatever Parse accepts, Marshal returns byte for byte: one evidence has
//     one text and one hash.
//   - Verify returns Proven only for signatures it has checked itself, with the
//     keys it was given. Its zero verdict is Unjudged.
//   - AgainstLog and AgainstWitness return nothing that Verify would not prove:
//     there is no other way to make an evidence, so no false accusation.
//   - The package does no I/O and reads no clock. What it takes is bounded by
//     MaxSize.
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxSize bounds the text of an evidence, in bytes: two notes of MaxNoteSize in
// base64, and the rest.
const MaxSize = 272 << 10

// Kind is what an evidence shows.
type Kind string

// The kinds.
const (
	KindSameSize            Kind = "same-size"
	KindPrefix              Kind = "prefix"
	KindEmptyRoot           Kind = "empty-root"
	KindWitnessEquivocation Kind = "witness-equivocation"
	KindWitnessRollback     Kind = "witness-rollback"
)

// Kinds returns all kinds.
func Kinds() []Kind {
	return []Kind{KindSameSize, KindPrefix, KindEmptyRoot, KindWitnessEquivocation, KindWitnessRollback}
}

// AccusesWitness reports whether a witness is accused, not the log.
func (k Kind) AccusesWitness() bool { return k == KindWitnessEquivocation || k == KindWitnessRollback }

// Prefix shows what the prefix of a tree is: the consistency proof from AltRoot
// to the tree's root.
type Prefix struct {
	AltRoot tlog.Hash
	Proof   []tlog.Hash
}

// Evidence is a parsed evidence.
type Evidence struct {
	Origin  string
	Kind    Kind
	Witness string  // the accused witness's KeyID
	Prefix  *Prefix // nil if sizes are equal, and for a rollback
	Notes   [][]byte
}

const (
	header   = "cairn.evidence/v1"
	maxProof = 63
	maxSigs  = 16 // on one note
)

// Marshal returns the text.
func (e *Evidence) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\norigin %s\nkind %s\n", header, e.Origin, e.Kind)
	if e.Witness != "" {
		fmt.Fprintf(&b, "witness %s\n", e.Witness)
	}
	if e.Prefix != nil {
		fmt.Fprintf(&b, "alt-root %s\n", e.Prefix.AltRoot)
		for _, h := range e.Prefix.Proof {
			fmt.Fprintf(&b, "proof %s\n", h)
		}
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "checkpoint %s\n", base64.StdEncoding.EncodeToString(n))
	}
	return b.Bytes()
}

// Hash is the name of an evidence: the SHA-256 of its text.
func (e *Evidence) Hash() [32]byte { return sha256.Sum256(e.Marshal()) }

// Subject is a hash of what contradicts what. Evidences with one subject differ
// in signatures or encoding only.
func (e *Evidence) Subject() [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", e.Origin, e.Kind, e.Witness)
	for _, n := range e.Notes {
		if s, err := openUnverified(n); err == nil {
			fmt.Fprintf(h, "%d %s\n", s.N, s.Hash)
		}
	}
	return [32]byte(h.Sum(nil))
}

// Parse parses the text of an evidence and checks its form. It checks no
// signature: see Verify.
func Parse(text []byte) (*Evidence, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("evidence of %d bytes, at most %d are allowed", len(text), MaxSize)
	}
	l := lines{rest: string(text)}
	if first, _ := l.next(""); first != header {
		return nil, fmt.Errorf("the first line is %.40q, want %q", first, header)
	}
	e := &Evidence{}
	e.Origin, _ = l.next("origin ")
	kind, _ := l.next("kind ")
	e.Kind = Kind(kind)
	e.Witness, _ = l.next("witness ")
	if root, ok := l.next("alt-root "); ok {
		e.Prefix = &Prefix{AltRoot: l.hash(root)}
		for h, ok := l.next("proof "); ok; h, ok = l.next("proof ") {
			e.Prefix.Proof = append(e.Prefix.Proof, l.hash(h))
		}
	}
	for n, ok := l.next("checkpoint "); ok; n, ok = l.next("checkpoint ") {
		e.Notes = append(e.Notes, l.base64(n))
	}
	if l.err != nil {
		return nil, l.err
	}
	if l.rest != "" {
		line, _, _ := strings.Cut(l.rest, "\n")
		return nil, fmt.Errorf("line %d, %.40q, is out of place", l.n+1, line)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	// What was read in another encoding than the one there is.
	if !bytes.Equal(e.Marshal(), text) {
		return nil, errors.New("the text is not canonical")
	}
	return e, nil
}

// lines cuts a text into lines, and remembers the first error.
type lines struct {
	rest string
	n    int
	err  error
}

// next returns the next line behind its word, if it begins with it.
func (l *lines) next(word string) (string, bool) {
	after, ok := strings.CutPrefix(l.rest, word)
	if !ok {
		return "", false
	}
	line, rest, ok := strings.Cut(after, "\n")
	if !ok {
		return "", false
	}
	l.rest = rest
	l.n++
	return line, true
}

func (l *lines) base64(s string) []byte {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil && l.err == nil {
		l.err = fmt.Errorf("line %d: decoding base64: %w", l.n, err)
	}
	return b
}

func (l *lines) hash(s string) tlog.Hash {
	b := l.base64(s)
	if len(b) != tlog.HashSize {
		if l.err == nil {
			l.err = fmt.Errorf("line %d: a hash of %d bytes", l.n, len(b))
		}
		return tlog.Hash{}
	}
	return tlog.Hash(b)
}

// check checks the form: that each line that the kind needs is there, no other
// is, and that the notes are canonical and in their order.
func (e *Evidence) check() error {
	notes := 2
	switch e.Kind {
	case KindEmptyRoot:
		notes = 1
	case KindSameSize, KindPrefix, KindWitnessEquivocation, KindWitnessRollback:
	default:
		return fmt.Errorf("unknown kind %.40q", e.Kind)
	}
	if len(e.Notes) != notes {
		return fmt.Errorf("%d checkpoints, kind %s has %d", len(e.Notes), e.Kind, notes)
	}
	if (e.Witness != "") != e.Kind.AccusesWitness() || strings.ContainsAny(e.Witness, "\r\n") {
		return fmt.Errorf("the line for the witness does not fit kind %s", e.Kind)
	}
	if e.Prefix != nil && len(e.Prefix.Proof) > maxProof {
		return fmt.Errorf("%d lines of proof, at most %d are allowed", len(e.Prefix.Proof), maxProof)
	}
	var signed []Signed
	for i, n := range e.Notes {
		s, err := openUnverified(n)
		if err != nil {
			return fmt.Errorf("reading checkpoint %d: %w", i+1, err)
		}
		if s.Origin != e.Origin {
			return fmt.Errorf("checkpoint %d is of %.120q", i+1, s.Origin)
		}
		signed = append(signed, s)
	}
	return e.checkOrder(signed)
}

func (e *Evidence) checkOrder(signed []Signed) error {
	a, b := signed[0], signed[len(signed)-1]
	sameSize := a.N == b.N
	ok := false
	switch e.Kind {
	case KindEmptyRoot:
		ok = a.N == 0 && e.Prefix == nil
	case KindSameSize:
		ok = sameSize && e.Prefix == nil
	case KindPrefix:
		ok = a.N < b.N && e.Prefix != nil
	case KindWitnessEquivocation:
		ok = a.N <= b.N && sameSize == (e.Prefix == nil)
	case KindWitnessRollback:
		ok = a.N < b.N && e.Prefix == nil
	}
	if ok && sameSize && len(signed) == 2 {
		ok = bytes.Compare(a.Hash[:], b.Hash[:]) < 0
	}
	if !ok {
		return fmt.Errorf("sizes %d and %d, their order, or the proof do not fit kind %s", a.N, b.N, e.Kind)
	}
	return nil
}

// openUnverified parses a canonical note without checking its signatures.
func openUnverified(msg []byte) (Signed, error) {
	if len(msg) > MaxNoteSize {
		return Signed{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(msg), MaxNoteSize)
	}
	_, err := note.Open(msg, nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return Signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	n := unverified.Note
	if len(n.UnverifiedSigs) > maxSigs {
		return Signed{}, fmt.Errorf("%w: %d signatures, at most %d are allowed", ErrMalformed, len(n.UnverifiedSigs), maxSigs)
	}
	s, err := newSigned(n.Text, n.UnverifiedSigs)
	if err != nil {
		return Signed{}, err
	}
	for i, sig := range s.Sigs[1:] {
		if sig.Name == s.Sigs[i].Name && sig.Hash == s.Sigs[i].Hash {
			return Signed{}, fmt.Errorf("%w: two signatures by %s+%08x", ErrMalformed, sig.Name, sig.Hash)
		}
	}
	if !bytes.Equal(s.Note(), msg) {
		return Signed{}, fmt.Errorf("%w: its signatures are not canonical", ErrMalformed)
	}
	return s, nil
}
