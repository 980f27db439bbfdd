package tree_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

// chainTree returns a tree of core packages, each with the dependencies that
// follow its name.
func chainTree(lines ...string) files {
	f := make(files)
	for _, line := range lines {
		words := strings.Fields(line)
		dir := "packages/core/" + words[0]
		f[dir+"/package.toml"] = "[package]\nname = \"" + words[0] + "\"\n"
		f[dir+"/Containerfile"] = "FROM scratch\n"
		for _, dep := range words[1:] {
			f[dir+"/Containerfile"] += "COPY --from=stagex/core-" + dep + " . /\n"
		}
	}
	return f
}

func nodeIDs(nodes []*tree.Node) string {
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.ID())
	}
	return strings.Join(ids, " ")
}

func TestGraphOrder(t *testing.T) {
	g := small(t, nil).graph(t)
	var got []string
	for _, n := range g.Nodes {
		got = append(got, fmt.Sprintf("%d %s", n.Depth, n.ID()))
	}
	equal(t, "order and depth", got, []string{
		"0 bootstrap-stage0", "0 bootstrap-tcc-a", "1 bootstrap-tcc-b", "2 core-tcc",
		"3 core-libb", "3 core-libs", "4 user-hello", "5 pallet-all",
	})
	equal(t, "roots", nodeIDs(g.Roots()), "bootstrap-stage0 bootstrap-tcc-a")
	tcc := g.Node("core-tcc")
	equal(t, "dependencies", nodeIDs(tcc.Deps), "bootstrap-tcc-a")
	equal(t, "what it compares comes first, too", nodeIDs(tcc.Meets), "bootstrap-tcc-a bootstrap-tcc-b")
	equal(t, "dependents", nodeIDs(tcc.Dependents), "core-libb core-libs user-hello")
	equal(t, "dependents, each once", nodeIDs(g.Node("bootstrap-tcc-a").Dependents), "core-tcc")
	equal(t, "edges", g.Edges(), 10)
	if g.Node("core-nothing") != nil {
		t.Error("a node of nobody")
	}
}

func TestDepthIsTheLongestWay(t *testing.T) {
	g := chainTree("a", "b a", "c a b", "d a c").graph(t)
	equal(t, "depth", g.Node("core-d").Depth, 3)
}

func TestClosure(t *testing.T) {
	g := small(t, nil).graph(t)
	node := func(id string) *tree.Package { return g.Node(id).Package }
	equal(t, "all that is needed", nodeIDs(g.Closure(node("core-libs"))),
		"bootstrap-stage0 bootstrap-tcc-a bootstrap-tcc-b core-tcc core-libs")
	equal(t, "of two", nodeIDs(g.Closure(node("bootstrap-tcc-a"), node("bootstrap-stage0"))), "bootstrap-stage0 bootstrap-tcc-a")
	equal(t, "all that is affected", nodeIDs(g.Affected(node("core-libs"))), "core-libs pallet-all")
	equal(t, "also by what is compared", nodeIDs(g.Affected(node("bootstrap-tcc-b"))),
		"bootstrap-tcc-b core-tcc core-libb core-libs user-hello pallet-all")
	equal(t, "of none", nodeIDs(g.Closure()), "")

	sub := g.Sub(g.Closure(node("core-tcc")))
	equal(t, "a part", nodeIDs(sub.Nodes), "bootstrap-stage0 bootstrap-tcc-a bootstrap-tcc-b core-tcc")
	equal(t, "has its own edges only", nodeIDs(sub.Node("core-tcc").Dependents), "")
	equal(t, "and the whole has all", nodeIDs(g.Node("core-tcc").Dependents), "core-libb core-libs user-hello")
}

func TestCycles(t *testing.T) {
	tests := []struct {
		name string
		tree files
		want string
	}{
		{"itself", chainTree("a a"), "core-a → core-a"},
		{"two", chainTree("a b", "b a"), "core-a → core-b → core-a"},
		{"below others", chainTree("a b", "b c", "c d", "d b", "e"), "core-b → core-c → core-d → core-b"},
		{"by meets", chainTree("a", "b c", "c").edit(t, "packages/core/c/package.toml", "\"c\"\n", "\"c\"\nmeets = [\"core-a\", \"core-b\"]\n"),
			"core-b → core-c → core-b"},
		{"subpackages by their origin", small(t, nil).edit(t, "packages/core/libs/Containerfile", "bootstrap-stage0", "core-libs"), "core-libs → core-libs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.tree.load(t).Graph()
			var cycle *tree.CycleError
			if !errors.As(err, &cycle) || err.Error() != "packages depend on each other: "+test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestMissingDependencies(t *testing.T) {
	f := chainTree("gcc", "a gc", "b gcc").edit(t, "packages/core/b/Containerfile", "FROM scratch", "FROM stagex/user-gcc")
	_, err := f.load(t).Graph()
	want := "packages/core/a/Containerfile:2: no such package core-gc: did you mean core-gcc?\n" +
		"packages/core/b/Containerfile:1: no such package user-gcc: did you mean core-gcc?"
	if err == nil || err.Error() != want || !errors.Is(err, tree.ErrUnknown) {
		t.Errorf("got %v\nwant %s", err, want)
	}

	f = small(t, nil).edit(t, "packages/core/libs/package.toml", `"libs", "libb"`, `"libb"`).
		edit(t, "packages/core/libs/Containerfile", "bootstrap-stage0", "bootstrap-none")
	_, err = f.load(t).Graph()
	want = "packages/core/libs/Containerfile:5: no such package bootstrap-none\n" +
		"packages/pallet/all/Containerfile:3: no such package core-libs: its images are those of its subpackages, core-libb"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestLookup(t *testing.T) {
	f := small(t, nil)
	root := f.write(t)
	loaded, err := tree.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"core/libb", "core-libb", "stagex/core-libb", "docker.io/stagex/core-libb:latest",
		"packages/core/libb", "./packages/core/libb/", "packages/core/libb/Containerfile",
		filepath.Join(root, "packages/core/libb"), filepath.Join(root, "packages/core/libb/package.toml"),
	} {
		if pkg, err := loaded.Lookup(name); err != nil || pkg.ID() != "core-libb" {
			t.Errorf("%s: %v, %v", name, pkg, err)
		}
	}
	for name, want := range map[string]string{
		"":                "no such package ",
		"core":            "no such package core",
		"hello":           "no such package hello: did you mean user-hello?",
		"user-helo":       "no such package user-helo: did you mean user-hello?",
		"core/hello":      "no such package core-hello: did you mean user-hello?",
		"tcc":             "no such package tcc: did you mean core-tcc, bootstrap-tcc-a, bootstrap-tcc-b?",
		"stagex/core-xyz": "no such package core-xyz",
		"../x":            "no such package ../x",
		"/etc/passwd":     "no such package /etc/passwd",
	} {
		if _, err := loaded.Lookup(name); !errors.Is(err, tree.ErrUnknown) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestSelect(t *testing.T) {
	loaded := small(t, nil).edit(t, "packages/core/libs/package.toml", `"libs", "libb"`, `"libb"`).load(t)
	tests := []struct {
		names []string
		want  string
	}{
		{[]string{"core"}, "core-libb core-tcc"},
		{[]string{"user-hello", "core-tcc", "stagex/core-tcc"}, "core-tcc user-hello"},
		{[]string{"packages/core/libs"}, "core-libb"},
		{nil, ""},
	}
	for _, test := range tests {
		pkgs, err := loaded.Select(test.names...)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, pkg := range pkgs {
			ids = append(ids, pkg.ID())
		}
		equal(t, strings.Join(test.names, " "), strings.Join(ids, " "), test.want)
	}
	if _, err := loaded.Select("core-tcc", "none"); !errors.Is(err, tree.ErrUnknown) {
		t.Errorf("an unknown name: %v", err)
	}
}
