// Package policy decides what is believed: which checkpoints, and whose rebuilds.
//
// A policy is a text in the grammar of C2SP tlog-policy, and in the same grammar
// lines about rebuilders (docs/policy.md):
//
//	log <vkey> [<url>]
//	witness <name> <vkey> [<url>]
//	group <name> all|any|<k> <member>...
//	quorum <name>|none
//	rebuilder <name> <key> operator=<operator> [cpu-vendor=<vendor>] [country=<country>]
//	rebuild-group <name> all|any|<k> <member>...
//	rebuild-quorum <name> [for <purl glob>]
//	distinct operator|cpu-vendor|engine|country <k>
//	dissent block|tolerate <n>
//	seed sha256:<hex>
//	except <purl glob> until <date> reason <text>
//	max-age <duration>
//
// A checkpoint is believed if any one of the logs signed it, under the origin
// that is that log's key name, and the witnesses that cosigned it satisfy the
// quorum. An artifact is rebuilt if the operators of those who obtained it by
// building satisfy the rebuild-quorum of each of its names.
//
// Invariants:
//   - Nothing in a policy is ignored except blank lines and lines that begin
//     with #. What is not understood is an error that names its line.
//   - No rule is written down that nobody applies, or that nobody can meet: a
//     rebuild-group that no quorum asks for, a glob behind one that matches the
//     same, more distinct values than there are.
//   - One public key is one log, one witness or one rebuilder, whatever it is
//     called, and each name of a witness or group is a member of at most one
//     group: so a key counts once.
//   - Operators of rebuilders are counted, never keys, names or votes. Below one
//     rebuild-quorum an operator is in one group: so it counts once.
//   - Who is asked is written in the policy; who answered changes no threshold.
//   - More votes never turn a yes into a no, and a further name beside others
//     never a no into a yes.
//   - The zero Policy accepts nothing.
//   - Parse(p.String()) is p again, and has the same String.
//
// Where C2SP leaves room, this package is stricter: a policy lists at least one
// log, no key is both a log's and a witness's, and a URL is absolute (which
// also catches a comment behind a line). It is laxer in one point: the last
// line may lack its newline.
//
// The package does no I/O and reads no clock: the time at which ages and dates
// are judged is an argument.
package policy

import (
	"crypto/ed25519"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Limits of a policy. C2SP recommends at least 32 of each.
const (
	MaxSize      = 1 << 20 // bytes of its text
	MaxLogs      = 1024
	MaxWitnesses = 1024
	MaxGroups    = 1024

	MaxRebuilders     = 1024
	MaxRebuildGroups  = 256
	MaxRebuildQuorums = 1024
	MaxSeeds          = 1024
	MaxExceptions     = 1024

	maxGlob  = 4096 // bytes, as of a package URL
	maxValue = 2048 // bytes of an operator, another attribute or a reason
)

// Policy is a parsed policy. It does not change once parsed, and its methods
// may be called concurrently.
type Policy struct {
	logs      []Log
	witnesses []Witness
	groups    []group
	quorum    string // name of a witness or group, or none

	rebuilderList  []*Rebuilder
	rebuildGroups  []*rebuildGroup
	rebuildQuorums []*rebuildQuorum
	distinct       []Distinct // in the order of distinctWhats
	tolerates      int
	seeds          []leaf.Digest
	exceptions     []exception
	maxAge         time.Duration // 0 for any

	components map[string]component
	verifiers  map[keyID]note.Verifier
	rebuilders map[leaf.Fingerprint]*Rebuilder
}

// none is the quorum that asks for no witnesses. Nothing else may have the name.
const none = "none"

// Log is one log line.
type Log struct {
	Name     string // the key's name, which is the log's origin
	VKey     string
	Verifier note.Verifier
	URL      string // may be empty
}

// PublicKey returns the key in the VKey of a parsed policy's log.
func (l *Log) PublicKey() ed25519.PublicKey {
	k, err := parseVKey(l.VKey)
	if err != nil || k.alg != algEd25519 {
		return nil
	}
	return k.pub
}

// Witness is one witness line.
type Witness struct {
	Name     string // in the policy; the key's name is Verifier.Name()
	VKey     string
	Verifier note.Verifier // of cosignature/v1
	URL      string        // may be empty
}

// group is one group line: satisfied if at least k of the members are.
type group struct {
	name    string
	k       int // 1 ≤ k ≤ len(members)
	members []string
}

// component is what a name stands for: exactly one of its fields is set.
type component struct {
	witness      *Witness
	group        *group
	rebuilder    *Rebuilder
	rebuildGroup *rebuildGroup
}

// cosigns reports whether it can be part of a witness quorum.
func (c component) cosigns() bool { return c.witness != nil || c.group != nil }

// rebuilds reports whether it can be part of a rebuild-quorum.
func (c component) rebuilds() bool { return c.rebuilder != nil || c.rebuildGroup != nil }

func (c component) kind() string {
	switch {
	case c.witness != nil:
		return KindWitness
	case c.group != nil:
		return KindGroup
	case c.rebuilder != nil:
		return KindRebuilder
	}
	return KindRebuildGroup
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

func (g *group) threshold() string { return threshold(g.k, len(g.members)) }

// threshold returns the canonical word for k of n.
func threshold(k, n int) string {
	switch k {
	case n:
		return "all"
	case 1:
		return "any"
	}
	return strconv.Itoa(k)
}

func (g *group) line() string {
	return "group " + g.name + " " + g.threshold() + " " + strings.Join(g.members, " ")
}
