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

// Claims finds the verified claims that are about an artifact.
type Claims func(ctx context.Context, artifact leaf.Digest) ([]Claim, error)

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
// it, and if all of its materials are good. What is good only by itself is not:
// of a cycle, only those are good that are so without it. An error is one of
// evidence or of a limit, not a verdict.
func Trace(ctx context.Context, artifact leaf.Digest, rules Rules, evidence Claims) (*Node, error) {
	if rules.Quorum < 1 {
		return nil, errors.New("a quorum of less than 1 operator proves nothing")
	}
	t := &tracer{rules: rules, evidence: evidence, known: make(map[leaf.Digest]*artifactClaims), open: make(map[leaf.Digest]bool), drawn: make(map[leaf.Digest]*Node)}
	if err := t.collect(ctx, artifact, 0); err != nil {
		return nil, err
	}
	t.settle()
	return t.artifact(artifact, attest.Resource{}), nil
}

// tracer first collects what is known of each artifact, then settles which are
// good, and then draws the tree: so a verdict does not depend on the order in
// which artifacts are met.
type tracer struct {
	rules    Rules
	evidence Claims
	known    map[leaf.Digest]*artifactClaims
	order    []leaf.Digest        // of known, materials first but for cycles
	open     map[leaf.Digest]bool // on the way down to here
	drawn    map[leaf.Digest]*Node
}

// artifactClaims is what is known of something that is built.
type artifactClaims struct {
	claims  []Claim // about it
	found   int     // before those about something else were dropped
	dissent bool
	good    bool
	users   []leaf.Digest // artifacts that are made from it
}

// collect finds the claims about an artifact and all that it is made from.
func (t *tracer) collect(ctx context.Context, d leaf.Digest, depth int) error {
	if len(t.known) >= MaxNodes {
		return fmt.Errorf("the ancestry has more than %d artifacts", MaxNodes)
	}
	if depth >= MaxDepth {
		return fmt.Errorf("the ancestry is deeper than %d steps", MaxDepth)
	}
	claims, err := t.evidence(ctx, d)
	if err != nil {
		return fmt.Errorf("finding what is known of %s: %w", d, err)
	}
	a := &artifactClaims{found: len(claims)}
	t.known[d] = a
	a.claims = slices.DeleteFunc(slices.Clone(claims), func(c Claim) bool { return !isSubject(&c, d) })
	for i := range a.claims {
		c := &a.claims[i]
		if len(t.operators(c)) == 0 {
			continue
		}
		a.dissent = a.dissent || dissents(c)
		if !obtained(&c.Claim) {
			continue
		}
		for j := range c.Claim.Materials {
			m, built := builtDigest(&c.Claim.Materials[j])
			if !built {
				continue
			}
			if t.known[m] == nil {
				if err := t.collect(ctx, m, depth+1); err != nil {
					return err
				}
			}
			if users := t.known[m].users; len(users) == 0 || users[len(users)-1] != d {
				t.known[m].users = append(users, d)
			}
		}
	}
	t.order = append(t.order, d)
	return nil
}

// settle finds all that is good, and nothing else: it begins with nothing, and
// adds what has become good until nothing does.
func (t *tracer) settle() {
	todo := slices.Clone(t.order)
	for len(todo) > 0 {
		d := todo[0]
		todo = todo[1:]
		if a := t.known[d]; !a.good && !a.dissent && t.quorum(a) {
			a.good = true
			todo = append(todo, a.users...)
		}
	}
}

// quorum reports whether enough operators obtained an artifact from what is
// good so far.
func (t *tracer) quorum(a *artifactClaims) bool {
	who := make(map[string]bool)
	for i := range a.claims {
		c := &a.claims[i]
		if !obtained(&c.Claim) || len(c.Claim.Materials) == 0 {
			continue
		}
		if slices.ContainsFunc(c.Claim.Materials, func(r attest.Resource) bool { return !t.good(&r) }) {
			continue
		}
		for _, o := range t.operators(c) {
			who[o] = true
		}
	}
	return len(who) >= t.rules.Quorum
}

// good reports whether a build may rest on a material.
func (t *tracer) good(r *attest.Resource) bool {
	digests := r.Strong()
	switch {
	case len(digests) == 0:
		return false
	case r.Role == roleSource:
		return true
	case r.Role == roleSeed:
		return t.isSeed(digests[0])
	}
	a := t.known[digests[0]]
	return a != nil && a.good
}

func (t *tracer) isSeed(d leaf.Digest) bool {
	return len(t.rules.Seeds) == 0 || slices.Contains(t.rules.Seeds, d)
}

// builtDigest returns the digest of a material that must be good itself.
func builtDigest(r *attest.Resource) (leaf.Digest, bool) {
	digests := r.Strong()
	if len(digests) == 0 || r.Role == roleSource || r.Role == roleSeed {
		return "", false
	}
	return digests[0], true
}

// operators returns those behind a claim that count.
func (t *tracer) operators(c *Claim) []string {
	return slices.DeleteFunc(slices.Clone(c.Operators), func(o string) bool { return !t.rules.counts(o) })
}

func newNode(d leaf.Digest, as attest.Resource) *Node {
	return &Node{Digest: d, Name: as.Name, Role: as.Role, Reasons: []string{}, Operators: []string{}, Entries: []string{}, Dissent: []string{}, Materials: []*Node{}}
}

// artifact returns the node of something that is built.
func (t *tracer) artifact(d leaf.Digest, as attest.Resource) *Node {
	n, a := newNode(d, as), t.known[d]
	for i := 0; i < len(a.claims) && n.Name == ""; i++ {
		n.Name = nameOf(&a.claims[i], d)
	}
	if first := t.drawn[d]; first != nil {
		n.Verdict, n.Operators, n.Entries, n.Dissent, n.Reasons, n.Seen = first.Verdict, first.Operators, first.Entries, first.Dissent, first.Reasons, true
		return n
	}
	if t.open[d] {
		if n.Seen = a.good; a.good {
			n.Verdict = VerdictReproduced
		} else {
			n.Reasons = append(n.Reasons, "it is made from itself: a cycle")
		}
		return n
	}
	t.open[d] = true
	defer delete(t.open, d)
	for i := range a.claims {
		t.weigh(n, &a.claims[i])
	}
	t.judge(n, a.found)
	t.drawn[d] = n
	return n
}

// weigh adds one claim to a node.
func (t *tracer) weigh(n *Node, c *Claim) {
	operators := t.operators(c)
	if len(operators) == 0 {
		return
	}
	switch {
	case dissents(c):
		n.Dissent = append(n.Dissent, c.Entry)
		n.Reasons = append(n.Reasons, fmt.Sprintf("%s says %s in entry %s", strings.Join(operators, ", "), c.Claim.Result, c.Entry))
		if n.Verdict != VerdictDiffers {
			n.Verdict = VerdictFailed
			if c.Claim.Result == leaf.Different {
				n.Verdict = VerdictDiffers
			}
		}
		return
	case !obtained(&c.Claim):
		return
	}
	if bad := t.materials(n, c); bad != "" {
		n.Reasons = append(n.Reasons, fmt.Sprintf("entry %s does not count: %s", c.Entry, bad))
		return
	}
	n.Entries = append(n.Entries, c.Entry)
	n.Operators = append(n.Operators, operators...)
	slices.Sort(n.Operators)
	n.Operators = slices.Compact(n.Operators)
}

// dissents reports whether a claim says that the artifact cannot be had by
// building it.
func dissents(c *Claim) bool {
	return c.Claim.Result == leaf.Different || c.Claim.Result == leaf.BuildFailed
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
func (t *tracer) materials(n *Node, c *Claim) (bad string) {
	if len(c.Claim.Materials) == 0 {
		return "it names no material"
	}
	for i := range c.Claim.Materials {
		r := &c.Claim.Materials[i]
		m := t.material(n, r)
		if t.good(r) || bad != "" {
			continue
		}
		bad = fmt.Sprintf("%s is %s", described(m), m.Verdict)
		if m.Role == roleSource || m.Role == roleSeed {
			bad = fmt.Sprintf("%s %s", described(m), strings.Join(m.Reasons, ", "))
		}
	}
	return bad
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
func (t *tracer) material(n *Node, r *attest.Resource) *Node {
	digests := r.Strong()
	if len(digests) == 0 {
		m := newNode("", *r)
		m.Reasons = append(m.Reasons, "is not pinned by a sha256 or sha512")
		n.Materials = append(n.Materials, m)
		return m
	}
	d := digests[0]
	for _, m := range n.Materials {
		if m.Digest == d && m.Role == r.Role {
			return m
		}
	}
	m := newNode(d, *r)
	switch r.Role {
	case roleSource:
		m.Pinned = true
	case roleSeed:
		if m.Pinned = t.isSeed(d); !m.Pinned {
			m.Reasons = append(m.Reasons, "is not a seed of the rules")
		}
	default:
		m = t.artifact(d, *r)
	}
	n.Materials = append(n.Materials, m)
	return m
}

// judge sets the verdict of a node whose claims are weighed. Dissent stands.
func (t *tracer) judge(n *Node, claims int) {
	switch {
	case n.Verdict != VerdictUnproven:
	case t.known[n.Digest].good:
		n.Verdict = VerdictReproduced
	case len(n.Entries) == 0 && len(n.Reasons) == 0:
		n.Verdict = VerdictUntried
		n.Reasons = append(n.Reasons, fmt.Sprintf("nothing that counts is logged of it, of %d claims", claims))
	default:
		n.Reasons = append(n.Reasons, fmt.Sprintf("%d of %d operators obtained it", len(n.Operators), t.rules.Quorum))
	}
}
