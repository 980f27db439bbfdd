package policy

import (
	"fmt"
	"strings"
)

// RebuildExplanation says which of the lines about rebuilders votes satisfy.
// Names that are not plain printable text are quoted in it.
type RebuildExplanation struct {
	Satisfied bool `json:"satisfied"`
	// Quorums are those that count for the artifact's names, in the order of the
	// policy.
	Quorums []RebuildQuorum `json:"quorums"`
	// Distinct are the distinct lines, for each of Quorums.
	Distinct []DistinctStatus `json:"distinct"`
	// Missing says what would have to be added. It is empty if and only if
	// Satisfied.
	Missing []string `json:"missing"`
}

// RebuildQuorum is a rebuild-quorum line and how it stands.
type RebuildQuorum struct {
	Line string `json:"line"`          // in canonical spelling
	For  string `json:"for,omitempty"` // the glob; empty for the quorum for all
	// Names are those of the artifact's names that this line counts for.
	Names []string `json:"names"`
	// Operators are those who count, sorted: who obtained the artifact, and are
	// in no group that lacks others.
	Operators []string `json:"operators"`
	Node      Node     `json:"node"`
}

// DistinctStatus is a distinct line and how it stands for one rebuild-quorum.
type DistinctStatus struct {
	What      string   `json:"what"`          // operator, cpu-vendor, engine or country
	For       string   `json:"for,omitempty"` // as in RebuildQuorum
	Have      []string `json:"have"`          // the values, sorted
	Need      int      `json:"need"`
	Satisfied bool     `json:"satisfied"`
}

// RebuildQuorums returns the rebuild-quorum lines as trees in which nobody has
// voted, in the order of the policy.
func (p *Policy) RebuildQuorums() []RebuildQuorum {
	list := make([]RebuildQuorum, 0, len(p.rebuildQuorums))
	for _, q := range p.rebuildQuorums {
		list = append(list, p.rebuildQuorum(q, nil))
	}
	return list
}

func (p *Policy) rebuildQuorum(q *rebuildQuorum, heard map[string][]Vote) RebuildQuorum {
	s := RebuildQuorum{Line: q.shown(), Names: []string{}, Operators: []string{}, Node: p.explainRebuild(q.name, heard)}
	if q.glob != nil {
		s.For = q.glob.text
	}
	return s
}

// shown is text for people.
func (q *rebuildQuorum) shown() string {
	shown := *q
	shown.name = printable(q.name)
	return shown.text()
}

// explainRebuild counts operators and groups. It ends because a group's members
// are defined before it.
func (p *Policy) explainRebuild(name string, heard map[string][]Vote) Node {
	c := p.components[name]
	if r := c.rebuilder; r != nil {
		return Node{Kind: KindRebuilder, Name: printable(name), Operator: r.Operator, Satisfied: len(heard[name]) > 0}
	}
	n := Node{Kind: KindRebuildGroup, Name: printable(name), Need: c.rebuildGroup.k, Of: c.rebuildGroup.of}
	operators := make(map[string]bool)
	for _, m := range c.rebuildGroup.members {
		member := p.explainRebuild(m, heard)
		if member.Satisfied && !operators[member.Operator] {
			n.Have++
			if member.Operator != "" {
				operators[member.Operator] = true
			}
		}
		n.Members = append(n.Members, member)
	}
	n.Satisfied = n.Have >= n.Need
	return n
}

// missingRebuild is missing for a rebuild-group that is not satisfied. It names
// operators, with the keys by which they could be heard.
func missingRebuild(n *Node) string {
	heard := n.heard()
	var open []string
	at := make(map[string]int) // operator to its place in open
	for i := range n.Members {
		m := &n.Members[i]
		switch {
		case m.Satisfied || m.Operator != "" && heard[m.Operator]:
		case m.Operator == "":
			open = append(open, m.Name)
		default:
			if _, ok := at[m.Operator]; !ok {
				at[m.Operator] = len(open)
				open = append(open, m.Operator+" (")
			} else {
				open[at[m.Operator]] += ", "
			}
			open[at[m.Operator]] += m.Name
		}
	}
	for _, i := range at {
		open[i] += ")"
	}
	return fmt.Sprintf("%d more of %s for rebuild-group %s", n.Need-n.Have, strings.Join(open, ", "), n.Name)
}

// heard returns the operators who voted by one of a group's own rebuilders.
func (n *Node) heard() map[string]bool {
	operators := make(map[string]bool)
	for i := range n.Members {
		if m := &n.Members[i]; m.Satisfied && m.Operator != "" {
			operators[m.Operator] = true
		}
	}
	return operators
}

func (d *DistinctStatus) missing() string {
	s := fmt.Sprintf("%d more %s", d.Need-len(d.Have), d.What)
	if len(d.Have) > 0 {
		s += " beside " + strings.Join(d.Have, ", ")
	}
	return fmt.Sprintf("%s for %s", s, d.line())
}

func (d *DistinctStatus) line() string {
	s := fmt.Sprintf("distinct %s %d", d.What, d.Need)
	if d.For != "" {
		s += " among the quorum for " + d.For
	}
	return s
}

// String draws the trees as Explanation.String does, each below its line.
func (e RebuildExplanation) String() string {
	var b strings.Builder
	for i := range e.Quorums {
		q := &e.Quorums[i]
		b.WriteString(q.Line)
		if len(q.Names) > 0 {
			b.WriteString(", asked for by " + strings.Join(q.Names, ", "))
		}
		b.WriteByte('\n')
		q.Node.draw(&b, 1, true)
	}
	for i := range e.Distinct {
		d := &e.Distinct[i]
		glyph, have := "✓", "nothing"
		if !d.Satisfied {
			glyph = "✗"
		}
		if len(d.Have) > 0 {
			have = strings.Join(d.Have, ", ")
		}
		fmt.Fprintf(&b, "%s %s: %s\n", glyph, d.line(), have)
	}
	for _, m := range e.Missing {
		b.WriteString("missing: " + m + "\n")
	}
	return b.String()
}
