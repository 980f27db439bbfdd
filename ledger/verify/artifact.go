package verify

import (
	"slices"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Question is what is asked about an artifact.
type Question struct {
	Artifact leaf.Digest
	Names    []string // canonical purls by which the asker knows it; may be none
	// Policy says whom to believe. It must be the one that the evidence was
	// opened with, at the same time.
	Policy *policy.Policy
	// Rules, if they are given, count instead of the policy's lines about
	// rebuilders. Without both, nothing is proven.
	Rules *Rules
	// At is the time at which the policy's dates and ages are judged.
	At time.Time
}

// Rules are the simple ones, for whoever has no policy.
type Rules struct {
	// Quorum is how many operators must have obtained an artifact; at least 1.
	Quorum int
	// Operators are those that count, as their keys' enrolments name them; if
	// empty, all whose keys are enrolled.
	Operators []string
	// Seeds are the binaries that an ancestry may end in. If it is empty, every
	// material that claims call a seed is one.
	Seeds []leaf.Digest
}

// Report is the answer of Artifact, the same for text and JSON. The lists are
// never nil.
type Report struct {
	Schema    string      `json:"schema"` // cairn/verify/v1
	Verdict   Verdict     `json:"verdict"`
	Accepted  bool        `json:"accepted"` // reproduced, or excepted by the policy
	Exception *Exception  `json:"exception,omitempty"`
	Artifact  leaf.Digest `json:"artifact"`
	Name      string      `json:"name,omitempty"` // for people
	Names     []string    `json:"names"`          // look-up names: the asker's, and of claims that are heard
	Reasons   []string    `json:"reasons"`        // why it is not reproduced
	At        time.Time   `json:"at"`
	Log       LogState    `json:"log"`
	Witnesses Witnesses   `json:"witnesses"`

	Quorum        *policy.RebuildExplanation `json:"quorum,omitempty"` // nil if it was not asked
	Operators     []Operator                 `json:"operators"`
	Dissent       []Dissent                  `json:"dissent"`
	Equivocations []Equivocation             `json:"equivocations"` // about the artifact, then about its ancestry
	Counts        Counts                     `json:"counts"`
	// Attestations are all that was heard about the artifact and its ancestry.
	Attestations []Heard `json:"attestations"`
	Ancestry     *Node   `json:"ancestry"` // never nil

	asked    string // the first name that the asker gave, canonical
	byPolicy bool   // and not by simple rules
}

// LogState is the newest checkpoint of the evidence.
type LogState struct {
	Origin string `json:"origin"`
	Size   int64  `json:"checkpointSize"`
	// Time is how old it is by its cosignatures: the latest time from which on
	// they satisfy the quorum. It is nil for a quorum that asks for none.
	Time *time.Time `json:"checkpointTime,omitempty"`
	// SignatureChecked is false for evidence that was opened without a policy.
	SignatureChecked bool `json:"signatureChecked"`
}

// Counts says how many different artifacts an ancestry has, the artifact itself
// among them.
type Counts struct {
	Artifacts  int `json:"artifacts"` // that are built; the verdicts below add up to it
	Reproduced int `json:"reproduced"`
	Differs    int `json:"differs"`
	Failed     int `json:"failed"`
	Unproven   int `json:"unproven"`
	Untried    int `json:"untried"`
	Excepted   int `json:"excepted"` // of these, not reproduced but accepted
	Unstated   int `json:"unstated"` // of these, reproduced from what nobody states
	Sources    int `json:"sources"`  // pinned
	Seeds      int `json:"seeds"`    // that the policy has
	Refused    int `json:"refused"`  // materials that are not pinned, and other seeds
}

// Heard is an attestation that a report rests on.
type Heard struct {
	Entry    string      `json:"entry"`
	Envelope leaf.Digest `json:"envelope"`
}

// Exit returns the exit code for the verdict.
func (r *Report) Exit() int {
	switch {
	case r.Accepted:
		return reason.ExitYes
	case r.Verdict == VerdictDiffers || r.Verdict == VerdictFailed:
		return reason.ExitNo
	}
	return reason.ExitUnproven
}

// Artifact decides whether an artifact was rebuilt by enough operators, and all
// that it is made from, down to pinned sources and seeds:
//
//	good(artifact) = excepted(artifact), or not differs(artifact) and
//	quorum(artifact) and, for each material of a claim that counts: a source is
//	pinned by its digest, a seed is one of the policy's, and anything else is
//	good itself
//
// A claim counts if its key is a rebuilder's, if it obtained the artifact by
// building it, and if all of its materials are good. One that names none counts
// only for a policy that has no seed, and there beside one that counts, or where
// nobody names any. What is good only by itself is not: of a cycle, only those are
// good that are so without it.
//
// The answer is a function of the question and the evidence. It is never an
// error: what cannot be decided is unproven.
func Artifact(q Question, ev *Evidence) *Report {
	r := newReport(&q, ev)
	by, why := rulesOf(&q, ev)
	if why != "" {
		r.unproven(why)
		return r
	}
	r.byPolicy = q.Rules == nil
	g := newGraph(&q, by, ev)
	if err := g.collect(); err != nil {
		r.unproven(err.Error())
		return r
	}
	g.settle()
	r.fill(g)
	return r
}

func newReport(q *Question, ev *Evidence) *Report {
	r := &Report{
		Schema: Schema, Artifact: q.Artifact, Names: lookupNames(q.Names), Reasons: []string{}, At: q.At,
		Operators: []Operator{}, Dissent: []Dissent{}, Equivocations: []Equivocation{}, Attestations: []Heard{},
		Ancestry: newNode(q.Artifact),
	}
	for _, name := range q.Names {
		if purl, err := attest.CanonicalPurl(name); err == nil {
			r.Name, r.asked = purl, purl
			break
		}
	}
	if ev != nil {
		r.Log, r.Witnesses = ev.log, ev.witnesses
	}
	return r
}

func (r *Report) unproven(why string) {
	r.Reasons = append(r.Reasons, why)
	r.Ancestry.Reasons = slices.Clone(r.Reasons)
}
