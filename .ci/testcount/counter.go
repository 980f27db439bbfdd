package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is one line of `go test -json`, as `go doc test2json` defines it.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// A line is output with the test that wrote it; the test is empty for output of
// the package itself.
type line struct{ test, text string }

// running is a package whose tests have not all ended.
type running struct {
	lines  []line
	ended  map[string]string // test to its last action; "run" until it ends
	failed bool              // some test of it failed
}

// counter follows a test run. A test and each of its subtests count as one.
type counter struct {
	out                   io.Writer
	packages              map[string]*running
	passed, failed, tests int
	skips                 []string // "package.Test: reason"
}

func newCounter(out io.Writer) *counter {
	return &counter{out: out, packages: make(map[string]*running)}
}

// read follows the run to its end. A line that is not an event is passed on: it
// is the go command itself speaking.
func (c *counter) read(in io.Reader) error {
	r := bufio.NewReader(in)
	for {
		text, err := r.ReadString('\n')
		var e event
		if json.Unmarshal([]byte(text), &e) == nil && e.Action != "" {
			c.add(e)
		} else {
			fmt.Fprint(c.out, text)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test events: %w", err)
		}
	}
}

func (c *counter) add(e event) {
	if e.Action == "build-output" { // has an import path, but no package
		fmt.Fprint(c.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	p := c.packages[e.Package]
	if p == nil {
		p = &running{ended: make(map[string]string)}
		c.packages[e.Package] = p
	}
	switch e.Action {
	case "output":
		if !isProgress(e.Output) {
			p.lines = append(p.lines, line{e.Test, e.Output})
		}
	case "run":
		p.ended[e.Test] = e.Action
	case "pass", "fail", "skip":
		if e.Test == "" {
			c.endPackage(e.Package, p, e.Action)
			return
		}
		c.endTest(e, p)
	}
}

func (c *counter) endTest(e event, p *running) {
	p.ended[e.Test] = e.Action
	c.tests++
	switch e.Action {
	case "pass":
		c.passed++
	case "fail":
		c.failed++
		p.failed = true
	case "skip":
		c.skips = append(c.skips, fmt.Sprintf("%s.%s: %s", e.Package, e.Test, p.reason(e.Test)))
	}
	if strings.Contains(e.Test, "/") {
		return // printed or dropped with its top-level test
	}
	// The whole tree of this test has ended. Others that run in parallel keep
	// their lines.
	kept := p.lines[:0]
	for _, l := range p.lines {
		top, _, _ := strings.Cut(l.test, "/")
		switch {
		case top != e.Test:
			kept = append(kept, l)
		case p.ended[l.test] == "fail":
			fmt.Fprint(c.out, l.text)
		}
	}
	p.lines = kept
}

// endPackage prints what is left of a package. A test that never ended was cut
// short by a panic, an exit or the time limit: it failed.
func (c *counter) endPackage(name string, p *running, action string) {
	delete(c.packages, name)
	for _, last := range p.ended {
		if last == "run" {
			c.tests++
			c.failed++
			p.failed = true
		}
	}
	if action == "fail" && !p.failed {
		c.failed++ // it did not build, or TestMain refused
	}
	for _, l := range p.lines {
		if action == "fail" || isSummary(l.text) {
			fmt.Fprint(c.out, l.text)
		}
	}
}

// finish prints the skips and the count, and reports whether the run was good.
func (c *counter) finish() bool {
	for name, p := range c.packages { // the stream broke off
		c.endPackage(name, p, "fail")
	}
	if len(c.skips) > 0 {
		fmt.Fprintln(c.out, "skipped:")
		for _, s := range c.skips {
			fmt.Fprintln(c.out, "  "+s)
		}
	}
	if c.tests == 0 {
		fmt.Fprintln(c.out, "no test ran")
	}
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, len(c.skips))
	return c.failed == 0 && c.tests > 0
}

// reason is what a skipped test printed, on one line.
func (p *running) reason(test string) string {
	var parts []string
	for _, l := range p.lines {
		text := strings.TrimSpace(l.text)
		if l.test == test && text != "" && !strings.HasPrefix(text, "--- SKIP") {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return "no reason given"
	}
	return strings.Join(parts, " ")
}

// isProgress tells the lines that only -v prints: -json turns them on.
func isProgress(s string) bool {
	for _, prefix := range []string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "=== ATTR "} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

// isSummary tells the lines that plain `go test` prints for a package that
// passes or has no tests.
func isSummary(s string) bool {
	return strings.HasPrefix(s, "ok  \t") || strings.HasPrefix(s, "?   \t") ||
		strings.HasPrefix(s, "\t") && strings.Contains(s, "coverage:")
}
