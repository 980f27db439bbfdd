package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
)

// Explanation says which lines of a policy a checkpoint's signatures satisfy.
// Names that are not plain printable text are quoted in it.
type Explanation struct {
	Satisfied bool   `json:"satisfied"` // as Check or CheckAt decides
	Origin    string `json:"origin"`
	// LogSigned and QuorumMet are the two halves of Satisfied.
	LogSigned bool `json:"logSigned"`
	QuorumMet bool `json:"quorumMet"`
	// Logs are the logs whose key name is the origin; one of them is enough.
	Logs   []Node `json:"logs"`
	Quorum Node   `json:"quorum"`
	// At is the time at which ages were judged, and MaxAge the policy's limit,
	// if it has one. Both are absent unless ExplainAt was asked.
	At     time.Time `json:"at,omitzero"`
	MaxAge string    `json:"maxAge,omitempty"`
	// Witnessed is the latest time such that the cosignatures from then on
	// satisfy the quorum: the checkpoint is as old as that. It is absent if the
	// quorum is not met, asks for no witnesses, or was met without times.
	Witnessed time.Time `json:"witnessed,omitzero"`
	// Missing says what would have to be added, outermost line first. It is
	// empty if and only if Satisfied.
	Missing []string `json:"missing"`
}

// The kinds of nodes. KindNone is the quorum that asks for no witnesses.
const (
	KindLog          = "log"
	KindWitness      = "witness"
	KindGroup        = "group"
	KindNone         = "none"
	KindRebuilder    = "rebuilder"
	KindRebuildGroup = "rebuild-group"
)

// Node is one line of the policy and, for a group, those of its members.
type Node struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"` // of a log: its key's name and id
	Satisfied bool   `json:"satisfied"`
	// Of a group: Have of the Of that could be are satisfied, Need must be.
	// Members are counted, but in a rebuild-group operators and groups.
	Have    int    `json:"have,omitempty"`
	Need    int    `json:"need,omitempty"`
	Of      int    `json:"of,omitempty"`
	Members []Node `json:"members,omitempty"`
	// Of a rebuilder.
	Operator string `json:"operator,omitempty"`
	// Of a witness that cosigned, where ages were judged: when, if it says so,
	// and AgeStale, AgeFuture or nothing.
	Time time.Time `json:"time,omitzero"`
	Age  string    `json:"age,omitempty"`
}

// Explain returns what Check decides, and why.
func (p *Policy) Explain(origin string, sigs []note.Signature) Explanation {
	return p.explainCheckpoint(origin, p.signers(sigs))
}

// ExplainAt returns what CheckAt decides, and why.
func (p *Policy) ExplainAt(origin string, sigs []note.Signature, at time.Time) Explanation {
	return p.explainCheckpoint(origin, p.signersAt(sigs, at))
}

func (p *Policy) explainCheckpoint(origin string, s signers) Explanation {
	e := Explanation{
		Origin:    printable(origin),
		LogSigned: p.logSigned(origin, &s),
		QuorumMet: p.quorumMet(&s),
		Logs:      []Node{},
		Quorum:    Node{Kind: KindNone, Name: none, Satisfied: true},
		Missing:   []string{},
		At:        s.at,
	}
	e.Satisfied = e.LogSigned && e.QuorumMet
	for _, l := range p.logs {
		if l.Name == origin {
			id := fmt.Sprintf("%s+%08x", printable(l.Name), l.Verifier.KeyHash())
			_, signed := s.signed[idOf(l.Verifier)]
			e.Logs = append(e.Logs, Node{Kind: KindLog, Name: id, Satisfied: signed})
		}
	}
	switch {
	case len(e.Logs) == 0:
		e.Missing = append(e.Missing, "a log line for origin "+e.Origin)
	case !e.LogSigned:
		e.Missing = append(e.Missing, "a signature of log "+e.Origin)
	}
	if p.quorum != none {
		e.Quorum = p.explain(p.quorum, &s)
		e.Missing = missing(e.Missing, &e.Quorum)
	}
	e.Witnessed = p.witnessed(p.quorum, &s)
	if s.maxAge > 0 {
		e.MaxAge = FormatAge(s.maxAge)
		if s.at.IsZero() {
			e.Missing = append(e.Missing, "the time at which max-age is judged")
		}
	}
	return e
}

func (p *Policy) explain(name string, s *signers) Node {
	c := p.components[name]
	if c.group == nil {
		n := Node{Kind: KindWitness, Name: printable(name), Satisfied: p.satisfied(name, s)}
		if s.judged && c.witness != nil {
			n.Time, n.Age, _ = s.age(idOf(c.witness.Verifier))
		}
		return n
	}
	n := Node{Kind: KindGroup, Name: printable(name), Need: c.group.k, Of: len(c.group.members)}
	for _, m := range c.group.members {
		member := p.explain(m, s)
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
	switch {
	case n.Kind == KindWitness && n.Age == AgeStale:
		return append(list, "a newer cosignature of witness "+n.Name)
	case n.Kind == KindWitness:
		return append(list, "a cosignature of witness "+n.Name)
	case n.Kind == KindRebuilder:
		return append(list, fmt.Sprintf("that %s (%s) obtained it by building", n.Operator, n.Name))
	}
	list = append(list, n.lacks())
	for i := range n.Members {
		if n.Members[i].Need > 0 {
			list = missing(list, &n.Members[i])
		}
	}
	return list
}

// lacks says what a group lacks of its own members.
func (n *Node) lacks() string {
	if n.Kind == KindRebuildGroup {
		return missingRebuild(n)
	}
	var open []string
	for _, m := range n.Members {
		if !m.Satisfied {
			open = append(open, m.Name)
		}
	}
	return fmt.Sprintf("%d more of %s for group %s", n.Need-n.Have, strings.Join(open, ", "), n.Name)
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
	if e.MaxAge != "" && !e.At.IsZero() {
		fmt.Fprintf(&b, "max-age %s, judged at %s\n", e.MaxAge, e.At.UTC().Format(time.RFC3339))
	}
	for _, m := range e.Missing {
		b.WriteString("missing: " + m + "\n")
	}
	return b.String()
}

// Outline draws what the tree asks for, whoever signed or voted: one line of the
// policy a line, indented by its depth.
func (n Node) Outline() string {
	var b strings.Builder
	n.outline(&b, 0)
	return b.String()
}

func (n *Node) outline(b *strings.Builder, depth int) {
	fmt.Fprintf(b, "%s%s", strings.Repeat("  ", depth), n.title())
	if n.Need > 0 {
		fmt.Fprintf(b, ": %d of %d %s", n.Need, n.Of, n.voices())
	}
	b.WriteByte('\n')
	for i := range n.Members {
		n.Members[i].outline(b, depth+1)
	}
}

// draw writes the tree. needed says that what lacks here is lacking.
func (n *Node) draw(b *strings.Builder, depth int, needed bool) {
	glyph := "✓"
	if !n.Satisfied && needed {
		glyph = "✗"
	} else if !n.Satisfied {
		glyph = "·"
	}
	fmt.Fprintf(b, "%s%s %s: %s\n", strings.Repeat("  ", depth), glyph, n.title(), n.state())
	heard := n.heard()
	for i := range n.Members {
		m := &n.Members[i]
		m.draw(b, depth+1, needed && !n.Satisfied && !heard[m.Operator])
	}
}

func (n *Node) title() string {
	switch n.Kind {
	case KindNone:
		return "quorum " + n.Name
	case KindRebuilder:
		return fmt.Sprintf("%s %s (%s)", n.Kind, n.Name, n.Operator)
	}
	return n.Kind + " " + n.Name
}

// state says how a node stands.
func (n *Node) state() string {
	switch {
	case n.Kind == KindNone:
		return "no witnesses asked for"
	case n.Need > 0:
		return fmt.Sprintf("%d of %d %s, needs %d", n.Have, n.Of, n.voices(), n.Need)
	case n.Kind == KindRebuilder && n.Satisfied:
		return "obtained it"
	case n.Kind == KindRebuilder:
		return "not heard"
	case n.Time.IsZero() && n.Age == AgeStale:
		return "signed without a time"
	case n.Age == AgeStale:
		return "signed " + n.Time.Format(time.RFC3339) + ", too old"
	case !n.Satisfied:
		return "not signed"
	case n.Age == AgeFuture:
		return "signed " + n.Time.Format(time.RFC3339) + ", after the time asked about"
	case !n.Time.IsZero():
		return "signed " + n.Time.Format(time.RFC3339)
	}
	return "signed"
}

// voices says what is counted in a group.
func (n *Node) voices() string {
	if n.Kind == KindGroup {
		return "members"
	}
	var operators, groups bool
	for i := range n.Members {
		operators = operators || n.Members[i].Kind == KindRebuilder
		groups = groups || n.Members[i].Kind == KindRebuildGroup
	}
	switch {
	case !groups:
		return "operators"
	case !operators:
		return "groups"
	}
	return "operators and groups"
}

// printable returns s, quoted unless it is plain text that a terminal shows as
// it is: names are opaque octets, and an origin is written by others.
func printable(s string) string {
	odd := func(r rune) bool { return r == ' ' || r == '"' || r == '\\' }
	if s != "" && !strings.ContainsFunc(s, odd) && printableText(s) {
		return s
	}
	return strconv.Quote(s)
}

// printableText reports whether a terminal shows s as it is.
func printableText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
