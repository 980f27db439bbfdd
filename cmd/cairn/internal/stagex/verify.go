package stagex

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Schema is that of a Report in JSON.
const Schema = "cairn/stagex-verify/v1"

// Problem is what is wrong with a file that gives no vote.
type Problem string

// The problems. The first two contradict what the file says of itself.
const (
	Misplaced Problem = "misplaced" // over something else than its path says
	Forged    Problem = "forged"    // names a known key, and does not verify by it
	Renamed   Problem = "renamed"   // of an image of the same digest and another name
	Foreign   Problem = "foreign"   // by a key that is nobody's who counts
	Expired   Problem = "expired"   // it, or its key, was not valid at the time
	Invalid   Problem = "invalid"   // no signature that can count, for another reason
)

// Contradicts reports whether a file says something false of itself.
func (p Problem) Contradicts() bool { return p == Misplaced || p == Forged }

// Signature is a signature that verified.
type Signature struct {
	Name   string // as it was signed, with its host and without a tag
	Digest leaf.Digest
	Keys   []leaf.Fingerprint // primary keys, each of which signed
}

// Verifier verifies signatures.
type Verifier interface {
	// Verify verifies a signed message as of a time, or of its own if that is zero.
	// Refusals are *reason.Error.
	Verify(raw []byte, at time.Time) (*Signature, error)
}

// Report says who signed what.
type Report struct {
	Schema         string      `json:"schema"`
	Tree           string      `json:"tree"`
	Signatures     string      `json:"signatures"`
	At             *time.Time  `json:"at,omitempty"`
	Threshold      int         `json:"threshold"`
	Maintainers    []string    `json:"maintainers"` // whose keys are at hand
	Met            int         `json:"met"`         // images that enough maintainers signed
	Unmet          int         `json:"unmet"`
	Contradictions int         `json:"contradictions"` // files
	Images         []*Approval `json:"images"`
}

// Approval says who signed an image.
type Approval struct {
	Name    string      `json:"name"`
	Digest  leaf.Digest `json:"digest"`
	Met     bool        `json:"met"`
	Signers []string    `json:"signers"` // persons, each once
	// Repeated is how many more files have a signature of one of these persons.
	Repeated int       `json:"repeated,omitempty"`
	Ignored  []Ignored `json:"ignored,omitempty"`
}

// Ignored is a file that gives no vote.
type Ignored struct {
	File    string  `json:"file"`
	Problem Problem `json:"problem"`
	Message string  `json:"message"`
}

// Tally is what is to be counted.
type Tally struct {
	Images      []Image
	Store       Store
	Verifier    Verifier
	Maintainers Maintainers // nil: each key is a person
	Threshold   int
	At          time.Time // zero: each signature as of its own time
}

// Count verifies the signatures of all images, and counts the maintainers.
func (t *Tally) Count(ctx context.Context) (*Report, error) {
	r := &Report{Schema: Schema, Signatures: t.Store.String(), Threshold: t.Threshold}
	if !t.At.IsZero() {
		r.At = &t.At
	}
	byDigest := make(map[leaf.Digest][]*Approval)
	for _, i := range t.Images {
		a := &Approval{Name: i.Name, Digest: i.Digest, Signers: []string{}}
		r.Images = append(r.Images, a)
		byDigest[i.Digest] = append(byDigest[i.Digest], a)
	}
	for f, err := range t.Store.Files(ctx, t.Images, func(string) bool { return false }) {
		if err != nil {
			return nil, err
		}
		if f.Err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Path, f.Err)
		}
		persons, ignored := t.votes(&f)
		if ignored != nil && ignored.Problem.Contradicts() {
			r.Contradictions++
		}
		for _, a := range byDigest[f.Image.Digest] {
			if ignored == nil && a.Name != f.Image.Name {
				a.add(nil, &Ignored{File: f.Path, Problem: Renamed, Message: "it is of " + f.Image.Name})
				continue
			}
			a.add(persons, ignored)
		}
	}
	for _, a := range r.Images {
		slices.Sort(a.Signers)
		if a.Met = len(a.Signers) >= t.Threshold; a.Met {
			r.Met++
		} else {
			r.Unmet++
		}
	}
	return r, nil
}

// add adds the votes of a file, or why it has none. Who voted before is counted
// as repeated.
func (a *Approval) add(persons []string, ignored *Ignored) {
	if ignored != nil {
		a.Ignored = append(a.Ignored, *ignored)
		return
	}
	fresh := false
	for _, p := range persons {
		if !slices.Contains(a.Signers, p) {
			a.Signers, fresh = append(a.Signers, p), true
		}
	}
	if !fresh {
		a.Repeated++
	}
}

// votes returns the persons who signed what a file's path says.
func (t *Tally) votes(f *File) ([]string, *Ignored) {
	ignore := func(p Problem, format string, args ...any) ([]string, *Ignored) {
		return nil, &Ignored{File: f.Path, Problem: p, Message: fmt.Sprintf(format, args...)}
	}
	s, err := t.Verifier.Verify(f.Raw, t.At)
	if err != nil {
		return ignore(problemOf(err), "%v", err)
	}
	if s.Digest != f.Image.Digest {
		return ignore(Misplaced, "it is over %s, and its path says %s", s.Digest, f.Image.Digest)
	}
	// The host is that of whoever asks for the image.
	if !strings.HasSuffix("/"+s.Name, "/"+Registry+"/"+f.Image.Name) {
		return ignore(Misplaced, "it is of the image %s, and its path says %s/%s", s.Name, Registry, f.Image.Name)
	}
	var persons []string
	for _, fp := range s.Keys {
		if p, ok := t.Maintainers.Person(fp); ok {
			persons = append(persons, p)
		}
	}
	if len(persons) == 0 {
		return ignore(Foreign, "key %s is no maintainer's", s.Keys[0])
	}
	return persons, nil
}

// ErrExpired is wrapped by errors of a Verifier about what was not valid at the
// time that was asked about.
var ErrExpired = errors.New("not valid at that time")

func problemOf(err error) Problem {
	if errors.Is(err, ErrExpired) {
		return Expired
	}
	refusal, ok := reason.Of(err)
	switch {
	case ok && refusal.Reason == reason.SignatureInvalid:
		return Forged
	case ok && refusal.Reason == reason.KeyNotEnrolled:
		return Foreign
	case ok && refusal.Reason == reason.KeyNotValid:
		return Expired
	}
	return Invalid
}
