package policy

import (
	"slices"

	"golang.org/x/mod/sumdb/note"
)

// Margin returns how many of the witnesses that cosigned may be missing, whichever
// they are, with the quorum still met; if it is not met, -n where n more would have
// to cosign at least. Like Check it takes verified signatures and ignores max-age. It
// reports false for a quorum that asks for no witnesses.
func (p *Policy) Margin(sigs []note.Signature) (int, bool) {
	if p.quorum == none {
		return 0, false
	}
	s := p.signers(sigs)
	lacking, spare := p.margin(p.quorum, &s)
	if lacking > 0 {
		return -lacking, true
	}
	return spare - 1, true
}

// margin returns how many cosignatures a name lacks at least; if none, how many must
// go at least until it does. It is exact because a name is a member at most once.
func (p *Policy) margin(name string, s *signers) (lacking, spare int) {
	c := p.components[name]
	if c.group == nil {
		if p.satisfied(name, s) {
			return 0, 1
		}
		return 1, 0
	}
	var lack, spares []int
	for _, m := range c.group.members {
		switch l, sp := p.margin(m, s); l {
		case 0:
			spares = append(spares, sp)
		default:
			lack = append(lack, l)
		}
	}
	if more := c.group.k - len(spares); more > 0 {
		slices.Sort(lack)
		return sum(lack[:more]), 0
	}
	slices.Sort(spares)
	return 0, sum(spares[:len(spares)-c.group.k+1])
}

func sum(ns []int) int {
	total := 0
	for _, n := range ns {
		total += n
	}
	return total
}
