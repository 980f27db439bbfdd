package verify

import (
	"fmt"
	"slices"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Limits of one ancestry.
const (
	MaxNodes = 20_000    // artifacts that are built
	MaxDepth = 1000      // steps from the artifact down, on the shortest way
	MaxUses  = 1_000_000 // materials of claims, each once for a claim

	// maxEnvironments is from how many different ones a key's claims about an
	// artifact count; that it obtained it, any one of them says.
	maxEnvironments = 64
)

// graph is an artifact and all that it is made from, by the claims that are
// heard. It is first collected, then settled, and then drawn: so a verdict does
// not depend on the order in which artifacts are met. Nothing in it recurses, as
// how deep it goes is for others to say.
type graph struct {
	q         *Question
	by        rules
	ev        *Evidence
	tolerated int // operators that may dissent
	// wantsSeed is whether every claim must say what its build was made from, down
	// to a seed. A policy without seeds asks who rebuilt what, no more; simple
	// rules are those of cairn trace, which is all about ancestries.
	wantsSeed bool

	root   *artifact
	known  map[leaf.Digest]*artifact
	order  []*artifact // of known, breadth first
	heard  map[int]*heard
	spoilt map[vouch]bool                  // what an equivocating key said of which artifact
	lies   map[leaf.Digest][]*Equivocation // by what they are about
	uses   int
}

// artifact is something that is built.
type artifact struct {
	digest    leaf.Digest
	depth     int
	name      string        // in the words of the first claim
	names     []string      // look-up names, sorted
	aliases   []leaf.Digest // other digests of it, by claims that are heard
	claims    []*heard      // about it, in log order
	unheard   int           // claims about it that are not heard
	exception *Exception    // of the root
	users     []*heard      // that are made from it

	dissent    []Dissent
	dissenters map[string]bool // operators with a DIFFERENT
	voted      map[policy.Vote]bool
	// environments counts the votes of one key or operator: whoever claims a new
	// one with each of many claims must not make the quorum be counted as often.
	environments map[string]int
	votes        []policy.Vote
	supported    bool // claims that name no material may count: see count
	reproduced   bool
	cycle        bool
	reached      bool // it is in the ancestry
	followed     bool // and so is what it is made from
	excepted     bool // a claim that was reached rests on it by exception
	node         *Node
}

// good reports whether a build may rest on it.
func (a *artifact) good() bool { return a.reproduced || a.exception != nil }

// heard is a claim that somebody who is heard signed.
type heard struct {
	*Claim
	keys   []leaf.Fingerprint // those that are heard
	voters []voter            // behind keys

	// Of a claim that obtained something:
	materials []material  // none if it names none
	fault     string      // why it counts for nothing whatever else is known
	open      int         // materials that are not good yet
	about     []*artifact // in the graph
}

// material is one that a claim names. It is a source, a seed, or built.
type material struct {
	*attest.Resource
	digest leaf.Digest // empty if it is not pinned
	built  *artifact   // nil if it is a source, a seed, or not pinned
	fault  string      // why nothing may rest on it, for what is not built
	// exception is why this claim may rest on it whatever it is: by the name that
	// the claim gives it. It is for this claim alone, so that who gives a wrong name
	// spoils no vote but their own.
	exception *Exception
}

// good reports whether the claim may rest on the material.
func (m *material) good() bool {
	return m.fault == "" && (m.built == nil || m.exception != nil || m.built.good())
}

func newGraph(q *Question, by rules, ev *Evidence) *graph {
	g := &graph{
		q: q, by: by, ev: ev,
		known: make(map[leaf.Digest]*artifact), heard: make(map[int]*heard), spoilt: make(map[vouch]bool),
		lies: make(map[leaf.Digest][]*Equivocation),
	}
	if g.wantsSeed = true; q.Rules == nil {
		g.tolerated = q.Policy.Tolerates()
		g.wantsSeed = len(q.Policy.Seeds()) > 0
	}
	return g
}

// collect finds the claims about the artifact and all that it is made from.
func (g *graph) collect() error {
	g.findLies()
	g.root = g.meet(g.q.Artifact, 0)
	g.root.names = lookupNames(g.q.Names)
	for i := 0; i < len(g.order); i++ {
		if err := g.expand(g.order[i]); err != nil {
			return err
		}
	}
	for _, a := range g.order {
		g.hearAliases(a)
		a.names = sortedUnique(a.names)
	}
	// What claims call it must not except what the asker means, or one rebuilder
	// could have anything accepted.
	g.root.exception = g.exception(lookupNames(g.q.Names))
	return nil
}

// exception returns the exception that holds for one of these names, or nil.
func (g *graph) exception(names []string) *Exception {
	x, ok := g.by.exception(names)
	if !ok {
		return nil
	}
	return &Exception{Glob: x.Glob, Until: x.Until, Reason: x.Reason}
}

func (g *graph) meet(d leaf.Digest, depth int) *artifact {
	a := g.known[d]
	if a == nil {
		a = &artifact{digest: d, depth: depth, dissenters: make(map[string]bool), voted: make(map[policy.Vote]bool), environments: make(map[string]int)}
		g.known[d] = a
		g.order = append(g.order, a)
	}
	return a
}

// expand finds what is said of an artifact, and meets its materials.
func (g *graph) expand(a *artifact) error {
	for _, i := range g.ev.bySubject[a.digest] {
		h := g.hear(i)
		if h == nil {
			a.unheard++
			continue
		}
		a.claims = append(a.claims, h)
		a.describe(h)
		a.dissents(h)
		if !h.Claim.Claim.Obtains(a.digest) {
			continue
		}
		h.about = append(h.about, a)
		if len(h.about) > 1 {
			continue // its materials were met
		}
		if err := g.follow(h, a.depth+1); err != nil {
			return err
		}
	}
	return nil
}

// hear returns a claim with those of its signers that are heard, or nil.
func (g *graph) hear(i int) *heard {
	if h, ok := g.heard[i]; ok {
		return h
	}
	var h *heard
	c := &g.ev.claims[i]
	for _, k := range c.Keys {
		if v, ok := g.by.voter(k); ok {
			if h == nil {
				h = &heard{Claim: c}
			}
			h.keys, h.voters = append(h.keys, k), append(h.voters, v)
		}
	}
	g.heard[i] = h
	return h
}

// follow meets the materials of a claim, each once; none of a claim that pins
// nothing.
func (g *graph) follow(h *heard, depth int) error {
	if pinsNothing(h.Claim.Claim.Materials) {
		return nil
	}
	type as struct {
		digest leaf.Digest
		role   string
		name   string // of what has no digest
	}
	met := make(map[as]bool)
	for i := range h.Claim.Claim.Materials {
		m := g.material(&h.Claim.Claim.Materials[i])
		key := as{digest: m.digest, role: m.Role}
		if m.digest == "" {
			key.name = m.Name + " " + m.URI
		}
		if met[key] {
			continue
		}
		met[key] = true
		if g.uses++; g.uses > MaxUses {
			return fmt.Errorf("the ancestry has more than %d uses of materials", MaxUses)
		}
		if m.digest != "" && m.IsBuilt() {
			if err := g.rest(h, &m, depth); err != nil {
				return err
			}
		}
		if m.fault != "" && h.fault == "" {
			h.fault = m.fault
		}
		h.materials = append(h.materials, m)
	}
	return nil
}

// pinsNothing reports whether materials that were built are named, and none of
// them by a digest: what a Debian .buildinfo says of the packages that were
// installed. It states no more of what something was made from than a claim that
// names no material, also where it pins the source.
func pinsNothing(materials []attest.Resource) bool {
	named := false
	for i := range materials {
		if m := &materials[i]; m.IsBuilt() {
			if len(m.Strong()) > 0 {
				return false
			}
			named = true
		}
	}
	return named
}

// rest makes a claim wait for a material that is built.
func (g *graph) rest(h *heard, m *material, depth int) error {
	if g.known[m.digest] == nil {
		if len(g.known) >= MaxNodes {
			return fmt.Errorf("the ancestry has more than %d artifacts", MaxNodes)
		}
		if depth > MaxDepth {
			return fmt.Errorf("the ancestry is deeper than %d steps", MaxDepth)
		}
	}
	m.built = g.meet(m.digest, depth)
	m.built.aliases = append(m.built.aliases, m.Strong()[1:]...)
	if name, ok := lookupName(m.URI); ok {
		m.built.names = append(m.built.names, name)
		m.exception = g.exception([]string{name})
	}
	if m.built.name == "" {
		m.built.name = m.Name
	}
	if m.exception != nil {
		return nil
	}
	if n := len(m.built.users); n == 0 || m.built.users[n-1] != h {
		m.built.users = append(m.built.users, h)
		h.open++
	}
	return nil
}

// material says what a resource is to a build that used it.
func (g *graph) material(r *attest.Resource) material {
	m := material{Resource: r}
	digests := r.Strong()
	switch {
	case len(digests) == 0:
		m.fault = described(r.Role, r.Name) + " is not pinned by a sha256 or sha512"
		return m
	case r.Role == attest.RoleSeed && !slices.ContainsFunc(digests, g.by.isSeed):
		m.fault = fmt.Sprintf("%s %s is no seed of the policy", described(r.Role, r.Name), digests[0])
	}
	m.digest = digests[0]
	return m
}

// describe takes the names that a claim gives an artifact.
func (a *artifact) describe(h *heard) {
	for i := range h.Claim.Claim.Subjects {
		s := &h.Claim.Claim.Subjects[i]
		digests := s.Strong()
		if !slices.Contains(digests, a.digest) {
			continue
		}
		a.aliases = append(a.aliases, digests...)
		if a.name == "" {
			a.name = s.Name
		}
		if name, ok := lookupName(s.URI); ok {
			a.names = append(a.names, name)
		}
	}
}

// hearAliases takes the dissent that names an artifact by another digest alone: a
// sha512 where it is asked about by its sha256. Nothing else that is said of the
// other digest counts for it.
func (g *graph) hearAliases(a *artifact) {
	for _, d := range sortedUnique(a.aliases) {
		if d == a.digest {
			continue
		}
		for _, i := range g.ev.bySubject[d] {
			if _, here := slices.BinarySearch(g.ev.bySubject[a.digest], i); here {
				continue
			}
			h, dissent := g.hear(i), len(a.dissent)
			if h == nil {
				continue
			}
			if a.dissents(h); len(a.dissent) > dissent {
				a.claims = append(a.claims, h)
			}
		}
	}
}

// dissents takes a claim that says that the artifact cannot be had by building
// it.
func (a *artifact) dissents(h *heard) {
	c := &h.Claim.Claim
	if c.Claim != leaf.ClaimReproduction || c.Result != leaf.Different && c.Result != leaf.BuildFailed {
		return
	}
	for _, v := range h.voters {
		a.dissent = append(a.dissent, Dissent{Operator: v.operator, Rebuilder: v.rebuilder, Result: c.Result, Entry: h.Entry})
		if c.Result == leaf.Different {
			a.dissenters[v.operator] = true
		}
	}
}

// settle finds all that is reproduced, and nothing else: it begins with what
// rests on sources, seeds and exceptions alone, and adds what can count then
// until nothing does. Each claim is looked at once more for each of its
// materials.
func (g *graph) settle() {
	var ready []*heard
	release := func(a *artifact) {
		for _, h := range a.users {
			if h.open--; h.open == 0 {
				ready = append(ready, h)
			}
		}
	}
	for _, a := range g.order {
		for _, h := range a.claims {
			if h.open == 0 && len(h.materials) > 0 && h.about[0] == a {
				ready = append(ready, h)
			}
		}
	}
	for _, a := range g.order {
		if a.exception != nil {
			release(a)
		}
		if !a.stated() && g.support(a) && a.exception == nil {
			release(a)
		}
	}
	for ; len(ready) > 0; ready = ready[1:] {
		h := ready[0]
		if h.fault != "" {
			continue
		}
		for _, a := range h.about {
			if was := a.good(); g.count(a, h) && !was {
				release(a)
			}
		}
	}
	g.findCycles()
}

// stated reports whether a claim to have obtained the artifact names materials.
func (a *artifact) stated() bool {
	return slices.ContainsFunc(a.claims, func(h *heard) bool { return len(h.materials) > 0 && slices.Contains(h.about, a) })
}

// count counts a claim whose materials are all good for an artifact, and reports
// whether that reproduces it. Claims that name no material count beside it, as
// rebuilders often leave to the builder to say what a build is made from; but not
// where that matters, as it would then be one builder's word.
func (g *graph) count(a *artifact, h *heard) bool {
	votes := len(a.votes)
	reproduced := g.vote(a, h)
	if len(a.votes) > votes && g.support(a) {
		reproduced = true
	}
	return reproduced
}

// support counts the claims about an artifact that name no material, and reports
// whether that reproduces it.
func (g *graph) support(a *artifact) (reproduced bool) {
	if a.supported || g.wantsSeed {
		return false
	}
	a.supported = true
	for _, h := range a.claims {
		if len(h.materials) == 0 && slices.Contains(h.about, a) && g.vote(a, h) {
			reproduced = true
		}
	}
	return reproduced
}

// weighs reports whether a claim to have obtained an artifact counts for it, if
// its signers do.
func (a *artifact) weighs(h *heard) bool {
	return h.fault == "" && h.open == 0 && (len(h.materials) > 0 || a.supported)
}

// vote counts a claim whose materials are all good for an artifact, and reports
// whether that reproduces it.
func (g *graph) vote(a *artifact, h *heard) bool {
	votes := len(a.votes)
	for i := range h.keys {
		if !g.counts(a, h, i) {
			continue
		}
		v, from := g.voteOf(h, i)
		if a.voted[v] || a.environments[from] >= maxEnvironments {
			continue
		}
		a.voted[v] = true
		a.environments[from]++
		a.votes = append(a.votes, v)
	}
	if a.reproduced || len(a.votes) == votes {
		return false
	}
	a.reproduced = len(a.dissenters) <= g.tolerated && g.by.quorum(a.names, a.votes).Satisfied
	return a.reproduced
}

// voteOf returns the vote of a signer of a claim, and whose further votes it is
// counted among: its key's or, where nothing but operators counts, its operator's.
func (g *graph) voteOf(h *heard, i int) (v policy.Vote, from string) {
	if g.q.Rules != nil {
		return policy.Vote{Key: h.keys[i]}, h.voters[i].operator
	}
	env := h.Claim.Claim.Environment
	return policy.Vote{Key: h.keys[i], CPUVendor: env["cpuVendor"], Engine: env["engine"], Country: env["country"]}, string(h.keys[i])
}

// counts reports whether a signer of a claim that obtained an artifact may count
// for it: who dissents or equivocates does not.
func (g *graph) counts(a *artifact, h *heard, i int) bool {
	return !a.dissenters[h.voters[i].operator] && !g.spoilt[vouch{h.keys[i], a.digest}]
}
