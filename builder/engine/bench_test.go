package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/tree"
)

// BenchmarkBuild is what a build costs beside its steps: all of them are known.
// Beside it, what it costs with plain buildctl.
func BenchmarkBuild(b *testing.B) {
	root, context := b.TempDir(), b.TempDir()
	file := filepath.Join(context, "Containerfile")
	if err := os.WriteFile(file, []byte("FROM scratch\nCOPY Containerfile /\nCOPY Containerfile /two\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	e, err := engine.BuildKit(b.Context(), engine.Options{Program: tool(b, "buildkitd"), Root: root})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	})
	r := &engine.Request{ID: "x", Context: context, Containerfile: file, Platform: "linux/amd64", Args: tree.FixedArgs()}
	b.Run("engine", func(b *testing.B) {
		for b.Loop() {
			r.Output = filepath.Join(b.TempDir(), "out")
			if _, err := e.Build(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("buildctl", func(b *testing.B) {
		for b.Loop() {
			if err := buildctl(b, "unix://"+filepath.Join(root, "buildkitd.sock"), r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkOpen is the start and end of a daemon.
func BenchmarkOpen(b *testing.B) {
	program, root := tool(b, "buildkitd"), b.TempDir()
	for b.Loop() {
		e, err := engine.BuildKit(b.Context(), engine.Options{Program: program, Root: root})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
