package web

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// bootstrapView is what a package is made from, from the seed on.
type bootstrapView struct {
	Kept       bool           `json:"kept"` // whether this ledger keeps a table of packages
	To         string         `json:"to,omitempty"`
	Target     leaf.Digest    `json:"target,omitempty"`
	Verdict    verify.Verdict `json:"verdict"`
	Rebuilders int            `json:"rebuilders"` // of which each artifact says how many obtained it
	Truncated  bool           `json:"truncated"`
	// Nodes are in the order of the table: by rank, and from the top.
	Nodes []bootstrapNode `json:"nodes"`
	// Built counts the nodes that somebody built, and Reproduced those of them that are
	// reproduced.
	Built      int `json:"built"`
	Reproduced int `json:"reproduced"`
	// Path is the longest chain of builds from a seed to the target: that through Via,
	// if it is asked for. Its numbers are those of Nodes.
	Path []int       `json:"path"`
	Via  leaf.Digest `json:"via,omitempty"`
	// Frontier is what is not reproduced although all that it is made from is reproduced,
	// a source, or a seed of the policy.
	Frontier []int `json:"frontier"`
	Seeds    []int `json:"seeds"`
	// Gaps are artifacts of which nobody says what they are made from.
	Gaps   []int    `json:"gaps"`
	Cycles [][2]int `json:"cycles"` // edges that close a cycle: the second is made from the first

	At      int           `json:"-"` // number of the target
	Choices []string      `json:"-"`
	Default bool          `json:"-"` // nothing was asked for
	Drawing *graphDrawing `json:"-"`
	Sources bool          `json:"-"` // whether they are drawn
	Links   graphLinks    `json:"-"`
}

// bootstrapNode is an artifact, or a source or seed.
type bootstrapNode struct {
	Digest   leaf.Digest    `json:"digest"`
	Package  string         `json:"package,omitempty"`
	Name     string         `json:"name"`
	Kind     nodeKind       `json:"kind"`
	Pinned   bool           `json:"pinned"`
	Verdict  verify.Verdict `json:"verdict"` // of what is built
	Obtained int            `json:"obtained"`
	Rank     int            `json:"rank"` // how many builds are before it, on the longest way
	// From are the nodes that it is made from, and Sources is how many sources beside
	// are not among Nodes.
	From    []int `json:"from"`
	Sources int   `json:"sources"`
	// Users is how many are made from it.
	Users int `json:"users"`

	Label   string `json:"-"`
	Href    string `json:"-"`
	Via     string `json:"-"` // link to the path through it
	Command string `json:"-"` // that rebuilds it; empty if none is known
	OnPath  bool   `json:"-"`
}

// nodeKind says what a node of a graph is.
type nodeKind string

const (
	kindBuilt   nodeKind = "built"
	kindSeed    nodeKind = "seed"
	kindSource  nodeKind = "source"
	kindUnknown nodeKind = "unknown" // nobody says how it was made
)

// graphLinks are links to the same graph, drawn otherwise.
type graphLinks struct {
	AllSources, FewSources string
	AllEdges, FewEdges     string
	Longest                string // the path without via
}

// bootstrapQuery is what is asked of the graph.
type bootstrapQuery struct {
	to      string
	via     leaf.Digest
	sources bool
	edges   bool // all of them
}

const maxChoices, maxChoice = 100, 200

func parseBootstrap(values url.Values) (q bootstrapQuery, err error) {
	q.to = values.Get("to")
	if len(q.to) > 4096 {
		return q, reason.Errorf(reason.ArgumentInvalid, "to: has more than 4096 bytes")
	}
	if text := values.Get("via"); text != "" {
		if q.via, err = leaf.ParseDigest(text); err != nil {
			return q, reason.Errorf(reason.ArgumentInvalid, "via: is no digest, such as sha256: and 64 hex digits")
		}
	}
	for name, set := range map[string]*bool{"sources": &q.sources, "edges": &q.edges} {
		switch values.Get(name) {
		case "":
		case "all":
			*set = true
		default:
			return q, reason.Errorf(reason.ArgumentInvalid, "%s: can be all, or be left out", name)
		}
	}
	return q, nil
}

// link returns the URL of a graph.
func (q bootstrapQuery) link() string {
	values := url.Values{"to": {q.to}}
	if q.via != "" {
		values.Set("via", string(q.via))
	}
	if q.sources {
		values.Set("sources", "all")
	}
	if q.edges {
		values.Set("edges", "all")
	}
	return "/bootstrap?" + values.Encode()
}

// bootstrap shows what a package is made from. Without one that is asked for, it is one
// of choose's.
func (s *Site) bootstrap(r *http.Request) (*page, error) {
	v := &bootstrapView{Nodes: []bootstrapNode{}, Path: []int{}, Frontier: []int{}, Seeds: []int{}, Gaps: []int{}, Cycles: [][2]int{}}
	p := &page{name: "bootstrap", title: "Bootstrap", view: v}
	q, err := parseBootstrap(r.URL.Query())
	if err != nil || s.cfg.Survey == nil {
		return p, err
	}
	v.Kept = true
	choices, err := s.choices(r)
	if err != nil {
		return nil, err
	}
	v.Default = q.to == ""
	target, err := s.bootstrapTarget(r, &q, choices)
	if err != nil || target == "" {
		return p, err
	}
	for _, row := range choices {
		if len(row.Package) <= maxChoice {
			v.Choices = append(v.Choices, row.Package)
		}
	}
	g, err := s.cfg.Survey.Graph(r.Context(), target)
	if err != nil {
		return nil, err
	}
	select {
	case s.drawing <- struct{}{}:
		defer func() { <-s.drawing }()
	case <-r.Context().Done():
		return nil, fmt.Errorf("waiting for other graphs to be drawn: %w", r.Context().Err())
	}
	if err := v.fill(g, q); err != nil {
		return nil, err
	}
	p.title = "Bootstrap of " + short(100, nodeLabel(&g.Nodes[0]))
	p.verdict = &v.Verdict
	return p, nil
}

// choices are packages to choose from: the first of those that are listed, and of those
// that are reproduced.
func (s *Site) choices(r *http.Request) ([]survey.Row, error) {
	var list []survey.Row
	reproduced := verify.VerdictReproduced
	for _, verdict := range []*verify.Verdict{nil, &reproduced} {
		p, err := s.cfg.Survey.Packages(r.Context(), survey.Filter{Verdict: verdict, Limit: maxChoices / 2})
		if err != nil {
			return nil, err
		}
		list = append(list, p.Rows...)
	}
	slices.SortStableFunc(list, func(a, b survey.Row) int { return strings.Compare(a.Package, b.Package) })
	return slices.CompactFunc(list, func(a, b survey.Row) bool { return a.Package == b.Package }), nil
}

// choose returns the package to draw where none is asked for: of those whose ancestry
// is stated down to the seed, or else of all, the one that something was logged about
// last. It is nil if there is none.
func choose(rows []survey.Row) *survey.Row {
	var best *survey.Row
	for i := range rows {
		row := &rows[i]
		if best == nil || row.Stage0 && !best.Stage0 || row.Stage0 == best.Stage0 && row.Last > best.Last {
			best = row
		}
	}
	return best
}

// bootstrapTarget returns the artifact that is asked for, or nothing if there is none at
// all.
func (s *Site) bootstrapTarget(r *http.Request, q *bootstrapQuery, rows []survey.Row) (leaf.Digest, error) {
	if q.to == "" {
		row := choose(rows)
		if row == nil {
			return "", nil
		}
		q.to = row.Package
		return row.Artifact, nil
	}
	if digest, err := leaf.ParseDigest(q.to); err == nil {
		return digest, nil
	}
	p, err := s.cfg.Survey.Package(r.Context(), q.to)
	if err != nil {
		return "", err
	}
	if len(p.Artifacts) == 0 {
		return "", survey.ErrNotFound
	}
	return p.Artifacts[0].Digest, nil
}

// fill fills the view from a graph.
func (v *bootstrapView) fill(g *survey.Graph, q bootstrapQuery) error {
	if len(g.Nodes) == 0 {
		return survey.ErrNotFound
	}
	if len(q.to) > maxChoice {
		q.to = string(g.Target) // every row has links with it
	}
	a := newAncestry(g)
	via := -1
	if q.via != "" {
		if via = a.find(q.via); via < 0 {
			return reason.Errorf(reason.ArgumentInvalid, "via: is no part of what %s is made from", g.Target)
		}
		q.sources = q.sources || a.kinds[via] == kindSource
	}
	v.To, v.Target, v.Verdict, v.Via = q.to, g.Target, g.Nodes[0].Verdict, q.via
	v.Rebuilders, v.Truncated, v.Sources = g.Rebuilders, g.Truncated, q.sources
	chain := a.chain(via)
	shown := a.lay(q, chain)
	order, place := shown.table()
	for _, n := range order {
		v.Nodes = append(v.Nodes, a.node(n, q, shown, place))
	}
	number := func(list []int) []int {
		numbers := []int{}
		for _, n := range list {
			if place[n] >= 0 {
				numbers = append(numbers, place[n])
			}
		}
		return numbers
	}
	v.At, v.Path = place[0], number(chain)
	for _, i := range v.Path {
		v.Nodes[i].OnPath = true
	}
	v.Frontier, v.Seeds, v.Gaps = number(a.frontier(order)), number(a.those(order, kindSeed)), number(a.gaps(order))
	for _, e := range a.back {
		if place[e.From] >= 0 && place[e.To] >= 0 {
			v.Cycles = append(v.Cycles, [2]int{place[e.From], place[e.To]})
		}
	}
	for i := range v.Nodes {
		if v.Nodes[i].Kind == kindBuilt {
			v.Built++
			if v.Nodes[i].Verdict == verify.VerdictReproduced {
				v.Reproduced++
			}
		}
	}
	v.Links = linksOf(q)
	v.Drawing = drawGraph(v, shown, place, q)
	return nil
}

func linksOf(q bootstrapQuery) graphLinks {
	with := func(change func(*bootstrapQuery)) string {
		changed := q
		change(&changed)
		return changed.link()
	}
	return graphLinks{
		AllSources: with(func(q *bootstrapQuery) { q.sources = true }),
		FewSources: with(func(q *bootstrapQuery) { q.sources = false }),
		AllEdges:   with(func(q *bootstrapQuery) { q.edges = true }),
		FewEdges:   with(func(q *bootstrapQuery) { q.edges = false }),
		Longest:    with(func(q *bootstrapQuery) { q.via = "" }),
	}
}
