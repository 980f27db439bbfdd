package layered

import (
	"cmp"
	"math"
	"slices"
)

// grid is a graph whose edges lead from a layer to the next: nodes, and the bends of
// edges that cross layers, which are numbered behind the nodes.
type grid struct {
	n      int // nodes
	layer  []int
	layers [][]int // what is on each layer, in order
	next   [][]int // neighbours to the right
	prev   [][]int // and to the left
	pos    []int   // place in its layer
	// trunk are a node's bends, from the layer after its own.
	trunk  [][]int
	line   map[int]bool // what is on the line above all others
	direct int          // edges that were given no bends
}

func newGrid(layer []int, edges []Edge) *grid {
	g := &grid{n: len(layer), layer: slices.Clone(layer), trunk: make([][]int, len(layer))}
	g.next, g.prev = make([][]int, g.n), make([][]int, g.n)
	// Short edges take few bends, and come first.
	edges = slices.Clone(edges)
	slices.SortStableFunc(edges, func(a, b Edge) int {
		return cmp.Compare(layer[a.To]-layer[a.From], layer[b.To]-layer[b.From])
	})
	for _, e := range edges {
		g.add(e)
	}
	depth := 0
	for _, l := range g.layer {
		depth = max(depth, l+1)
	}
	g.layers, g.pos = make([][]int, depth), make([]int, len(g.layer))
	for v, l := range g.layer {
		g.pos[v] = len(g.layers[l])
		g.layers[l] = append(g.layers[l], v)
	}
	return g
}

// add adds an edge, and the bends that its node does not have yet.
func (g *grid) add(e Edge) {
	crossed := g.layer[e.To] - g.layer[e.From] - 1
	if more := crossed - len(g.trunk[e.From]); more > 0 && len(g.layer)-g.n+more > MaxBends {
		g.direct++
		return
	}
	last := e.From
	for i := range crossed {
		if i == len(g.trunk[e.From]) {
			bend := len(g.layer)
			g.layer = append(g.layer, g.layer[e.From]+1+i)
			g.next, g.prev = append(g.next, nil), append(g.prev, nil)
			g.trunk[e.From] = append(g.trunk[e.From], bend)
			g.link(last, bend)
		}
		last = g.trunk[e.From][i]
	}
	g.link(last, e.To)
}

func (g *grid) link(from, to int) {
	g.next[from] = append(g.next[from], to)
	g.prev[to] = append(g.prev[to], from)
}

// align notes what is on the line: nodes, and the bends between them.
func (g *grid) align(line []int) {
	g.line = make(map[int]bool)
	for i, v := range line {
		g.line[v] = true
		if i > 0 {
			last := line[i-1]
			crossed := max(0, g.layer[v]-g.layer[last]-1)
			for _, bend := range g.trunk[last][:min(crossed, len(g.trunk[last]))] {
				g.line[bend] = true
			}
		}
	}
	g.lineUp()
}

// lineUp puts what is on the line first on its layer.
func (g *grid) lineUp() {
	for _, on := range g.layers {
		slices.SortStableFunc(on, func(a, b int) int {
			switch {
			case g.line[a] == g.line[b]:
				return 0
			case g.line[a]:
				return -1
			}
			return 1
		})
		for i, v := range on {
			g.pos[v] = i
		}
	}
}

// sweeps is how often the layers are gone through. Large graphs are gone through less
// often: most is won in the first.
func (g *grid) sweeps() int {
	if len(g.layer) > 5000 {
		return 8
	}
	return 24
}

// order orders the layers so that few edges cross, and keeps the best order that it saw.
func (g *grid) order() {
	best, least := slices.Clone(g.pos), g.crossings()
	for i := range g.sweeps() {
		if i%2 == 0 {
			for l := 1; l < len(g.layers); l++ {
				g.sortLayer(l, g.prev)
			}
		} else {
			for l := len(g.layers) - 2; l >= 0; l-- {
				g.sortLayer(l, g.next)
			}
		}
		if c := g.crossings(); c < least {
			least = c
			copy(best, g.pos)
		}
	}
	copy(g.pos, best)
	for _, on := range g.layers {
		slices.SortFunc(on, func(a, b int) int { return g.pos[a] - g.pos[b] })
	}
}

// sortLayer orders a layer by the barycentres of its neighbours on one side. What has
// none there stays where it is.
func (g *grid) sortLayer(l int, side [][]int) {
	on := g.layers[l]
	centre := make(map[int]float64, len(on))
	for i, v := range on {
		centre[v] = float64(i)
		if g.line[v] {
			centre[v] = math.Inf(-1)
			continue
		}
		if len(side[v]) == 0 {
			continue
		}
		sum := 0.0
		for _, w := range side[v] {
			// Layers have different numbers of places; shares of them compare.
			sum += (float64(g.pos[w]) + 0.5) / float64(len(g.layers[g.layer[w]]))
		}
		centre[v] = sum/float64(len(side[v]))*float64(len(on)) - 0.5
	}
	slices.SortStableFunc(on, func(a, b int) int { return cmp.Compare(centre[a], centre[b]) })
	for i, v := range on {
		g.pos[v] = i
	}
}

// crossings counts pairs of edges that cross.
func (g *grid) crossings() int {
	count := 0
	for l := range len(g.layers) - 1 {
		tree := make([]int, len(g.layers[l+1])+1) // Fenwick's, of ends so far
		total := 0
		for _, v := range g.layers[l] {
			for _, w := range g.next[v] {
				count += total
				for i := g.pos[w] + 1; i > 0; i -= i & -i {
					count -= tree[i]
				}
			}
			for _, w := range g.next[v] {
				total++
				for i := g.pos[w] + 1; i < len(tree); i += i & -i {
					tree[i]++
				}
			}
		}
	}
	return count
}

func (g *grid) height(v int, o Options) float64 {
	if v >= g.n {
		return o.Bend
	}
	return o.Height
}

// place returns the upper ends of nodes and bends. Each layer in turn is placed as near
// as its order allows to where its neighbours are; what is bent is pulled straight.
func (g *grid) place(o Options) []float64 {
	y := make([]float64, len(g.layer))
	for _, on := range g.layers {
		at := 0.0
		for _, v := range on {
			y[v] = at
			at += g.height(v, o) + o.GapY
		}
		for _, v := range on {
			y[v] -= at / 2
		}
	}
	for i := range g.sweeps() {
		switch i % 3 {
		case 0:
			for l := 1; l < len(g.layers); l++ {
				g.settle(g.layers[l], y, o, g.prev)
			}
		case 1:
			for l := len(g.layers) - 2; l >= 0; l-- {
				g.settle(g.layers[l], y, o, g.next)
			}
		case 2:
			for _, on := range g.layers {
				g.settle(on, y, o, g.prev, g.next)
			}
		}
	}
	return y
}

// block is a run of neighbours on a layer that touch each other.
type block struct {
	first, count int
	weight, sum  float64 // of the places that they want, each less its offset
}

// settle places a layer with the least squared distance to where the neighbours on the
// given sides are: a regression that keeps the order, by pooling those that would overlap.
// Nothing is above the line.
func (g *grid) settle(on []int, y []float64, o Options, sides ...[][]int) {
	offset := make([]float64, len(on))
	var blocks []block
	at := 0.0
	for i, v := range on {
		offset[i] = at
		at += g.height(v, o) + o.GapY
		want, weight := g.wanted(v, y, o, sides)
		b := block{i, 1, weight, weight * (want - offset[i])}
		for len(blocks) > 0 {
			above := blocks[len(blocks)-1]
			if above.sum/above.weight <= b.sum/b.weight {
				break
			}
			b = block{above.first, above.count + b.count, above.weight + b.weight, above.sum + b.sum}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	highest := math.Inf(-1)
	if len(g.line) > 0 {
		highest = -o.Height / 2
	}
	for _, b := range blocks {
		at := max(highest, b.sum/b.weight)
		for i := b.first; i < b.first+b.count; i++ {
			y[on[i]] = at + offset[i]
		}
	}
}

// wanted returns where something wants to be, and how much.
func (g *grid) wanted(v int, y []float64, o Options, sides [][][]int) (want, weight float64) {
	const stay, straight, fast = 0.05, 4, 1e9
	if g.line[v] {
		return -g.height(v, o) / 2, fast
	}
	sum, count := 0.0, 0
	bend := v >= g.n
	for _, side := range sides {
		for _, w := range side[v] {
			times := 1
			if bend && w >= g.n {
				times = straight
			}
			sum += float64(times) * (y[w] + g.height(w, o)/2)
			count += times
		}
	}
	if count == 0 {
		return y[v], stay
	}
	return sum/float64(count) - g.height(v, o)/2, float64(count)
}

// route returns the points of an edge that leads right.
func (g *grid) route(e Edge, y []float64, o Options) []Point {
	step := o.Width + o.GapX
	middle := func(v int) float64 { return y[v] + g.height(v, o)/2 }
	x := float64(g.layer[e.From]) * step
	points := []Point{{x + o.Width, middle(e.From)}}
	crossed := g.layer[e.To] - g.layer[e.From] - 1
	if crossed <= len(g.trunk[e.From]) {
		for _, bend := range g.trunk[e.From][:crossed] {
			x += step
			points = append(points, Point{x, middle(bend)}, Point{x + o.Width, middle(bend)})
		}
	}
	return append(points, Point{float64(g.layer[e.To]) * step, middle(e.To)})
}
