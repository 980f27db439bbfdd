package tree

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Severity says how much a finding weighs.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // a build is not hermetic, or cannot succeed
	SeverityWarning Severity = "warning" // a convention is broken, for a reason or not
	SeverityNote    Severity = "note"    // worth knowing when a build is not reproducible
)

// Finding is one place where a tree breaks a rule.
type Finding struct {
	Package  string   `json:"package"` // ID; of the origin, where there are subpackages
	File     string   `json:"file"`    // relative to the tree's root
	Line     int      `json:"line,omitempty"`
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix"`
}

func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", at, f.Line)
	}
	return fmt.Sprintf("%s: %s: %s (%s)", at, f.Severity, f.Message, f.Rule)
}

// Rule is one convention of trees that lint checks.
type Rule struct {
	Name     string
	Severity Severity
	What     string // what is found
	Why      string
	Fix      string

	check func(*linter)
}

// Lint returns where a tree breaks the conventions, by file, line and rule. A
// tree that Load accepts can be built even so, if no finding is an error.
func Lint(t *Tree) []Finding {
	l := &linter{tree: t}
	rules := Rules()
	for _, s := range t.Skipped {
		l.skipped(rules, s)
	}
	seen := make(map[*directory]bool)
	for _, pkg := range t.Packages {
		if seen[pkg.dir] {
			continue
		}
		seen[pkg.dir] = true
		l.d, l.pkg, l.c, l.err = pkg.dir, pkg, pkg.Containerfile, nil
		l.m = pkg.dir.manifest
		l.evaluate()
		for i := range rules {
			l.rule = &rules[i]
			l.rule.check(l)
		}
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	return l.findings
}

// linter holds the directory and the rule that are being checked.
type linter struct {
	tree     *Tree
	findings []Finding

	d    *directory
	pkg  *Package // the directory's first
	m    *manifest
	c    *Containerfile
	rule *Rule

	// stages are the evaluated instructions of the Containerfile, stage by stage.
	stages []evaluated
	err    *Error // why they are not known
}

// evaluated are the steps of one stage.
type evaluated struct {
	stage *Stage
	own   []Step
	chain []Step // those of the stages it is FROM, and its own
	// scratch reports that the chain begins with nothing, so that all variables
	// are known.
	scratch bool
}

// wild stands for the value of platform arguments: file names that contain it
// are patterns then.
const wild = "*"

func (l *linter) evaluate() {
	b := Build{Platforms: l.pkg.Platforms, Args: append(FixedArgs(), l.pkg.Args...)}
	for _, arg := range platformArgs("") {
		b.Args = append(b.Args, Arg{arg.Name, wild})
	}
	l.stages = nil
	for _, s := range l.c.Stages {
		e, err := l.c.evaluator(b.platforms()[0], &b)
		if err != nil {
			l.err = err
			return
		}
		chain := l.c.chain(s, e)
		steps, err := l.c.steps(s, b)
		if err != nil {
			l.err, l.stages = err, nil
			return
		}
		ev := evaluated{stage: s, chain: steps}
		for i := range steps {
			if steps[i].Stage == s {
				ev.own = append(ev.own, steps[i])
			}
		}
		ev.scratch = !slices.ContainsFunc(chain[0].From, func(r Ref) bool { return r.Kind != KindScratch })
		l.stages = append(l.stages, ev)
	}
}

func (l *linter) add(file string, line int, format string, args ...any) {
	l.findings = append(l.findings, Finding{
		Package: l.d.stage + "-" + path.Base(l.d.path),
		File:    file, Line: line, Rule: l.rule.Name, Severity: l.rule.Severity,
		Message: fmt.Sprintf(format, args...), Fix: l.rule.Fix,
	})
}

// inManifest adds a finding about a key of package.toml.
func (l *linter) inManifest(table, key, format string, args ...any) {
	l.add(l.m.file, l.m.lines.find(table, key), format, args...)
}

// inContainerfile adds a finding about an instruction.
func (l *linter) inContainerfile(line int, format string, args ...any) {
	l.add(l.c.File, line, format, args...)
}

// instructions calls f for each instruction as it is written.
func (l *linter) instructions(f func(*Stage, *Instruction)) {
	for _, s := range l.c.Stages {
		for i := range s.Instructions {
			f(s, &s.Instructions[i])
		}
	}
}

// targets returns the evaluated stages that are images.
func (l *linter) targets() []evaluated {
	var targets []evaluated
	for _, pkg := range l.d.pkgs {
		if s, err := l.c.Stage(pkg.Target); err == nil && s.Index < len(l.stages) {
			targets = append(targets, l.stages[s.Index])
		}
	}
	return targets
}

func (l *linter) skipped(rules []Rule, s Skipped) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == ruleNotAPackage })
	l.rule = &rules[i]
	stage := path.Base(path.Dir(s.Dir))
	l.d = &directory{path: s.Dir, stage: stage}
	l.add(s.Dir, 0, "%s is passed over, since %s", s.Dir, s.Why)
}
