package tree_test

import (
	"io"
	"testing"

	"github.com/cairnlog/cairn/builder/tree"
)

func loadAndGraph(b *testing.B, root string) *tree.Graph {
	b.Helper()
	loaded, err := tree.Load(root)
	if err != nil {
		b.Fatal(err)
	}
	g, err := loaded.Graph()
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// BenchmarkLoad reads 500 packages and orders them.
func BenchmarkLoad(b *testing.B) {
	root := wide(500).write(b)
	for b.Loop() {
		loadAndGraph(b, root)
	}
}

func BenchmarkLint(b *testing.B) {
	loaded := wide(500).load(b)
	for b.Loop() {
		tree.Lint(loaded)
	}
}

func BenchmarkSVG(b *testing.B) {
	g := wide(500).graph(b)
	for b.Loop() {
		if err := g.WriteSVG(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
