package cli

import (
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/verify"
)

// drawing draws an ancestry: a node a line, and below it who obtained it, and where
// it is not accepted, why.
type drawing struct {
	*glyphs
	p     term.Printer
	depth int // levels below the artifact that are drawn; all if negative
}

func (d *drawing) draw(n *verify.Node) { d.node(n, "", "", 0) }

func (d *drawing) node(n *verify.Node, lead, below string, level int) {
	line := []string{string(d.ofNode(d.p, n))}
	for _, word := range []string{n.Role, d.shorten(n.Name)} {
		if word != "" {
			line = append(line, plain.Line(word))
		}
	}
	if n.Digest != "" {
		line = append(line, string(d.p.Paint(term.Dim, string(n.Digest))))
	}
	if n.Seen {
		line = append(line, "(as above)")
	}
	d.p.Printf("%s%s\n", lead, term.Painted(strings.Join(line, " ")))
	materials := n.Materials
	rail := d.none
	if len(materials) > 0 {
		rail = d.down
	}
	if !n.Seen {
		d.why(n, below+rail)
	}
	if d.depth >= 0 && level >= d.depth {
		d.hidden(n, below)
		return
	}
	for i, m := range materials {
		if i == len(materials)-1 {
			d.node(m, below+d.last, below+d.none, level+1)
		} else {
			d.node(m, below+d.mid, below+d.down, level+1)
		}
	}
}

// why says what the verdict of a node rests on.
func (d *drawing) why(n *verify.Node, lead string) {
	if n.Pinned {
		return
	}
	for i := range n.Operators {
		d.p.Printf("%sby %s\n", lead, byOperator(&n.Operators[i]))
	}
	if n.Exception != nil {
		d.p.Printf("%s%s\n", lead, n.Exception)
	}
	if n.Verdict != verify.VerdictReproduced {
		for _, why := range n.Reasons {
			d.p.Printf("%s%s\n", lead, why)
		}
		return
	}
	for i := range n.Dissent {
		d.p.Printf("%sin spite of that %s\n", lead, dissentLine(&n.Dissent[i]))
	}
	for i := range n.Equivocations {
		d.p.Printf("%s%s\n", lead, equivocationLine(&n.Equivocations[i]))
	}
}

// hidden says how much of the tree is not drawn below a node. What is not
// accepted is not passed over in silence.
func (d *drawing) hidden(n *verify.Node, below string) {
	var all, bad int
	var count func(*verify.Node)
	count = func(n *verify.Node) {
		for _, m := range n.Materials {
			if all++; !m.Accepted {
				bad++
			}
			count(m)
		}
	}
	count(n)
	if all == 0 {
		return
	}
	more := fmt.Sprintf("%d more below", all)
	if bad > 0 {
		more += fmt.Sprintf(", of which %d not accepted", bad)
	}
	d.p.Printf("%s%s%s %s\n", below, d.last, d.cut, more)
}
