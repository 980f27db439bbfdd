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
	X, Middle int
	Class     string // of style.css
	Glyph     string
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
			l.draw(r.Dissent)
		}
		lines = append(lines, l)
	}
	return lines
}

// draw fills the slots: who obtained it from the left, who did not from the right.
func (l *quorumLine) draw(dissent []verify.Dissent) {
	l.Slots = make([]slot, l.Of)
	for i := range l.Slots {
		l.Slots[i] = slot{X: i * slotStep, Middle: i*slotStep + slotWidth/2, Class: "open"}
	}
	fill := func(i int, m mark) { l.Slots[i].Class, l.Slots[i].Glyph = m.Class, m.Glyph }
	for i := range min(l.Have, l.Of) {
		fill(i, wordMark(survey.Obtained))
	}
	end := l.Of
	for _, word := range []survey.Word{survey.Different, survey.Failed} {
		for range min(dissenters(&l.Node, dissent, word), end-l.Have) {
			end--
			fill(end, wordMark(word))
		}
	}
	l.Line = l.Need*slotStep - (slotStep-slotWidth)/2
}

// dissenters is how many operators of a quorum obtained something else, or else could
// not build it.
func dissenters(n *policy.Node, dissent []verify.Dissent, word survey.Word) int {
	words := make(map[string]survey.Word)
	for _, d := range dissent {
		if memberOf(n, d.Operator) {
			words[d.Operator] = max(words[d.Operator], dissentWord(d.Result))
		}
	}
	count := 0
	for _, w := range words {
		if w == word {
			count++
		}
	}
	return count
}

// dissentWord is what a dissenter says, in one word.
func dissentWord(result leaf.Result) survey.Word {
	if result == leaf.BuildFailed {
		return survey.Failed
	}
	return survey.Different
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

// saying is what a statement is, beside its word.
func saying(s survey.Statement) string {
	if s.Result == leaf.Equivalent {
		return string(s.Claim) + ", equivalent by a tool's word"
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
