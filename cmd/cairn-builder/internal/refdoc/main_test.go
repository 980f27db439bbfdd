package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/cairn-builder/internal/cli"
)

func TestCommittedPageIsCurrent(t *testing.T) {
	have, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "cli-builder.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), page()); diff != "" {
		t.Errorf("docs/cli-builder.md is not current; run `go generate ./cmd/cairn-builder` (-have +want):\n%s", diff)
	}
}

func TestPageHasEveryCommand(t *testing.T) {
	text := page()
	for _, c := range cli.Commands().Commands() {
		if !strings.Contains(text, "\n## cairn-builder "+c.Name()+"\n") && !strings.Contains(text, "\n## cairn-builder help "+c.Name()+"\n") {
			t.Errorf("docs/cli-builder.md lacks %s", c.Name())
		}
	}
}

func TestPageIsOfNoMachine(t *testing.T) {
	text := page()
	for _, want := range []string{`(default "linux/ARCH")`, `(default "HOST")`} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/cli-builder.md lacks %s", want)
		}
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range []string{host, "linux/" + runtime.GOARCH} {
		if own := fmt.Sprintf("(default %q)", own); strings.Contains(text, own) {
			t.Errorf("docs/cli-builder.md has this machine's %s", own)
		}
	}
}
