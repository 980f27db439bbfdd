package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// rules are whose claims are heard, and what is enough of them.
type rules interface {
	// voter returns who is behind a key, if its claims are heard.
	voter(key leaf.Fingerprint) (voter, bool)
	// quorum decides whether votes are enough for an artifact of these names.
	quorum(names []string, votes []policy.Vote) policy.RebuildExplanation
	isSeed(d leaf.Digest) bool
	// exception returns the exception that holds for one of these names.
	exception(names []string) (policy.Exception, bool)
}

// voter is who is behind a key that is heard.
type voter struct {
	operator  string
	rebuilder string // the policy's name for the key; empty without a policy
}

// rulesOf returns the rules that a question asks by, or why there are none.
func rulesOf(q *Question, ev *Evidence) (by rules, why string) {
	switch {
	case ev == nil:
		return nil, "there is no evidence"
	case q.Policy == nil && q.Rules == nil:
		return nil, "no policy says whom to believe"
	case q.Rules != nil && q.Rules.Quorum < 1:
		return nil, fmt.Sprintf("a quorum of %d operators proves nothing", q.Rules.Quorum)
	case q.Policy != nil && ev.policy == nil:
		return nil, "the evidence was opened without the policy: who signed its checkpoint is not known"
	case q.Policy != nil && ev.policy != q.Policy && ev.policy.String() != q.Policy.String():
		return nil, "the evidence was verified by another policy"
	case !q.At.Equal(ev.at):
		return nil, fmt.Sprintf("the evidence was verified as of %s, not as of %s", timeText(ev.at), timeText(q.At))
	case q.Rules != nil:
		return &simpleRules{Rules: q.Rules, enrolled: ev.enrolled}, ""
	}
	return &policyRules{Policy: q.Policy, q: q, seeds: setOf(q.Policy.Seeds())}, ""
}

// policyRules are the lines of a policy about rebuilders.
type policyRules struct {
	*policy.Policy
	q     *Question
	seeds map[leaf.Digest]bool
}

func (r *policyRules) voter(key leaf.Fingerprint) (voter, bool) {
	b, ok := r.Rebuilder(key)
	return voter{operator: b.Operator, rebuilder: b.Name}, ok
}

func (r *policyRules) quorum(names []string, votes []policy.Vote) policy.RebuildExplanation {
	return r.Rebuilt(names, votes)
}

func (r *policyRules) isSeed(d leaf.Digest) bool { return r.seeds[d] }

func (r *policyRules) exception(names []string) (policy.Exception, bool) {
	return r.Policy.Exception(names, r.q.At)
}

// simpleRules believe the enrolments about who is behind a key.
type simpleRules struct {
	*Rules
	enrolled map[leaf.Fingerprint]enrolment
}

func (r *simpleRules) voter(key leaf.Fingerprint) (voter, bool) {
	e, ok := r.enrolled[key]
	if !ok || len(r.Operators) > 0 && !slices.Contains(r.Operators, e.operator) {
		return voter{}, false
	}
	return voter{operator: e.operator}, true
}

func (r *simpleRules) quorum(_ []string, votes []policy.Vote) policy.RebuildExplanation {
	have := []string{}
	for _, v := range votes {
		have = append(have, r.enrolled[v.Key].operator)
	}
	have = sortedUnique(have)
	n := policy.Node{Kind: policy.KindGroup, Name: "operators", Have: len(have), Need: r.Quorum, Of: len(r.candidates(have)), Satisfied: len(have) >= r.Quorum}
	for _, o := range r.candidates(have) {
		n.Members = append(n.Members, policy.Node{Kind: kindOperator, Name: o, Satisfied: slices.Contains(have, o)})
	}
	e := policy.RebuildExplanation{
		Satisfied: n.Satisfied,
		Quorums:   []policy.RebuildQuorum{{Line: fmt.Sprintf("a quorum of %d operators", r.Quorum), Names: []string{}, Operators: have, Node: n}},
		Distinct:  []policy.DistinctStatus{}, Missing: []string{},
	}
	if !n.Satisfied {
		e.Missing = append(e.Missing, fmt.Sprintf("%d of %d operators obtained it", len(have), r.Quorum))
	}
	return e
}

// kindOperator is the kind of the members of a simple rule's quorum.
const kindOperator = "operator"

// candidates returns the operators that are asked for or, if that is anybody,
// those that voted.
func (r *simpleRules) candidates(have []string) []string {
	if len(r.Operators) == 0 {
		return have
	}
	return r.Operators
}

func (r *simpleRules) isSeed(d leaf.Digest) bool {
	return len(r.Seeds) == 0 || slices.Contains(r.Seeds, d)
}

func (r *simpleRules) exception([]string) (policy.Exception, bool) { return policy.Exception{}, false }

// lookupNames returns the look-up names of package URLs, sorted, each once. What
// is no package URL names nothing to a policy.
func lookupNames(purls []string) []string {
	names := []string{}
	for _, p := range purls {
		if name, ok := lookupName(p); ok {
			names = append(names, name)
		}
	}
	return sortedUnique(names)
}

func lookupName(uri string) (string, bool) {
	if !strings.HasPrefix(uri, "pkg:") {
		return "", false
	}
	name, err := attest.LookupName(uri)
	return name, err == nil
}

func sortedUnique[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}

func setOf[T comparable](list []T) map[T]bool {
	set := make(map[T]bool, len(list))
	for _, x := range list {
		set[x] = true
	}
	return set
}
