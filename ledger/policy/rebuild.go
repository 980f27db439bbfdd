package policy

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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

// Distinct is one distinct line: those who count must have K different values.
type Distinct struct {
	What string // operator, cpu-vendor, engine or country
	K    int
}

// distinctWhats is what distinct lines can be about, in canonical order.
var distinctWhats = []string{"operator", "cpu-vendor", "engine", "country"}

// Exception is one except line.
type Exception struct {
	Glob   string
	Until  time.Time // the first instant at which it does not hold any more
	Reason string
}

// Over reports whether the exception does not hold at a time any more. It never
// holds at the zero time, which nobody meant.
func (e *Exception) Over(at time.Time) bool { return at.IsZero() || !at.Before(e.Until) }

type exception struct {
	Exception
	glob glob
}

// Vote is one key of the policy that obtained an artifact by building it. A key
// may have several, from several machines.
type Vote struct {
	Key leaf.Fingerprint
	// As attested; where the rebuilder line says otherwise, the line is right.
	CPUVendor, Engine, Country string
}

// rebuildGroup is one rebuild-group line: satisfied if at least k of its voices
// are heard, which are the operators of its rebuilders, and its groups.
type rebuildGroup struct {
	name    string
	k       int // 1 ≤ k ≤ of
	of      int // how many voices there are
	members []string
}

// rebuildQuorum is one rebuild-quorum line.
type rebuildQuorum struct {
	name string // of a rebuilder or rebuild-group
	glob *glob  // nil for the line without `for`
	line int    // its number
}

// Rebuilders returns the rebuilders in the order of the policy.
func (p *Policy) Rebuilders() []Rebuilder {
	list := make([]Rebuilder, 0, len(p.rebuilderList))
	for _, r := range p.rebuilderList {
		list = append(list, *r)
	}
	return list
}

// Rebuilder returns the rebuilder line of a key.
func (p *Policy) Rebuilder(key leaf.Fingerprint) (Rebuilder, bool) {
	if r, ok := p.rebuilders[key]; ok {
		return *r, true
	}
	return Rebuilder{}, false
}

// Unasked returns the rebuilders that no rebuild-quorum asks for: their dissent
// is heard, and nothing else.
func (p *Policy) Unasked() []Rebuilder {
	reached := make(map[string]bool)
	for _, q := range p.rebuildQuorums {
		p.reach(q.name, reached)
	}
	return slices.DeleteFunc(p.Rebuilders(), func(r Rebuilder) bool { return reached[r.Name] })
}

// Seeds returns the binaries that an ancestry may end in.
func (p *Policy) Seeds() []leaf.Digest { return slices.Clone(p.seeds) }

// Tolerates returns how many operators may dissent: 0 unless the policy says so.
func (p *Policy) Tolerates() int { return p.tolerates }

// MaxAge returns how old cosignatures may be, or 0 if that does not matter.
func (p *Policy) MaxAge() time.Duration { return p.maxAge }

// Distinct returns the distinct lines, in the order of Distinct.What.
func (p *Policy) Distinct() []Distinct { return slices.Clone(p.distinct) }

func (p *Policy) distinctOf(what string) int {
	for _, d := range p.distinct {
		if d.What == what {
			return d.K
		}
	}
	return 0
}

// Exceptions returns the exceptions in the order of the policy, also those that
// are over.
func (p *Policy) Exceptions() []Exception {
	list := make([]Exception, 0, len(p.exceptions))
	for i := range p.exceptions {
		list = append(list, p.exceptions[i].Exception)
	}
	return list
}

// Exception returns the first exception that holds at a time for an artifact of
// one of these names, which are canonical package URLs.
func (p *Policy) Exception(names []string, at time.Time) (Exception, bool) {
	for i := range p.exceptions {
		e := &p.exceptions[i]
		if !e.Over(at) && slices.ContainsFunc(names, e.glob.matches) {
			return e.Exception, true
		}
	}
	return Exception{}, false
}

// quorumFor returns the rebuild-quorum that counts for a name, or nil: the first
// whose glob matches, or else the one without.
func (p *Policy) quorumFor(name string) *rebuildQuorum {
	for _, q := range p.rebuildQuorums {
		if q.glob != nil && q.glob.matches(name) {
			return q
		}
	}
	return p.quorumForAll()
}

func (p *Policy) quorumForAll() *rebuildQuorum {
	for _, q := range p.rebuildQuorums {
		if q.glob == nil {
			return q
		}
	}
	return nil
}

// Rebuilt decides whether votes are enough for an artifact that goes by these
// names, canonical package URLs, which may be none: every quorum that one of its
// names asks for must be met, or else the one for all; and every distinct line,
// by those who count for each of these quorums. So a further name beside
// others never makes it easier. Votes of keys that the policy does not have count
// for nothing.
func (p *Policy) Rebuilt(names []string, votes []Vote) RebuildExplanation {
	e := RebuildExplanation{Quorums: []RebuildQuorum{}, Distinct: []DistinctStatus{}, Missing: []string{}}
	asked := make(map[*rebuildQuorum][]string)
	if q := p.quorumForAll(); len(names) == 0 && q != nil {
		asked[q] = nil
	} else if len(names) == 0 {
		e.Missing = append(e.Missing, "a rebuild-quorum line without `for`, which counts for an artifact without a name")
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		q := p.quorumFor(name)
		if q == nil {
			e.Missing = append(e.Missing, "a rebuild-quorum line for "+printable(name))
			continue
		}
		asked[q] = append(asked[q], printable(name))
	}
	heard := p.hear(votes)
	byLine := func(a, b *rebuildQuorum) int { return cmp.Compare(a.line, b.line) }
	for _, q := range slices.SortedFunc(maps.Keys(asked), byLine) {
		p.decide(&e, q, asked[q], heard)
	}
	e.Satisfied = len(e.Missing) == 0 // where nothing was asked, a line is missing
	return e
}

// hear sorts the votes by the name of their rebuilder.
func (p *Policy) hear(votes []Vote) map[string][]Vote {
	heard := make(map[string][]Vote)
	for _, v := range votes {
		if r, ok := p.rebuilders[v.Key]; ok {
			heard[r.Name] = append(heard[r.Name], v)
		}
	}
	return heard
}

// decide adds to e how one quorum stands.
func (p *Policy) decide(e *RebuildExplanation, q *rebuildQuorum, names []string, heard map[string][]Vote) {
	s := p.rebuildQuorum(q, heard)
	s.Names = append(s.Names, names...)
	counted := p.counted(q.name, &s.Node)
	for _, r := range counted {
		s.Operators = append(s.Operators, r.Operator)
	}
	slices.Sort(s.Operators)
	s.Operators = slices.Compact(s.Operators)
	e.Quorums = append(e.Quorums, s)
	e.Missing = missing(e.Missing, &s.Node)
	for _, d := range p.distinct {
		have := make(map[string]bool)
		for _, r := range counted {
			for _, v := range heard[r.Name] {
				if value := r.Value(d.What, v); value != "" {
					have[printable(value)] = true
				}
			}
		}
		status := DistinctStatus{What: d.What, For: s.For, Have: slices.Sorted(maps.Keys(have)), Need: d.K}
		if status.Have == nil {
			status.Have = []string{}
		}
		status.Satisfied = len(status.Have) >= d.K
		e.Distinct = append(e.Distinct, status)
		if !status.Satisfied {
			e.Missing = append(e.Missing, status.missing())
		}
	}
}

// counted returns the rebuilders below a quorum who count: who voted, and whom
// no group between lacks others. So a vote that is not enough for its own group
// adds no variety to another. The root itself may still lack others.
func (p *Policy) counted(name string, root *Node) []*Rebuilder {
	if r := p.components[name].rebuilder; r != nil && root.Satisfied {
		return []*Rebuilder{r}
	}
	var list []*Rebuilder
	for i := range root.Members {
		if m := &root.Members[i]; m.Satisfied {
			list = append(list, p.counted(p.components[name].rebuildGroup.members[i], m)...)
		}
	}
	return list
}

// Value returns what a distinct line compares for a vote of the rebuilder: what its own
// line says or, if that says nothing, its attestation; empty if neither does.
func (r *Rebuilder) Value(what string, v Vote) string {
	return cmp.Or(r.stated(what), v.attested(what))
}

// stated returns what the rebuilder's line says, as it is compared; empty if
// nothing.
func (r *Rebuilder) stated(what string) string {
	switch what {
	case "operator":
		return r.Operator
	case "cpu-vendor":
		return vendorOf(r.CPUVendor)
	case "country":
		return strings.ToUpper(r.Country)
	}
	return ""
}

// attested returns what the vote's attestation says, as it is compared; empty if
// nothing. Its operator is nothing: that is the policy's to say.
func (v *Vote) attested(what string) string {
	switch what {
	case "cpu-vendor":
		return vendorOf(v.CPUVendor)
	case "engine":
		// Two versions of one engine are one engine.
		if i := strings.IndexAny(v.Engine, " /@"); i >= 0 {
			return strings.ToLower(v.Engine[:i])
		}
		return strings.ToLower(v.Engine)
	case "country":
		return strings.ToUpper(v.Country)
	}
	return ""
}

// vendorOf returns the one spelling of a processor's vendor. Attestations have
// it as the processor itself says it, people as it is sold.
func vendorOf(s string) string {
	switch s = strings.ToLower(s); s {
	case "genuineintel":
		return "intel"
	case "authenticamd":
		return "amd"
	}
	return s
}
