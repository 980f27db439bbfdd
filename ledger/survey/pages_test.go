package survey

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

// newMany returns a table of many packages with every verdict, some of which only
// strangers name.
func newMany(t *testing.T) *filled {
	f := newFilled(t, 3)
	var list []*said
	for i := range 60 {
		name := fmt.Sprintf("pkg:%s/p%02d@1?arch=%s", []string{"deb/debian", "alpm/arch"}[i%2], i, []string{"amd64", "arm64", "any"}[i%3])
		d := digestOf(name)
		if i%7 == 6 {
			list = append(list, word("stranger", name, d, Obtained))
			continue
		}
		list = append(list, word("r0", name, d, Obtained), word(fmt.Sprint("r", 1+i%2), name, d, Word(1+i%5)))
	}
	f.says(list...)
	for i := range 60 {
		if i%7 != 6 {
			f.judges(list0(list, i), ranks[i%len(ranks)], never)
		}
	}
	return f
}

// list0 returns the artifact of the package with a number.
func list0(list []*said, i int) leaf.Digest {
	for _, s := range list {
		if strings.Contains(s.subjects[0].names[0], fmt.Sprintf("/p%02d@", i)) {
			return s.subjects[0].digest
		}
	}
	return ""
}

// TestPages: the pages of every filter have each of its packages once, in order, and
// what is counted is what they have.
func TestPages(t *testing.T) {
	f := newMany(t)
	everything := f.page(Filter{Everyone: true}).Rows
	if len(everything) != 60 {
		t.Fatalf("%d packages are listed", len(everything))
	}
	differs := verify.VerdictDiffers
	for _, verdict := range []*verify.Verdict{nil, &differs} {
		for _, distribution := range []string{"", "deb/debian", "rpm/none"} {
			for _, arch := range []string{"", "arm64"} {
				for _, text := range []string{"", "P1", "%", "_"} {
					for i := range 4 {
						f.wantPages(everything, Filter{Verdict: verdict, Distribution: distribution, Arch: arch, Text: text, Everyone: i%2 == 1, ByName: i > 1, Limit: 7})
					}
				}
			}
		}
	}
	p := f.page(Filter{})
	if diff := gocmp.Diff([][]string{{"alpm/arch", "deb/debian"}, {"amd64", "any", "arm64"}}, [][]string{p.Distributions, p.Archs}); diff != "" {
		t.Error(diff)
	}
}

// wantPages compares the pages of a filter with what everything has of it.
func (f *filled) wantPages(everything []Row, filter Filter) {
	f.Helper()
	columns := f.page(filter).Rebuilders
	var want []Row
	var counts Counts
	words := make([]WordCounts, len(columns))
	for _, r := range everything {
		if !r.Heard && !filter.Everyone || filter.Distribution != "" && !strings.Contains(r.Package, ":"+filter.Distribution+"/") ||
			filter.Arch != "" && !strings.HasSuffix(r.Package, "arch="+filter.Arch) || !strings.Contains(r.Package, strings.ToLower(filter.Text)) {
			continue
		}
		counts[r.Verdict]++
		for _, c := range r.Cells {
			words[slices.IndexFunc(columns, func(b Rebuilder) bool { return b.Key == c.Key })][c.Word]++
		}
		if filter.Verdict == nil || r.Verdict == *filter.Verdict {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, func(a, b Row) int {
		if filter.ByName {
			return strings.Compare(a.Package, b.Package)
		}
		return cmp.Or(rankOf(a.Verdict)-rankOf(b.Verdict), strings.Compare(a.Package, b.Package))
	})
	var got []Row
	for {
		p := f.page(filter)
		if p.Total != len(want) || p.Counts != counts || !slices.Equal(p.Columns, words) || len(p.Rows) > filter.Limit {
			f.Fatalf("%+v: %d rows on a page, total %d, counts %v, columns %v; want %d, %v, %v", filter, len(p.Rows), p.Total, p.Counts, p.Columns, len(want), counts, words)
		}
		if got = append(got, p.Rows...); p.Next == "" {
			break
		}
		filter.From = p.Next
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		f.Errorf("%+v:\n%s", filter, diff)
	}
}

func TestStripAndFind(t *testing.T) {
	f := newMany(t)
	var want []verify.Verdict
	for _, r := range f.page(Filter{ByName: true}).Rows {
		want = append(want, r.Verdict)
	}
	strip, err := f.Strip(t.Context())
	if err != nil || !slices.Equal(strip, want) || len(strip) != 52 {
		t.Errorf("%v, %v; want %v", strip, err, want)
	}
	for text, want := range map[string][]string{
		"p03": {"pkg:alpm/arch/p03@1?arch=amd64"}, "pkg:deb/debian/p00": {"pkg:deb/debian/p00@1?arch=amd64"},
		"arch/P05": {"pkg:alpm/arch/p05@1?arch=any"}, "": nil, "%": nil, "p06": {"pkg:deb/debian/p06@1?arch=amd64"},
	} {
		rows, err := f.Find(t.Context(), text, 20)
		var got []string
		for _, r := range rows {
			got = append(got, r.Package)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q finds %q, %v; want %q", text, got, err, want)
		}
	}
	rows, err := f.Find(t.Context(), "p0", 3)
	if err != nil || len(rows) != 3 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// TestProfile: what is told of a rebuilder.
func TestProfile(t *testing.T) {
	f := newFilled(t, 2)
	a, b := digestOf("a"), digestOf("b")
	f.says(word("r0", hello, a, Obtained), word("r0", attr, b, Obtained), word("r1", hello, a, Different), word("stranger", hello, a, Different))
	f.judges(a, verify.VerdictDiffers, never)
	f.judges(b, verify.VerdictReproduced, never)
	p, err := f.Profile(t.Context(), keyOf("r0"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "r0" || !p.Heard || p.Words != (WordCounts{Obtained: 2}) || p.Agrees != 1 || p.Disagrees != 1 || len(p.Latest) != 2 || p.Latest[0].Entry != 1 ||
		!gocmp.Equal(p.Days, []Day{{"2026-11-22", WordCounts{Obtained: 2}}}) ||
		!gocmp.Equal(p.Environments, []Environment{{map[string]string{"arch": "x86_64", "os": "linux"}, 2}}) {
		t.Errorf("%+v", p)
	}
	f.says(word("r0", attr, b, Different))
	if p, _ = f.Profile(t.Context(), keyOf("r0")); p.Words != (WordCounts{Obtained: 1, Different: 1}) || p.Agrees != 0 || p.Disagrees != 2 {
		t.Errorf("it changed its mind: %+v", p)
	}
	f.judges(b, verify.VerdictDiffers, never)
	if p, _ = f.Profile(t.Context(), keyOf("r0")); p.Agrees != 1 || p.Disagrees != 1 {
		t.Errorf("and so did everybody: %+v", p)
	}
	if p, err = f.Profile(t.Context(), keyOf("stranger")); err != nil || p.Heard || p.Operator != "https://stranger.example" || p.Words[Different] != 1 || p.Agrees != 0 {
		t.Errorf("a stranger: %+v, %v", p, err)
	}
	if p, err := f.Profile(t.Context(), keyOf("nobody")); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody: %+v, %v", p, err)
	}
	list, err := f.Disagreements(t.Context(), 0, 10)
	if err != nil || len(list) != 2 || list[0].Statement.Entry != 4 || list[0].Package != attr || list[1].Statement.Entry != 2 || list[1].Verdict != verify.VerdictDiffers {
		t.Errorf("disagreements: %+v, %v", list, err)
	}
	if list, _ = f.Disagreements(t.Context(), 4, 10); len(list) != 1 || list[0].Statement.Entry != 2 {
		t.Errorf("those before: %+v", list)
	}
}

// made returns what somebody says, with materials.
func (s *said) of(materials ...made) *said {
	s.materials = string(marshal(materials))
	return s
}

func (f *filled) graph(d leaf.Digest) *Graph {
	f.Helper()
	g, err := f.Graph(context.Background(), d)
	if err != nil {
		f.Fatal(err)
	}
	return g
}

// TestGraph: the ancestry is that of claims that are heard, once there is one.
func TestGraph(t *testing.T) {
	f := newFilled(t, 2)
	app, lib, src, tool := digestOf("app"), digestOf("lib"), digestOf("src"), digestOf("tool")
	stranger := word("stranger", hello, app, Obtained).of(made{digestOf("bogus"), "bogus", "library"})
	f.says(stranger)
	if g := f.graph(app); len(g.Nodes) != 2 || g.Nodes[1].Name != "bogus" {
		t.Errorf("nobody is heard: %+v", g)
	}
	f.says(word("r0", hello, app, Obtained).of(made{lib, "lib", "library"}, made{src, "app.tar", "source"}),
		word("r1", hello, app, Obtained).of(made{lib, "lib", "library"}, made{tool, "tool", "toolchain"}),
		word("r0", attr, lib, Obtained).of(made{tool, "tool", "toolchain"}, made{app, "a cycle", ""}),
		word("r1", "", app, Signed).of(made{digestOf("of a review"), "", ""}))
	f.judges(lib, verify.VerdictReproduced, never)
	g := f.graph(app)
	var got []string
	for _, n := range g.Nodes {
		got = append(got, fmt.Sprint(n.Name, " ", n.Package, " built=", n.Built, " pinned=", n.Pinned, " ", n.Verdict, " ", n.Obtained))
	}
	want := []string{
		hello + " " + hello + " built=true pinned=false unproven 2", "lib " + attr + " built=true pinned=false reproduced 1",
		"app.tar  built=false pinned=true untried 0", "tool  built=false pinned=false untried 0",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	edges := []Edge{{1, 0, "library"}, {2, 0, "source"}, {3, 0, "toolchain"}, {3, 1, "toolchain"}, {0, 1, ""}}
	if diff := gocmp.Diff(edges, g.Edges); diff != "" || g.Rebuilders != 2 || g.Truncated {
		t.Errorf("%+v\n%s", g, diff)
	}
	p, err := f.Package(t.Context(), hello)
	if err != nil || len(p.Artifacts[0].Materials) != 3 || p.Artifacts[0].Materials[1].Verdict != verify.VerdictReproduced {
		t.Errorf("materials: %+v, %v", p.Artifacts[0].Materials, err)
	}
	if _, err := f.Graph(t.Context(), digestOf("none")); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestGraphIsBounded(t *testing.T) {
	f := newFilled(t, 1)
	var many []made
	for i := range MaxNodes + 10 {
		many = append(many, made{digestOf(fmt.Sprint(i)), fmt.Sprint(i), "library"})
	}
	f.says(word("r0", hello, digestOf("app"), Obtained).of(many...))
	if g := f.graph(digestOf("app")); len(g.Nodes) != MaxNodes || !g.Truncated {
		t.Errorf("%d nodes, truncated: %t", len(g.Nodes), g.Truncated)
	}
	p, err := f.Package(t.Context(), hello)
	if err != nil || len(p.Artifacts[0].Materials) != MaxMaterials || !p.Artifacts[0].MoreMaterials {
		t.Errorf("%d materials, %v", len(p.Artifacts[0].Materials), err)
	}
}

// TestGraphOfLongLists: however many artifacts were made from however much, a graph
// looks at no more lists than it has edges for.
func TestGraphOfLongLists(t *testing.T) {
	f := newFilled(t, 1)
	var many []made
	for i := range MaxNodes {
		many = append(many, made{digestOf(fmt.Sprint(i)), fmt.Sprint(i), "library"})
	}
	everything := word("stranger", hello, digestOf("app"), Obtained).of(many...)
	for i := range MaxNodes {
		everything.subjects = append(everything.subjects, subject{digest: many[i].Digest, word: Obtained})
	}
	f.says(everything)
	if g := f.graph(digestOf("app")); len(g.Edges) > MaxEdges || !g.Truncated {
		t.Errorf("%d edges, truncated: %t", len(g.Edges), g.Truncated)
	}
	// Of what is behind the last edge, nothing is read.
	if _, err := f.w.Exec("DELETE FROM materials"); err != nil {
		t.Fatal(err)
	}
	broken := strings.Repeat(`{"d":"`+string(many[0].Digest)+`"},`, MaxEdges+1) + "this is no JSON"
	if _, err := f.w.Exec("INSERT INTO materials (id, hash, list) VALUES (1, x'', ?)", "["+broken); err != nil {
		t.Fatal(err)
	}
	if p, err := f.Package(t.Context(), hello); err != nil || !p.Artifacts[0].MoreMaterials {
		t.Errorf("a package is read to the end of what it was made from: %v", err)
	}
	_ = f.graph(digestOf("app"))
}

// TestOtherDigests: an artifact is found by each of its digests, and what is said by
// another one is told with it.
func TestOtherDigests(t *testing.T) {
	f := newFilled(t, 2)
	a := digestOf("a")
	long := leaf.Digest("sha512:" + strings.Repeat("0a", 64))
	s := word("r0", hello, a, Obtained)
	s.subjects[0].aliases = []leaf.Digest{long}
	f.says(s)
	f.judges(a, verify.VerdictReproduced, never)
	// That they are of one artifact, r0 alone says: the verdict is not of this one.
	if p, err := f.Package(t.Context(), string(long)); err != nil || p.Package != string(a) || p.Verdict != verify.VerdictUnproven || p.Artifacts[0].Verdict != verify.VerdictUnproven {
		t.Errorf("by its sha512: %+v, %v", p, err)
	}
	if g := f.graph(long); g.Target != a || g.Nodes[0].Verdict != verify.VerdictUnproven {
		t.Errorf("the graph by its sha512: %+v", g)
	}
	if p, err := f.Package(t.Context(), string(a)); err != nil || p.Verdict != verify.VerdictReproduced {
		t.Errorf("by its own digest: %+v, %v", p, err)
	}
	f.says(word("r1", "", long, Different))
	p, err := f.Package(t.Context(), hello)
	if err != nil || len(p.Artifacts[0].Statements) != 2 || p.Artifacts[0].Statements[1].Word != Different {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestDistributions: who obtained what, by the policy's word before their own.
func TestDistributions(t *testing.T) {
	f := newFilled(t, 2)
	where := func(s *said, vendor, engine, country string) *said {
		s.vote = policy.Vote{CPUVendor: vendor, Engine: engine, Country: country}
		return s
	}
	f.says(where(word("r0", hello, digestOf("a"), Obtained), "GenuineIntel", "buildkit v1", "de"), where(word("r1", hello, digestOf("a"), Obtained), "Intel", "BuildKit/2", "DE"),
		where(word("r1", attr, digestOf("b"), Obtained), "AuthenticAMD", "", "fr"), word("r1", "pkg:deb/debian/c@1", digestOf("c"), Different),
		where(word("stranger", attr, digestOf("b"), Obtained), "other", "other", "other"))
	f.judges(digestOf("a"), verify.VerdictReproduced, never)
	d, err := f.Distributions(t.Context())
	want := []Distribution{{Name: "deb/debian", Packages: 3, Counts: Counts{verify.VerdictReproduced: 1, verify.VerdictUnproven: 2}, Single: 1, Multi: 1,
		Operators: 2, Engines: 1, CPUVendors: 2, Countries: 2}}
	if diff := gocmp.Diff(want, d); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestBounds: texts of others are cut, at a rune.
func TestBounds(t *testing.T) {
	for in, want := range map[string]string{"abc": "abc", "abcde": "abcd…", "abcé": "abc…", "a\xff": "a\ufffd"} {
		if got := cut(in, 4); got != want {
			t.Errorf("%q is cut to %q, want %q", in, got, want)
		}
	}
	values := make(map[string]string)
	for i := range 100 {
		values[fmt.Sprint(i)] = strings.Repeat("x", 10_000)
	}
	for _, value := range []string{"x", "<"} { // which is longer in JSON
		values["0"] = strings.Repeat(value, 10_000)
		if text := environmentOf(values); len(text) > maxMachine || !json.Valid([]byte(text)) {
			t.Errorf("an environment of %d bytes is kept", len(text))
		}
	}
}
