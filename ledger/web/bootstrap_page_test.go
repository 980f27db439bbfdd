package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

func TestBootstrapOfGeneratedGraphs(t *testing.T) {
	for name, test := range map[string]struct {
		graph *survey.Graph
		dense bool
		path  int
	}{
		"the tree of builder/packages": {treeOf(t, "pallet-userland"), false, 9},
		"its ladder":                   {treeOf(t, "pallet-ladder"), false, 9},
		"a chain of 170 steps":         {chainOf(t, 170), true, 171},
		"a distribution of 444":        {distribution(t, 444, 7), true, 0},
		"all that a graph can have":    {distribution(t, survey.MaxNodes/2, 2), true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range []bootstrapQuery{{to: "x"}, {to: "x", sources: true}, {to: "x", edges: true}} {
				v := bootstrapOf(t, test.graph, q)
				checkDrawing(t, v)
				if v.Drawing.Dense != (test.dense || len(v.Nodes) > denseNodes) {
					t.Errorf("dense is %t with %d nodes", v.Drawing.Dense, len(v.Nodes))
				}
				if test.path != 0 && len(v.Path) != test.path || v.Nodes[v.Path[0]].Kind != kindSeed {
					t.Errorf("the path has %d steps, from %s", len(v.Path), v.Nodes[v.Path[0]].Name)
				}
				if v.Drawing.Dense && len(v.Drawing.Names) != len(v.Path) {
					t.Errorf("%d names above a path of %d", len(v.Drawing.Names), len(v.Path))
				}
			}
		})
	}
}

func TestBootstrapPage(t *testing.T) {
	g := treeOf(t, "pallet-userland")
	site := newSite(t, surveyOf(g, "userland"), nil)
	for _, path := range []string{"/bootstrap", "/bootstrap?to=userland", "/bootstrap?to=" + string(g.Target)} {
		status, body := get(t, site, path)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, body)
		}
		for _, want := range []string{
			"<title>✓ reproduced: Bootstrap of pallet-userland",
			`<h1>Bootstrap of pallet-userland <span class="verdict reproduced">`,
			"26 of 32 artifacts are reproduced.",
			"The bold path is the longest chain of builds, 9 steps long.",
			"cairn-builder reproduce core-make --key YOUR.key --operator https://YOUR.example",
			"<caption>By rank",
			`<option value="userland">`,
			"user-bzip2, " + string(leaf.SHA256([]byte("user-bzip2"))) + ": not tried, 0 of 5 rebuilders obtained it</title>",
			"user-xz, " + string(leaf.SHA256([]byte("user-xz"))) + ": not enough evidence, 1 of 5 rebuilders obtained it</title>",
			"seed-of-bootstrap-debian-gcc, " + string(leaf.SHA256([]byte("seed-of-bootstrap-debian-gcc"))) + ": a seed of the policy</title>",
			"made from 3 sources beside, pinned by their hashes; show them</title>",
			": named by the policy, used by 1</li>",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s has no %q", path, want)
			}
		}
		const inLegend = 3
		if drawn := strings.Count(body, `class="node `) - inLegend; drawn != 34 || strings.Count(body, `<tr id="n`) != drawn {
			t.Errorf("%s draws %d nodes, and lists %d", path, drawn, strings.Count(body, `<tr id="n`))
		}
	}
}

func TestBootstrapSaysWhatItShows(t *testing.T) {
	g := treeOf(t, "pallet-ladder")
	g.Truncated = true
	site := newSite(t, surveyOf(g, "ladder"), nil)
	const chosen, cut = "this is the one that something was logged about last", "There is more than is drawn"
	via := "&amp;via=sha256%3A" + leaf.SHA256([]byte("user-wc")).Hex()
	_, first := get(t, site, "/bootstrap")
	_, asked := get(t, site, "/bootstrap?to=ladder&via="+string(leaf.SHA256([]byte("user-wc"))))
	if !strings.Contains(first, chosen) || strings.Contains(asked, chosen) {
		t.Error("the page does not say what it chose")
	}
	if !strings.Contains(first, cut) {
		t.Error("the page does not say that it is truncated")
	}
	if !strings.Contains(first, `<a href="/bootstrap?to=ladder`+via+`" aria-label="path through here: user-wc">path through here</a>`) {
		t.Error("no link to the path through user-wc")
	}
	if !strings.Contains(asked, "The bold path leads through <code") || !strings.Contains(asked, `<a href="/bootstrap?to=ladder">Draw the longest one</a>`) {
		t.Error("the page does not say which path it shows")
	}
}

func TestBootstrapTwin(t *testing.T) {
	g := graphOf(t, "a (reproduced) (3): seed-x source-a source-b", "b (unproven) (1): a")
	site := newSite(t, surveyOf(g, "b"), nil)
	status, body := get(t, site, "/bootstrap.json?to=b")
	var got struct {
		Schema  string
		Verdict string
		View    struct {
			Target         leaf.Digest
			Path, Frontier []int
			Gaps, Cycles   []any
			Rebuilders     int
			Nodes          []struct {
				Name, Kind, Verdict            string
				Rank, Obtained, Sources, Users int
				From                           []int
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	v := got.View
	if got.Schema != "cairn/web/bootstrap/v1" || got.Verdict != "unproven" || v.Gaps == nil || v.Cycles == nil {
		t.Errorf("%+v", got)
	}
	text := fmt.Sprint(v.Target == g.Target, v.Path, v.Frontier, v.Rebuilders, v.Nodes)
	want := "true [0 1 2] [2] 5 [{seed-x seed unproven 0 0 0 1 []} {a built reproduced 1 3 2 1 [0]} {b built unproven 2 1 0 0 [1]}]"
	if text != want {
		t.Errorf("\n%s\n%s", text, want)
	}
}

func TestBootstrapWithoutAnything(t *testing.T) {
	for name, test := range map[string]struct {
		survey Survey
		path   string
		status int
		want   string
	}{
		"no table":         {nil, "/bootstrap", 200, "<code>verdicts.database</code>"},
		"empty":            {&fakeSurvey{}, "/bootstrap", 200, "Nothing is logged yet"},
		"unknown name":     {&fakeSurvey{}, "/bootstrap?to=nothing", 404, "The log has nothing of that name."},
		"unknown digest":   {&fakeSurvey{}, "/bootstrap?to=sha256:" + strings.Repeat("0", 64), 404, "The log has nothing of that name."},
		"a wrong via":      {&fakeSurvey{}, "/bootstrap?via=x", 400, "via: is no digest"},
		"a wrong sources":  {&fakeSurvey{}, "/bootstrap?sources=yes", 400, "sources: can be all, or be left out"},
		"a wrong edges":    {&fakeSurvey{}, "/bootstrap?edges=few", 400, "edges: can be all, or be left out"},
		"a name too long":  {&fakeSurvey{}, "/bootstrap?to=" + strings.Repeat("a", 4097), 400, "to: has more than 4096 bytes"},
		"via is elsewhere": {surveyOf(graphOf(t, "a (untried): seed-x"), "a"), "/bootstrap?via=sha256:" + strings.Repeat("0", 64), 400, "via: is no part of what"},
	} {
		t.Run(name, func(t *testing.T) {
			var site *Site
			if test.survey == nil {
				site = newSite(t, nil, nil)
			} else {
				site = newSite(t, test.survey, nil)
			}
			status, body := get(t, site, test.path)
			if status != test.status || !strings.Contains(body, test.want) {
				t.Errorf("%d %s", status, body)
			}
			if strings.Contains(body, "<svg width") {
				t.Error("something is drawn")
			}
		})
	}
}

// hostile are names that would like to be more than text.
var hostile = []string{
	"<script>alert(1)</script>", "\u202egnp.exe", `"><img src=x onerror=alert(1)>`, strings.Repeat("W", 10_000), strings.Repeat("漢", 5000),
	"a\x00b\x1b[31m", "pkg:oci/$(id)?x", "pkg:oci/-rf", "javascript:alert(1)", "", "e" + strings.Repeat("\u0301", 5000),
}

func TestBootstrapOfHostileNames(t *testing.T) {
	g := &survey.Graph{Target: leaf.SHA256([]byte("0")), Rebuilders: -1}
	for i, name := range hostile {
		g.Nodes = append(g.Nodes, survey.Node{
			Digest: leaf.SHA256(fmt.Append(nil, i)), Name: name, Package: name, Built: true, Verdict: verify.VerdictUntried, Obtained: 7,
		})
		g.Edges = append(g.Edges, survey.Edge{From: i, To: 0, Role: name}, survey.Edge{From: i, To: 99}, survey.Edge{From: i, To: (i + 1) % len(hostile)})
	}
	site := newSite(t, surveyOf(g, hostile[0]), nil)
	for _, query := range []string{"", "?sources=all&to=" + url.QueryEscape(hostile[0])} {
		status, body := get(t, site, "/bootstrap"+query)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		for _, bad := range []string{"<script>alert", "<img", "\u202e", "\x1b", "cairn-builder reproduce $", "cairn-builder reproduce -", `href="javascript`} {
			if strings.Contains(body, bad) {
				t.Errorf("the page has %q", bad)
			}
		}
		for _, line := range strings.Split(body, "<text")[1:] {
			line, _, _ = strings.Cut(line, "</text>")
			_, line, _ = strings.Cut(line, ">")
			if len([]rune(line)) > 40 {
				t.Errorf("a long text in the graph: %q", line)
			}
		}
		if len(body) > 200_000 {
			t.Errorf("%d bytes", len(body))
		}
	}
}

func TestNodeLabel(t *testing.T) {
	for in, want := range map[string]string{
		"hex0-seed":                           "hex0-seed",
		"pkg:oci/core-tool@sha256:12?arch=x":  "core-tool",
		"pkg:oci/core-tool?arch=amd64":        "core-tool",
		"pkg:deb/debian/gcc%2B%2B@12?arch=x":  "gcc++@12",
		"https://ftp.example/gnu/a-1.tar.gz":  "a-1.tar.gz",
		"https://ftp.example/":                "ftp.example",
		"git+https://git.example/a.git#v1":    "a.git",
		"a: b":                                "a: b",
		"pkg:":                                "pkg:",
		"pkg:oci/core-tool@sha256%3Aab?arch=": "core-tool",
	} {
		if got := nodeLabel(&survey.Node{Name: in}); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestRebuildCommand(t *testing.T) {
	for in, known := range map[string]bool{
		"pkg:oci/core-busybox?arch=amd64&repository_url=stagex%2Fcore-busybox": true,
		"pkg:oci/core-busybox@sha256:00?arch=amd64":                            true,
		"pkg:oci/a;id": false, "pkg:oci/-a": false, "pkg:oci/A": false, "pkg:deb/debian/gcc": false, "pkg:oci/a b": false, "pkg:oci/a\nb": false, "": false,
	} {
		if got := rebuildCommand(in); (got != "") != known {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func BenchmarkBootstrap(b *testing.B) {
	for _, n := range []int{444, survey.MaxNodes / 2} {
		g := distribution(b, n, 7)
		b.Run(fmt.Sprint(len(g.Nodes)), func(b *testing.B) {
			for b.Loop() {
				bootstrapOf(b, g, bootstrapQuery{to: "x", sources: true})
			}
		})
	}
}

func TestBootstrapChooses(t *testing.T) {
	low := survey.Row{Package: "low", Last: 1, Stage0: true}
	high := survey.Row{Package: "high", Last: 2, Stage0: true}
	gap := survey.Row{Package: "gap", Last: 9}
	for _, tt := range []struct {
		rows []survey.Row
		want string
	}{
		{nil, ""},
		{[]survey.Row{{Package: "old", Last: 3}, gap}, "gap"},
		{[]survey.Row{gap, low, high}, "high"},
		{[]survey.Row{high, low, gap}, "high"},
	} {
		got := ""
		if row := choose(tt.rows); row != nil {
			got = row.Package
		}
		if got != tt.want {
			t.Errorf("of %v it chooses %q, want %q", tt.rows, got, tt.want)
		}
	}
}
