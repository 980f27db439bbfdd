package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn/internal/cli"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/reason"
)

func TestCommittedPagesAreCurrent(t *testing.T) {
	for name, page := range map[string]func() string{"errors.md": errorsPage, "cli.md": cliPage} {
		t.Run(name, func(t *testing.T) {
			have, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(have), page()); diff != "" {
				t.Errorf("docs/%s is not current; run `go generate ./cmd/cairn` (-have +want):\n%s", name, diff)
			}
		})
	}
}

func TestReasonsAreDistinct(t *testing.T) {
	seen := make(map[reason.Reason]bool)
	for _, r := range append(reason.Table(), cmdline.LocalReasons()...) {
		if seen[r.Reason] {
			t.Errorf("%s has two rows", r.Reason)
		}
		seen[r.Reason] = true
		if !strings.HasSuffix(r.Meaning, ".") || !strings.HasSuffix(r.Advice, ".") && !strings.HasSuffix(r.Advice, "!") {
			t.Errorf("%s: meaning %q and advice %q must be sentences", r.Reason, r.Meaning, r.Advice)
		}
	}
}

func TestPagesHaveEveryRow(t *testing.T) {
	errors, commands := errorsPage(), cliPage()
	for _, r := range append(reason.Table(), cmdline.LocalReasons()...) {
		if !strings.Contains(errors, "### "+string(r.Reason)+"\n") {
			t.Errorf("docs/errors.md lacks %s", r.Reason)
		}
	}
	for _, c := range cli.Commands().Commands() {
		if !strings.Contains(commands, "\n## cairn "+c.Name()+"\n") && !strings.Contains(commands, "\n## cairn help "+c.Name()+"\n") {
			t.Errorf("docs/cli.md lacks %s", c.Name())
		}
	}
}
