package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/cairnlog/cairn/ledger/verify"
	"github.com/cairnlog/cairn/ledger/web/layered"
)

// A graph is drawn densely, without names in its boxes, if it has more nodes or layers
// than these.
const denseNodes, denseLayers = 400, 40

// manyEdges is how many edges are drawn although they follow from others.
const manyEdges = 150

var (
	graphSizes = layered.Options{Width: 122, Height: 44, GapX: 36, GapY: 14, Bend: 1}
	denseSizes = layered.Options{Width: 24, Height: 12, GapX: 26, GapY: 5, Bend: 1}
)

// Around a graph there is graphMargin, below it graphLoops if there are cycles, and above
// a dense one graphNames for the names of the chosen path.
const graphMargin, graphLoops, graphNames = 10, 40, 110

// laid is the part of an ancestry that is shown, laid out.
type laid struct {
	*layered.Layout
	sizes layered.Options
	dense bool
	nodes []int // of the ancestry, by number in the layout
	index []int // in the layout, by number in the ancestry; -1 if it is not shown
	left  int   // edges that are not drawn since they follow from others
}

// lay lays out what is asked for: with its sources or without, all edges or those that
// do not follow from others. The chain is on a line above all others.
func (a *ancestry) lay(q bootstrapQuery, chain []int) *laid {
	l := &laid{sizes: graphSizes, index: make([]int, len(a.Nodes))}
	for n := range a.Nodes {
		l.index[n] = -1
		if n == 0 || q.sources || a.kinds[n] != kindSource {
			l.index[n] = len(l.nodes)
			l.nodes = append(l.nodes, n)
		}
	}
	var edges []layered.Edge
	for _, e := range a.ahead {
		if from, to := l.index[e.From], l.index[e.To]; from >= 0 && to >= 0 {
			edges = append(edges, layered.Edge{From: from, To: to})
		}
	}
	if len(edges) > manyEdges && !q.edges {
		all := len(edges)
		edges = layered.Reduce(len(l.nodes), edges)
		l.left = all - len(edges)
	}
	layers := layered.Layers(len(l.nodes), edges)
	if len(l.nodes) > denseNodes || slices.Max(layers) >= denseLayers {
		l.dense, l.sizes = true, denseSizes
	}
	l.sizes.Late = make([]bool, len(l.nodes))
	for i, n := range l.nodes {
		l.sizes.Late[i] = a.kinds[n] == kindSource
	}
	for _, n := range chain {
		if l.index[n] >= 0 {
			l.sizes.Line = append(l.sizes.Line, l.index[n])
		}
	}
	l.Layout = layered.Lay(len(l.nodes), edges, l.sizes)
	return l
}

func (l *laid) layer(n int) int { return l.Nodes[l.index[n]].Layer }

// table returns the nodes that are shown, by layer and from the top, and the place of
// each node in that order, -1 of those that are not shown.
func (l *laid) table() (order, place []int) {
	order, place = slices.Clone(l.nodes), make([]int, len(l.index))
	slices.SortStableFunc(order, func(a, b int) int {
		na, nb := l.Nodes[l.index[a]], l.Nodes[l.index[b]]
		return cmp.Or(cmp.Compare(na.Layer, nb.Layer), cmp.Compare(na.Y, nb.Y))
	})
	for n := range place {
		place[n] = -1
	}
	for i, n := range order {
		place[n] = i
	}
	return order, place
}

// graphDrawing is a graph in numbers. The nodes are those of the view, in its order.
type graphDrawing struct {
	Width, Height int
	Dense         bool
	Words         string // what it shows
	Edges         string // path of those that are not on the chosen path
	Chosen        string // and of those that are
	Cycles        []string
	Nodes         []drawnNode
	Names         []drawnName // of the chosen path, above a dense graph
	Left          int         // edges that are not drawn since they follow from others
}

// drawnNode is the box of a node.
type drawnNode struct {
	X, Y, W, H int
	Share      int    // width of the part that is filled
	Class      string // of style.css
	Outline    string // path of the box, or of the shape of a seed or a source
	Double     bool
	Glyph      string
	Lines      []drawnLine
	Title      string
	Href       string
	Sources    int
}

// drawnLine is a line of text in a box: of the name, or, if it is Dim, what is below.
type drawnLine struct {
	Y    int
	Text string
	Dim  bool
}

type drawnName struct {
	X, Y  int
	Label string
	Href  string
}

// drawGraph draws what is laid out. place is that of laid.table.
func drawGraph(v *bootstrapView, l *laid, place []int, q bootstrapQuery) *graphDrawing {
	d := &graphDrawing{Dense: l.dense, Left: l.left, Width: whole(l.Width) + 2*graphMargin, Height: whole(l.Height) + 2*graphMargin}
	top := graphMargin
	if l.dense && len(v.Path) > 0 {
		top += graphNames
		d.Height += graphNames
		d.Width += graphNames // for the last of the names
	}
	if len(v.Cycles) > 0 {
		d.Height += graphLoops
	}
	d.Words = fmt.Sprintf("%d artifacts from the seeds on the left to %s on the right, %d of %d reproduced", len(v.Nodes), short(60, v.Nodes[place[0]].Label), v.Reproduced, v.Built)
	boxes := make([]drawnNode, len(v.Nodes))
	for n, at := range place {
		if at >= 0 {
			box := l.Nodes[l.index[n]]
			boxes[at] = drawNode(&v.Nodes[at], v.Rebuilders, l, whole(box.X)+graphMargin, whole(box.Y)+top)
		}
	}
	d.Nodes = boxes
	d.edges(v, l, place, top)
	for _, c := range v.Cycles {
		d.Cycles = append(d.Cycles, loop(&boxes[c[0]], &boxes[c[1]]))
	}
	if l.dense {
		for _, at := range v.Path {
			b := &boxes[at]
			d.Names = append(d.Names, drawnName{b.X + b.W/2, graphNames, fit(22, v.Nodes[at].Label), fmt.Sprintf("#n%d", at)})
		}
	}
	return d
}

func whole(x float64) int { return int(math.Round(x)) }

// edges draws the edges, each piece that several have in common once.
func (d *graphDrawing) edges(v *bootstrapView, l *laid, place []int, top int) {
	chosen := make(map[[2]int]bool)
	for i := 1; i < len(v.Path); i++ {
		chosen[[2]int{v.Path[i-1], v.Path[i]}] = true
	}
	seen := make(map[string]bool)
	var plain, bold strings.Builder
	for _, r := range l.Routes {
		b := &plain
		if chosen[[2]int{place[l.nodes[r.From]], place[l.nodes[r.To]]}] {
			b = &bold
		}
		for i := 1; i < len(r.Points); i++ {
			if p := stretch(r.Points[i-1], r.Points[i], i%2 == 0, top); b == &bold || !seen[p] {
				b.WriteString(p)
				seen[p] = b == &plain
			}
		}
	}
	d.Edges, d.Chosen = plain.String(), bold.String()
}

// stretch is the path from a point to the next: straight across a layer, and curved
// between layers.
func stretch(from, to layered.Point, straight bool, top int) string {
	x0, y0, x1, y1 := whole(from.X)+graphMargin, whole(from.Y)+top, whole(to.X)+graphMargin, whole(to.Y)+top
	if straight || y0 == y1 {
		return fmt.Sprintf("M%d %dL%d %d", x0, y0, x1, y1)
	}
	middle := (x0 + x1) / 2
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x0, y0, middle, y0, middle, y1, x1, y1)
}

// loop is the path of an edge that closes a cycle: below the boxes, to the left.
func loop(from, to *drawnNode) string {
	x0, y0 := from.X+from.W/2, from.Y+from.H
	x1, y1 := to.X+to.W/2, to.Y+to.H
	if from == to {
		x0, x1 = x0+from.W/4, x1-from.W/4
	}
	below := max(y0, y1) + graphLoops
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x0, y0, x0, below, x1, below, x1, y1)
}

// drawNode draws a node at a place.
func drawNode(n *bootstrapNode, rebuilders int, l *laid, x, y int) drawnNode {
	b := drawnNode{X: x, Y: y, W: int(l.sizes.Width), H: int(l.sizes.Height), Href: n.Href, Sources: n.Sources}
	m := verdictMark(n.Verdict)
	state, below := m.Word, ""
	b.Class, b.Glyph = "v-"+m.Class, m.Glyph
	switch n.Kind {
	case kindBuilt:
		below = fmt.Sprintf("%d of %d", n.Obtained, rebuilders)
		b.Double = n.Verdict == verify.VerdictReproduced
		if n.Obtained == 0 {
			b.Class += " nobody"
		}
		if rebuilders > 0 {
			b.Share = (b.W - 6) * min(n.Obtained, rebuilders) / rebuilders
		}
		state += ", " + below + " rebuilders obtained it"
	case kindSeed:
		b.Class, b.Glyph, below, state = "seed", "◆", "seed", "a seed of the policy"
		if !n.Pinned {
			b.Class, below, state = "seed nobody", "seed, not pinned", "a seed that the policy does not name"
		}
	case kindSource:
		b.Class, b.Glyph, below, state = "source", "◇", "source", "a source, pinned by its hash"
	case kindUnknown:
		b.Class, b.Glyph, below, state = "v-untried nobody", "·", "origin unknown", "nobody says how it was made"
	}
	if n.OnPath {
		b.Class += " on"
	}
	if !l.dense {
		b.Lines = boxLines(n.Label, below)
	}
	b.Outline = outline(n.Kind, b.W, b.H)
	b.Title = fmt.Sprintf("%s, %s: %s", short(100, n.Label), n.Digest, state)
	return b
}

// nameRoom is how many characters of a name a line of a box has room for.
const nameRoom = 16

// boxLines divides a name over two lines if it is too long for one, after a hyphen, dot
// or the like, and puts what is below beneath it.
func boxLines(name, below string) []drawnLine {
	name = short(2*nameRoom, name)
	first, rest := fit(nameRoom, name), ""
	if first != name {
		at := strings.LastIndexFunc(strings.TrimSuffix(first, "…"), func(r rune) bool { return strings.ContainsRune("-_./@ +", r) })
		if at < 4 {
			at = len(strings.TrimSuffix(first, "…")) - 1
		}
		first, rest = name[:at+1], fit(nameRoom, name[at+1:])
	}
	if rest == "" {
		return []drawnLine{{18, first, false}, {33, below, true}}
	}
	return []drawnLine{{14, first, false}, {26, rest, false}, {39, below, true}}
}

// outline returns the path of a box: a seed's points to the right, a source's is round.
func outline(kind nodeKind, w, h int) string {
	tip := h / 3
	switch kind {
	case kindSeed:
		return fmt.Sprintf("M0 0H%dL%d %dL%d %dH0Z", w-tip, w, h/2, w-tip, h)
	case kindSource:
		return fmt.Sprintf("M%d 0H%dA%d %d 0 0 1 %d %dH%dA%d %d 0 0 1 %d 0Z", h/2, w-h/2, h/2, h/2, w-h/2, h, h/2, h/2, h/2, h/2)
	}
	return fmt.Sprintf("M0 0H%dV%dH0Z", w, h)
}

// fit returns as much of a text as has room where n ordinary characters have.
func fit(n int, text string) string {
	text = short(n, text)
	room := float64(n)
	for i, r := range text {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r > 0x1100:
			room -= 2
		case unicode.IsUpper(r) || r == 'm' || r == 'w' || r == '@':
			room -= 1.3
		default:
			room--
		}
		if room < 0 {
			return strings.TrimRightFunc(text[:i], unicode.IsSpace) + "…"
		}
	}
	return text
}
