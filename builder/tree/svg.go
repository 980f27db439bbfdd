package tree

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Measures of the drawing, in pixels. Letters are monospace.
const (
	svgLetter = 7.3
	svgBox    = 20.0 // height of a box
	svgLane   = 4.0  // height of what leads past a column
	svgSpace  = 7.0  // between two boxes or lanes
	svgGap    = 52.0 // between columns
	svgMargin = 16.0
	svgHead   = 44.0 // for the legend
	svgLabel  = 30   // letters; longer labels are cut, titles are not
	svgSweeps = 8
	svgLanes  = 150 // packages up to which edges are led around boxes
)

// svgStyle draws on whatever background the page has, and in light and dark
// colours of its own when the drawing stands alone.
const svgStyle = `
svg { color-scheme: light dark; color: CanvasText; background: Canvas; font: 12px ui-monospace, monospace; }
text { fill: currentColor; }
.box { fill: Canvas; stroke: currentColor; stroke-opacity: .55; }
.seed .box { stroke-opacity: 1; stroke-width: 2.5; }
.edge { fill: none; stroke: currentColor; stroke-opacity: .28; }
.meets { stroke-dasharray: 4 3; stroke-opacity: .6; }
.bootstrap .bar { fill: #b4551d; } .core .bar { fill: #2f74c0; }
.user .bar { fill: #3f8f4f; } .pallet .bar { fill: #8a5bb5; }
g.node:hover .box { stroke-opacity: 1; }
`

// WriteSVG draws the graph in columns by depth, seeds on the left. An edge that
// others imply is not drawn; a node's title names all that it depends on.
func (g *Graph) WriteSVG(w io.Writer) error {
	d := g.layout()
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img">`+"\n",
		d.width, d.height, d.width, d.height)
	fmt.Fprintf(b, "<title>%d packages by depth from the seed</title>\n<style>%s</style>\n", len(g.Nodes), svgStyle)
	d.writeLegend(b, g)
	fmt.Fprint(b, "<g>\n")
	for _, column := range d.columns {
		for _, c := range column {
			d.writeEdges(b, c)
		}
	}
	fmt.Fprint(b, "</g>\n")
	for _, column := range d.columns {
		for _, c := range column {
			if c.node != nil {
				d.writeNode(b, c)
			}
		}
	}
	fmt.Fprint(b, "</svg>\n")
	return b.Flush()
}

func svgText(n *Node) string {
	label := []rune(n.ID())
	if len(label) > svgLabel {
		label = append(label[:svgLabel-1], '…')
	}
	return string(label)
}

func (d *drawing) writeLegend(w io.Writer, g *Graph) {
	x := svgMargin
	for _, stage := range Stages {
		if !slices.ContainsFunc(g.Nodes, func(n *Node) bool { return n.Stage == stage }) {
			continue
		}
		fmt.Fprintf(w, `<g class="%s"><rect class="bar" x="%.1f" y="12" width="5" height="12"/><text x="%.1f" y="22">%s</text></g>`+"\n",
			stage, x, x+10, stage)
		x += svgLetter*float64(len(stage)) + 30
	}
	fmt.Fprintf(w, `<text x="%.1f" y="22">thick: with a seed; dashed: must meet</text>`+"\n", x)
}

// writeEdges draws what leads to one cell from those before it, and through it
// if it is a lane.
func (d *drawing) writeEdges(w io.Writer, c *cell) {
	if c.node == nil {
		fmt.Fprintf(w, `<path class="%s" d="M%.1f %.1fH%.1f"/>`+"\n", c.class(), c.x, c.middle(), c.x+c.width)
	}
	for _, from := range c.before {
		class := c.class()
		if c.node != nil && slices.Contains(c.meets, from) {
			class = "edge meets"
		}
		x1, y1, x2, y2 := from.x+from.width, from.middle(), c.x, c.middle()
		bend := min((x2-x1)/2, 90)
		fmt.Fprintf(w, `<path class="%s" d="M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f"/>`+"\n",
			class, x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
	}
}

func (d *drawing) writeNode(w io.Writer, c *cell) {
	n := c.node
	class := n.Stage
	if n.Seeded() {
		class += " seed"
	}
	title := fmt.Sprintf("%s, depth %d", strings.TrimSpace(n.ID()+" "+n.Version), n.Depth)
	if n.Description != "" {
		title += ": " + n.Description
	}
	if deps := ids(n.before()); len(deps) > 0 {
		title += "\nneeds " + strings.Join(deps, ", ")
	}
	fmt.Fprintf(w, `<g class="node %s"><title>%s</title>`, class, escape(title))
	fmt.Fprintf(w, `<rect class="box" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="3"/>`, c.x, c.y, c.width, svgBox)
	fmt.Fprintf(w, `<rect class="bar" x="%.1f" y="%.1f" width="4" height="%.1f"/>`, c.x, c.y, svgBox)
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f">%s</text></g>`+"\n", c.x+10, c.y+14, escape(svgText(n)))
}

func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // unreachable: a Builder takes everything
	}
	return b.String()
}
