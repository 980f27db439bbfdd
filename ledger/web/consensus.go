package web

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// compared is what one rebuilder obtained beside the artifact.
type compared struct {
	Rebuilder survey.Rebuilder
	Word      survey.Word
	Entry     uint64 // the latest that says so
	Times     int    // how many say so
	Output    leaf.Digest
	// Groups are the digest's digits; those of Output before At are the artifact's, too.
	Same, First, Rest []string
	Other             bool // of another algorithm than the artifact's, so not comparable
}

// groupDigits is how many digits of a digest stand together.
const groupDigits = 4

func groupsOf(d leaf.Digest) []string {
	var groups []string
	for hex := d.Hex(); hex != ""; hex = hex[min(groupDigits, len(hex)):] {
		groups = append(groups, hex[:min(groupDigits, len(hex))])
	}
	return groups
}

// sideBySide puts what was obtained beside an artifact, one row for each rebuilder, word
// and output, in the order of the statements.
func sideBySide(artifact leaf.Digest, statements []survey.Statement) []compared {
	type key struct {
		rebuilder leaf.Fingerprint
		word      survey.Word
		output    leaf.Digest
	}
	rows, at := []compared{}, make(map[key]int)
	for _, s := range statements {
		k := key{s.Rebuilder.Key, s.Word, s.Output}
		i, ok := at[k]
		if !ok {
			i, at[k] = len(rows), len(rows)
			rows = append(rows, compared{Rebuilder: s.Rebuilder, Word: s.Word, Output: s.Output})
			rows[i].align(artifact)
		}
		rows[i].Entry, rows[i].Times = s.Entry, rows[i].Times+1
	}
	return rows
}

// align finds the first group of digits that is not the artifact's.
func (c *compared) align(artifact leaf.Digest) {
	own, of := groupsOf(c.Output), groupsOf(artifact)
	if !c.Output.Valid() {
		return
	}
	if len(own) != len(of) {
		c.Other, c.Rest = true, own
		return
	}
	for i := range own {
		if own[i] != of[i] {
			c.Same, c.First, c.Rest = own[:i], own[i:i+1], own[i+1:]
			return
		}
	}
	c.Same = own
}

// quorumLine is a line of the policy, and how it stands.
type quorumLine struct {
	policy.RebuildQuorum
	Have, Need, Of int
	Slots          []slot
	Line           int // where the threshold is drawn
	Label          string
}

// slot is a voice that could be heard.
type slot struct {
	X     int
	Class string // of style.css
}

const slotStep, slotWidth = 40, 36

// Width is how wide the line is drawn.
func (l *quorumLine) Width() int { return max(1, l.Of) * slotStep }

// maxSlots is how many voices are drawn one by one.
const maxSlots = 24

// linesOf draws how the rebuild-quorum lines stand: a slot for each voice that could be
// heard, filled for those that are, and a line where the policy is satisfied.
func linesOf(r *verify.Report) []quorumLine {
	if r == nil || r.Quorum == nil {
		return nil
	}
	var lines []quorumLine
	for _, q := range r.Quorum.Quorums {
		l := quorumLine{RebuildQuorum: q, Have: q.Node.Have, Need: q.Node.Need, Of: q.Node.Of}
		if l.Need == 0 {
			l.Need, l.Of = 1, 1
			if q.Node.Satisfied {
				l.Have = 1
			}
		}
		l.Label = fmt.Sprintf("%d of %d obtained it, the policy needs %d", l.Have, l.Of, l.Need)
		if l.Of <= maxSlots {
			l.draw(dissenters(&q.Node, r.Dissent))
		}
		lines = append(lines, l)
	}
	return lines
}

func (l *quorumLine) draw(dissent int) {
	for i := range l.Of {
		class := "open"
		switch {
		case i < l.Have:
			class = "reproduced"
		case i >= l.Of-min(dissent, l.Of-l.Have):
			class = "differs"
		}
		l.Slots = append(l.Slots, slot{i * slotStep, class})
	}
	l.Line = l.Need*slotStep - (slotStep-slotWidth)/2
}

// dissenters is how many operators of a quorum obtained something else.
func dissenters(n *policy.Node, dissent []verify.Dissent) int {
	operators := make(map[string]bool)
	for _, d := range dissent {
		if d.Result == leaf.Different && memberOf(n, d.Operator) {
			operators[d.Operator] = true
		}
	}
	return len(operators)
}

func memberOf(n *policy.Node, operator string) bool {
	if n.Operator == operator && operator != "" {
		return true
	}
	for i := range n.Members {
		if memberOf(&n.Members[i], operator) {
			return true
		}
	}
	return false
}

// resultWords say in words what a statement came to.
var resultWords = map[leaf.Result]string{
	leaf.Identical: "identical", leaf.Equivalent: "equivalent, by a tool's word", leaf.Different: "different",
	leaf.BuildFailed: "could not build it", leaf.Inconclusive: "could not tell",
}

// saying is what a statement claims, in words.
func saying(s survey.Statement) string {
	if word, ok := resultWords[s.Result]; ok {
		return string(s.Claim) + ": " + word
	}
	return string(s.Claim)
}

// environmentText is an environment on one line, by name.
func environmentText(values map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		parts = append(parts, short(40, name)+" "+short(80, values[name]))
	}
	return strings.Join(parts, ", ")
}
