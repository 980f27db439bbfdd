package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/reason"
)

func (a *app) newGraph() *cobra.Command {
	var as string
	cmd := &cobra.Command{
		Use:   "graph [PACKAGE...]",
		Short: "Show what is built from what",
		Long: `Graph prints the packages of a tree, each after all that it is built from, with
its depth above the packages that are built from none. Packages that are named
stand for themselves and all they are built from.`,
		Example: `  cairn-builder graph
  cairn-builder graph --as svg user/wc > wc.svg
  cairn-builder graph -o json`,
		RunE: cmdline.RunE(func(_ context.Context, args []string) error { return a.graph(as, args) }),
	}
	cmdline.ChoiceVar(cmd, cmd.Flags(), &as, "as", "", "draw it as", "text", "dot", "svg")
	return cmd
}

func (a *app) graph(as string, args []string) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	g, err := t.Graph()
	if err != nil {
		return &cmdline.Problem{Reason: cmdline.TreeInvalid, Err: err}
	}
	if len(args) > 0 {
		packages, err := t.Select(args...)
		if err != nil {
			return cmdline.Usagef("list them with `cairn-builder graph`", "%w", err)
		}
		g = g.Sub(g.Closure(packages...))
	}
	// An error of writing is found at the end of the run.
	switch {
	case a.Format == "json":
		_ = g.WriteJSON(a.Out)
	case as == "dot":
		_ = g.WriteDOT(a.Out)
	case as == "svg":
		_ = g.WriteSVG(a.Out)
	default:
		_ = g.WriteText(a.Out)
	}
	return nil
}

// lintAnswer is the JSON of cairn-builder lint.
type lintAnswer struct {
	Schema   string         `json:"schema"` // cairn.builder.lint/v1
	Packages int            `json:"packages"`
	Errors   int            `json:"errors"`
	Findings []tree.Finding `json:"findings"`
}

func (a *app) newLint() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check a tree's conventions",
		Long: `Lint checks what a tree must keep to be reproducible: sources locked by hash, no
network in build steps, bases that are pinned, and more. The exit code is 1 if
a finding is an error.

The rules are:

` + ruleList(),
		Example: `  cairn-builder lint
  cairn-builder lint --tree stagex -o json`,
		Args: cmdline.Takes(0, 0),
		RunE: cmdline.RunE(func(context.Context, []string) error { return a.lint(strict) }),
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors, too")
	return cmd
}

func ruleList() string {
	var s string
	for _, r := range tree.Rules() {
		s += fmt.Sprintf("  %-18s %s\n", r.Name, r.What)
	}
	return s
}

func (a *app) lint(strict bool) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	v := lintAnswer{Schema: "cairn.builder.lint/v1", Packages: len(t.Packages), Findings: tree.Lint(t)}
	if v.Findings == nil {
		v.Findings = []tree.Finding{}
	}
	for _, f := range v.Findings {
		if f.Severity == tree.SeverityError || strict && f.Severity == tree.SeverityWarning {
			v.Errors++
		}
	}
	a.Answer(v, func(p term.Printer) {
		for _, f := range v.Findings {
			p.Printf("%s\n", f)
		}
		p.Printf("%d packages, %d findings, %d of them errors\n", v.Packages, len(v.Findings), v.Errors)
	})
	if v.Errors > 0 {
		return &cmdline.Silent{Exit: reason.ExitNo}
	}
	return nil
}
