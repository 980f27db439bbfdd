package web

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
	"github.com/cairnlog/cairn/ledger/web/layered"
)

// ancestry is a graph of what an artifact is made from, without its cycles.
type ancestry struct {
	*survey.Graph
	kinds []nodeKind
	ahead []layered.Edge // without those that close a cycle
	back  []layered.Edge // that do
	from  [][]int        // what each node is made from, all of it
	users []int          // how many are made from each
}

func newAncestry(g *survey.Graph) *ancestry {
	n := len(g.Nodes)
	a := &ancestry{Graph: g, kinds: make([]nodeKind, n), from: make([][]int, n), users: make([]int, n)}
	for i := range g.Nodes {
		a.kinds[i] = kindOf(&g.Nodes[i])
	}
	var edges []layered.Edge
	seen := make(map[layered.Edge]bool)
	for _, e := range g.Edges {
		edge := layered.Edge{From: e.From, To: e.To}
		if seen[edge] || min(e.From, e.To) < 0 || max(e.From, e.To) >= n {
			continue
		}
		seen[edge] = true
		edges = append(edges, edge)
		a.from[e.To] = append(a.from[e.To], e.From)
		a.users[e.From]++
	}
	for i, closes := range layered.Back(n, edges) {
		if closes {
			a.back = append(a.back, edges[i])
		} else {
			a.ahead = append(a.ahead, edges[i])
		}
	}
	return a
}

// kindOf returns what a node is. What the policy names as a seed is one, whoever built
// it, too.
func kindOf(n *survey.Node) nodeKind {
	switch {
	case n.Role == "seed" && n.Pinned:
		return kindSeed
	case n.Built:
		return kindBuilt
	case n.Role == "seed":
		return kindSeed
	case n.Role == "source" && n.Pinned:
		return kindSource
	}
	return kindUnknown
}

func (a *ancestry) find(d leaf.Digest) int {
	return slices.IndexFunc(a.Nodes, func(n survey.Node) bool { return n.Digest == d })
}

// sound reports whether nothing needs to be rebuilt of a node: it is reproduced or
// pinned.
func (a *ancestry) sound(n int) bool {
	if a.kinds[n] == kindBuilt {
		return a.Nodes[n].Verdict == verify.VerdictReproduced
	}
	return a.Nodes[n].Pinned
}

// frontier returns what is built and not reproduced, although all that it is made from
// is sound.
func (a *ancestry) frontier(nodes []int) (list []int) {
	for _, n := range nodes {
		if a.kinds[n] != kindBuilt || a.sound(n) || len(a.from[n]) == 0 {
			continue
		}
		if !slices.ContainsFunc(a.from[n], func(m int) bool { return !a.sound(m) }) {
			list = append(list, n)
		}
	}
	return list
}

// gaps returns the artifacts of which nobody says what they are made from.
func (a *ancestry) gaps(nodes []int) (list []int) {
	for _, n := range nodes {
		if a.kinds[n] == kindUnknown || a.kinds[n] == kindBuilt && len(a.from[n]) == 0 {
			list = append(list, n)
		}
	}
	return list
}

func (a *ancestry) those(nodes []int, kind nodeKind) (list []int) {
	for _, n := range nodes {
		if a.kinds[n] == kind {
			list = append(list, n)
		}
	}
	return list
}

// way is a chain of builds: of two, that which touches a better end is better, and then
// the longer.
type way struct {
	end    int // of the chain: what it is worth
	length int
	next   int // the node before or behind; -1 for none
}

func (w way) better(than way) bool {
	if w.end != than.end {
		return w.end > than.end
	}
	return w.length > than.length
}

// begins returns how well a chain begins at a node: best at a seed of the policy.
func (a *ancestry) begins(n int) int {
	switch {
	case a.kinds[n] != kindSeed:
		return 0
	case !a.Nodes[n].Pinned:
		return 1
	}
	return 2
}

// chain returns the longest chain of builds from a seed to the target, or, if via is not
// negative, through that node. It is nothing if via does not lead to the target. Sources
// begin no chain unless they are asked for.
func (a *ancestry) chain(via int) []int {
	n := len(a.Nodes)
	order := byLayer(n, a.ahead)
	up, down := make([]way, n), make([]way, n)
	prev, next := make([][]int, n), make([][]int, n)
	for _, e := range a.ahead {
		if a.kinds[e.From] != kindSource || e.From == via {
			prev[e.To], next[e.From] = append(prev[e.To], e.From), append(next[e.From], e.To)
		}
	}
	for _, v := range order {
		up[v] = way{a.begins(v), 1, -1}
		for _, u := range prev[v] {
			if w := (way{up[u].end, up[u].length + 1, u}); w.better(up[v]) {
				up[v] = w
			}
		}
	}
	const target = 0
	for _, v := range slices.Backward(order) {
		down[v] = way{0, 1, -1}
		if v == target {
			down[v].end = 1
		}
		for _, u := range next[v] {
			if w := (way{down[u].end, down[u].length + 1, u}); v != target && w.better(down[v]) {
				down[v] = w
			}
		}
	}
	if via < 0 {
		via = target
	}
	if down[via].end == 0 {
		return nil
	}
	chain := []int{via}
	for v := up[via].next; v >= 0; v = up[v].next {
		chain = append(chain, v)
	}
	slices.Reverse(chain)
	for v := down[via].next; v >= 0; v = down[v].next {
		chain = append(chain, v)
	}
	return chain
}

// byLayer returns the nodes of a graph without cycles, each after those that lead to it.
func byLayer(n int, edges []layered.Edge) []int {
	layer := layered.Layers(n, edges)
	order := make([]int, n)
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int { return layer[a] - layer[b] })
	return order
}

// maxLinked is the longest name that a link has; what has a longer one is linked to by
// its digest.
const maxLinked = 1000

// node returns what the page shows of a node.
func (a *ancestry) node(n int, q bootstrapQuery, shown *laid, place []int) bootstrapNode {
	from := &a.Nodes[n]
	b := bootstrapNode{
		Digest: from.Digest, Package: from.Package, Name: from.Name, Kind: a.kinds[n], Pinned: from.Pinned,
		Verdict: from.Verdict, Obtained: from.Obtained, Rank: shown.layer(n), From: []int{}, Users: a.users[n],
		Label: nodeLabel(from),
	}
	for _, m := range a.from[n] {
		if place[m] >= 0 {
			b.From = append(b.From, place[m])
		} else {
			b.Sources++
		}
	}
	slices.Sort(b.From)
	if from.Built {
		name := from.Package
		if name == "" || len(name) > maxLinked {
			name = string(from.Digest)
		}
		b.Href = pathOf("/p/", name)
	}
	if b.Kind == kindBuilt {
		b.Command = rebuildCommand(from.Package)
	}
	q.via = from.Digest
	b.Via = q.link()
	return b
}

// imageName is what a shell takes as one word, and cairn-builder as a package.
var imageName = regexp.MustCompile(`^pkg:oci/([a-z0-9][a-z0-9._-]{0,99})(?:[@?].*)?$`)

// rebuildCommand returns the command that reproduces the image of a package of a tree,
// or nothing for what is of another kind.
func rebuildCommand(purl string) string {
	m := imageName.FindStringSubmatch(purl)
	if m == nil {
		return ""
	}
	return "cairn-builder reproduce " + m[1] + " --key YOUR.key --operator https://YOUR.example"
}

// nodeLabel returns a name for people. Of a package URL or another URI it is the end.
func nodeLabel(n *survey.Node) string {
	name := n.Name
	if name == "" {
		name = n.Package
	}
	if name == "" {
		return string(n.Digest)
	}
	if scheme, rest, found := strings.Cut(name, ":"); found && (scheme == "pkg" || strings.HasPrefix(rest, "//")) {
		rest, _, _ = strings.Cut(rest, "#")
		rest, _, _ = strings.Cut(rest, "?")
		rest = strings.TrimRight(rest, "/")
		if end := rest[strings.LastIndexByte(rest, '/')+1:]; end != "" {
			name = end
		}
		name, _, _ = strings.Cut(name, "@sha256")
		if decoded, err := url.PathUnescape(name); err == nil {
			name = decoded
		}
	}
	return name
}
