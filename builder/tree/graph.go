package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Graph is the order in which the images of a tree can be built.
type Graph struct {
	Tree *Tree
	// Nodes are the packages, each after all those it depends on: by depth, then
	// stage, then name.
	Nodes []*Node

	byID map[string]*Node
}

// Node is one package in a graph.
type Node struct {
	*Package
	// Depth is 0 for packages that depend on none, and otherwise one more than
	// the greatest of those it depends on: the longest way down to a root.
	Depth int
	// Deps are those of Package.Deps, and Meets those of Package.Meets, which
	// must be built before it, too. Both are by ID.
	Deps, Meets []*Node
	// Dependents are the packages that have this one in Deps or Meets, by ID.
	Dependents []*Node
}

// before returns what must be built before the node, by ID, each once.
func (n *Node) before() []*Node {
	if len(n.Meets) == 0 {
		return n.Deps
	}
	all := append(slices.Clone(n.Deps), n.Meets...)
	slices.SortFunc(all, byID)
	return slices.Compact(all)
}

func byID(a, b *Node) int { return strings.Compare(a.ID(), b.ID()) }

// CycleError is a cycle of packages.
type CycleError struct {
	// IDs are the packages of the cycle, each of which depends on the next; the
	// last one is the first again.
	IDs []string
}

func (e *CycleError) Error() string {
	return "packages depend on each other: " + strings.Join(e.IDs, " → ")
}

// Graph returns the tree's graph. A dependency that the tree does not have is
// an error that names file and line, and a cycle is a *CycleError.
func (t *Tree) Graph() (*Graph, error) {
	g := &Graph{Tree: t, byID: make(map[string]*Node, len(t.Packages))}
	for _, pkg := range t.Packages {
		g.byID[pkg.ID()] = &Node{Package: pkg, Depth: -1}
	}
	if err := g.connect(); err != nil {
		return nil, err
	}
	for _, pkg := range t.Packages {
		if cycle := g.measure(g.byID[pkg.ID()], nil); cycle != nil {
			return nil, cycle
		}
	}
	g.sort()
	return g, nil
}

func (g *Graph) connect() error {
	var p problems
	told := make(map[Ref]bool)
	for _, pkg := range g.Tree.Packages {
		node := g.byID[pkg.ID()]
		for _, ref := range pkg.Containerfile.Refs() {
			if _, ok := g.byID[ref.ID]; ref.Kind == KindPackage && !ok && !told[ref] {
				p.add(pkg.Containerfile.File, ref.Line, "", "%w", g.Tree.unknown(ref.ID))
				if pkg.Target != "" {
					told[ref] = true // once for all subpackages
				}
			}
		}
		for _, id := range pkg.Deps {
			if dep, ok := g.byID[id]; ok {
				node.Deps = append(node.Deps, dep)
				dep.Dependents = append(dep.Dependents, node)
			}
		}
		for _, id := range slices.Sorted(slices.Values(pkg.Meets)) {
			meet := g.byID[id] // Load has found it
			node.Meets = append(node.Meets, meet)
			if !slices.Contains(node.Deps, meet) {
				meet.Dependents = append(meet.Dependents, node)
			}
		}
	}
	return p.join()
}

// measure sets the depth of a node and of all below. The path leads to it.
func (g *Graph) measure(n *Node, path []*Node) *CycleError {
	if n.Depth >= 0 {
		return nil
	}
	if i := slices.Index(path, n); i >= 0 {
		cycle := &CycleError{}
		for _, node := range append(slices.Clone(path[i:]), n) {
			cycle.IDs = append(cycle.IDs, node.ID())
		}
		return cycle
	}
	depth := 0
	for _, dep := range n.before() {
		if cycle := g.measure(dep, append(path, n)); cycle != nil {
			return cycle
		}
		depth = max(depth, dep.Depth+1)
	}
	n.Depth = depth
	return nil
}

func (g *Graph) sort() {
	for _, pkg := range g.Tree.Packages {
		n := g.byID[pkg.ID()]
		slices.SortFunc(n.Dependents, byID)
		g.Nodes = append(g.Nodes, n)
	}
	slices.SortFunc(g.Nodes, func(a, b *Node) int {
		if a.Depth != b.Depth {
			return a.Depth - b.Depth
		}
		return compare(a.Package, b.Package)
	})
}

// Node returns the node of an ID, or nil.
func (g *Graph) Node(id string) *Node { return g.byID[id] }

// Roots returns the packages that depend on none, in the graph's order.
func (g *Graph) Roots() []*Node {
	var roots []*Node
	for _, n := range g.Nodes {
		if n.Depth == 0 {
			roots = append(roots, n)
		}
	}
	return roots
}

// Edges returns how many dependencies there are between packages.
func (g *Graph) Edges() int {
	edges := 0
	for _, n := range g.Nodes {
		edges += len(n.Deps)
	}
	return edges
}

// Closure returns the given packages and all that must be built before them, in
// the graph's order.
func (g *Graph) Closure(pkgs ...*Package) []*Node { return g.follow(pkgs, (*Node).before) }

// Affected returns the given packages and all that are built from them, in the
// graph's order: what a change of theirs makes out of date.
func (g *Graph) Affected(pkgs ...*Package) []*Node {
	return g.follow(pkgs, func(n *Node) []*Node { return n.Dependents })
}

func (g *Graph) follow(pkgs []*Package, next func(*Node) []*Node) []*Node {
	seen := make(map[*Node]bool)
	var visit func(n *Node)
	visit = func(n *Node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for _, m := range next(n) {
			visit(m)
		}
	}
	for _, pkg := range pkgs {
		visit(g.byID[pkg.ID()])
	}
	var nodes []*Node
	for _, n := range g.Nodes {
		if seen[n] {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// Sub returns the graph of some of the nodes: those given and the edges between
// them. Depths stay those of the whole graph.
func (g *Graph) Sub(nodes []*Node) *Graph {
	sub := &Graph{Tree: g.Tree, byID: make(map[string]*Node, len(nodes))}
	for _, n := range nodes {
		sub.byID[n.ID()] = &Node{Package: n.Package, Depth: n.Depth}
	}
	among := func(all []*Node) []*Node {
		var some []*Node
		for _, n := range all {
			if m, ok := sub.byID[n.ID()]; ok {
				some = append(some, m)
			}
		}
		return some
	}
	for _, n := range g.Nodes {
		if m, ok := sub.byID[n.ID()]; ok {
			m.Deps, m.Meets, m.Dependents = among(n.Deps), among(n.Meets), among(n.Dependents)
			sub.Nodes = append(sub.Nodes, m)
		}
	}
	return sub
}

// ErrUnknown is in the errors of names that no package has.
var ErrUnknown = errors.New("no such package")

// unknown says that there is no package of an ID, why, and what may be meant.
func (t *Tree) unknown(id string) error {
	if subs, ok := t.origins[id]; ok {
		names := make([]string, len(subs))
		for i, sub := range subs {
			names[i] = sub.ID()
		}
		return fmt.Errorf("%w %s: its images are those of its subpackages, %s", ErrUnknown, id, strings.Join(names, ", "))
	}
	for _, s := range t.Skipped {
		if strings.Replace(strings.TrimPrefix(s.Dir, packagesDir+"/"), "/", "-", 1) == id {
			return fmt.Errorf("%w %s: %s is passed over, since %s", ErrUnknown, id, s.Dir, s.Why)
		}
	}
	if near := t.near(id); len(near) > 0 {
		return fmt.Errorf("%w %s: did you mean %s?", ErrUnknown, id, strings.Join(near, ", "))
	}
	return fmt.Errorf("%w %s", ErrUnknown, id)
}
