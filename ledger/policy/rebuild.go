package policy

import (
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Rebuilder is one rebuilder line: a key whose claims are heard, and who is
// behind it by the word of the policy's author.
type Rebuilder struct {
	Name      string
	Key       leaf.Fingerprint
	Operator  string
	CPUVendor string // empty if the line does not say
	Country   string // empty if the line does not say
}

// Exception is one except line.
type Exception struct {
	Glob   string
	Until  time.Time // the first instant at which it does not hold any more
	Reason string
}

// Vote is one key of the policy that obtained an artifact by building it.
type Vote struct {
	Key leaf.Fingerprint
	// As attested; where the rebuilder line says otherwise, the line is right.
	CPUVendor, Engine, Country string
}

// Rebuilders returns the rebuilders in the order of the policy.
func (p *Policy) Rebuilders() []Rebuilder { return nil }

// Rebuilder returns the rebuilder line of a key.
func (p *Policy) Rebuilder(key leaf.Fingerprint) (Rebuilder, bool) { return Rebuilder{}, false }

// Seeds returns the binaries that an ancestry may end in.
func (p *Policy) Seeds() []leaf.Digest { return nil }

// Tolerates returns how many operators may dissent: 0 unless the policy says so.
func (p *Policy) Tolerates() int { return 0 }

// MaxAge returns how old cosignatures may be, or 0 if that does not matter.
func (p *Policy) MaxAge() time.Duration { return 0 }

// Exception returns the exception that holds at a time for an artifact of one of
// these names.
func (p *Policy) Exception(names []string, at time.Time) (Exception, bool) {
	return Exception{}, false
}

// Rebuilt decides whether votes are enough for an artifact that goes by these
// names, which may be none: every quorum that one of its names asks for must be
// met, or else the one for all, and every distinct line.
func (p *Policy) Rebuilt(names []string, votes []Vote) RebuildExplanation {
	return RebuildExplanation{Missing: []string{"a rebuild-quorum line"}}
}

// RebuildExplanation says which of the lines about rebuilders votes satisfy.
type RebuildExplanation struct {
	Satisfied bool             `json:"satisfied"`
	Quorums   []RebuildQuorum  `json:"quorums"`
	Distinct  []DistinctStatus `json:"distinct"`
	// Missing says what would have to be added. It is empty if and only if
	// Satisfied.
	Missing []string `json:"missing"`
}

// RebuildQuorum is a rebuild-quorum line and how it stands.
type RebuildQuorum struct {
	For  string `json:"for,omitempty"` // the glob; empty for the quorum for all
	Node Node   `json:"node"`
}

// DistinctStatus is a distinct line and how it stands.
type DistinctStatus struct {
	What string   `json:"what"` // operator, cpu-vendor, engine or country
	Have []string `json:"have"` // the values, sorted
	Need int      `json:"need"`
}
