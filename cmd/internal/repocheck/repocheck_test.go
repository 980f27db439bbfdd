// Package repocheck holds the rules of the house that a program can check, as
// tests of the whole repository: sizes of files and functions, package
// documentation, where a process may exit, which packages may depend on what,
// and what must not be committed. Each rule has a test beside it that it
// refuses a bad sample.
package repocheck

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// modulePath is the path of our packages, as go.mod has it.
const modulePath = "github.com/cairnlog/cairn"

// goFile is one parsed file of ours. Its path, and so every position, is
// relative to the repository's root.
type goFile struct {
	path      string
	fset      *token.FileSet
	ast       *ast.File
	lines     int
	generated bool
	test      bool
}

func parseGo(path string, src []byte) (*goFile, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	lines := bytes.Count(src, []byte("\n"))
	if len(src) > 0 && src[len(src)-1] != '\n' {
		lines++
	}
	return &goFile{
		path:      path,
		fset:      fset,
		ast:       file,
		lines:     lines,
		generated: ast.IsGenerated(file),
		test:      strings.HasSuffix(path, "_test.go"),
	}, nil
}

// repository returns the root directory of this repository.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// parseTree parses every Go file below root, without what the go command
// leaves out (testdata, and directories that begin with a dot or underscore)
// but with .ci, which holds commands of ours.
func parseTree(t *testing.T, root string) []*goFile {
	t.Helper()
	var files []*goFile
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			hidden := strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
			if path != root && (hidden && name != ".ci" || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := parseGo(filepath.ToSlash(rel), src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	return files
}

func TestGoFiles(t *testing.T) {
	files := parseTree(t, repository(t))
	for _, rule := range fileRules {
		t.Run(rule.name, func(t *testing.T) {
			for _, f := range files {
				for _, finding := range rule.check(f) {
					t.Error(finding)
				}
			}
		})
	}
	t.Run("every package is documented", func(t *testing.T) {
		for _, finding := range undocumented(files) {
			t.Error(finding)
		}
	})
}

func TestLayers(t *testing.T) {
	root := repository(t)
	pure := func(name string, mayLink ...string) {
		t.Run(name+" stays pure", func(t *testing.T) {
			path := modulePath + "/" + name
			for _, chain := range forbiddenChains(importGraph(t, root, path), path, mayLink...) {
				t.Errorf("%s: must not depend on %s:\n\t%s", name, chain[len(chain)-1], strings.Join(chain, "\n\t→ "))
			}
		})
	}
	for _, name := range purePackages {
		pure(name)
	}
	for _, name := range torchwoodPackages {
		pure(name, torchwood)
	}
}

func TestCommittedFiles(t *testing.T) {
	root := repository(t)
	// A clone may belong to somebody else than who runs the tests. New files
	// count before they are added, so that the test fails early enough.
	out, err := exec.Command("git", "-c", "safe.directory=*", "-C", root,
		"ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skipf("not a git work tree (git ls-files: %v)", err)
	}
	contents := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue // deleted but not committed yet, or a link to a directory
		}
		contents[name] = content
	}
	for _, rule := range textRules {
		t.Run(rule.name, func(t *testing.T) {
			for name, content := range contents {
				for _, finding := range rule.check(name, content) {
					t.Error(finding)
				}
			}
		})
	}
}
