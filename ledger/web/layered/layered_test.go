package layered_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/web/layered"
)

var options = layered.Options{Width: 100, Height: 30, GapX: 40, GapY: 10, Bend: 2}

// check holds a layout to what the package promises, and returns how many edges lead
// back.
func check(t *testing.T, n int, edges []layered.Edge, o layered.Options) (back int) {
	t.Helper()
	l := layered.Lay(n, edges, o)
	if !reflect.DeepEqual(l, layered.Lay(n, edges, o)) {
		t.Fatal("another layout the second time")
	}
	if len(l.Nodes) != n {
		t.Fatalf("%d nodes of %d", len(l.Nodes), n)
	}
	const slack = 1e-6
	for v, a := range l.Nodes {
		if a.X < -slack || a.Y < -slack || a.X+o.Width > l.Width+slack || a.Y+o.Height > l.Height+slack {
			t.Errorf("node %d at %v is outside of %g × %g", v, a, l.Width, l.Height)
		}
		for w, b := range l.Nodes[:v] {
			if a.Layer == b.Layer && a.Y < b.Y+o.Height-slack && b.Y < a.Y+o.Height-slack {
				t.Errorf("nodes %d and %d overlap: %v %v", w, v, b, a)
			}
		}
	}
	seen := make(map[layered.Edge]bool)
	follows := make([]int, n)
	for _, r := range l.Routes {
		if seen[r.Edge] {
			t.Errorf("%v is there twice", r.Edge)
		}
		seen[r.Edge] = true
		if r.Back {
			back++
			continue
		}
		follows[r.To] = max(follows[r.To], l.Nodes[r.From].Layer+1)
		checkRoute(t, l, r, o)
	}
	for _, e := range edges {
		if !seen[e] {
			t.Errorf("%v is lost", e)
		}
	}
	for v, a := range l.Nodes {
		if a.Layer != follows[v] && (o.Late == nil || !o.Late[v]) {
			t.Errorf("node %d is on layer %d, not %d", v, a.Layer, follows[v])
		}
	}
	return back
}

// checkRoute holds an edge to its boxes, to the right, and off other boxes.
func checkRoute(t *testing.T, l *layered.Layout, r layered.Route, o layered.Options) {
	t.Helper()
	from, to := l.Nodes[r.From], l.Nodes[r.To]
	if from.Layer >= to.Layer {
		t.Errorf("%v leads left, from layer %d to %d", r.Edge, from.Layer, to.Layer)
	}
	first, last := r.Points[0], r.Points[len(r.Points)-1]
	if first != (layered.Point{X: from.X + o.Width, Y: from.Y + o.Height/2}) || last != (layered.Point{X: to.X, Y: to.Y + o.Height/2}) {
		t.Errorf("%v runs from %v to %v, not from %v to %v", r.Edge, first, last, from, to)
	}
	if l.Direct == 0 && len(r.Points) != 2*(to.Layer-from.Layer) {
		t.Errorf("%v crosses %d layers with %d points", r.Edge, to.Layer-from.Layer-1, len(r.Points))
	}
	for i := 1; i < len(r.Points); i++ {
		if r.Points[i].X <= r.Points[i-1].X {
			t.Errorf("%v turns left: %v", r.Edge, r.Points)
		}
	}
	for i := 1; i+1 < len(r.Points); i += 2 {
		p := r.Points[i]
		for v, b := range l.Nodes {
			if b.X == p.X && p.Y > b.Y && p.Y < b.Y+o.Height {
				t.Errorf("%v runs through node %d", r.Edge, v)
			}
		}
	}
}

func edges(pairs ...int) (list []layered.Edge) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, layered.Edge{From: pairs[i], To: pairs[i+1]})
	}
	return list
}

func TestLay(t *testing.T) {
	for name, test := range map[string]struct {
		n      int
		edges  []layered.Edge
		back   int
		layers []int
	}{
		"nothing":          {0, nil, 0, nil},
		"a node":           {1, nil, 0, []int{0}},
		"not connected":    {3, edges(0, 1), 0, []int{0, 1, 0}},
		"a chain":          {3, edges(0, 1, 1, 2), 0, []int{0, 1, 2}},
		"numbered back":    {3, edges(2, 1, 1, 0), 0, []int{2, 1, 0}},
		"the longest way":  {4, edges(0, 3, 0, 1, 1, 2, 2, 3), 0, []int{0, 1, 2, 3}},
		"twice":            {2, edges(0, 1, 0, 1), 0, []int{0, 1}},
		"itself":           {2, edges(0, 0, 0, 1), 1, []int{0, 1}},
		"a cycle":          {3, edges(0, 1, 1, 2, 2, 0), 1, []int{0, 1, 2}},
		"a cycle behind":   {4, edges(3, 0, 0, 1, 1, 2, 2, 0), 1, []int{1, 2, 3, 0}},
		"back and forth":   {2, edges(0, 1, 1, 0), 1, []int{0, 1}},
		"two of one layer": {4, edges(0, 2, 1, 2, 0, 3, 1, 3), 0, []int{0, 0, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if back := check(t, test.n, test.edges, options); back != test.back {
				t.Errorf("%d edges lead back, want %d", back, test.back)
			}
			var layers []int
			for _, a := range layered.Lay(test.n, test.edges, options).Nodes {
				layers = append(layers, a.Layer)
			}
			if diff := cmp.Diff(test.layers, layers); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLate(t *testing.T) {
	o := options
	o.Late = []bool{false, true, false, false}
	graph := edges(0, 2, 2, 3, 1, 3)
	check(t, 4, graph, o)
	if l := layered.Lay(4, graph, o); l.Nodes[0].Layer != 0 || l.Nodes[1].Layer != 1 {
		t.Errorf("%v", l.Nodes)
	}
}

func TestLine(t *testing.T) {
	for name, test := range map[string]struct {
		n     int
		edges []layered.Edge
		line  []int
	}{
		"a chain among others":    {7, edges(4, 5, 5, 6, 0, 1, 1, 2, 2, 3, 0, 5, 6, 3, 0, 3), []int{0, 1, 2, 3}},
		"across layers":           {5, edges(0, 1, 1, 2, 2, 3, 0, 3, 3, 4), []int{0, 3, 4}},
		"numbered behind":         {6, edges(0, 2, 1, 2, 3, 2, 4, 2, 5, 2), []int{5, 2}},
		"part of a larger layout": {200, distribution(200, 3), []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options
			o.Line = test.line
			check(t, test.n, test.edges, o)
			l := layered.Lay(test.n, test.edges, o)
			for v, a := range l.Nodes {
				if slices.Contains(test.line, v) && a.Y > 1e-6 {
					t.Errorf("node %d is %g below the line", v, a.Y)
				}
			}
			for _, r := range l.Routes {
				if r.From == test.line[0] && r.To == test.line[1] {
					for _, p := range r.Points {
						if math.Abs(p.Y-o.Height/2) > 1e-6 {
							t.Errorf("%v is not on the line: %v", r.Edge, r.Points)
							break
						}
					}
				}
			}
		})
	}
}

// TestUncrossed draws two chains whose nodes are numbered so that their edges would
// cross, and a ladder that can be drawn straight.
func TestUncrossed(t *testing.T) {
	l := layered.Lay(6, edges(0, 3, 1, 2, 2, 5, 3, 4), options)
	for _, r := range l.Routes {
		if r.Points[0].Y != r.Points[len(r.Points)-1].Y {
			t.Errorf("%v is not straight: %v", r.Edge, r.Points)
		}
	}
}

func TestReduce(t *testing.T) {
	for name, test := range map[string]struct {
		n           int
		edges, want []layered.Edge
	}{
		"nothing":         {1, nil, nil},
		"a chain":         {3, edges(0, 1, 1, 2), edges(0, 1, 1, 2)},
		"a short cut":     {3, edges(0, 2, 0, 1, 1, 2), edges(0, 1, 1, 2)},
		"a long cut":      {5, edges(0, 1, 1, 2, 2, 3, 3, 4, 0, 4, 1, 4, 0, 2), edges(0, 1, 1, 2, 2, 3, 3, 4)},
		"a diamond":       {4, edges(0, 1, 0, 2, 1, 3, 2, 3, 0, 3), edges(0, 1, 0, 2, 1, 3, 2, 3)},
		"twice":           {2, edges(0, 1, 0, 1), edges(0, 1)},
		"beyond 64 nodes": {70, edges(0, 69, 0, 65, 65, 69), edges(0, 65, 65, 69)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, layered.Reduce(test.n, test.edges)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzLay lays out graphs that bytes describe: two of them are an edge.
func FuzzLay(f *testing.F) {
	f.Add(uint8(4), []byte{0, 1, 1, 2, 2, 3, 0, 3}, true)
	f.Add(uint8(3), []byte{0, 1, 1, 2, 2, 0, 1, 1}, false)
	f.Add(uint8(60), []byte{9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 59, 8, 9}, true)
	f.Fuzz(func(t *testing.T, n uint8, text []byte, late bool) {
		if n == 0 || len(text) > 512 {
			return
		}
		var list []layered.Edge
		for i := 0; i+1 < len(text); i += 2 {
			list = append(list, layered.Edge{From: int(text[i] % n), To: int(text[i+1] % n)})
		}
		o := options
		if late {
			o.Late = make([]bool, n)
			for i := range o.Late {
				o.Late[i] = i%3 == 0
			}
		}
		check(t, int(n), list, o)
		var ahead []layered.Edge
		back := layered.Back(int(n), list)
		for i, e := range list {
			if !back[i] {
				ahead = append(ahead, e)
			}
		}
		checkReduced(t, int(n), ahead, layered.Reduce(int(n), ahead))
	})
}

// checkReduced holds a reduction to its edges' being needed, and to all ways' being
// there still.
func checkReduced(t *testing.T, n int, all, reduced []layered.Edge) {
	t.Helper()
	if diff := cmp.Diff(layered.Layers(n, all), layered.Layers(n, reduced)); diff != "" {
		t.Errorf("layers after the reduction: %s", diff)
	}
	before, after := ways(n, all), ways(n, reduced)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("ways after the reduction: %s", diff)
	}
	for i := range reduced {
		without := append(append([]layered.Edge{}, reduced[:i]...), reduced[i+1:]...)
		if cmp.Equal(after, ways(n, without)) {
			t.Errorf("%v was kept, and is not needed", reduced[i])
		}
	}
}

// ways returns the pairs of nodes between which there is a way.
func ways(n int, list []layered.Edge) map[layered.Edge]bool {
	out := make([][]int, n)
	for _, e := range list {
		out[e.From] = append(out[e.From], e.To)
	}
	found := make(map[layered.Edge]bool)
	for v := range n {
		for stack := []int{v}; len(stack) > 0; {
			u := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, w := range out[u] {
				if !found[layered.Edge{From: v, To: w}] {
					found[layered.Edge{From: v, To: w}] = true
					stack = append(stack, w)
				}
			}
		}
	}
	return found
}

// distribution is a graph like that of a distribution: some nodes that much is made
// from, and others that are made from some that are near.
func distribution(n, each int) (list []layered.Edge) {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for to := 1; to < n; to++ {
		for range each {
			from := rnd.IntN(to)
			if rnd.IntN(2) == 0 {
				from = max(0, to-1-rnd.IntN(40))
			}
			list = append(list, layered.Edge{From: from, To: to})
		}
	}
	return list
}

// dense leads from each node to all that follow.
func dense(n int) (list []layered.Edge) {
	for from := range n {
		for to := from + 1; to < n; to++ {
			list = append(list, layered.Edge{From: from, To: to})
		}
	}
	return list
}

func TestLarge(t *testing.T) {
	check(t, 444, distribution(444, 8), options)
	check(t, 2000, distribution(2000, 3), options)
	check(t, 300, dense(300), options)
}

func BenchmarkLay(b *testing.B) {
	for _, c := range []struct{ n, each int }{{444, 8}, {2000, 4}, {2000, 20}} {
		list := distribution(c.n, c.each)
		b.Run(fmt.Sprintf("%d/%d", c.n, len(list)), func(b *testing.B) {
			for b.Loop() {
				layered.Lay(c.n, list, options)
			}
		})
		b.Run(fmt.Sprintf("%d/%d/reduced", c.n, len(list)), func(b *testing.B) {
			for b.Loop() {
				layered.Lay(c.n, layered.Reduce(c.n, list), options)
			}
		})
	}
}
