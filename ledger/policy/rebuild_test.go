package policy_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

// votesOf returns votes of rebuilders by their names, each with what is attested
// behind it: "alice/AMD/buildkit/DE", with ~ for a slash in it.
func votesOf(t testing.TB, p *policy.Policy, who ...string) []policy.Vote {
	t.Helper()
	var votes []policy.Vote
	for _, w := range who {
		f := append(strings.Split(w, "/"), "", "", "")
		v := policy.Vote{Key: leaf.Fingerprint(rebuilderKey(f[0])), CPUVendor: f[1], Engine: strings.ReplaceAll(f[2], "~", "/"), Country: f[3]}
		for _, r := range p.Rebuilders() {
			if r.Name == f[0] {
				v.Key = r.Key
			}
		}
		votes = append(votes, v)
	}
	return votes
}

// ab2 is abc with a second key of one operator.
const ab2 = abc + "rebuilder a2 K(a2) operator=https://a.example\n"

// tree has a group in a group, and y outside of both.
const tree = ab2 + `rebuilder x K(x) operator=x cpu-vendor=Intel country=DE
rebuilder y K(y) operator=y
rebuild-group inner 2 a a2 b
rebuild-group outer all inner x
rebuild-quorum outer
`

// rebuiltCase is what votes decide about an artifact.
type rebuiltCase struct {
	name, policy string
	names, votes []string
	want         []string // what is missing; nil if satisfied
}

func testRebuilt(t *testing.T, cases []rebuiltCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			p := mustParse(t, tt.policy)
			e := p.Rebuilt(tt.names, votesOf(t, p, tt.votes...))
			if d := cmp.Diff(append([]string{}, tt.want...), e.Missing); d != "" {
				t.Errorf("missing: %s", d)
			}
			if e.Satisfied != (tt.want == nil) {
				t.Errorf("satisfied: %t", e.Satisfied)
			}
		})
	}
}

func TestRebuiltCountsOperators(t *testing.T) {
	testRebuilt(t, []rebuiltCase{
		{"nobody", two, nil, nil, []string{"2 more of https://a.example (a), https://b.example (b), https://c.example (c) for rebuild-group g"}},
		{"too few", two, nil, []string{"a"}, []string{"1 more of https://b.example (b), https://c.example (c) for rebuild-group g"}},
		{"enough", two, nil, []string{"a", "c"}, nil},
		{"all", two, nil, []string{"a", "b", "c"}, nil},
		{"one who votes twice", two, nil, []string{"a", "a"}, []string{"1 more of https://b.example (b), https://c.example (c) for rebuild-group g"}},
		{"keys that the policy does not have", two, nil, []string{"a", "stranger", "other"}, []string{"1 more of https://b.example (b), https://c.example (c) for rebuild-group g"}},
		{"one operator with two keys", ab2 + "rebuild-group g 2 a a2 b c\nrebuild-quorum g\n", nil, []string{"a", "a2"}, []string{"1 more of https://b.example (b), https://c.example (c) for rebuild-group g"}},
		{"an operator by the second key", ab2 + "rebuild-group g 2 a a2 b c\nrebuild-quorum g\n", nil, []string{"a2", "b"}, nil},
		{"an operator of two keys is open", ab2 + "rebuild-group g 2 a b a2\nrebuild-quorum g\n", nil, []string{"b"}, []string{"1 more of https://a.example (a, a2) for rebuild-group g"}},
		{"a rebuilder is the quorum", abc + "rebuild-quorum a\n", nil, []string{"a"}, nil},
		{"another than the quorum", abc + "rebuild-quorum a\n", nil, []string{"b", "c"}, []string{"that https://a.example (a) obtained it by building"}},

		{"nested, exactly enough", tree, nil, []string{"a2", "b", "x"}, nil},
		{"nested, the group of one lacks", tree, nil, []string{"a", "b"}, []string{"1 more of x (x) for rebuild-group outer"}},
		{"nested, the inner group lacks", tree, nil, []string{"a", "a2", "x"}, []string{"1 more of inner for rebuild-group outer", "1 more of https://b.example (b) for rebuild-group inner"}},
		{"nested, who is in no group", tree, nil, []string{"a", "x", "y"}, []string{"1 more of inner for rebuild-group outer", "1 more of https://b.example (b) for rebuild-group inner"}},
	})
}

func TestRebuiltByName(t *testing.T) {
	const named = abc + `rebuild-group ab all a b
rebuild-quorum c for pkg:oci/c
rebuild-quorum a for pkg:oci/*?arch=arm64
rebuild-quorum b for pkg:oci/*
rebuild-quorum ab
`
	noDefault := strings.TrimSuffix(strings.Replace(named, "rebuild-group ab all a b\n", "", 1), "rebuild-quorum ab\n")
	testRebuilt(t, []rebuiltCase{
		{"a name, by its first line", named, []string{"pkg:oci/c?arch=arm64"}, []string{"c"}, nil},
		{"a name, not by a later line", named, []string{"pkg:oci/c?arch=arm64"}, []string{"a", "b"}, []string{"that https://c.example (c) obtained it by building"}},
		{"a name with a digest", named, []string{"pkg:oci/d@sha256:" + strings.Repeat("0", 64) + "?arch=arm64"}, []string{"a"}, nil},
		{"a name without qualifiers", named, []string{"pkg:oci/d"}, []string{"b"}, nil},
		{"a name that no line is for", named, []string{"pkg:deb/debian/d"}, []string{"a", "b"}, nil},
		{"a name that no line is for needs the one for all", named, []string{"pkg:deb/debian/d"}, []string{"a", "c"}, []string{"1 more of https://b.example (b) for rebuild-group ab"}},
		{"no name needs the one for all", named, nil, []string{"b", "c"}, []string{"1 more of https://a.example (a) for rebuild-group ab"}},
		{"two names need both", named, []string{"pkg:oci/d", "pkg:oci/c"}, []string{"b"}, []string{"that https://c.example (c) obtained it by building"}},
		{"two names have both", named, []string{"pkg:oci/d", "pkg:oci/c"}, []string{"b", "c"}, nil},
		{"two names of one quorum", named, []string{"pkg:oci/d", "pkg:oci/e"}, []string{"b"}, nil},
		{"no line for all, and no name", noDefault, nil, []string{"a", "b", "c"}, []string{"a rebuild-quorum line without `for`, which counts for an artifact without a name"}},
		{"no line for the name", noDefault, []string{"pkg:deb/debian/d"}, []string{"a", "b", "c"}, []string{"a rebuild-quorum line for pkg:deb/debian/d"}},
		{"no line for one of the names", noDefault, []string{"pkg:oci/d", "pkg:deb/\u202e"}, []string{"b"}, []string{`a rebuild-quorum line for "pkg:deb/\u202e"`}},
		{"no rebuilders", base, nil, []string{"a"}, []string{"a rebuild-quorum line without `for`, which counts for an artifact without a name"}},
	})
}

func TestRebuiltDistinct(t *testing.T) {
	testRebuilt(t, []rebuiltCase{
		{"distinct operators", abc + "rebuild-group g any a b c\nrebuild-quorum g\ndistinct operator 2\n", nil, []string{"a"}, []string{"1 more operator beside https://a.example for distinct operator 2"}},
		{"distinct operators are there", abc + "rebuild-group g any a b c\nrebuild-quorum g\ndistinct operator 2\n", nil, []string{"a", "b"}, nil},
		{"vendors unstated", two + "distinct cpu-vendor 2\n", nil, []string{"a", "b"}, []string{"2 more cpu-vendor for distinct cpu-vendor 2"}},
		{"one vendor", two + "distinct cpu-vendor 2\n", nil, []string{"a/AMD", "b/AMD"}, []string{"1 more cpu-vendor beside amd for distinct cpu-vendor 2"}},
		{"one vendor in two spellings", two + "distinct cpu-vendor 2\n", nil, []string{"a/AMD", "b/AuthenticAMD", "c/amd"}, []string{"1 more cpu-vendor beside amd for distinct cpu-vendor 2"}},
		{"another vendor in two spellings", two + "distinct cpu-vendor 2\n", nil, []string{"a/Intel", "b/GenuineIntel"}, []string{"1 more cpu-vendor beside intel for distinct cpu-vendor 2"}},
		{"two vendors", two + "distinct cpu-vendor 2\n", nil, []string{"a/GenuineIntel", "b/AuthenticAMD"}, nil},
		{"two vendors of one rebuilder", two + "distinct cpu-vendor 2\n", nil, []string{"a/GenuineIntel", "a/AuthenticAMD", "b"}, nil},
		{"a vendor of a stranger", two + "distinct cpu-vendor 2\n", nil, []string{"a/AMD", "b/AMD", "stranger/Intel"}, []string{"1 more cpu-vendor beside amd for distinct cpu-vendor 2"}},
		{"a vendor that the line denies", strings.Replace(two, "a.example\n", "a.example cpu-vendor=AMD\n", 1) + "distinct cpu-vendor 2\n", nil, []string{"a/GenuineIntel", "b/AMD"}, []string{"1 more cpu-vendor beside amd for distinct cpu-vendor 2"}},
		{"a country that the line denies", strings.Replace(two, "a.example\n", "a.example country=de\n", 1) + "distinct country 2\n", nil, []string{"a///FR", "b///DE"}, []string{"1 more country beside DE for distinct country 2"}},
		{"one country in two spellings", two + "distinct country 2\n", nil, []string{"a///de", "b///DE"}, []string{"1 more country beside DE for distinct country 2"}},
		{"two countries", two + "distinct country 2\n", nil, []string{"a///FR", "b///DE"}, nil},
		{"two versions of one engine", two + "distinct engine 2\n", nil, []string{"a//buildkit v0.32.2", "b//BuildKit~v0.33.0", "c//buildkit@1"}, []string{"1 more engine beside buildkit for distinct engine 2"}},
		{"two engines", two + "distinct engine 2\n", nil, []string{"a//buildkit", "b//buildah 1.44"}, nil},
		{"a vendor of one outside the quorum", tree + "distinct cpu-vendor 2\n", nil, []string{"a/Intel", "b", "x", "y/AMD"}, []string{"1 more cpu-vendor beside intel for distinct cpu-vendor 2"}},
		{
			"a vendor of one whose group lacks others",
			abc + "rebuilder d K(d) operator=d\nrebuild-group cd all c d\nrebuild-group g 2 a b cd\nrebuild-quorum g\ndistinct cpu-vendor 2\n",
			nil, []string{"a/AMD", "b/AMD", "c/Intel"}, []string{"1 more cpu-vendor beside amd for distinct cpu-vendor 2"},
		},
		{
			"distinct for each quorum, whatever another has",
			abc + "rebuild-quorum a for pkg:oci/a\nrebuild-quorum b for pkg:oci/b\ndistinct cpu-vendor 1\n",
			[]string{"pkg:oci/a", "pkg:oci/b"},
			[]string{"a/AMD", "b"}, []string{"1 more cpu-vendor for distinct cpu-vendor 1 among the quorum for pkg:oci/b"},
		},
	})
}

// TestRebuiltEverySubset compares Rebuilt with an evaluation written out by
// hand, for every set of voters, and checks that one more name never helps.
func TestRebuiltEverySubset(t *testing.T) {
	p := mustParse(t, rebuilds)
	names := []string{"alice1", "alice2", "bob", "carol", "dora"}
	for set := range 1 << len(names) {
		has := func(i int) bool { return set>>i&1 == 1 }
		count := func(of ...bool) (n int) {
			for _, b := range of {
				if b {
					n++
				}
			}
			return n
		}
		var votes []policy.Vote
		for i, name := range names {
			if has(i) {
				votes = append(votes, votesOf(t, p, name+"///FR")...)
			}
		}
		forAll := (has(0) || has(1)) && has(2) && (has(3) || has(4))
		core := count(has(0), has(2), has(3), has(4)) >= 2
		for _, tt := range []struct {
			names []string
			want  bool
		}{
			{nil, forAll},
			{[]string{"pkg:oci/other"}, forAll},
			{[]string{"pkg:oci/core-go"}, core},
			{[]string{"pkg:oci/core-go", "pkg:oci/other"}, core && forAll},
			{[]string{"pkg:oci/tool?arch=amd64&repository_url=docker.io%2Fstagex%2Ftool"}, has(2)},
		} {
			e := p.Rebuilt(tt.names, votes)
			if e.Satisfied != tt.want || (len(e.Missing) == 0) != tt.want {
				t.Errorf("voters %05b, names %q: satisfied %t with %q missing, want %t", set, tt.names, e.Satisfied, e.Missing, tt.want)
			}
		}
	}
}

func TestRebuiltExplains(t *testing.T) {
	p := mustParse(t, strings.Replace(rebuilds, "distinct country 1", "distinct country 3", 1))
	e := p.Rebuilt([]string{"pkg:deb/debian/x", "pkg:oci/core-go?arch=amd64"}, votesOf(t, p, "alice2///FR", "alice1///FR", "carol"))
	want := `rebuild-quorum core for pkg:oci/core-*, asked for by pkg:oci/core-go?arch=amd64
  ✓ rebuild-group core: 2 of 4 operators, needs 2
    ✓ rebuilder alice1 (https://alice.example): obtained it
    · rebuilder bob (https://bob.example): not heard
    ✓ rebuilder carol (urn:carol): obtained it
    · rebuilder dora (urn:dora): not heard
rebuild-quorum both, asked for by pkg:deb/debian/x
  ✗ rebuild-group both: 1 of 2 groups, needs 2
    ✗ rebuild-group maintainers: 1 of 2 operators, needs 2
      ✓ rebuilder alice1 (https://alice.example): obtained it
      ✓ rebuilder alice2 (https://alice.example): obtained it
      ✗ rebuilder bob (https://bob.example): not heard
    ✓ rebuild-group outside: 1 of 2 operators, needs 1
      ✓ rebuilder carol (urn:carol): obtained it
      · rebuilder dora (urn:dora): not heard
✗ distinct country 3 among the quorum for pkg:oci/core-*: DE
✗ distinct country 3: nothing
missing: 2 more country beside DE for distinct country 3 among the quorum for pkg:oci/core-*
missing: 1 more of maintainers for rebuild-group both
missing: 1 more of https://bob.example (bob) for rebuild-group maintainers
missing: 3 more country for distinct country 3
`
	if d := cmp.Diff(want, e.String()); d != "" {
		t.Error(d)
	}
	var operators [][]string
	for _, q := range e.Quorums {
		operators = append(operators, q.Operators)
	}
	if d := cmp.Diff([][]string{{"https://alice.example", "urn:carol"}, {"urn:carol"}}, operators); d != "" {
		t.Errorf("operators who count: %s", d)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back policy.RebuildExplanation
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, back); d != "" {
		t.Errorf("JSON does not carry all of it: %s", d)
	}
}

// Where an operator is heard by one key, the other keys lack nothing.
func TestRebuiltDrawsOpenOperators(t *testing.T) {
	p := mustParse(t, abc+"rebuilder a2 K(a2) operator=https://a.example\nrebuild-group \xff all a a2 b\nrebuild-group g all \xff c\nrebuild-quorum g\n")
	want := `rebuild-quorum g
  ✗ rebuild-group g: 0 of 2 operators and groups, needs 2
    ✗ rebuild-group "\xff": 1 of 2 operators, needs 2
      ✓ rebuilder a (https://a.example): obtained it
      · rebuilder a2 (https://a.example): not heard
      ✗ rebuilder b (https://b.example): not heard
    ✗ rebuilder c (https://c.example): not heard
missing: 2 more of "\xff", https://c.example (c) for rebuild-group g
missing: 1 more of https://b.example (b) for rebuild-group "\xff"
`
	if d := cmp.Diff(want, p.Rebuilt(nil, votesOf(t, p, "a")).String()); d != "" {
		t.Error(d)
	}
	p = mustParse(t, abc+"rebuild-quorum a\nrebuild-quorum b for pkg:*\ndistinct operator 1\n")
	if q := p.Rebuilt(nil, votesOf(t, p, "b")).Quorums[0]; len(q.Operators) != 0 {
		t.Errorf("who was not heard counts: %q", q.Operators)
	}
	want = `rebuild-quorum a
  ✓ rebuilder a (https://a.example): obtained it
✓ distinct operator 1: https://a.example
`
	if d := cmp.Diff(want, p.Rebuilt(nil, votesOf(t, p, "a")).String()); d != "" {
		t.Error(d)
	}
}

func TestExceptions(t *testing.T) {
	p := mustParse(t, base+`except pkg:oci/x until 2026-12-31 reason one
except pkg:oci/*?*arch=arm64* until 2026-06-30T12:00:00Z reason two
except pkg:oci/* until 2025-01-01 reason three
`)
	instant := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	const arm = "pkg:oci/x@sha256:0000000000000000000000000000000000000000000000000000000000000000?arch=arm64&repository_url=x"
	for _, tt := range []struct {
		name, at string
		names    []string
		want     string // its reason
	}{
		{"on the day", "2026-12-31T00:00:00Z", []string{"pkg:oci/x"}, "one"},
		{"in the day's last second", "2026-12-31T23:59:59Z", []string{"pkg:oci/x"}, "one"},
		{"after the day", "2027-01-01T00:00:00Z", []string{"pkg:oci/x"}, ""},
		{"after the day in UTC, not there", "2026-12-31T23:59:59-01:00", []string{"pkg:oci/x"}, ""},
		{"before the instant", "2026-06-30T11:59:59Z", []string{"pkg:oci/y", arm}, "one"},
		{"only the second", "2026-06-30T11:59:59Z", []string{"pkg:oci/y?arch=arm64"}, "two"},
		{"at the instant", "2026-06-30T12:00:00Z", []string{"pkg:oci/y?arch=arm64"}, ""},
		{"the first of the policy that holds", "2024-06-30T12:00:00Z", []string{"pkg:oci/y", "pkg:oci/y?arch=arm64"}, "two"},
		{"another name", "2024-06-30T12:00:00Z", []string{"pkg:deb/debian/x"}, ""},
		{"no name", "2024-06-30T12:00:00Z", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, ok := p.Exception(tt.names, instant(tt.at))
			if e.Reason != tt.want || ok != (tt.want != "") {
				t.Errorf("got %q, %t, want %q", e.Reason, ok, tt.want)
			}
		})
	}
	if e, ok := p.Exception([]string{"pkg:oci/x"}, time.Time{}); ok {
		t.Errorf("at no time, %q holds", e.Reason)
	}
	want := []policy.Exception{
		{Glob: "pkg:oci/x", Until: instant("2027-01-01T00:00:00Z"), Reason: "one"},
		{Glob: "pkg:oci/*?*arch=arm64*", Until: instant("2026-06-30T12:00:00Z"), Reason: "two"},
		{Glob: "pkg:oci/*", Until: instant("2025-01-02T00:00:00Z"), Reason: "three"},
	}
	if d := cmp.Diff(want, p.Exceptions()); d != "" {
		t.Error(d)
	}
}

// matches reports whether a glob matches a name, as an exception shows.
func matches(t *testing.T, glob, name string) bool {
	t.Helper()
	p := mustParse(t, base+"except "+glob+" until 2026-12-31 reason x\n")
	_, ok := p.Exception([]string{name}, time.Unix(1, 0))
	return ok
}

func TestGlobs(t *testing.T) {
	const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, tt := range []struct {
		glob, name string
		want       bool
	}{
		{"pkg:oci/x", "pkg:oci/x", true},
		{"pkg:oci/x", "pkg:oci/xy", false},
		{"pkg:oci/x", "pkg:oci/X", false},
		{"pkg:oci/x", "pkg:oci/x?arch=amd64", true},
		{"pkg:oci/x", "pkg:oci/x@" + digest + "?arch=amd64", true},
		{"pkg:deb/debian/x", "pkg:deb/debian/x@1.2-3?arch=amd64#sub/dir", true},
		{"pkg:deb/debian/x", "pkg:deb/debian/x#sub/dir", true},
		{"pkg:npm/%40scope/x", "pkg:npm/%40scope/x@1", true},
		{"pkg:npm/*/x", "pkg:npm/@scope/x", true},
		{"pkg:oci/*", "pkg:oci/x", true},
		{"pkg:oci/*", "pkg:oci/", true},
		{"pkg:*/x", "pkg:deb/debian/x", true},
		{"pkg:*/x", "pkg:deb/debian/xy", false},
		{"*", "pkg:oci/x?arch=amd64", true},
		{"*x", "pkg:oci/x?arch=amd64", true},
		{"pkg:oci/a*b*c", "pkg:oci/abc", true},
		{"pkg:oci/a*b*c", "pkg:oci/axbybzc", true},
		{"pkg:oci/a*b*c", "pkg:oci/acb", false},
		{"pkg:oci/a*a", "pkg:oci/a", false},
		{"pkg:oci/ab*bc*", "pkg:oci/abc", false},
		{"pkg:oci/[x]", "pkg:oci/x", false},
		{"pkg:oci/x?arch=amd64", "pkg:oci/x@" + digest + "?arch=amd64", true},
		{"pkg:oci/x?arch=amd64", "pkg:oci/x?arch=arm64", false},
		{"pkg:oci/x?arch=amd64", "pkg:oci/x", false},
		{"pkg:oci/x?*", "pkg:oci/x?arch=arm64&tag=1", true},
		{"pkg:oci/x?*tag=1*", "pkg:oci/x?arch=arm64&tag=1", true},
		{"pkg:oci/x?*", "pkg:oci/x", false},
		{"pkg:deb/debian/x@1.2?*", "pkg:deb/debian/x@1.2?arch=amd64", true},
		{"pkg:deb/debian/x@1.2?*", "pkg:deb/debian/x@1.3?arch=amd64", false},
		{"pkg:deb/debian/x?*", "pkg:deb/debian/x@1.2?arch=amd64", false},
	} {
		if got := matches(t, tt.glob, tt.name); got != tt.want {
			t.Errorf("%s matches %s: %t, want %t", tt.glob, tt.name, got, tt.want)
		}
	}
}

// Globs with a ? are compared with exactly what attest calls the look-up name.
func TestGlobsMatchLookupNames(t *testing.T) {
	for _, s := range []string{
		"pkg:oci/core-go@sha256:" + strings.Repeat("0a", 32) + "?arch=amd64&repository_url=docker.io%2Fstagex%2Fcore-go",
		"pkg:oci/x@sha512:" + strings.Repeat("0a", 64) + "?tag=a%40b",
		"pkg:oci/x@sha1:0000?arch=a",
		"pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64",
		"pkg:npm/%40angular/animation@12.3.1?a=b#src/%3Fx%40y",
		"pkg:golang/github.com/x/y@v1.0.0%2Fz?type=module#a@b",
		"pkg:generic/a%3Fb%23c%40d@e%2Ff?checksum=sha256:00",
	} {
		canonical, err := attest.CanonicalPurl(s)
		if err != nil {
			t.Fatal(err)
		}
		name, err := attest.LookupName(s)
		if err != nil {
			t.Fatal(err)
		}
		if !matches(t, name, canonical) || !matches(t, name, name) {
			t.Errorf("%s is not found by its look-up name %s", canonical, name)
		}
		bare, _, _ := strings.Cut(name, "?")
		if i := strings.LastIndex(bare, "@"); i > 0 {
			bare = bare[:i]
		}
		if !matches(t, bare, canonical) || !matches(t, bare, name) {
			t.Errorf("%s is not found by its bare name %s", canonical, bare)
		}
	}
}

func TestRebuilderLists(t *testing.T) {
	p := mustParse(t, rebuilds)
	r, ok := p.Rebuilder("openpgp:0123456789abcdef0123456789abcdef01234567")
	want := policy.Rebuilder{
		Name: "alice2", Key: "openpgp:0123456789abcdef0123456789abcdef01234567",
		Operator: "https://alice.example", CPUVendor: "AMD",
	}
	if d := cmp.Diff(want, r); d != "" || !ok {
		t.Errorf("Rebuilder: %t, %s", ok, d)
	}
	if r, ok := p.Rebuilder(leaf.Fingerprint(rebuilderKey("stranger"))); ok {
		t.Errorf("a stranger is %+v", r)
	}
	if got := p.Rebuilders(); len(got) != 5 || got[0].Name != "alice1" || got[0].Country != "DE" {
		t.Errorf("Rebuilders: %+v", got)
	}
	if got := p.Unasked(); len(got) != 0 {
		t.Errorf("Unasked: %+v", got)
	}
	if got := mustParse(t, abc+"rebuild-group g any a\nrebuild-group h all g\nrebuild-quorum h\nrebuild-quorum c for pkg:*\n").Unasked(); len(got) != 1 || got[0].Name != "b" {
		t.Errorf("Unasked: %+v, want b", got)
	}
	if p.Tolerates() != 1 || mustParse(t, two).Tolerates() != 0 {
		t.Error("Tolerates is not what the policy says")
	}
	if p.MaxAge() != 36*time.Hour || mustParse(t, two).MaxAge() != 0 {
		t.Error("MaxAge is not what the policy says")
	}
	if !slices.Equal(p.Seeds(), []leaf.Digest{"sha256:f74dcf9cf24a8e1e0d4e0c9a8b4a8ec3e9ee5a7ddb0a3c2e04be3d7c84a6d0b1"}) {
		t.Errorf("Seeds: %s", p.Seeds())
	}
	if d := cmp.Diff([]policy.Distinct{{What: "country", K: 1}}, p.Distinct()); d != "" {
		t.Error(d)
	}
	p.Rebuilders()[0].Name, p.Seeds()[0], p.Distinct()[0].K, p.Exceptions()[0].Reason = "x", "x", 9, "x"
	if p.Rebuilders()[0].Name == "x" || p.Seeds()[0] == "x" || p.Distinct()[0].K == 9 || p.Exceptions()[0].Reason == "x" {
		t.Error("a caller can change the policy through its lists")
	}
}

func TestZeroPolicyRebuilds(t *testing.T) {
	var p policy.Policy
	if e := p.Rebuilt(nil, []policy.Vote{{}}); e.Satisfied || len(e.Missing) == 0 {
		t.Errorf("the zero Policy finds an artifact rebuilt: %+v", e)
	}
	if e := p.Rebuilt([]string{"pkg:oci/x"}, []policy.Vote{{}}); e.Satisfied || len(e.Missing) == 0 {
		t.Errorf("the zero Policy finds an artifact rebuilt: %+v", e)
	}
	if _, ok := p.Exception([]string{"pkg:oci/x"}, time.Unix(1, 0)); ok || p.Tolerates() != 0 {
		t.Error("the zero Policy makes exceptions")
	}
}
