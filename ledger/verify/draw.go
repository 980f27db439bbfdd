package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Bounds of what is said to people; nothing is decided by them.
const (
	maxReasons = 50 // of one node
	maxMissing = 20 // ancestors in a report's reasons
)

func newNode(d leaf.Digest) *Node {
	return &Node{
		Digest: d, Names: []string{}, Reasons: []string{}, Operators: []Operator{}, Dissent: []Dissent{},
		Equivocations: []Equivocation{}, Materials: []*Node{},
	}
}

// fill takes the answer from a settled graph.
func (r *Report) fill(g *graph) {
	reached := g.reach()
	for _, a := range reached {
		a.node = g.judge(a)
	}
	n := g.root.node
	r.Ancestry = n
	r.Verdict, r.Accepted, r.Exception, r.Quorum = n.Verdict, n.Accepted, n.Exception, n.Quorum
	r.Operators, r.Dissent, r.Equivocations = n.Operators, n.Dissent, slices.Clone(n.Equivocations)
	r.Names = n.Names
	if r.Name == "" {
		r.Name = n.Name
	}
	r.Reasons = append(r.Reasons, n.Reasons...)
	if x := g.exception(g.root.names); x != nil && !r.Accepted {
		r.Reasons = append(r.Reasons, fmt.Sprintf("the policy excepts %s, as which claims know it: ask for it by its package URL for that to count", x.Glob))
	}
	missing := 0
	for _, a := range reached {
		r.Counts.add(a)
		if a == g.root {
			continue
		}
		r.Equivocations = append(r.Equivocations, a.node.Equivocations...)
		if a.good() || !a.followed || r.Accepted {
			continue
		}
		if missing++; missing <= maxMissing {
			r.Reasons = append(r.Reasons, fmt.Sprintf("%s is %s: %s", a.described(), a.node.Verdict, strings.Join(few(a.node.Reasons), "; ")))
		}
	}
	if missing > maxMissing {
		r.Reasons = append(r.Reasons, fmt.Sprintf("so are %d more: see the ancestry", missing-maxMissing))
	}
	r.Attestations = g.attestations(reached)
	g.draw(reached, &r.Counts)
}

// reach returns what the artifact is made from, breadth first, but nothing below
// what is only rested on by exception.
func (g *graph) reach() []*artifact {
	reached := []*artifact{g.root}
	g.root.reached, g.root.followed = true, true
	for todo := []*artifact{g.root}; len(todo) > 0; todo = todo[1:] {
		for _, h := range todo[0].claims {
			for i := range h.materials {
				m := &h.materials[i]
				a := m.built
				if a == nil {
					continue
				}
				if !a.reached {
					a.reached = true
					reached = append(reached, a)
				}
				a.excepted = a.excepted || m.exception != nil
				if m.exception == nil && !a.followed {
					a.followed = true
					todo = append(todo, a)
				}
			}
		}
	}
	return reached
}

// judge returns the node of an artifact, but for its materials.
func (g *graph) judge(a *artifact) *Node {
	n := newNode(a.digest)
	n.Name, n.Exception, n.Accepted, n.Unstated = a.name, a.exception, a.good(), a.reproduced && !a.stated()
	n.Names = append(n.Names, a.names...)
	n.Dissent = append(n.Dissent, a.dissent...)
	q := g.by.quorum(a.names, a.votes)
	n.Quorum = &q
	for _, l := range g.lies[a.digest] {
		n.Equivocations = append(n.Equivocations, *l)
	}
	obtained := g.credit(a, n)
	failed := slices.ContainsFunc(a.dissent, func(d Dissent) bool { return d.Result == leaf.BuildFailed })
	switch {
	case len(a.dissenters) > g.tolerated:
		n.Verdict = VerdictDiffers
	case a.reproduced:
		n.Verdict = VerdictReproduced
		return n
	case !obtained && failed:
		n.Verdict = VerdictFailed
	case !obtained && len(a.dissent) == 0:
		n.Verdict = VerdictUntried
	}
	n.Reasons = g.reasons(a, n.Verdict, q.Missing)
	return n
}

// credit lists the operators who count, and reports whether anybody who is heard
// obtained the artifact, from whatever.
func (g *graph) credit(a *artifact, n *Node) (obtained bool) {
	credited := make(map[string]*Operator)
	for _, h := range a.claims {
		if !slices.Contains(h.about, a) {
			continue
		}
		obtained = true
		if !a.weighs(h) {
			continue
		}
		for i, v := range h.voters {
			if g.counts(a, h, i) {
				credited[v.operator] = credited[v.operator].with(v, h.Entry)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(credited)) {
		o := credited[name]
		o.Rebuilders = sortedUnique(o.Rebuilders)
		o.Entries = slices.Compact(o.Entries)
		n.Operators = append(n.Operators, *o)
	}
	return obtained
}

func (o *Operator) with(v voter, entry string) *Operator {
	if o == nil {
		o = &Operator{Operator: v.operator, Rebuilders: []string{}}
	}
	if v.rebuilder != "" {
		o.Rebuilders = append(o.Rebuilders, v.rebuilder)
	}
	o.Entries = append(o.Entries, entry)
	return o
}

// reasons says why an artifact is not reproduced.
func (g *graph) reasons(a *artifact, v Verdict, missing []string) []string {
	var list []string
	for _, d := range a.dissent {
		list = append(list, fmt.Sprintf("%s says %s in entry %s", shorten(d.Operator), d.Result, d.Entry))
	}
	for _, l := range g.lies[a.digest] {
		list = append(list, fmt.Sprintf("%s equivocates: key %s says in entries %s that the same inputs gave different outputs, and does not count",
			shorten(l.Operator), l.Key, strings.Join(few(l.Entries), ", ")))
	}
	if v == VerdictUntried {
		list = append(list, fmt.Sprintf("nothing that counts is logged of it, of %d claims", len(a.claims)+a.unheard))
	}
	if a.cycle {
		list = append(list, "it is made from itself: a cycle")
	}
	for _, h := range a.claims {
		if why := h.worthless(a); why != "" {
			list = append(list, fmt.Sprintf("entry %s does not count: %s", h.Entry, why))
		}
	}
	for _, m := range missing {
		list = append(list, "missing: "+m)
	}
	if len(list) > maxReasons {
		list = append(list[:maxReasons:maxReasons], fmt.Sprintf("and %d more reasons", len(list)-maxReasons))
	}
	return list
}

// worthless says why a claim does not count, if that is for what it says itself.
func (h *heard) worthless(a *artifact) string {
	c := &h.Claim.Claim
	switch {
	case c.Claim != leaf.ClaimReproduction && c.Claim != leaf.ClaimBuild:
		return "" // it says nothing of builds
	case slices.Contains(h.about, a):
		if h.fault != "" {
			return h.fault
		}
		if len(h.materials) == 0 && !a.supported {
			if len(c.Materials) > 0 {
				return "it pins by a sha256 or sha512 none of what was installed"
			}
			return "it names no material"
		}
		for i := range h.materials {
			if m := &h.materials[i]; m.built != nil && !m.good() {
				return fmt.Sprintf("%s %s is not reproduced", described(m.Role, m.Name), m.digest)
			}
		}
		return ""
	case c.Result == leaf.Inconclusive:
		return "it is INCONCLUSIVE"
	case c.Result != leaf.Identical && c.Result != leaf.Equivalent:
		return ""
	case c.Obtained == "":
		return "it does not say that the output was built"
	case c.Obtained != "BUILT":
		return "the output was not built: it is " + string(c.Obtained)
	}
	return "the artifact is none of its outputs"
}

// few returns the first of a list, and how many more there are.
func few(list []string) []string {
	if len(list) <= 4 {
		return list
	}
	return append(slices.Clone(list[:4]), fmt.Sprintf("%d more", len(list)-4))
}

func described(role, name string) string {
	if role == "" {
		role = "material"
	}
	return shorten(role) + " " + strconv.Quote(shorten(name))
}

func (a *artifact) described() string {
	if a.name == "" {
		return string(a.digest)
	}
	return strconv.Quote(shorten(a.name)) + " " + string(a.digest)
}

// attestations lists what was heard about artifacts, in log order.
func (g *graph) attestations(list []*artifact) []Heard {
	seen := make(map[*heard]bool)
	var all []*heard
	for _, a := range list {
		for _, h := range a.claims {
			if !seen[h] {
				seen[h] = true
				all = append(all, h)
			}
		}
	}
	slices.SortFunc(all, func(x, y *heard) int { return int(x.Index - y.Index) })
	out := make([]Heard, len(all))
	for i, h := range all {
		out[i] = Heard{Entry: h.Entry, Envelope: h.Envelope}
	}
	return out
}

// draw hangs the materials below their artifacts. What is built is expanded where
// it is met first, breadth first.
func (g *graph) draw(reached []*artifact, counts *Counts) {
	drawn := map[*artifact]bool{g.root: true}
	counted := make(map[string]bool)
	for _, a := range reached {
		if !a.followed {
			continue
		}
		type as struct{ digest, role, name string }
		here := make(map[as]bool)
		for _, h := range a.claims {
			for i := range h.materials {
				m := &h.materials[i]
				key := as{digest: string(m.digest), role: m.Role}
				if m.digest == "" {
					key.name = m.Name + " " + m.URI
				}
				if here[key] {
					continue
				}
				here[key] = true
				a.node.Materials = append(a.node.Materials, g.materialNode(m, drawn))
				if once := string(m.digest) + " " + m.Role + " " + key.name; m.built == nil && !counted[once] {
					counted[once] = true
					counts.addPinned(m)
				}
			}
		}
	}
}

func (g *graph) materialNode(m *material, drawn map[*artifact]bool) *Node {
	if m.built == nil {
		n := newNode(m.digest)
		n.Name, n.Role = m.Name, m.Role
		n.Pinned = m.fault == ""
		n.Accepted = n.Pinned
		if m.fault != "" {
			n.Reasons = append(n.Reasons, m.fault)
		}
		return n
	}
	n := m.built.node
	if m.exception != nil || drawn[m.built] {
		again := *n
		again.Materials, again.Seen, again.Role = []*Node{}, m.built.followed, m.Role
		if m.exception != nil {
			again.Exception, again.Accepted = m.exception, true
		}
		return &again
	}
	drawn[m.built] = true
	n.Role = m.Role
	return n
}

func (c *Counts) add(a *artifact) {
	c.Artifacts++
	if (a.exception != nil || a.excepted) && !a.reproduced {
		c.Excepted++
	}
	if a.node.Unstated {
		c.Unstated++
	}
	switch a.node.Verdict {
	case VerdictReproduced:
		c.Reproduced++
	case VerdictDiffers:
		c.Differs++
	case VerdictFailed:
		c.Failed++
	case VerdictUntried:
		c.Untried++
	default:
		c.Unproven++
	}
}

func (c *Counts) addPinned(m *material) {
	switch {
	case m.fault != "":
		c.Refused++
	case m.Role == attest.RoleSeed:
		c.Seeds++
	default:
		c.Sources++
	}
}
