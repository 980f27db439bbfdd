package verify

import (
	"maps"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// vouch is a key and an artifact that it made a claim about.
type vouch struct {
	key      leaf.Fingerprint
	artifact leaf.Digest
}

// findLies finds the keys that are heard and say that the same inputs gave
// different outputs: claims of one name and one set of materials, whose outputs
// have nothing in common. A key's claims about any of these artifacts count for
// nothing.
func (g *graph) findLies() {
	type inputs struct {
		key             leaf.Fingerprint
		name, materials string
	}
	said := make(map[inputs]*statement)
	var order []*statement
	for i := range g.ev.claims {
		h := g.hear(i)
		if h == nil || len(h.Claim.Claim.Materials) == 0 {
			continue
		}
		from := ""
		outs := outputs(&h.Claim.Claim)
		for _, name := range slices.Sorted(maps.Keys(outs)) {
			out := outs[name]
			if from == "" {
				from = materialSet(h.Claim.Claim.Materials)
			}
			for j, key := range h.keys {
				in := inputs{key, name, from}
				s := said[in]
				if s == nil {
					s = &statement{key: key, name: name, operator: h.voters[j].operator}
					said[in], order = s, append(order, s)
				}
				s.add(h, out)
			}
		}
	}
	for _, s := range order {
		if s.lied {
			g.spoil(s)
		}
	}
}

// statement is what one key says that one set of inputs gives.
type statement struct {
	key            leaf.Fingerprint
	name, operator string
	first          []leaf.Digest
	claims         []*heard
	lied           bool
}

func (s *statement) add(h *heard, out []leaf.Digest) {
	if len(s.claims) == 0 {
		s.first = out
	}
	s.claims = append(s.claims, h)
	s.lied = s.lied || contradict(s.first, out)
}

func (g *graph) spoil(s *statement) {
	l := &Equivocation{Operator: s.operator, Key: s.key, Name: s.name, Entries: []string{}}
	about := make(map[leaf.Digest]bool)
	for _, h := range s.claims {
		l.Entries = append(l.Entries, h.Entry)
		for _, list := range [][]attest.Resource{h.Claim.Claim.Subjects, h.Claim.Claim.Outputs} {
			for i := range list {
				for _, d := range list[i].Strong() {
					about[d] = true
				}
			}
		}
	}
	for d := range about {
		g.lies[d] = append(g.lies[d], l)
		g.spoilt[vouch{s.key, d}] = true
	}
}

// outputs returns what a claim says that its build gave, by name, or nothing of a
// claim that cannot equivocate. What is EQUIVALENT to the subject is said not to
// be it, and not to be another thing either.
func outputs(c *attest.Claim) map[string][]leaf.Digest {
	from := c.Subjects
	switch {
	case c.Claim == leaf.ClaimBuild:
	case c.Claim != leaf.ClaimReproduction || c.Obtained == attest.Substituted:
		return nil
	case c.Result == leaf.Identical:
	case c.Result != leaf.Different:
		return nil
	case len(c.Subjects) == 1 && len(c.Outputs) == 1:
		if name := nameOf(&c.Subjects[0]); name != "" {
			return map[string][]leaf.Digest{name: c.Outputs[0].Strong()}
		}
		return nil
	default:
		from = c.Outputs
	}
	out := make(map[string][]leaf.Digest)
	for i := range from {
		if name := nameOf(&from[i]); name != "" {
			out[name] = append(out[name], from[i].Strong()...)
		}
	}
	return out
}

// nameOf returns the name under which builds of something are compared.
func nameOf(r *attest.Resource) string {
	if name, ok := lookupName(r.URI); ok {
		return name
	}
	return r.Name
}

// contradict reports whether two sets of digests have an algorithm, but no
// digest in common.
func contradict(a, b []leaf.Digest) bool {
	comparable := false
	for _, x := range a {
		if slices.Contains(b, x) {
			return false
		}
		comparable = comparable || slices.ContainsFunc(b, func(y leaf.Digest) bool { return algorithm(x) == algorithm(y) })
	}
	return comparable
}

func algorithm(d leaf.Digest) string {
	alg, _, _ := strings.Cut(string(d), ":")
	return alg
}

// materialSet returns a text that two lists of materials have in common if and
// only if they are of the same materials, in whatever order.
func materialSet(materials []attest.Resource) string {
	var set []string
	for i := range materials {
		m := &materials[i]
		if digests := m.Strong(); len(digests) > 0 {
			set = append(set, string(digests[0]))
		} else {
			set = append(set, "unpinned "+m.URI+" "+m.Name)
		}
	}
	return strings.Join(sortedUnique(set), "\n")
}
