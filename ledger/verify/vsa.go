package verify

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// PredicateSummary is the predicate of SLSA's verification summaries (VSA), and
// SLSAVersion the version of the specification that Summary follows.
const (
	PredicateSummary = "https://slsa.dev/verification_summary/v1"
	SLSAVersion      = "1.2"
)

// The levels of a summary, beside SLSA's. SLSA lets verifiers have their own if
// they do not begin with SLSA_.
const (
	LevelReproduced = "CAIRN_REPRODUCED" // by the policy, down to sources and seeds
	LevelUnstated   = "CAIRN_REBUILT"    // by the policy, but nobody states from what
	LevelExcepted   = "CAIRN_EXCEPTED"   // by a line of the policy, not reproduced
	LevelSource     = "CAIRN_SOURCE"     // a source that is pinned by its digest
	LevelSeed       = "CAIRN_SEED"       // a seed of the policy
	levelFailed     = "FAILED"
	// Cairn says nothing of SLSA's build track.
	levelUnevaluated = "SLSA_BUILD_LEVEL_UNEVALUATED"
)

// SummaryBy is who makes a summary, and by what.
type SummaryBy struct {
	Verifier  string    // absolute URI of who verified
	PolicyURI string    // of the policy; if empty, its digest stands for it
	Policy    []byte    // the policy's text
	At        time.Time // when it was verified
}

// summary is the predicate of a VSA.
type summary struct {
	Verifier           verifierID                  `json:"verifier"`
	TimeVerified       string                      `json:"timeVerified"`
	ResourceURI        string                      `json:"resourceUri"`
	Policy             attest.ResourceDescriptor   `json:"policy"`
	InputAttestations  []attest.ResourceDescriptor `json:"inputAttestations,omitempty"`
	VerificationResult string                      `json:"verificationResult"`
	VerifiedLevels     []string                    `json:"verifiedLevels"`
	DependencyLevels   map[string]int              `json:"dependencyLevels,omitempty"`
	SLSAVersion        string                      `json:"slsaVersion"`
}

type verifierID struct {
	ID string `json:"id"`
}

// Summary returns a report as a SLSA verification summary, to be signed. It says
// PASSED if and only if the artifact is accepted. The resource is what the asker
// named, or else the digest: what others call the artifact is not vouched for.
func Summary(r *Report, by SummaryBy) (*attest.Statement, error) {
	if r == nil || !r.Artifact.Valid() {
		return nil, errors.New("summing up: there is no verdict about an artifact")
	}
	if u, err := url.Parse(by.Verifier); err != nil || !u.IsAbs() {
		return nil, fmt.Errorf("summing up: verifier %.80q is not an absolute URI", by.Verifier)
	}
	if len(by.Policy) == 0 || !r.byPolicy {
		return nil, errors.New("summing up: the verdict is not by a policy")
	}
	digest := leaf.SHA256(by.Policy)
	s := &summary{
		Verifier:           verifierID{by.Verifier},
		TimeVerified:       timeText(by.At),
		ResourceURI:        string(r.Artifact),
		Policy:             attest.ResourceDescriptor{URI: by.PolicyURI, Digest: digestSet(digest)},
		VerificationResult: "FAILED",
		VerifiedLevels:     []string{levelFailed},
		DependencyLevels:   r.dependencyLevels(),
		SLSAVersion:        SLSAVersion,
	}
	if by.PolicyURI == "" {
		s.Policy.URI = string(digest)
	}
	if r.asked != "" {
		s.ResourceURI = r.asked
	}
	if r.Accepted {
		s.VerificationResult = "PASSED"
		s.VerifiedLevels = []string{r.level(), levelUnevaluated}
	}
	for _, a := range r.Attestations {
		s.InputAttestations = append(s.InputAttestations, attest.ResourceDescriptor{Name: a.Entry, Digest: digestSet(a.Envelope)})
	}
	return attest.NewStatement(PredicateSummary, s, attest.ResourceDescriptor{
		Name: s.ResourceURI, URI: r.asked, Digest: digestSet(r.Artifact),
	})
}

// level returns the level of the artifact itself.
func (r *Report) level() string {
	switch {
	case r.Verdict == VerdictReproduced && r.Ancestry.Unstated:
		return LevelUnstated
	case r.Verdict == VerdictReproduced:
		return LevelReproduced
	case r.Accepted:
		return LevelExcepted
	}
	return levelFailed
}

// dependencyLevels counts what the artifact is made from, each once, without
// itself.
func (r *Report) dependencyLevels() map[string]int {
	c := r.Counts
	levels := map[string]int{
		LevelReproduced: c.Reproduced - c.Unstated, LevelUnstated: c.Unstated, LevelExcepted: c.Excepted,
		LevelSource: c.Sources, LevelSeed: c.Seeds,
		levelFailed: c.Artifacts - c.Reproduced - c.Excepted + c.Refused,
	}
	levels[r.level()]--
	for level, n := range levels {
		if n <= 0 {
			delete(levels, level)
		}
	}
	return levels
}

func digestSet(d leaf.Digest) map[string]string {
	return map[string]string{algorithm(d): d.Hex()}
}
