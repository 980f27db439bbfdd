package verify

import (
	"errors"
	"time"

	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Question is what is asked about an artifact.
type Question struct {
	Artifact leaf.Digest
	Names    []string // canonical purls by which the asker knows it; may be none
	Policy   *policy.Policy
	// At is the time at which the policy's dates and ages are judged.
	At time.Time
}

// Evidence is claims that were verified against a log that a policy believes.
type Evidence struct{}

// Open verifies every entry of a bundle. Its errors say which entry is wrong; of
// a bundle with one wrong entry, nothing is believed.
func Open(b *bundle.Bundle, pol *policy.Policy, at time.Time) (*Evidence, error) {
	return nil, errors.New("opening a bundle: not written yet")
}

// Artifact decides whether an artifact was rebuilt by enough operators, and all
// that it is made from, down to pinned sources and seeds.
func Artifact(q Question, ev *Evidence) *Report { return &Report{} }

// Report is the answer of Artifact, the same for text and JSON.
type Report struct {
	Schema   string      `json:"schema"` // cairn/verify/v1
	Verdict  Verdict     `json:"verdict"`
	Accepted bool        `json:"accepted"` // reproduced, or excepted by the policy
	Artifact leaf.Digest `json:"artifact"`
	Names    []string    `json:"names"`
	Reasons  []string    `json:"reasons"` // why it is not accepted
	Ancestry *Node       `json:"ancestry"`
}
