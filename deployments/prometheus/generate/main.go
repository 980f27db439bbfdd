// Command generate writes the alert rules as the Prometheus operator takes them: a
// PrometheusRule, ../operator.yaml, with the groups of all ../*-rules.yaml. Kustomize
// cannot make it, since it does not read lists from files.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:generate go run . ..

const head = `# Made from the rule files beside it by go generate. DO NOT EDIT.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: cairn
spec:
  groups:
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "generate: error: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: generate DIR")
	}
	paths, err := filepath.Glob(filepath.Join(args[0], "*-rules.yaml"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%s has no rule files", args[0])
	}
	out := bytes.NewBufferString(head)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		// The text is kept: an encoder would fold expressions at other places.
		_, groups, ok := strings.Cut(string(text), "\ngroups:\n")
		if !ok {
			return fmt.Errorf("%s has no line `groups:`", path)
		}
		for line := range strings.Lines(groups) {
			if line != "\n" {
				line = "  " + line
			}
			out.WriteString(line)
		}
	}
	return os.WriteFile(filepath.Join(args[0], "operator.yaml"), out.Bytes(), 0o644)
}
