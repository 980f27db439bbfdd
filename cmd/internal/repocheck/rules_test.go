package repocheck

import (
	"bytes"
	"fmt"
	"go/ast"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFileLines = 500
	maxFuncLines = 60 // from "func" to the closing brace
	maxMainLines = 25
)

// fileRules are the rules that one Go file can break by itself. Findings begin
// with path:line.
var fileRules = []struct {
	name  string
	check func(*goFile) []string
}{
	{"files are short", longFile},
	{"functions are short", longFuncs},
	{"no exit outside package main", exits},
	{"no init function", inits},
}

func longFile(f *goFile) []string {
	if f.generated || f.lines <= maxFileLines {
		return nil
	}
	return []string{fmt.Sprintf("%s:%d: file has %d lines, at most %d are allowed",
		f.path, maxFileLines+1, f.lines, maxFileLines)}
}

func longFuncs(f *goFile) []string {
	if f.generated {
		return nil
	}
	var findings []string
	for _, fn := range funcs(f) {
		limit := maxFuncLines
		if fn.Recv == nil && fn.Name.Name == "main" && f.ast.Name.Name == "main" {
			limit = maxMainLines
		}
		lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
		if lines > limit {
			findings = append(findings, fmt.Sprintf("%s: function %s has %d lines, at most %d are allowed",
				f.pos(fn), fn.Name.Name, lines, limit))
		}
	}
	return findings
}

// exits finds calls that end the process. Tests may: TestMain has to.
func exits(f *goFile) []string {
	if f.generated || f.test || f.ast.Name.Name == "main" {
		return nil
	}
	packages := make(map[string]string) // name in this file to import path
	for _, imp := range f.ast.Imports {
		target, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			continue // the parser has checked it
		}
		name := path.Base(target)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		packages[name] = target
	}
	var findings []string
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		target, name := packages[x.Name], sel.Sel.Name
		if target == "os" && name == "Exit" || target == "log" && strings.HasPrefix(name, "Fatal") {
			findings = append(findings, fmt.Sprintf("%s: %s.%s outside package main: return an error", f.pos(sel), target, name))
		}
		return true
	})
	return findings
}

func inits(f *goFile) []string {
	if f.generated {
		return nil
	}
	var findings []string
	for _, fn := range funcs(f) {
		if fn.Recv == nil && fn.Name.Name == "init" {
			findings = append(findings, fmt.Sprintf("%s: init function: let the caller construct what it needs", f.pos(fn)))
		}
	}
	return findings
}

func funcs(f *goFile) []*ast.FuncDecl {
	var fns []*ast.FuncDecl
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			fns = append(fns, fn)
		}
	}
	return fns
}

func (f *goFile) pos(n ast.Node) string {
	p := f.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", f.path, p.Line)
}

// undocumented finds packages without a package comment in any file that we
// wrote. Packages of tests or generated files alone need none.
func undocumented(files []*goFile) []string {
	first := make(map[string]*goFile) // directory to its first file
	documented := make(map[string]bool)
	for _, f := range files {
		if f.generated || f.test {
			continue
		}
		dir := path.Dir(f.path)
		if first[dir] == nil {
			first[dir] = f
		}
		// Text leaves directives such as go:build out.
		if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
			documented[dir] = true
		}
	}
	var findings []string
	for dir, f := range first {
		if !documented[dir] {
			findings = append(findings, fmt.Sprintf("%s: package %s has no package comment in any of its files",
				f.pos(f.ast.Name), f.ast.Name.Name))
		}
	}
	slices.Sort(findings)
	return findings
}

// purePackages hold what a verifier trusts. They do no I/O of their own, and
// stay small enough to read.
var purePackages = []string{
	"ledger/attest",
	"ledger/bundle",
	"ledger/leaf",
	"ledger/policy",
	"ledger/reason",
	"ledger/tlogproof",
	"ledger/verify",
}

// torchwoodPackages are as pure, but for torchwood: it keeps its tile client in
// the package of its parsers and verifiers, so who uses these links net/http.
// That one edge is let through here: nothing that they call makes a request.
var torchwoodPackages = []string{
	"ledger/checkpoint",
	"witness/evidence",
}

const torchwood = "filippo.io/torchwood"

// forbidden is what a pure package must not reach, each with everything below.
var forbidden = []string{
	"database/sql",
	"go.opentelemetry.io",
	"google.golang.org/grpc",
	"net/http",
	modulePath + "/proto",
}

// forbiddenChains returns, for each forbidden import path that can be reached
// from a package, one shortest chain of imports that leads there. An edge to
// net/http from a package that mayLink names is no finding.
func forbiddenChains(graph map[string][]string, from string, mayLink ...string) [][]string {
	var chains [][]string
	seen := map[string]bool{from: true}
	for queue := [][]string{{from}}; len(queue) > 0; queue = queue[1:] {
		chain := queue[0]
		last := chain[len(chain)-1]
		if slices.ContainsFunc(forbidden, func(f string) bool {
			return last == f || strings.HasPrefix(last, f+"/")
		}) {
			chains = append(chains, chain)
			continue // what lies behind it adds nothing
		}
		for _, next := range graph[last] {
			if next == "net/http" && slices.Contains(mayLink, last) {
				continue
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, append(slices.Clone(chain), next))
			}
		}
	}
	return chains
}

// importGraph asks the go command for the imports of a package and of all that
// it depends on.
func importGraph(t *testing.T, root, pkg string) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, pkg)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v\n%s", pkg, err, stderr.Bytes())
	}
	graph := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			graph[fields[0]] = fields[1:]
		}
	}
	return graph
}

// textRules are the rules for every committed file, whatever it holds.
var textRules = []struct {
	name  string
	check func(path string, content []byte) []string
}{
	{"no package registry's host", registryHosts},
	{"no path of one machine", machinePaths},
}

// Needles are written in pieces, so that this file does not hold them.
var (
	registries = regexp.MustCompile(`(?i)` + strings.Join([]string{
		`registry\.` + `npmjs\.org`,
		`registry\.` + `yarnpkg\.com`,
		`proxy\.` + `golang\.org`,
		`sum\.` + `golang\.org`,
		`deb\.` + `debian\.org`,
		`files\.` + `pythonhosted\.org`,
		`pypi\.` + `org/simple`,
		`(static|index)\.` + `crates\.io`,
	}, "|"))
	// A path begins after something that cannot be part of a longer one.
	machine = regexp.MustCompile(`(^|[^\w./~$})-])/(work|root/` + `go|home/[a-z]\w*/(go|src))/`)
)

// registryHosts: which registry or mirror serves a build is the business of
// whoever builds. Lock files pin hashes, not places.
func registryHosts(path string, content []byte) []string {
	return matches(path, content, registries, "names a package registry")
}

// machinePaths: a path of the author's machine is wrong everywhere else.
func machinePaths(path string, content []byte) []string {
	return matches(path, content, machine, "holds an absolute path of one machine")
}

func matches(path string, content []byte, re *regexp.Regexp, what string) []string {
	var findings []string
	line := 0
	for text := range bytes.Lines(content) {
		line++
		if m := re.Find(text); m != nil {
			findings = append(findings, fmt.Sprintf("%s:%d: %s: %s", path, line, what, m))
		}
	}
	return findings
}
