package tree_test

import (
	"encoding/hex"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/builder/tree"
)

// FuzzPackageTOML loads trees with any package.toml: one that is accepted gives
// only what a build can rely on.
func FuzzPackageTOML(f *testing.F) {
	for name, text := range small(f, nil) {
		if strings.HasSuffix(name, ".toml") {
			f.Add(text)
		}
	}
	for _, test := range manifestErrors {
		f.Add("[package]\nname = \"a\"\n" + test.toml)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" {
			return // that is no file
		}
		trees := manifestTree("")
		trees["packages/core/a/package.toml"] = text
		loaded, err := tree.LoadFS(trees.fs(), tree.DefaultPrefix)
		if err != nil {
			return
		}
		if _, err := loaded.Graph(); err != nil {
			t.Fatalf("no graph: %v", err)
		}
		tree.Lint(loaded)
		for _, pkg := range loaded.Packages {
			checkSources(t, pkg)
		}
	})
}

func checkSources(t *testing.T, pkg *tree.Package) {
	t.Helper()
	var names []string
	for _, s := range pkg.Sources {
		if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != 32 {
			t.Errorf("hash %q", s.SHA256)
		}
		if path.Base(s.File) != s.File || s.File == "." || s.File == ".." {
			t.Errorf("file %q", s.File)
		}
		if slices.Contains(names, s.File) {
			t.Errorf("two files %q", s.File)
		}
		if len(s.Mirrors) == 0 {
			t.Error("no mirror")
		}
		names = append(names, s.File)
	}
	if pkg.Gate < 0 {
		t.Errorf("gate %d", pkg.Gate)
	}
}

// FuzzContainerfile reads any Containerfile: one that is accepted can be read
// again to the same end, and evaluated without a panic.
func FuzzContainerfile(f *testing.F) {
	for name, text := range small(f, nil) {
		if strings.HasSuffix(name, "Containerfile") {
			f.Add([]byte(text))
		}
	}
	for _, text := range []string{manyRefs, targets, evaluated} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := tree.Build{Args: tree.FixedArgs()}
		c, err := tree.ParseContainerfile("Containerfile", text, tree.DefaultPrefix, &b)
		if err != nil {
			return
		}
		again, err := tree.ParseContainerfile("Containerfile", text, tree.DefaultPrefix, &b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, cmpopts.IgnoreUnexported(tree.Containerfile{}, tree.Instruction{}),
			cmpopts.IgnoreFields(tree.Instruction{}, "Command")); diff != "" {
			t.Errorf("read in two ways:\n%s", diff)
		}
		deps := c.Deps()
		for _, s := range c.Stages {
			checkStage(t, c, s, deps)
		}
	})
}

func checkStage(t *testing.T, c *tree.Containerfile, s *tree.Stage, deps []string) {
	t.Helper()
	if len(s.From) == 0 {
		t.Fatalf("stage %d is from nothing", s.Index)
	}
	if s.Name == "" && s != c.Final() {
		return
	}
	needs, err := c.Needs(s.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range needs {
		if !slices.Contains(deps, id) {
			t.Errorf("%s is needed, but no dependency", id)
		}
	}
	if _, err := c.Steps(s.Name, tree.Build{Args: tree.FixedArgs()}); err != nil && !strings.HasPrefix(err.Error(), "Containerfile") {
		t.Errorf("an error without a place: %v", err)
	}
}
