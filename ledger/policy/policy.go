// Package policy decides which checkpoints are believed.
//
// A policy is a text in the grammar of C2SP tlog-policy:
//
//	log <vkey> [<url>]
//	witness <name> <vkey> [<url>]
//	group <name> all|any|<k> <member>...
//	quorum <name>|none
//
// A checkpoint is believed if any one of the logs signed it, under the origin
// that is that log's key name, and the witnesses that cosigned it satisfy the
// quorum.
//
// Invariants:
//   - Nothing in a policy is ignored except blank lines and lines that begin
//     with #. What is not understood is an error that names its line.
//   - One public key is one log or one witness, whatever it is called, and each
//     name is a member of at most one group: so a key counts once.
//   - Who is asked is written in the policy; who answered changes no threshold.
//   - The zero Policy accepts nothing.
//   - Parse(p.String()) is p again, and has the same String.
//
// Where C2SP leaves room, this package is stricter: a policy lists at least one
// log, no key is both a log's and a witness's, and a URL is absolute (which
// also catches a comment behind a line). It is laxer in one point: the last
// line may lack its newline.
//
// The package does no I/O and reads no clock: how old a checkpoint may be is
// not part of it.
package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy. C2SP recommends at least 32 of each.
const (
	MaxSize      = 1 << 20 // bytes of its text
	MaxLogs      = 1024
	MaxWitnesses = 1024
	MaxGroups    = 1024
)

// Policy is a parsed policy. It does not change once parsed, and its methods
// may be called concurrently.
type Policy struct {
	logs      []Log
	witnesses []Witness
	groups    []group
	quorum    string // name of a witness or group, or none

	components map[string]component
	verifiers  map[keyID]note.Verifier
}

var _ torchwood.Policy = (*Policy)(nil)

// none is the quorum that asks for no witnesses. Nothing else may have the name.
const none = "none"

// Log is one log line.
type Log struct {
	Name     string // the key's name, which is the log's origin
	VKey     string
	Verifier note.Verifier
	URL      string // may be empty
}

// Witness is one witness line.
type Witness struct {
	Name     string // in the policy; the key's name is Verifier.Name()
	VKey     string
	Verifier *torchwood.CosignatureVerifier
	URL      string // may be empty
}

// group is one group line: satisfied if at least k of the members are.
type group struct {
	name    string
	k       int // 1 ≤ k ≤ len(members)
	members []string
}

// component is what a name stands for: exactly one of its fields is set.
type component struct {
	witness *Witness
	group   *group
}

// keyID is how a note's signature line names the key that made it.
type keyID struct {
	name string
	hash uint32
}

func idOf(v note.Verifier) keyID { return keyID{v.Name(), v.KeyHash()} }

// Logs returns the logs in the order of the policy.
func (p *Policy) Logs() []Log { return slices.Clone(p.logs) }

// Witnesses returns the witnesses in the order of the policy, also those that
// the quorum does not ask for.
func (p *Policy) Witnesses() []Witness { return slices.Clone(p.witnesses) }

// Verifier returns the verifier of a log's or witness's key. With Check it
// implements torchwood.Policy.
func (p *Policy) Verifier(name string, hash uint32) (note.Verifier, error) {
	v, ok := p.verifiers[keyID{name, hash}]
	if !ok {
		return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
	}
	return v, nil
}

// Check returns nil if the signatures, which must have been verified with the
// policy's verifiers, satisfy the policy for a checkpoint of origin.
func (p *Policy) Check(origin string, sigs []note.Signature) error {
	signed := signers(sigs)
	if !p.logSigned(origin, signed) {
		return fmt.Errorf("no log of the policy signed as %q", origin)
	}
	if !p.quorumMet(signed) {
		return fmt.Errorf("witness quorum not met: %s", strings.Join(p.Explain(origin, sigs).Missing, "; "))
	}
	return nil
}

// signers returns the set of keys that signed, so that a signature line that
// is repeated counts once.
func signers(sigs []note.Signature) map[keyID]bool {
	signed := make(map[keyID]bool, len(sigs))
	for _, s := range sigs {
		signed[keyID{s.Name, s.Hash}] = true
	}
	return signed
}

func (p *Policy) logSigned(origin string, signed map[keyID]bool) bool {
	return slices.ContainsFunc(p.logs, func(l Log) bool {
		return l.Name == origin && signed[idOf(l.Verifier)]
	})
}

func (p *Policy) quorumMet(signed map[keyID]bool) bool {
	if p.quorum == none {
		return true
	}
	return p.satisfied(p.quorum, signed)
}

// satisfied ends because a group's members are defined before it, and is linear
// because a name is a member at most once.
func (p *Policy) satisfied(name string, signed map[keyID]bool) bool {
	c := p.components[name]
	if c.witness != nil {
		return signed[idOf(c.witness.Verifier)]
	}
	if c.group == nil {
		return false // only in the zero Policy
	}
	have := 0
	for _, m := range c.group.members {
		if p.satisfied(m, signed) {
			have++
		}
	}
	return have >= c.group.k
}

// Quorum describes the quorum on one line, for people: "none", or for example
// "2 of (w1, w2, any of (w3, w4))".
func (p *Policy) Quorum() string {
	var b strings.Builder
	p.describe(&b, p.quorum)
	return b.String()
}

func (p *Policy) describe(b *strings.Builder, name string) {
	g := p.components[name].group
	if g == nil {
		b.WriteString(printable(name))
		return
	}
	b.WriteString(g.threshold())
	b.WriteString(" of (")
	for i, m := range g.members {
		if i > 0 {
			b.WriteString(", ")
		}
		p.describe(b, m)
	}
	b.WriteString(")")
}

// threshold returns the canonical word for k.
func (g *group) threshold() string {
	switch g.k {
	case len(g.members):
		return "all"
	case 1:
		return "any"
	}
	return strconv.Itoa(g.k)
}

func (g *group) line() string {
	return "group " + g.name + " " + g.threshold() + " " + strings.Join(g.members, " ")
}

// String returns the policy's canonical text: logs, witnesses, groups, each in
// their order, and the quorum; single spaces, no comments, and for a threshold
// all where it is the number of members, any where it is 1. The zero Policy has
// the empty text, which does not parse.
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
	return b.String()
}
