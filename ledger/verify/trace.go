package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Limits of one trace.
const (
	MaxNodes = 20_000 // artifacts that are looked at
	MaxDepth = 1000   // steps from the artifact down
)

// Verdict is what is known of an artifact's rebuilds. Its zero value is
// unproven, never a good one.
type Verdict int

// The verdicts.
const (
	VerdictUnproven   Verdict = iota // too few operators obtained it, or its ancestry is not proven
	VerdictReproduced                // enough did, from materials that are good themselves
	VerdictDiffers                   // an operator who counts obtained something else
	VerdictFailed                    // an operator who counts could not build it
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

// Claim is a logged claim that was verified.
type Claim struct {
	Entry     string // origin#index
	Claim     attest.Claim
	Operators []string // behind the keys that signed, as enrolled
}

// Evidence finds the verified claims that are about an artifact.
type Evidence func(ctx context.Context, artifact leaf.Digest) ([]Claim, error)

// Rules are what a trace counts by.
type Rules struct {
	// Quorum is how many operators must have obtained an artifact; at least 1.
	Quorum int
	// Operators are those that count; if empty, all whose keys are enrolled.
	Operators []string
	// Seeds are the binaries that an ancestry may end in. If it is empty, every
	// material that claims call a seed is one, and the trace says so.
	Seeds []leaf.Digest
}

func (r *Rules) counts(operator string) bool {
	return len(r.Operators) == 0 || slices.Contains(r.Operators, operator)
}

// Node is an artifact in an ancestry.
type Node struct {
	Digest leaf.Digest `json:"digest"`
	Name   string      `json:"name,omitempty"` // in the words of claims
	Role   string      `json:"role,omitempty"` // of the material it is to the node above
	// Verdict is that of an artifact that is built. Sources and seeds, which are
	// pinned by their digest, have none: Pinned says so.
	Verdict Verdict  `json:"verdict"`
	Pinned  bool     `json:"pinned"`
	Reasons []string `json:"reasons"`
	// Operators obtained the artifact by building it, from good materials.
	Operators []string `json:"operators"`
	Entries   []string `json:"entries"` // of their claims
	Dissent   []string `json:"dissent"` // entries that say otherwise
	// Materials are those of the claims that count. An artifact that was met
	// before has none here, and Seen set.
	Materials []*Node `json:"materials"`
	Seen      bool    `json:"seen,omitempty"`
}

// Good reports whether a build may rest on the node.
func (n *Node) Good() bool { return n.Pinned || n.Verdict == VerdictReproduced }

// Trace follows an artifact's materials down to sources and seeds, and returns
// its ancestry with a verdict on every node:
//
//	good(artifact) = quorum(artifact) and, for each material of a claim that
//	counts: a source is pinned by its digest, a seed is one of the rules', and
//	anything else is good itself
//
// A claim counts if its operator does, if it obtained the artifact by building
// it, and if all of its materials are good. A cycle is never good. An error is
// one of evidence or of a limit, not a verdict.
func Trace(ctx context.Context, artifact leaf.Digest, rules Rules, evidence Evidence) (*Node, error) {
	if rules.Quorum < 1 {
		return nil, errors.New("a quorum of less than 1 operator proves nothing")
	}
	t := &tracer{rules: rules, evidence: evidence, done: make(map[leaf.Digest]*Node), open: make(map[leaf.Digest]bool)}
	return t.artifact(ctx, artifact, attest.Resource{})
}

type tracer struct {
	rules    Rules
	evidence Evidence
	done     map[leaf.Digest]*Node
	open     map[leaf.Digest]bool // on the way down to here
}

// artifact returns the node of something that is built.
func (t *tracer) artifact(ctx context.Context, d leaf.Digest, as attest.Resource) (*Node, error) {
	n := &Node{Digest: d, Name: as.Name, Role: as.Role, Reasons: []string{}, Operators: []string{}, Entries: []string{}, Dissent: []string{}, Materials: []*Node{}}
	if first := t.done[d]; first != nil {
		n.Verdict, n.Operators, n.Entries, n.Dissent, n.Reasons, n.Seen = first.Verdict, first.Operators, first.Entries, first.Dissent, first.Reasons, true
		if n.Name == "" {
			n.Name = first.Name
		}
		return n, nil
	}
	if t.open[d] {
		n.Reasons = append(n.Reasons, "it is made from itself: a cycle")
		return n, nil
	}
	if len(t.done) >= MaxNodes {
		return nil, fmt.Errorf("the ancestry has more than %d artifacts", MaxNodes)
	}
	if len(t.open) >= MaxDepth {
		return nil, fmt.Errorf("the ancestry is deeper than %d steps", MaxDepth)
	}
	t.open[d] = true
	defer delete(t.open, d)
	claims, err := t.evidence(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("finding what is known of %s: %w", d, err)
	}
	for i := range claims {
		if err := t.weigh(ctx, n, &claims[i]); err != nil {
			return nil, err
		}
	}
	t.judge(n, len(claims))
	t.done[d] = n
	return n, nil
}

// weigh adds one claim to a node.
func (t *tracer) weigh(ctx context.Context, n *Node, c *Claim) error {
	if !isSubject(c, n.Digest) {
		return nil
	}
	if n.Name == "" {
		n.Name = nameOf(c, n.Digest)
	}
	operators := slices.DeleteFunc(slices.Clone(c.Operators), func(o string) bool { return !t.rules.counts(o) })
	if len(operators) == 0 {
		return nil
	}
	switch {
	case c.Claim.Result == leaf.Different, c.Claim.Result == leaf.BuildFailed:
		n.Dissent = append(n.Dissent, c.Entry)
		n.Reasons = append(n.Reasons, fmt.Sprintf("%s says %s in entry %s", strings.Join(operators, ", "), c.Claim.Result, c.Entry))
		if n.Verdict != VerdictDiffers {
			n.Verdict = VerdictFailed
			if c.Claim.Result == leaf.Different {
				n.Verdict = VerdictDiffers
			}
		}
		return nil
	case !obtained(&c.Claim):
		return nil
	}
	bad, err := t.materials(ctx, n, c)
	if err != nil {
		return err
	}
	if bad != "" {
		n.Reasons = append(n.Reasons, fmt.Sprintf("entry %s does not count: %s", c.Entry, bad))
		return nil
	}
	n.Entries = append(n.Entries, c.Entry)
	n.Operators = append(n.Operators, operators...)
	slices.Sort(n.Operators)
	n.Operators = slices.Compact(n.Operators)
	return nil
}

// obtained reports whether a claim says that the artifact itself, or an equal
// one, was obtained by building it. What was fetched counts for nothing.
func obtained(c *attest.Claim) bool {
	switch c.Claim {
	case leaf.ClaimBuild:
		return true
	case leaf.ClaimReproduction:
		return c.Obtained == attest.Built && (c.Result == leaf.Identical || c.Result == leaf.Equivalent)
	}
	return false
}

func isSubject(c *Claim, d leaf.Digest) bool {
	return slices.ContainsFunc(c.Claim.Subjects, func(r attest.Resource) bool { return slices.Contains(r.Strong(), d) })
}

func nameOf(c *Claim, d leaf.Digest) string {
	for _, r := range c.Claim.Subjects {
		if slices.Contains(r.Strong(), d) {
			return r.Name
		}
	}
	return ""
}

// materials adds the materials of a claim to a node, each once, and returns
// what is wrong with the first that is not good.
func (t *tracer) materials(ctx context.Context, n *Node, c *Claim) (bad string, err error) {
	if len(c.Claim.Materials) == 0 {
		return "it names no material", nil
	}
	for i := range c.Claim.Materials {
		m, err := t.material(ctx, n, &c.Claim.Materials[i])
		if err != nil {
			return "", err
		}
		if !m.Good() && bad == "" {
			bad = fmt.Sprintf("%s is %s", described(m), m.Verdict)
			if m.Role == roleSource || m.Role == roleSeed {
				bad = fmt.Sprintf("%s %s", described(m), strings.Join(m.Reasons, ", "))
			}
		}
	}
	return bad, nil
}

func described(n *Node) string {
	role := n.Role
	if role == "" {
		role = "material"
	}
	return fmt.Sprintf("%s %q", role, n.Name)
}

const (
	roleSource = "source"
	roleSeed   = "seed"
)

// material returns the node of a material, which it adds to n if it is new.
func (t *tracer) material(ctx context.Context, n *Node, r *attest.Resource) (*Node, error) {
	digests := r.Strong()
	if len(digests) == 0 {
		m := &Node{Name: r.Name, Role: r.Role, Reasons: []string{"is not pinned by a sha256 or sha512"}, Operators: []string{}, Entries: []string{}, Dissent: []string{}, Materials: []*Node{}}
		n.Materials = append(n.Materials, m)
		return m, nil
	}
	d := digests[0]
	for _, m := range n.Materials {
		if m.Digest == d && m.Role == r.Role {
			return m, nil
		}
	}
	m := &Node{Digest: d, Name: r.Name, Role: r.Role, Reasons: []string{}, Operators: []string{}, Entries: []string{}, Dissent: []string{}, Materials: []*Node{}}
	switch {
	case r.Role == roleSource:
		m.Pinned = true
	case r.Role == roleSeed:
		m.Pinned = len(t.rules.Seeds) == 0 || slices.Contains(t.rules.Seeds, d)
		if !m.Pinned {
			m.Reasons = append(m.Reasons, "is not a seed of the rules")
		}
	default:
		var err error
		if m, err = t.artifact(ctx, d, *r); err != nil {
			return nil, err
		}
	}
	n.Materials = append(n.Materials, m)
	return m, nil
}

// judge sets the verdict of a node whose claims are weighed. Dissent stands.
func (t *tracer) judge(n *Node, claims int) {
	switch {
	case n.Verdict != VerdictUnproven:
	case len(n.Operators) >= t.rules.Quorum:
		n.Verdict = VerdictReproduced
	case len(n.Entries) == 0 && len(n.Reasons) == 0:
		n.Verdict = VerdictUntried
		n.Reasons = append(n.Reasons, fmt.Sprintf("nothing that counts is logged of it, of %d claims", claims))
	default:
		n.Reasons = append(n.Reasons, fmt.Sprintf("%d of %d operators obtained it", len(n.Operators), t.rules.Quorum))
	}
}
