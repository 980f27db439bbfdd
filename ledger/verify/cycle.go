package verify

// findCycles marks the artifacts that are not good and are made from themselves,
// by claims that obtained them. It is Tarjan's algorithm for strongly connected
// components, with a stack of its own.
func (g *graph) findCycles() {
	t := &tarjan{
		index: make(map[*artifact]int, len(g.order)), low: make(map[*artifact]int, len(g.order)),
		onStack: make(map[*artifact]bool),
	}
	for _, a := range g.order {
		if t.index[a] == 0 {
			t.visit(a)
		}
	}
}

type tarjan struct {
	index, low map[*artifact]int // from 1
	stack      []*artifact
	onStack    map[*artifact]bool
	work       []frame
}

// frame is an artifact that is being visited, and which of its materials are
// still to be.
type frame struct {
	artifact *artifact
	next     []*artifact
}

func (t *tarjan) open(a *artifact) {
	n := len(t.index) + 1
	t.index[a], t.low[a] = n, n
	t.stack, t.onStack[a] = append(t.stack, a), true
	t.work = append(t.work, frame{a, a.restsOn()})
}

func (t *tarjan) visit(root *artifact) {
	for t.open(root); len(t.work) > 0; {
		f := &t.work[len(t.work)-1]
		if len(f.next) == 0 {
			t.work = t.work[:len(t.work)-1]
			t.close(f.artifact)
			continue
		}
		m := f.next[0]
		f.next = f.next[1:]
		switch {
		case m == f.artifact:
			m.cycle = true
		case t.index[m] == 0:
			t.open(m)
		case t.onStack[m]:
			t.low[f.artifact] = min(t.low[f.artifact], t.index[m])
		}
	}
}

func (t *tarjan) close(a *artifact) {
	if len(t.work) > 0 {
		above := t.work[len(t.work)-1].artifact
		t.low[above] = min(t.low[above], t.low[a])
	}
	if t.low[a] != t.index[a] {
		return
	}
	for alone := true; ; alone = false {
		m := t.stack[len(t.stack)-1]
		t.stack = t.stack[:len(t.stack)-1]
		t.onStack[m] = false
		if m != a || !alone {
			m.cycle = true
		}
		if m == a {
			return
		}
	}
}

// restsOn returns the materials that keep an artifact from being good.
func (a *artifact) restsOn() []*artifact {
	if a.good() {
		return nil
	}
	var list []*artifact
	for _, h := range a.claims {
		for i := range h.materials {
			if m := &h.materials[i]; m.built != nil && !m.good() {
				list = append(list, m.built)
			}
		}
	}
	return list
}
