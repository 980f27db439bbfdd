package tree

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// GraphSchema is the schema member of a graph as JSON.
const GraphSchema = "cairn.builder.graph/v1"

// GraphDoc is a graph as JSON. Lists that are empty are there, as [].
type GraphDoc struct {
	Schema   string       `json:"schema"`   // GraphSchema
	Prefix   string       `json:"prefix"`   // of the names of images
	Packages []PackageDoc `json:"packages"` // each after all that it depends on
	Skipped  []SkippedDoc `json:"skipped"`  // directories that are not packages
}

// PackageDoc is one package of a graph as JSON.
type PackageDoc struct {
	ID        string      `json:"id"` // "core-go"
	Stage     string      `json:"stage"`
	Name      string      `json:"name"`
	Origin    string      `json:"origin"` // the package whose directory it is built in
	Target    string      `json:"target"` // of the Containerfile; "" for the last stage
	Dir       string      `json:"dir"`    // relative to the tree's root
	Image     string      `json:"image"`  // "stagex/core-go"
	Version   string      `json:"version"`
	License   string      `json:"license"`
	Depth     int         `json:"depth"` // the longest way down to a package without dependencies
	Platforms []string    `json:"platforms"`
	Deps      []string    `json:"deps"`       // by ID, sorted
	Dependent []string    `json:"dependents"` // by ID, sorted
	Meets     []string    `json:"meets"`
	Gate      int         `json:"gate"`
	Reproduce []string    `json:"reproduce"`
	Seeds     []string    `json:"seeds"` // files of dir
	Sources   []SourceDoc `json:"sources"`
}

// SourceDoc is one source of a package as JSON.
type SourceDoc struct {
	Name    string   `json:"name"`
	SHA256  string   `json:"sha256"`
	Version string   `json:"version"`
	File    string   `json:"file"`
	Role    string   `json:"role"`
	Mirrors []string `json:"mirrors"`
}

// SkippedDoc is one directory that is passed over, as JSON.
type SkippedDoc struct {
	Dir string `json:"dir"`
	Why string `json:"why"`
}

// Doc returns the graph as what its JSON says.
func (g *Graph) Doc() GraphDoc {
	doc := GraphDoc{Schema: GraphSchema, Prefix: g.Tree.Prefix, Packages: []PackageDoc{}, Skipped: []SkippedDoc{}}
	for _, n := range g.Nodes {
		p := PackageDoc{
			ID: n.ID(), Stage: n.Stage, Name: n.Name, Origin: n.Origin, Target: n.Target, Dir: n.Dir,
			Image: g.Tree.Image(n.Package), Version: n.Version, License: n.License, Depth: n.Depth,
			Platforms: list(n.Platforms), Deps: ids(n.Deps), Dependent: ids(n.Dependents), Meets: ids(n.Meets),
			Gate: n.Gate, Reproduce: list(n.Reproduce), Seeds: list(n.Seeds), Sources: []SourceDoc{},
		}
		for _, s := range n.Sources {
			p.Sources = append(p.Sources, SourceDoc{s.Name, s.SHA256, s.Version, s.File, s.Role, list(s.Mirrors)})
		}
		doc.Packages = append(doc.Packages, p)
	}
	for _, s := range g.Tree.Skipped {
		doc.Skipped = append(doc.Skipped, SkippedDoc{s.Dir, s.Why})
	}
	return doc
}

func ids(nodes []*Node) []string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID()
	}
	return ids
}

func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// WriteJSON writes the graph as one JSON object: a GraphDoc.
func (g *Graph) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(g.Doc())
}

// WriteText writes the graph as a table, one package a line.
func (g *Graph) WriteText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "STAGE\tDEPTH\tNAME\tVERSION\tDEPENDS ON")
	for _, n := range g.Nodes {
		version, deps := n.Version, strings.Join(ids(n.before()), " ")
		if version == "" {
			version = "-"
		}
		if deps == "" {
			deps = "-"
		}
		if n.Seeded() {
			deps += " (seed)"
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\n", n.Stage, n.Depth, n.Name, version, deps)
	}
	return tw.Flush()
}

// WriteDOT writes the graph for Graphviz. Edges lead from what is needed to what
// needs it, and are dashed where packages must meet.
func (g *Graph) WriteDOT(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "digraph tree {\n\trankdir=LR;\n\tnode [shape=box, fontname=monospace];\n")
	for _, n := range g.Nodes {
		attrs := ""
		if n.Seeded() {
			attrs = ", peripheries=2"
		}
		label := strings.TrimSpace(n.ID() + "\n" + n.Version)
		fmt.Fprintf(b, "\t%s [label=%s, group=%s%s];\n", strconv.Quote(n.ID()), strconv.Quote(label), n.Stage, attrs)
	}
	for _, n := range g.Nodes {
		for _, dep := range n.before() {
			style := ""
			if slices.Contains(n.Meets, dep) {
				style = " [style=dashed]"
			}
			fmt.Fprintf(b, "\t%s -> %s%s;\n", strconv.Quote(dep.ID()), strconv.Quote(n.ID()), style)
		}
	}
	fmt.Fprint(b, "}\n")
	return b.Flush()
}
