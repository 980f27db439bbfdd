package policy

import (
	"fmt"
	"strings"
)

// String returns the policy's canonical text: logs, witnesses, groups, each in
// their order, and the quorum; then rebuilders, rebuild-groups and
// rebuild-quorums, each in their order, distinct lines, dissent unless it
// blocks, seeds, exceptions and max-age. It has single spaces, no comments, and
// for a threshold all where it is the number of members (of operators and
// groups, in a rebuild-group), any where it is 1. The zero Policy has the empty
// text, which does not parse.
func (p *Policy) String() string {
	if p.quorum == "" {
		return ""
	}
	var b strings.Builder
	line := func(fields ...string) {
		b.WriteString(strings.TrimSuffix(strings.Join(fields, " "), " "))
		b.WriteByte('\n')
	}
	for _, l := range p.logs {
		line("log", l.VKey, l.URL)
	}
	for _, w := range p.witnesses {
		line("witness", w.Name, w.VKey, w.URL)
	}
	for _, g := range p.groups {
		line(g.line())
	}
	line("quorum", p.quorum)
	for _, r := range p.rebuilderList {
		line(r.text())
	}
	for _, g := range p.rebuildGroups {
		line("rebuild-group", g.name, threshold(g.k, g.of), strings.Join(g.members, " "))
	}
	for _, q := range p.rebuildQuorums {
		line(q.text())
	}
	for _, d := range p.distinct {
		line(d.String())
	}
	if p.tolerates > 0 {
		line(fmt.Sprintf("dissent tolerate %d", p.tolerates))
	}
	for _, d := range p.seeds {
		line("seed", string(d))
	}
	for i := range p.exceptions {
		line(p.exceptions[i].String())
	}
	if p.maxAge > 0 {
		line("max-age", FormatAge(p.maxAge))
	}
	return b.String()
}

func (r *Rebuilder) text() string {
	s := fmt.Sprintf("rebuilder %s %s operator=%s", r.Name, r.Key, r.Operator)
	if r.CPUVendor != "" {
		s += " cpu-vendor=" + r.CPUVendor
	}
	if r.Country != "" {
		s += " country=" + r.Country
	}
	return s
}

func (q *rebuildQuorum) text() string {
	if q.glob == nil {
		return "rebuild-quorum " + q.name
	}
	return "rebuild-quorum " + q.name + " for " + q.glob.text
}

// String returns the line.
func (d Distinct) String() string { return fmt.Sprintf("distinct %s %d", d.What, d.K) }

// String returns the line.
func (e Exception) String() string {
	return fmt.Sprintf("except %s until %s reason %s", e.Glob, formatUntil(e.Until), e.Reason)
}
