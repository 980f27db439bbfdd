package verify

import (
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Verdict is what is known of an artifact's rebuilds. Its zero value is
// unproven, never a good one.
type Verdict int

// The verdicts.
const (
	VerdictUnproven   Verdict = iota // too few operators obtained it, or its ancestry is not proven
	VerdictReproduced                // enough did, from materials that are good themselves
	VerdictDiffers                   // more operators than are tolerated obtained something else
	VerdictFailed                    // nobody who counts obtained it, and one could not build it
	VerdictUntried                   // nobody who counts logged a build of it
)

var verdicts = [...]string{"unproven", "reproduced", "differs", "failed", "untried"}

// String returns the word that JSON has.
func (v Verdict) String() string {
	if v < 0 || int(v) >= len(verdicts) {
		return verdicts[VerdictUnproven]
	}
	return verdicts[v]
}

// MarshalText implements encoding.TextMarshaler.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Verdict) UnmarshalText(b []byte) error {
	for i, word := range verdicts {
		if word == string(b) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("unknown verdict %.40q", b)
}

// Node is an artifact in an ancestry. The lists are never nil.
type Node struct {
	Digest leaf.Digest `json:"digest,omitempty"` // empty for what is pinned by no strong digest
	Name   string      `json:"name,omitempty"`   // in the words of claims
	Names  []string    `json:"names"`            // look-up names: of the asker, and of claims that are heard
	Role   string      `json:"role,omitempty"`   // of the material it is to the node above
	// Verdict is that of an artifact that is built. Sources and seeds, which are
	// pinned by their digest, have none: Pinned says so.
	Verdict Verdict `json:"verdict"`
	Pinned  bool    `json:"pinned"`
	// Accepted is whether a build may rest on the node: it is pinned, reproduced,
	// or excepted.
	Accepted bool `json:"accepted"`
	// Unstated is set for what is reproduced although nobody who is heard says
	// what it was made from: nothing is known of its ancestry.
	Unstated  bool       `json:"unstated,omitempty"`
	Exception *Exception `json:"exception,omitempty"`
	Reasons   []string   `json:"reasons"` // why it is not reproduced
	// Operators obtained the artifact by building it, from good materials.
	Operators     []Operator     `json:"operators"`
	Dissent       []Dissent      `json:"dissent"`
	Equivocations []Equivocation `json:"equivocations"`
	Quorum        *policyQuorum  `json:"quorum,omitempty"` // nil for what is not built
	// Materials are those of the claims that obtained it, each once. An artifact
	// is expanded at one place of the tree, the nearest to the root. Elsewhere,
	// and for an exception that others rest on, it has none, and Seen is set
	// where another place has them.
	Materials []*Node `json:"materials"`
	Seen      bool    `json:"seen,omitempty"`
}

type policyQuorum = policy.RebuildExplanation

// Operator is one operator who counts for an artifact.
type Operator struct {
	Operator   string   `json:"operator"`
	Rebuilders []string `json:"rebuilders"` // names of the policy, sorted; none without a policy
	Entries    []string `json:"entries"`    // origin#index of its claims, in log order
}

// Dissent is a claim of somebody who is heard and did not obtain the artifact.
type Dissent struct {
	Operator  string      `json:"operator"`
	Rebuilder string      `json:"rebuilder,omitempty"` // name of the policy
	Result    leaf.Result `json:"result"`              // DIFFERENT or BUILD_FAILED
	Entry     string      `json:"entry"`
}

// Equivocation is two claims of one key that say that the same inputs gave
// different outputs.
type Equivocation struct {
	Operator string           `json:"operator"`
	Key      leaf.Fingerprint `json:"key"`
	Name     string           `json:"name"`    // of what was built
	Entries  []string         `json:"entries"` // in log order
}

// Exception is an except line that holds for an artifact.
type Exception struct {
	Glob   string    `json:"for"`
	Until  time.Time `json:"until"` // the first instant at which it does not hold any more
	Reason string    `json:"reason"`
}

// String returns the exception in one line.
func (e *Exception) String() string {
	last := e.Until.Add(-time.Nanosecond).UTC().Format(time.DateOnly)
	return fmt.Sprintf("to the end of %s, by the policy's line for %s: %s", last, e.Glob, e.Reason)
}
