package runbooks

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const document = "../../../docs/runbooks.md"

// section is a part of the document, up to the next heading.
type section struct {
	title  string
	script string // its `sh` blocks, in order
}

var heading = regexp.MustCompile(`^##+ (.*)`)

// sections returns the sections of the document.
func sections(t *testing.T) []section {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var list []section
	var fence string // the info string of the block that a line is in
	within := false
	for line := range strings.Lines(string(text)) {
		info, isFence := strings.CutPrefix(line, "```")
		switch m := heading.FindStringSubmatch(line); {
		case isFence:
			within, fence = !within, strings.TrimSpace(info)
			if within && fence != "sh" && fence != "console" {
				t.Errorf("a block is marked %q: sh is run, console is not", fence)
			}
		case within && fence == "sh":
			list[len(list)-1].script += line
		case !within && m != nil:
			list = append(list, section{title: m[1]})
		}
	}
	return list
}

// script returns the commands of a section.
func script(t *testing.T, title string) string {
	t.Helper()
	for _, s := range sections(t) {
		if s.title == title {
			return s.script
		}
	}
	t.Fatalf("%s has no section %q", document, title)
	return ""
}

// anchor is what a heading is linked by.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(title))
}

var (
	link  = regexp.MustCompile(`\]\(#([^)]*)\)`)
	rules = regexp.MustCompile(`docs/runbooks\.md#([a-z-]*)`)
)

// TestAnchors wants a section for each link in the document, and for each alert.
func TestAnchors(t *testing.T) {
	there := make(map[string]bool)
	for _, s := range sections(t) {
		if there[anchor(s.title)] {
			t.Errorf("two sections are called %q", s.title)
		}
		there[anchor(s.title)] = true
	}
	found := 0
	for file, of := range map[string]*regexp.Regexp{
		document: link,
		"../../../deployments/prometheus/ledger-rules.yaml":  rules,
		"../../../deployments/prometheus/witness-rules.yaml": rules,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range of.FindAllStringSubmatch(string(text), -1) {
			found++
			if !there[m[1]] {
				t.Errorf("%s refers to #%s, which is not there", file, m[1])
			}
		}
	}
	if found < 24 {
		t.Errorf("only %d links were found", found)
	}
}

// apart are sections that other tests run.
var apart = map[string]bool{"Moving to the distributed engine": true}

// TestEachIsTried wants a test for every section with commands, and outside of one
// section nothing that is not run.
func TestEachIsTried(t *testing.T) {
	for _, s := range sections(t) {
		_, tried := trials[s.title]
		switch {
		case apart[s.title]:
		case s.script != "" && !tried:
			t.Errorf("nothing tries section %q", s.title)
		case s.script == "" && tried:
			t.Errorf("section %q has no commands", s.title)
		}
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), "\n## What the tests do not run\n")
	if !found || strings.Contains(before, "```console") {
		t.Errorf("commands that are not run stand outside of their section")
	}
}
