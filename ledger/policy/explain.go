package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Explanation says which lines of a policy a checkpoint's signatures satisfy.
// Names that are not plain printable text are quoted in it.
type Explanation struct {
	Satisfied bool   `json:"satisfied"` // as Check decides
	Origin    string `json:"origin"`
	// LogSigned and QuorumMet are the two halves of Satisfied.
	LogSigned bool `json:"logSigned"`
	QuorumMet bool `json:"quorumMet"`
	// Logs are the logs whose key name is the origin; one of them is enough.
	Logs   []Node `json:"logs"`
	Quorum Node   `json:"quorum"`
	// Missing says what would have to be added, outermost line first. It is
	// empty if and only if Satisfied.
	Missing []string `json:"missing"`
}

// The kinds of nodes. KindNone is the quorum that asks for no witnesses.
const (
	KindLog     = "log"
	KindWitness = "witness"
	KindGroup   = "group"
	KindNone    = "none"
)

// Node is one line of the policy and, for a group, those of its members.
type Node struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"` // of a log: its key's name and id
	Satisfied bool   `json:"satisfied"`
	// Of a group: Have members are satisfied, Need must be.
	Have    int    `json:"have,omitempty"`
	Need    int    `json:"need,omitempty"`
	Members []Node `json:"members,omitempty"`
}

// Explain returns what Check decides, and why.
func (p *Policy) Explain(origin string, sigs []note.Signature) Explanation {
	signed := signers(sigs)
	e := Explanation{
		Origin:    printable(origin),
		LogSigned: p.logSigned(origin, signed),
		QuorumMet: p.quorumMet(signed),
		Logs:      []Node{},
		Quorum:    Node{Kind: KindNone, Name: none, Satisfied: true},
		Missing:   []string{},
	}
	e.Satisfied = e.LogSigned && e.QuorumMet
	for _, l := range p.logs {
		if l.Name == origin {
			id := fmt.Sprintf("%s+%08x", printable(l.Name), l.Verifier.KeyHash())
			e.Logs = append(e.Logs, Node{Kind: KindLog, Name: id, Satisfied: signed[idOf(l.Verifier)]})
		}
	}
	switch {
	case len(e.Logs) == 0:
		e.Missing = append(e.Missing, "a log line for origin "+e.Origin)
	case !e.LogSigned:
		e.Missing = append(e.Missing, "a signature of log "+e.Origin)
	}
	if p.quorum != none {
		e.Quorum = p.explain(p.quorum, signed)
		e.Missing = missing(e.Missing, &e.Quorum)
	}
	return e
}

func (p *Policy) explain(name string, signed map[keyID]bool) Node {
	g := p.components[name].group
	if g == nil {
		return Node{Kind: KindWitness, Name: printable(name), Satisfied: p.satisfied(name, signed)}
	}
	n := Node{Kind: KindGroup, Name: printable(name), Need: g.k}
	for _, m := range g.members {
		member := p.explain(m, signed)
		if member.Satisfied {
			n.Have++
		}
		n.Members = append(n.Members, member)
	}
	n.Satisfied = n.Have >= n.Need
	return n
}

// missing appends what n lacks to list. Within a satisfied group nothing is
// missing, whatever its members are.
func missing(list []string, n *Node) []string {
	if n.Satisfied {
		return list
	}
	if n.Kind == KindWitness {
		return append(list, "a cosignature of witness "+n.Name)
	}
	var open []string
	for _, m := range n.Members {
		if !m.Satisfied {
			open = append(open, m.Name)
		}
	}
	list = append(list, fmt.Sprintf("%d more of %s for group %s", n.Need-n.Have, strings.Join(open, ", "), n.Name))
	for i := range n.Members {
		if n.Members[i].Kind == KindGroup {
			list = missing(list, &n.Members[i])
		}
	}
	return list
}

// Witnesses counts the witnesses that the quorum can draw on, and those of them
// that cosigned.
func (e *Explanation) Witnesses() (cosigned, total int) {
	var count func(n *Node)
	count = func(n *Node) {
		if n.Kind == KindWitness {
			total++
			if n.Satisfied {
				cosigned++
			}
		}
		for i := range n.Members {
			count(&n.Members[i])
		}
	}
	count(&e.Quorum)
	return cosigned, total
}

// String draws the tree: one line of the policy a line, indented by its depth,
// with ✓ if it is satisfied, ✗ if it lacks something, and · if it lacks
// something that is not needed.
func (e Explanation) String() string {
	var b strings.Builder
	if len(e.Logs) == 0 {
		fmt.Fprintf(&b, "✗ no log line for origin %s\n", e.Origin)
	}
	for i := range e.Logs {
		e.Logs[i].draw(&b, 0, !e.LogSigned)
	}
	e.Quorum.draw(&b, 0, true)
	for _, m := range e.Missing {
		b.WriteString("missing: " + m + "\n")
	}
	return b.String()
}

func (n *Node) draw(b *strings.Builder, depth int, needed bool) {
	glyph := "✓"
	if !n.Satisfied && needed {
		glyph = "✗"
	} else if !n.Satisfied {
		glyph = "·"
	}
	word := "signed"
	switch {
	case n.Kind == KindGroup:
		word = fmt.Sprintf("%d of %d members, needs %d", n.Have, len(n.Members), n.Need)
	case n.Kind == KindNone:
		word = "no witnesses asked for"
	case !n.Satisfied:
		word = "not signed"
	}
	fmt.Fprintf(b, "%s%s %s %s: %s\n", strings.Repeat("  ", depth), glyph, n.kindWord(), n.Name, word)
	for i := range n.Members {
		n.Members[i].draw(b, depth+1, needed && !n.Satisfied)
	}
}

func (n *Node) kindWord() string {
	if n.Kind == KindNone {
		return "quorum"
	}
	return n.Kind
}

// printable returns s, quoted unless it is plain text that a terminal shows as
// it is: names are opaque octets, and an origin is written by others.
func printable(s string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' || r == '\\' }
	if s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, odd) {
		return s
	}
	return strconv.Quote(s)
}
