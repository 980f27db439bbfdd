package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// glyphs stand beside the words of verdicts. Colour only repeats them.
type glyphs struct {
	good, differs, failed, unproven, untried string
	mid, last, down, none, cut               string
}

var (
	unicodeGlyphs = glyphs{"✓", "✗", "!", "?", "·", "├─ ", "└─ ", "│  ", "   ", "…"}
	asciiGlyphs   = glyphs{"ok", "NO", "!!", "??", "--", "|- ", "`- ", "|  ", "   ", "..."}
)

func glyphsFor(ascii bool) *glyphs {
	if ascii {
		return &asciiGlyphs
	}
	return &unicodeGlyphs
}

// state is a verdict as it is shown: the glyph and the word.
func (g *glyphs) state(p term.Printer, v verify.Verdict, pinned, excepted bool) term.Painted {
	word, glyph, colour := v.String(), g.unproven, term.Bad
	switch {
	case pinned:
		word, glyph, colour = "pinned", g.good, term.Good
	case v == verify.VerdictReproduced:
		glyph, colour = g.good, term.Good
	case excepted:
		word, glyph, colour = "excepted ("+word+")", g.good, term.Dim
	case v == verify.VerdictDiffers:
		glyph = g.differs
	case v == verify.VerdictFailed:
		glyph = g.failed
	case v == verify.VerdictUntried:
		glyph = g.untried
	}
	return p.Paint(colour, glyph+" "+word)
}

func (g *glyphs) ofNode(p term.Printer, n *verify.Node) term.Painted {
	return g.state(p, n.Verdict, n.Pinned, n.Exception != nil)
}

// maxLabel is how much is shown of a name that others chose. Its digest must not
// be out of sight behind it.
const maxLabel = 80

func (g *glyphs) shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxLabel {
		return s
	}
	return string([]rune(s)[:maxLabel-1]) + g.cut
}

// plural is for counts in sentences.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// byOperator says who obtained an artifact, and in which entries.
func byOperator(o *verify.Operator) string {
	who := o.Operator
	if len(o.Rebuilders) > 0 {
		who += " (" + strings.Join(o.Rebuilders, ", ") + ")"
	}
	return who + " in " + strings.Join(o.Entries, ", ")
}

func dissentLine(d *verify.Dissent) string {
	who := d.Operator
	if d.Rebuilder != "" {
		who += " (" + d.Rebuilder + ")"
	}
	return fmt.Sprintf("%s says %s in %s", who, d.Result, d.Entry)
}

func equivocationLine(e *verify.Equivocation) string {
	return fmt.Sprintf("%s contradicts itself about %q in %s: its votes do not count", e.Operator, e.Name, strings.Join(e.Entries, ", "))
}

// operatorsOf adds the operators below a node of a rebuild-quorum to a set.
func operatorsOf(n *policy.Node, set map[string]bool) map[string]bool {
	if set == nil {
		set = make(map[string]bool)
	}
	if n.Operator != "" {
		set[n.Operator] = true
	}
	for i := range n.Members {
		operatorsOf(&n.Members[i], set)
	}
	return set
}
