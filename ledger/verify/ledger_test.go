package verify_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

// now is when tests ask, in a world whose witnesses read the machine's clock.
var now = time.Now()

// ledger is a log of real attestations, which tests write claim by claim.
type ledger struct {
	t       testing.TB
	signers []note.Signer // of the checkpoint
	logVKey string
	entries []*attest.Attestation
	people  map[string]*attest.Signer
	order   []string // of people, as enrolled
}

// operators are who is behind keys. "a" and "a2" are of one.
var operators = map[string]string{
	"a": "https://a.example", "a2": "https://a.example", "b": "https://b.example",
	"c": "https://c.example", "d": "https://d.example", "stranger": "https://stranger.example",
}

// newLedger returns a log in which these people's keys are enrolled.
func newLedger(t testing.TB, people ...string) *ledger {
	t.Helper()
	log, vkey := logSigner(t, origin, "log")
	l := &ledger{t: t, signers: []note.Signer{log, witnessSigner(t, "w1")}, logVKey: vkey, people: make(map[string]*attest.Signer)}
	for _, name := range people {
		l.enrol(name)
	}
	return l
}

func (l *ledger) signer(name string) *attest.Signer {
	if l.people[name] == nil {
		l.people[name] = attestSigner(l.t, name)
		l.order = append(l.order, name)
	}
	return l.people[name]
}

func (l *ledger) enrol(name string) {
	l.t.Helper()
	s := l.signer(name)
	env, err := attest.Enrol(s, operators[name], "")
	if err != nil {
		l.t.Fatal(err)
	}
	l.log(env, s)
}

func (l *ledger) log(env []byte, signers ...*attest.Signer) {
	l.t.Helper()
	var keys []*attest.PublicKey
	for _, s := range signers {
		keys = append(keys, s.Public)
	}
	l.entries = append(l.entries, mustOpen(l.t, env, keys...))
}

// digestOf returns the digest that stands for a word.
func digestOf(word string) leaf.Digest { return leaf.SHA256([]byte(word)) }

// thing describes what a word stands for: its purl is of the word before a dot,
// so that hello.1 and hello.2 are two builds of hello. "tool=odd" is the tool,
// called odd.
func thing(word string) attest.ResourceDescriptor {
	word, called, _ := strings.Cut(word, "=")
	name, _, _ := strings.Cut(cmp.Or(called, word), ".")
	return attest.ResourceDescriptor{
		Name: cmp.Or(called, word), URI: "pkg:generic/" + name + "@" + string(digestOf(word)),
		Digest: map[string]string{"sha256": digestOf(word).Hex()},
	}
}

// materials reads "role:word"; "unpinned:word" is a source without a strong
// digest, ":word" a material without a role, and "named:word" one without a
// digest either.
func materials(list []string) *attest.BuildDefinition {
	d := &attest.BuildDefinition{BuildType: attest.BuildTypeStageX}
	for _, m := range list {
		role, word, _ := strings.Cut(m, ":")
		r := thing(word)
		if role == "unpinned" {
			role, r.Digest = "source", map[string]string{"sha1": strings.Repeat("0", 40)}
		}
		if role == "named" {
			role, r = "", attest.ResourceDescriptor{Name: word, URI: "pkg:deb/debian/" + word + "@1"}
		}
		if role != "" {
			r.Annotations = map[string]any{"role": role}
		}
		d.ResolvedDependencies = append(d.ResolvedDependencies, r)
	}
	return d
}

// claim is a claim to be logged. Who signs is one person, or several joined by
// a plus sign.
type claim struct {
	who      string
	result   leaf.Result // of a reproduction; empty for a build
	obtained attest.Obtained
	subject  string // or several, joined by a plus sign
	outputs  []string
	from     []string
	env      map[string]string
	version  map[string]string // of the builder
}

func (l *ledger) add(c claim) {
	l.t.Helper()
	names := strings.Split(c.who, "+")
	var subjects, outputs []attest.ResourceDescriptor
	for _, word := range strings.Split(c.subject, "+") {
		subjects = append(subjects, thing(word))
	}
	for _, word := range c.outputs {
		outputs = append(outputs, thing(word))
	}
	by := attest.Builder{ID: "https://builder.example/" + c.who, Version: c.version}
	d := materials(c.from)
	var st *attest.Statement
	var err error
	if c.result == "" {
		if c.env != nil {
			d.InternalParameters = map[string]any{"environment": c.env}
		}
		st, err = attest.NewStatement(attest.PredicateProvenance, &attest.Provenance{BuildDefinition: *d, RunDetails: attest.RunDetails{Builder: by}}, subjects...)
	} else {
		r := &attest.Reproduction{Result: c.result, Obtained: c.obtained, Outputs: outputs, BuildDefinition: d, Rebuilder: by, Environment: c.env}
		if c.result == leaf.Equivalent {
			r.Equivalence = &attest.Equivalence{Method: "https://method.example"}
		}
		st, err = attest.NewStatement(attest.PredicateReproduction, r, subjects...)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	env, err := l.signer(names[0]).Sign(st)
	signers := []*attest.Signer{l.signer(names[0])}
	for _, name := range names[1:] {
		if err == nil {
			env, err = l.signer(name).AddSignature(env)
		}
		signers = append(signers, l.signer(name))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.log(env, signers...)
}

func (l *ledger) builds(who, subject string, from ...string) {
	l.t.Helper()
	l.add(claim{who: who, subject: subject, from: from})
}

// rebuilds logs a reproduction that was built: IDENTICAL, or DIFFERENT if the
// output is another.
func (l *ledger) rebuilds(who, subject, output string, from ...string) {
	l.t.Helper()
	c := claim{who: who, result: leaf.Identical, obtained: attest.Built, subject: subject, outputs: []string{output}, from: from}
	if output != subject {
		c.result = leaf.Different
	}
	l.add(c)
}

func (l *ledger) fails(who, subject string, from ...string) {
	l.t.Helper()
	l.add(claim{who: who, result: leaf.BuildFailed, subject: subject, from: from})
}

// bundle proves every entry in the log's newest checkpoint.
func (l *ledger) bundle() *bundle.Bundle {
	l.t.Helper()
	var stored hashes
	for i, e := range l.entries {
		hs, err := tlog.StoredHashes(int64(i), e.Text, stored)
		if err != nil {
			l.t.Fatal(err)
		}
		stored = append(stored, hs...)
	}
	n := int64(len(l.entries))
	root, err := tlog.TreeHash(n, stored)
	if err != nil {
		l.t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: root}}.String()}, l.signers...)
	if err != nil {
		l.t.Fatal(err)
	}
	b := &bundle.Bundle{Artifact: digestOf("app")}
	for i, e := range l.entries {
		path, err := tlog.ProveRecord(n, int64(i), stored)
		if err != nil {
			l.t.Fatal(err)
		}
		p := &tlogproof.Proof{Index: int64(i), Leaf: e.Text, Checkpoint: signed}
		for _, h := range path {
			p.Path = append(p.Path, h[:])
		}
		for _, k := range e.Keys {
			p.Keys = append(p.Keys, k.PEM)
		}
		proof, err := p.Marshal()
		if err != nil {
			l.t.Fatal(err)
		}
		b.Entries = append(b.Entries, bundle.Entry{Index: int64(i), Attestation: e.Raw, Proof: proof})
	}
	return b
}

// base is the policy's lines about the log and its witness.
func (l *ledger) base() string {
	l.t.Helper()
	return fmt.Sprintf("log %s\nwitness w1 %s\nquorum w1\n", l.logVKey, witnessSigner(l.t, "w1").Verifier())
}

// policy returns a policy with these lines, which may name people's rebuilders.
func (l *ledger) policy(lines ...string) *policy.Policy {
	l.t.Helper()
	text := l.base()
	for _, line := range lines {
		text += line + "\n"
	}
	p, err := policy.Parse([]byte(text))
	if err != nil {
		l.t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// rebuilders are the rebuilder lines of everybody but strangers.
func (l *ledger) rebuilders() []string {
	l.t.Helper()
	var lines []string
	for _, name := range l.order {
		if name != "stranger" {
			lines = append(lines, fmt.Sprintf("rebuilder %s %s operator=%s", name, l.signer(name).Public.Fingerprint, operators[name]))
		}
	}
	return lines
}

// quorum asks for k of all rebuilders' operators, with hex0 as seed.
func (l *ledger) quorum(k int, more ...string) *policy.Policy {
	l.t.Helper()
	lines := l.rebuilders()
	members := slices.DeleteFunc(slices.Clone(l.order), func(name string) bool { return name == "stranger" })
	lines = append(lines, fmt.Sprintf("rebuild-group all-of-them %d %s", k, strings.Join(members, " ")), "rebuild-quorum all-of-them", "seed "+string(digestOf("hex0")))
	return l.policy(append(lines, more...)...)
}

func (l *ledger) open(pol *policy.Policy) *verify.Evidence {
	l.t.Helper()
	ev, err := verify.Open(l.bundle(), pol, now)
	if err != nil {
		l.t.Fatal(err)
	}
	return ev
}

// ask asks about the artifact "app".
func (l *ledger) ask(pol *policy.Policy, names ...string) *verify.Report {
	l.t.Helper()
	return verify.Artifact(verify.Question{Artifact: digestOf("app"), Names: names, Policy: pol, At: now}, l.open(pol))
}

// trace asks about the artifact "app" by simple rules, without a policy.
func (l *ledger) trace(by verify.Rules) *verify.Report {
	l.t.Helper()
	return verify.Artifact(verify.Question{Artifact: digestOf("app"), Rules: &by, At: now}, l.open(nil))
}

func find(n *verify.Node, word string) *verify.Node {
	if n.Digest == digestOf(word) && !n.Seen {
		return n
	}
	for _, m := range n.Materials {
		if found := find(m, word); found != nil {
			return found
		}
	}
	return nil
}
