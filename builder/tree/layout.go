package tree

import (
	"cmp"
	"math"
	"math/big"
	"slices"
)

// cell is a place in a column: that of a package, or of a lane, in which what
// one package gives is led past the column to others.
type cell struct {
	node          *Node // nil for a lane
	x, y          float64
	width, height float64
	before, after []*cell // in other columns
	meets         []*cell // those of before that the package compares
}

func (c *cell) middle() float64 { return c.y + c.height/2 }

func (c *cell) class() string {
	if c.node == nil {
		return "edge lane"
	}
	return "edge"
}

// drawing is where everything is drawn.
type drawing struct {
	width, height float64
	columns       [][]*cell
}

// layout puts each depth into a column, or into several where it is high, and
// orders each to keep edges short.
func (g *Graph) layout() *drawing {
	d := &drawing{}
	rows := max(12, int(math.Ceil(1.8*math.Sqrt(float64(len(g.Nodes))))))
	cells := make(map[*Node]*cell, len(g.Nodes))
	column := make(map[*Node]int, len(g.Nodes))
	for _, layer := range g.layers() {
		parts := (len(layer) + rows - 1) / rows
		for part := range slices.Chunk(layer, (len(layer)+parts-1)/parts) {
			var cs []*cell
			for _, n := range part {
				cells[n] = &cell{node: n, height: svgBox}
				column[n] = len(d.columns)
				cs = append(cs, cells[n])
			}
			d.columns = append(d.columns, cs)
		}
	}
	d.connect(g, cells, column)
	d.order()
	d.place()
	return d
}

// connect draws the edges that no others imply, in a small graph around the
// boxes, by lanes that all edges of one package share.
func (d *drawing) connect(g *Graph, cells map[*Node]*cell, column map[*Node]int) {
	lanes := make(map[*Node][]*cell) // by package, one for each column after its own
	at := func(n *Node, until int) *cell {
		if len(g.Nodes) > svgLanes || until <= column[n]+1 {
			return cells[n]
		}
		for last := column[n] + len(lanes[n]); last < until-1; last++ {
			from := cells[n]
			if k := len(lanes[n]); k > 0 {
				from = lanes[n][k-1]
			}
			lane := &cell{height: svgLane}
			link(from, lane)
			lanes[n] = append(lanes[n], lane)
			d.columns[last+1] = append(d.columns[last+1], lane)
		}
		return lanes[n][until-column[n]-2]
	}
	drawn := reduce(g.Nodes)
	for _, n := range g.Nodes {
		for _, dep := range drawn[n] {
			link(at(dep, column[n]), cells[n])
		}
		for _, meet := range n.Meets {
			from := at(meet, column[n])
			if !slices.Contains(cells[n].before, from) {
				link(from, cells[n])
			}
			cells[n].meets = append(cells[n].meets, from)
		}
	}
}

func link(from, to *cell) {
	from.after = append(from.after, to)
	to.before = append(to.before, from)
}

// layers returns the nodes by depth. No layer is empty: depths that a part of a
// graph lacks are left out.
func (g *Graph) layers() [][]*Node {
	var layers [][]*Node
	depth := -1
	for _, n := range g.Nodes {
		if n.Depth != depth {
			layers, depth = append(layers, nil), n.Depth
		}
		layers[len(layers)-1] = append(layers[len(layers)-1], n)
	}
	return layers
}

// order sorts each column by where its cells' neighbours are, back and forth.
// What is equal stays, so that the order is always the same.
func (d *drawing) order() {
	place := make(map[*cell]float64)
	settle := func(column []*cell) {
		for i, c := range column {
			place[c] = (float64(i) + 0.5) / float64(len(column))
		}
	}
	for _, column := range d.columns {
		settle(column)
	}
	for sweep := range svgSweeps {
		for i := range d.columns {
			column := d.columns[i]
			neighbours := func(c *cell) []*cell { return c.before }
			if sweep%2 == 1 {
				column = d.columns[len(d.columns)-1-i]
				neighbours = func(c *cell) []*cell { return c.after }
			}
			want := make(map[*cell]float64, len(column))
			for _, c := range column {
				want[c] = mean(neighbours(c), func(n *cell) float64 { return place[n] }, place[c])
			}
			slices.SortStableFunc(column, func(a, b *cell) int { return cmp.Compare(want[a], want[b]) })
			settle(column)
		}
	}
}

// place gives each cell its coordinates: in its column's order, and as near to
// those before it as the space allows.
func (d *drawing) place() {
	x, top, bottom := svgMargin, math.Inf(1), math.Inf(-1)
	for _, column := range d.columns {
		width := 0.0
		for _, c := range column {
			if c.node != nil {
				width = max(width, svgLetter*float64(len([]rune(svgText(c.node))))+18)
			}
		}
		end, off := math.Inf(-1), 0.0
		for _, c := range column {
			want := mean(c.before, (*cell).middle, 0) - c.height/2
			c.x, c.y, c.width = x, max(want, end), width
			end = c.y + c.height + svgSpace
			off += (want - c.y) / float64(len(column))
		}
		for _, c := range column {
			c.y += off
			top, bottom = min(top, c.y), max(bottom, c.y+c.height)
		}
		x += width + svgGap
	}
	for _, column := range d.columns {
		for _, c := range column {
			c.y += svgHead - top
		}
	}
	d.width = max(x-svgGap+svgMargin, 560)
	d.height = svgHead + bottom - top + svgMargin
}

func mean(cells []*cell, of func(*cell) float64, without float64) float64 {
	if len(cells) == 0 {
		return without
	}
	sum := 0.0
	for _, c := range cells {
		sum += of(c)
	}
	return sum / float64(len(cells))
}

// reduce returns for each node the dependencies that no other one implies. The
// nodes are in topological order.
func reduce(nodes []*Node) map[*Node][]*Node {
	number := make(map[*Node]int, len(nodes))
	below := make([]*big.Int, len(nodes)) // what each node is built from, as bits
	drawn := make(map[*Node][]*Node, len(nodes))
	for i, n := range nodes {
		number[n] = i
		below[i] = new(big.Int)
		deps := slices.Clone(n.Deps)
		slices.SortStableFunc(deps, func(a, b *Node) int { return number[b] - number[a] })
		for _, dep := range deps {
			if j := number[dep]; below[i].Bit(j) == 0 {
				drawn[n] = append(drawn[n], dep)
				below[i].Or(below[i], below[j])
				below[i].SetBit(below[i], j, 1)
			}
		}
	}
	return drawn
}
