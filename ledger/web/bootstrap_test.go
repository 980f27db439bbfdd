package web

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// graphOf makes a graph of lines "name: what it is made from". The last line is the
// target. After a name may follow (verdict), and (n) for how many obtained it, of 5;
// names that begin with seed or source are seeds and sources, those that begin with
// stray are seeds that the policy does not name, and those with lost are of unknown origin.
func graphOf(t testing.TB, lines ...string) *survey.Graph {
	t.Helper()
	g := &survey.Graph{Rebuilders: 5}
	at := make(map[string]int)
	add := func(n survey.Node) int {
		n.Digest = leaf.SHA256([]byte(n.Name))
		at[n.Name] = len(g.Nodes)
		g.Nodes = append(g.Nodes, n)
		return at[n.Name]
	}
	slices.Reverse(lines)
	for _, line := range lines {
		head, _, _ := strings.Cut(line, ":")
		fields := strings.Fields(head)
		n := survey.Node{Name: fields[0], Package: "pkg:oci/" + fields[0] + "?arch=amd64", Built: true, Verdict: verify.VerdictUntried}
		for _, f := range fields[1:] {
			word := strings.Trim(f, "()")
			if _, err := fmt.Sscanf(word, "%d", &n.Obtained); err == nil {
				continue
			}
			verdict := slices.IndexFunc(verdictMarks[:], func(m mark) bool { return m.Class == word })
			if verdict < 0 {
				t.Fatalf("no verdict %q", word)
			}
			n.Verdict = verify.Verdict(verdict)
		}
		add(n)
	}
	for _, line := range lines {
		head, tail, _ := strings.Cut(line, ":")
		for _, name := range strings.Fields(tail) {
			from, ok := at[name]
			if !ok {
				from = add(material(name))
			}
			g.Edges = append(g.Edges, survey.Edge{From: from, To: at[strings.Fields(head)[0]]})
		}
	}
	g.Target = g.Nodes[0].Digest
	return g
}

// material is what nobody built.
func material(name string) survey.Node {
	n := survey.Node{Name: name, Role: "library"}
	switch {
	case strings.HasPrefix(name, "seed"):
		n.Role, n.Pinned = "seed", true
	case strings.HasPrefix(name, "stray"):
		n.Role = "seed"
	case strings.HasPrefix(name, "source"):
		n.Role, n.Pinned = "source", true
	}
	return n
}

// treeOf is the tree of builder/packages, up to a package.
func treeOf(t testing.TB, target string) *survey.Graph {
	t.Helper()
	text, err := os.ReadFile("testdata/tree.txt")
	if err != nil {
		t.Fatal(err)
	}
	var lines, all []string
	needed := map[string]bool{target: true}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	for i, line := range slices.Backward(all) {
		name, tail, _ := strings.Cut(line, ":")
		if !needed[name] {
			continue
		}
		state := "(reproduced) (5)"
		switch {
		case strings.HasPrefix(name, "bootstrap"):
		case i%7 == 3:
			state = "(unproven) (1)"
		case i%11 == 5:
			state = "(differs) (2)"
		case i%9 == 4:
			state = "(untried) (0)"
		case i%4 == 1:
			state = "(reproduced) (3)"
		}
		tail = strings.ReplaceAll(tail, "(seed)", "seed-of-"+name)
		for _, dep := range strings.Fields(tail) {
			needed[dep] = true
		}
		for k := range 1 + i%3 {
			tail += fmt.Sprintf(" source-%s-%d", name, k)
		}
		lines = append(lines, name+" "+state+":"+tail)
	}
	slices.Reverse(lines)
	return graphOf(t, lines...)
}

// distribution is a graph of n packages, each made from some before it, near or far,
// and their sources.
func distribution(t testing.TB, n, each int) *survey.Graph {
	rnd := rand.New(rand.NewPCG(8, uint64(n)))
	states := []string{"(reproduced) (5)", "(reproduced) (4)", "(reproduced) (3)", "(unproven) (1)", "(untried) (0)", "(differs) (2)"}
	lines := []string{"p0 (reproduced) (5): seed-hex0"}
	for i := 1; i < n; i++ {
		line := fmt.Sprintf("p%d %s: source-%d", i, states[rnd.IntN(len(states))], i)
		for range each {
			from := max(0, i-1-rnd.IntN(60))
			if rnd.IntN(3) == 0 {
				from = rnd.IntN(min(i, 20))
			}
			line += fmt.Sprintf(" p%d", from)
		}
		lines = append(lines, line)
	}
	var last strings.Builder
	for i := max(0, n-60); i < n; i++ {
		fmt.Fprintf(&last, " p%d", i)
	}
	return graphOf(t, append(lines, fmt.Sprintf("world-of-%d (unproven) (1):%s", n, &last))...)
}

// chainOf is a graph of n steps, each made from the one before and some of the tools
// that were made until then.
func chainOf(t testing.TB, n int) *survey.Graph {
	rnd := rand.New(rand.NewPCG(9, uint64(n)))
	lines := []string{"step0 (reproduced) (5): seed-hex0 source-0"}
	for i := 1; i < n; i++ {
		state := "(reproduced) (4)"
		if i > n*2/3 {
			state = "(unproven) (1)"
		}
		line := fmt.Sprintf("step%d %s: step%d source-%d", i, state, i-1, i)
		for range 3 {
			line += fmt.Sprintf(" step%d", rnd.IntN(i))
		}
		lines = append(lines, line)
	}
	return graphOf(t, lines...)
}

// surveyOf is a survey of one graph, whose target is the package of that name.
func surveyOf(g *survey.Graph, name string) *fakeSurvey {
	return &fakeSurvey{
		page:     survey.Page{Rows: []survey.Row{{Package: name, Artifact: g.Target, Verdict: g.Nodes[0].Verdict, Last: 9}}},
		packages: map[string]*survey.Package{name: {Package: name, Artifacts: []survey.Artifact{{Digest: g.Target}}}},
		graphs:   map[leaf.Digest]*survey.Graph{g.Target: g},
	}
}

// bootstrapOf returns the view of a graph.
func bootstrapOf(t testing.TB, g *survey.Graph, q bootstrapQuery) *bootstrapView {
	t.Helper()
	v := &bootstrapView{}
	if err := v.fill(g, q); err != nil {
		t.Fatal(err)
	}
	return v
}

// names returns the names of nodes of a view.
func names(v *bootstrapView, list []int) string {
	var b []string
	for _, i := range list {
		b = append(b, v.Nodes[i].Name)
	}
	return strings.Join(b, " ")
}

// handMade are graphs of which it is known what a person should see.
var handMade = map[string]struct {
	lines                       []string
	via                         string
	path, frontier, seeds, gaps string
	cycles                      int
}{
	"all reproduced": {
		lines: []string{"a (reproduced) (3): seed-x source-a", "b (reproduced) (3): a source-b"},
		path:  "seed-x a b", seeds: "seed-x",
	},
	"the frontier is what can be rebuilt next, and nothing behind it": {
		lines: []string{"a (reproduced) (3): seed-x", "b (unproven) (1): a", "c (untried): seed-x", "d (differs) (1): b c", "e (untried): d"},
		path:  "seed-x a b d e", frontier: "c b", seeds: "seed-x",
	},
	"a failed build is on the frontier, and what is stale or differs": {
		lines: []string{"a (failed): seed-x", "b (differs) (2): seed-x", "c (reproduced) (3): a b"},
		path:  "seed-x a c", frontier: "a b", seeds: "seed-x",
	},
	"a seed that the policy does not name is no ground": {
		lines: []string{"a (untried): stray-x", "b (untried): a"},
		path:  "stray-x a b", seeds: "stray-x",
	},
	"neither is what is of unknown origin": {
		lines: []string{"a (untried): lost seed-x", "b (untried): a", "c (untried):", "d (untried): b c"},
		path:  "seed-x a b d", seeds: "seed-x", gaps: "lost c",
	},
	"through another": {
		lines: []string{"a (reproduced) (3): seed-x", "b (reproduced) (3): a", "c (reproduced) (3): seed-y", "d (reproduced) (3): b c"},
		via:   "c", path: "seed-y c d", seeds: "seed-x seed-y",
	},
	"through a source": {
		lines: []string{"a (reproduced) (3): seed-x", "b (reproduced) (3): a source-b"},
		via:   "source-b", path: "source-b b", seeds: "seed-x",
	},
	"without a seed": {
		lines: []string{"a (reproduced) (3): lost", "b (untried): a source-b"},
		path:  "lost a b", frontier: "b", gaps: "lost",
	},
	"a cycle is no ground": {
		lines: []string{"a (untried): seed-x b", "b (untried): a", "c (untried): b"},
		path:  "seed-x a b c", seeds: "seed-x", cycles: 1,
	},
	"made from itself": {
		lines: []string{"a (untried): seed-x a"},
		path:  "seed-x a", seeds: "seed-x", cycles: 1,
	},
	"what is not connected is on no path": {
		lines: []string{"z (untried): seed-z", "a (reproduced) (3): seed-x"},
		via:   "z", path: "", frontier: "z", seeds: "seed-x seed-z",
	},
}

func TestBootstrapOfHandMadeGraphs(t *testing.T) {
	for name, test := range handMade {
		t.Run(name, func(t *testing.T) {
			q := bootstrapQuery{to: "x"}
			if test.via != "" {
				q.via = leaf.SHA256([]byte(test.via))
			}
			v := bootstrapOf(t, graphOf(t, test.lines...), q)
			sorted := func(text string) string {
				list := strings.Fields(text)
				slices.Sort(list)
				return strings.Join(list, " ")
			}
			for what, pair := range map[string][2]string{
				"path":     {names(v, v.Path), test.path},
				"frontier": {sorted(names(v, v.Frontier)), sorted(test.frontier)},
				"seeds":    {sorted(names(v, v.Seeds)), sorted(test.seeds)},
				"gaps":     {sorted(names(v, v.Gaps)), sorted(test.gaps)},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
				}
			}
			if len(v.Cycles) != test.cycles || len(v.Drawing.Cycles) != test.cycles {
				t.Errorf("%d cycles, %d drawn, want %d", len(v.Cycles), len(v.Drawing.Cycles), test.cycles)
			}
			checkDrawing(t, v)
		})
	}
}

// checkDrawing holds a drawing to what a person sees: boxes beside each other, what is
// made from something to the right of it, and a bold path that is connected.
func checkDrawing(t *testing.T, v *bootstrapView) {
	t.Helper()
	d := v.Drawing
	if len(d.Nodes) != len(v.Nodes) {
		t.Fatalf("%d boxes for %d nodes", len(d.Nodes), len(v.Nodes))
	}
	closes := make(map[[2]int]bool)
	for _, c := range v.Cycles {
		closes[c] = true
	}
	for i, a := range d.Nodes {
		if a.X < 0 || a.Y < 0 || a.X+a.W > d.Width || a.Y+a.H > d.Height {
			t.Errorf("%s is outside of the drawing", v.Nodes[i].Name)
		}
		for k, b := range d.Nodes[:i] {
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s is drawn over %s", v.Nodes[i].Name, v.Nodes[k].Name)
			}
		}
		for _, from := range v.Nodes[i].From {
			if right := d.Nodes[from].X < a.X; right == closes[[2]int{from, i}] {
				t.Errorf("%s is made from %s: to the right %t", v.Nodes[i].Name, v.Nodes[from].Name, right)
			}
		}
		if i > 0 && v.Nodes[i-1].Rank > v.Nodes[i].Rank {
			t.Errorf("the table has rank %d after %d", v.Nodes[i].Rank, v.Nodes[i-1].Rank)
		}
	}
	for i := 1; i < len(v.Path); i++ {
		if !slices.Contains(v.Nodes[v.Path[i]].From, v.Path[i-1]) {
			t.Errorf("the path leads from %s to %s", v.Nodes[v.Path[i-1]].Name, v.Nodes[v.Path[i]].Name)
		}
	}
	if len(v.Path) > 0 && v.Path[len(v.Path)-1] != v.At {
		t.Errorf("the path ends at %s", names(v, v.Path))
	}
	if len(v.Path) > 1 {
		checkChosen(t, v)
	}
}

// checkChosen follows the bold line from the first box of the path to the last.
func checkChosen(t *testing.T, v *bootstrapView) {
	t.Helper()
	starts := make(map[string]bool)
	ends := make(map[string]bool)
	for _, p := range strings.Split(v.Drawing.Chosen, "M")[1:] {
		at, rest, _ := strings.Cut(p, "C")
		if rest == "" {
			at, rest, _ = strings.Cut(p, "L")
		}
		numbers := strings.Fields(rest)
		starts[at] = true
		ends[strings.Join(numbers[len(numbers)-2:], " ")] = true
	}
	for i, n := range v.Path {
		b := v.Drawing.Nodes[n]
		left, right := fmt.Sprintf("%d %d", b.X, b.Y+b.H/2), fmt.Sprintf("%d %d", b.X+b.W, b.Y+b.H/2)
		if i > 0 && !ends[left] || i+1 < len(v.Path) && !starts[right] {
			t.Errorf("no bold line at %s: %s", v.Nodes[n].Name, v.Drawing.Chosen)
			return
		}
		if !strings.HasSuffix(b.Class, " on") {
			t.Errorf("%s is not marked: %s", v.Nodes[n].Name, b.Class)
		}
	}
}
