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
