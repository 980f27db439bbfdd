package main

import (
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/cmd/cairn/internal/cli"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/reason"
)

const generator = "go generate ./cmd/cairn"

func errorsPage() string {
	var b strings.Builder
	b.WriteString(cmdline.GeneratedHead(generator) + `# Errors

Every refusal has a reason: a word that clients may branch on, which keeps its
meaning. Over gRPC and REST it is the ` + "`reason`" + ` of a google.rpc.ErrorInfo, with
the domain ` + "`" + reason.Domain + "`" + `; ` + "`cairn -o json`" + ` has it as ` + "`reason`" + `.

## Exit codes

| code | meaning |
| --- | --- |
`)
	for _, c := range cmdline.ExitCodes() {
		fmt.Fprintf(&b, "| %d | %s |\n", c.Code, c.Meaning)
	}
	b.WriteString("\n## Reasons of the ledger\n\n| reason | gRPC | HTTP | exit |\n| --- | --- | --- | --- |\n")
	for _, r := range reason.Table() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %d | %d |\n", r.Reason, anchor(r.Reason), r.Code, r.HTTP, r.Exit)
	}
	b.WriteString("\n## Reasons of the command line alone\n\n| reason | exit |\n| --- | --- |\n")
	for _, r := range cmdline.LocalReasons() {
		fmt.Fprintf(&b, "| [%s](#%s) | %d |\n", r.Reason, anchor(r.Reason), r.Exit)
	}
	b.WriteString("\n## What they mean, and what to do\n")
	for _, r := range append(reason.Table(), cmdline.LocalReasons()...) {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n%s\n", r.Reason, r.Meaning, r.Advice)
	}
	return b.String()
}

// anchor is the id that a heading gets where Markdown is rendered.
func anchor(r reason.Reason) string { return strings.ToLower(string(r)) }

func cliPage() string { return cmdline.Reference(cli.Commands(), generator) }
