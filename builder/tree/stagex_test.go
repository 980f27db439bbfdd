package tree_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

// TestStageX reads the real tree of StageX, release 2026.03 (commit e8b3a38),
// which CAIRN_STAGEX_TREE names. It is never part of this repository.
func TestStageX(t *testing.T) {
	root := os.Getenv("CAIRN_STAGEX_TREE")
	if root == "" {
		t.Skip("CAIRN_STAGEX_TREE does not name StageX's tree, commit e8b3a38: the small tree alone is tested")
	}
	loaded, err := tree.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	g, err := loaded.Graph()
	if err != nil {
		t.Fatal(err) // a cycle, or something missing
	}
	t.Run("all published images are in the graph", func(t *testing.T) { stagexDigests(t, root, g) })
	t.Run("all Containerfiles are read", func(t *testing.T) { stagexFiles(t, loaded) })
	t.Run("edges are those of its own tools", func(t *testing.T) { stagexEdges(t, loaded, g) })
	t.Run("one root is a binary", func(t *testing.T) { stagexRoots(t, g) })
	t.Run("lint finds what is known", func(t *testing.T) { stagexLint(t, loaded) })
}

func stagexDigests(t *testing.T, root string, g *tree.Graph) {
	var published []string
	counts := make(map[string]int)
	for _, stage := range tree.Stages {
		text, err := os.ReadFile(filepath.Join(root, "digests", stage+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			published = append(published, strings.Fields(line)[1])
			counts[stage]++
		}
	}
	equal(t, "published", counts, map[string]int{"bootstrap": 4, "core": 180, "pallet": 20, "user": 309})
	var ids []string
	for _, n := range g.Nodes {
		ids = append(ids, n.ID())
	}
	slices.Sort(published)
	slices.Sort(ids)
	equal(t, "packages of the graph", ids, published)
}

func stagexFiles(t *testing.T, loaded *tree.Tree) {
	files := make(map[*tree.Containerfile]bool)
	sources, origins, subs := 0, make(map[string]bool), 0
	for _, pkg := range loaded.Packages {
		if !files[pkg.Containerfile] {
			sources += len(pkg.Sources)
		}
		files[pkg.Containerfile] = true
		if pkg.Target != "" {
			origins[pkg.Dir] = true
			subs++
		}
	}
	equal(t, "Containerfiles of packages", len(files), 443)
	equal(t, "subpackages", subs, 78)
	equal(t, "their origins", len(origins), 8)
	equal(t, "sources", sources, 775)
	equal(t, "skipped", len(loaded.Skipped), 1)
	equal(t, "skipped, but read", loaded.Skipped[0].Containerfile != nil, true)
	equal(t, "skipped for", loaded.Skipped[0].Why, "it has no package.toml")
}

// By directory, there are 2,785 edges in the graph and 56 of user/mesa, which
// has no package.toml: the 2,841 that a look at all Containerfiles finds. By
// image there are more, since each subpackage has those of its origin.
func stagexEdges(t *testing.T, loaded *tree.Tree, g *tree.Graph) {
	seen := make(map[string]bool)
	edges := 0
	for _, pkg := range loaded.Packages {
		if !seen[pkg.Dir] {
			edges += len(pkg.Deps)
		}
		seen[pkg.Dir] = true
	}
	equal(t, "edges by directory", edges, 2785)
	equal(t, "edges of what is skipped", len(loaded.Skipped[0].Containerfile.Deps()), 56)
	equal(t, "edges by image", g.Edges(), 3569)
	equal(t, "depth", g.Nodes[len(g.Nodes)-1].Depth, 34)
}

func stagexRoots(t *testing.T, g *tree.Graph) {
	equal(t, "roots", nodeIDs(g.Roots()), "bootstrap-stage0 core-profile")
	var seeded []*tree.Node
	for _, n := range g.Nodes {
		if n.Seeded() {
			seeded = append(seeded, n)
		}
	}
	equal(t, "packages with a binary", nodeIDs(seeded), "bootstrap-stage0")
	equal(t, "the binary", seeded[0].Seeds, []string{"hex0-seed"})
	equal(t, "a root without any", g.Node("core-profile").Sources, []tree.Source(nil))
}

func stagexLint(t *testing.T, loaded *tree.Tree) {
	got := make(map[string]int)
	for _, finding := range tree.Lint(loaded) {
		got[finding.Rule]++
	}
	equal(t, "findings", got, map[string]int{
		"not-a-package": 1, "metadata": 1, "mirror-https": 126, "undeclared-binary": 1,
		"network-unsaid": 267, "final-run": 4, "parallelism": 88,
	})
}

func BenchmarkStageX(b *testing.B) {
	root := os.Getenv("CAIRN_STAGEX_TREE")
	if root == "" {
		b.Skip("CAIRN_STAGEX_TREE does not name StageX's tree: see BenchmarkLoad")
	}
	for b.Loop() {
		loadAndGraph(b, root)
	}
}
