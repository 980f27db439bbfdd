// Package layered lays out directed graphs in layers, from left to right, as Sugiyama
// and others do it: cycles are broken, each node gets the layer after the last one that
// it follows, long edges get bends on the layers that they cross, layers are ordered by
// the barycentres of their neighbours, and places are those nearest to the neighbours'.
//
// The long edges of a node run together until they branch off: a node has at most one
// bend on a layer.
//
// Invariants:
//   - Every edge leads to a layer further right, but those that are marked as Back, which
//     close a cycle. A node stands on the layer after the last of those that lead to it.
//   - Boxes of nodes do not overlap, nor do bends and boxes.
//   - The layout follows from the graph alone: no clock, no randomness, no order of maps.
//   - It takes any graph: cycles, nodes that lead to themselves, edges that are there
//     twice, parts that are not connected. Time and memory are bounded by the nodes,
//     the edges and MaxBends.
package layered

import "slices"

// Edge leads from one node to another. Nodes are numbered from 0.
type Edge struct{ From, To int }

// Options are sizes. All of them are of one unit.
type Options struct {
	Width, Height float64 // of a node's box
	GapX, GapY    float64 // between layers, and between boxes of a layer
	Bend          float64 // how much room a bend has
	// Late are nodes that nothing leads to and that stand right before the first
	// that they lead to, not on the first layer; nil for none.
	Late []bool
	// Line are nodes, each of which leads to the next, that stand on one line above all
	// others; nil for none. An edge beside that leads from one of them to a later one
	// runs below.
	Line []int
}

// MaxBends is how many bends a layout has. The edges that are left when they are used
// up have none, and may run behind boxes.
const MaxBends = 20_000

// Point is a place.
type Point struct{ X, Y float64 }

// Node is where a node is.
type Node struct {
	Layer int
	X, Y  float64 // of the upper left corner of its box
}

// Route is how an edge runs.
type Route struct {
	Edge
	// Back is set if it closes a cycle: it leads left, or to the node that it comes
	// from, and has no Points.
	Back bool
	// Points are where it leaves a box, enters and leaves each layer that it crosses,
	// and enters the other box.
	Points []Point
}

// Layout is a graph that is laid out. Its upper left corner is 0, 0.
type Layout struct {
	Nodes         []Node
	Routes        []Route // of the edges, each once, in their order
	Layers        int
	Width, Height float64
	Direct        int // edges that have no bends although they cross layers
}

// Lay lays out a graph of n nodes. Edges of nodes that are not there are a mistake of
// the caller's, and it panics.
func Lay(n int, edges []Edge, o Options) *Layout {
	edges = unique(edges)
	back := Back(n, edges)
	var ahead []Edge
	for i, e := range edges {
		if !back[i] {
			ahead = append(ahead, e)
		}
	}
	layer := Layers(n, ahead)
	late(layer, ahead, o.Late)
	g := newGrid(layer, ahead)
	g.align(o.Line)
	g.order()
	y := g.place(o)
	l := &Layout{Nodes: make([]Node, n), Layers: len(g.layers), Direct: g.direct}
	for v := range n {
		l.Nodes[v] = Node{layer[v], float64(layer[v]) * (o.Width + o.GapX), y[v]}
	}
	l.frame(g, y, o)
	for i, e := range edges {
		r := Route{Edge: e, Back: back[i]}
		if !r.Back {
			r.Points = g.route(e, y, o)
		}
		l.Routes = append(l.Routes, r)
	}
	return l
}

// frame moves everything so that it begins at 0, and says how large it is.
func (l *Layout) frame(g *grid, y []float64, o Options) {
	if len(y) == 0 {
		return
	}
	top := slices.Min(y)
	for i := range y {
		y[i] -= top
		l.Height = max(l.Height, y[i]+g.height(i, o))
	}
	for v := range l.Nodes {
		l.Nodes[v].Y -= top
	}
	l.Width = float64(l.Layers)*(o.Width+o.GapX) - o.GapX
}

// unique returns edges without those that are there already.
func unique(edges []Edge) []Edge {
	seen := make(map[Edge]bool, len(edges))
	var list []Edge
	for _, e := range edges {
		if !seen[e] {
			seen[e] = true
			list = append(list, e)
		}
	}
	return list
}

// Back reports which edges close cycles: without them there is none. They are those
// that lead back to where a walk comes from, which begins at the nodes that nothing
// leads to.
func Back(n int, edges []Edge) []bool {
	out, in := make([][]int, n), make([]int, n)
	for i, e := range edges {
		out[e.From] = append(out[e.From], i)
		in[e.To]++
	}
	var roots, others []int
	for v := range n {
		if in[v] == 0 {
			roots = append(roots, v)
		} else {
			others = append(others, v)
		}
	}
	const open, done = 1, 2
	back, state, next := make([]bool, len(edges)), make([]int, n), make([]int, n)
	for _, root := range append(roots, others...) {
		if state[root] != 0 {
			continue
		}
		state[root] = open
		for stack := []int{root}; len(stack) > 0; {
			v := stack[len(stack)-1]
			if next[v] == len(out[v]) {
				state[v] = done
				stack = stack[:len(stack)-1]
				continue
			}
			i := out[v][next[v]]
			next[v]++
			switch to := edges[i].To; state[to] {
			case open:
				back[i] = true
			case 0:
				state[to] = open
				stack = append(stack, to)
			}
		}
	}
	return back
}

// Layers returns the layer of each node of a graph without cycles: 0 for those that
// nothing leads to, and otherwise one more than the greatest of those that lead to it.
func Layers(n int, edges []Edge) []int {
	out, in := make([][]int, n), make([]int, n)
	for _, e := range edges {
		out[e.From] = append(out[e.From], e.To)
		in[e.To]++
	}
	layer := make([]int, n)
	var queue []int
	for v := range n {
		if in[v] == 0 {
			queue = append(queue, v)
		}
	}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for _, w := range out[v] {
			layer[w] = max(layer[w], layer[v]+1)
			if in[w]--; in[w] == 0 {
				queue = append(queue, w)
			}
		}
	}
	return layer
}

// late moves nodes to right before the first that they lead to.
func late(layer []int, edges []Edge, move []bool) {
	if move == nil {
		return
	}
	first := make(map[int]int)
	for _, e := range edges {
		if to, ok := first[e.From]; !ok || layer[e.To] < to {
			first[e.From] = layer[e.To]
		}
	}
	for v, to := range first {
		if move[v] && layer[v] == 0 {
			layer[v] = to - 1
		}
	}
}

// Reduce returns the edges of a graph without cycles that do not follow from others: an
// edge from a to b is left out if there is a longer way from a to b. Ways stay ways.
func Reduce(n int, edges []Edge) []Edge {
	edges = unique(edges)
	layer := Layers(n, edges)
	out := make([][]int, n)
	for _, e := range edges {
		out[e.From] = append(out[e.From], e.To)
	}
	order := make([]int, n)
	for v := range order {
		order[v] = v
	}
	slices.SortStableFunc(order, func(a, b int) int { return layer[b] - layer[a] })
	words := (n + 63) / 64
	reached := make([][]uint64, n) // by v, itself included
	kept := make(map[Edge]bool)
	for _, v := range order {
		set := make([]uint64, words)
		// The nearest first: what they reach is reached by a longer way.
		next := slices.Clone(out[v])
		slices.SortStableFunc(next, func(a, b int) int { return layer[a] - layer[b] })
		for _, w := range next {
			if set[w/64]&(1<<(w%64)) != 0 {
				continue
			}
			kept[Edge{v, w}] = true
			for i, bits := range reached[w] {
				set[i] |= bits
			}
		}
		set[v/64] |= 1 << (v % 64)
		reached[v] = set
	}
	return slices.DeleteFunc(edges, func(e Edge) bool { return !kept[e] })
}
