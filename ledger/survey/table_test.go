package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

func digestOf(text string) leaf.Digest { return leaf.SHA256([]byte(text)) }

func (f *filled) page(filter Filter) *Page {
	f.Helper()
	p, err := f.Packages(context.Background(), filter)
	if err != nil {
		f.Fatal(err)
	}
	return p
}

// summary is what a page shows, in short.
func summary(p *Page) []string {
	var list []string
	for _, r := range p.Rows {
		text := fmt.Sprintf("%s %s", r.Package, r.Verdict)
		for _, c := range r.Cells {
			i := slices.IndexFunc(p.Rebuilders, func(b Rebuilder) bool { return b.Key == c.Key })
			text += fmt.Sprintf(" %d:%s", i, c.Word)
		}
		if r.Others > 0 {
			text += fmt.Sprintf(" +%d", r.Others)
		}
		list = append(list, text)
	}
	return list
}

func (f *filled) wantRows(when string, filter Filter, want ...string) {
	f.Helper()
	if diff := cmp.Diff(want, summary(f.page(filter))); diff != "" {
		f.Errorf("%s:\n%s", when, diff)
	}
}

const (
	hello = "pkg:deb/debian/hello@2.10-3?arch=amd64"
	attr  = "pkg:deb/debian/attr@1-1?arch=arm64"
	image = "pkg:oci/busybox?repository_url=docker.io%2Fstagex%2Fbusybox"
)

func TestWordOf(t *testing.T) {
	d := digestOf("a")
	output := func(text string) []attest.Resource {
		return []attest.Resource{{Digests: map[string]string{"sha256": digestOf(text).Hex()}}}
	}
	for _, test := range []struct {
		name  string
		claim attest.Claim
		want  Word
	}{
		{"a build", attest.Claim{Claim: leaf.ClaimBuild}, Obtained},
		{"the same, built", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Identical, Obtained: attest.Built}, Obtained},
		{"the same, fetched", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Identical, Obtained: attest.Substituted}, Signed},
		{"the same, nobody says how", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Identical}, Signed},
		{"another of the subjects", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Identical, Obtained: attest.Built, Outputs: output("b")}, Signed},
		{"an equal one, built", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Equivalent, Obtained: attest.Built, Outputs: output("b")}, Obtained},
		{"an equal one, fetched", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Equivalent, Obtained: attest.Substituted}, Signed},
		{"something else", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Different, Obtained: attest.Built}, Different},
		{"something else, fetched", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Different, Obtained: attest.Substituted}, Different},
		{"a failure", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.BuildFailed}, Failed},
		{"no result", attest.Claim{Claim: leaf.ClaimReproduction, Result: leaf.Inconclusive}, Inconclusive},
		{"a review", attest.Claim{Claim: leaf.ClaimReview, Result: leaf.NoResult}, Signed},
		{"anything else", attest.Claim{Claim: leaf.ClaimOther, Result: leaf.NoResult}, Silent},
	} {
		got := wordOf(&test.claim, d)
		if got != test.want || (got == Obtained) != test.claim.Obtains(d) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestWords: the greatest word counts, and the worst of the current artifacts.
func TestWords(t *testing.T) {
	f := newFilled(t, 3)
	a, b := digestOf("a"), digestOf("b")
	f.says(word("r0", hello, a, Obtained), word("r1", hello, a, Signed))
	f.wantRows("before it is judged", Filter{}, hello+" unproven 0:obtained 1:signed")
	f.judges(a, verify.VerdictReproduced, never)
	f.wantRows("judged", Filter{}, hello+" reproduced 0:obtained 1:signed")
	f.says(word("r1", hello, a, Inconclusive), word("r0", hello, a, Failed), word("r1", hello, a, Silent))
	f.wantRows("lesser words", Filter{}, hello+" unproven 0:obtained 1:inconclusive")
	f.judges(a, verify.VerdictReproduced, never)
	f.says(word("r2", hello, b, Different))
	f.wantRows("another artifact of the same version", Filter{}, hello+" unproven 0:obtained 1:inconclusive 2:different")
	f.judges(b, verify.VerdictDiffers, never)
	f.wantRows("that differs", Filter{}, hello+" differs 0:obtained 1:inconclusive 2:different")
	f.says(word("r0", image, a, Obtained), word("r0", image, b, Obtained))
	f.judges(a, verify.VerdictReproduced, never)
	f.judges(b, verify.VerdictFailed, never)
	f.wantRows("of a name without version, the last is current", Filter{ByName: true}, hello+" failed 0:obtained 1:inconclusive 2:different",
		image+" failed 0:obtained 2:different")
	f.says(word("r0", image, a, Signed))
	f.judges(a, verify.VerdictReproduced, never)
	if p := f.page(Filter{ByName: true}); p.Rows[1].Verdict != verify.VerdictReproduced || p.Rows[1].Artifacts != 2 || p.Rows[1].Artifact != a {
		t.Errorf("named again: %+v", p.Rows[1])
	}
}

// TestManyColumns: the matrix shows no more rebuilders than it has columns, and counts
// the others.
func TestManyColumns(t *testing.T) {
	for _, heard := range []int{MaxColumns + 3, 0} {
		f := newFilled(t, heard)
		for i := range MaxColumns + 3 {
			f.says(word(fmt.Sprint("r", i), hello, digestOf("a"), Obtained))
		}
		p := f.page(Filter{})
		if len(p.Rebuilders) != MaxColumns || len(p.Columns) != MaxColumns || len(p.Rows[0].Cells) != MaxColumns || p.Rows[0].Others != 3 {
			t.Errorf("%d columns, %d cells, %d others", len(p.Rebuilders), len(p.Rows[0].Cells), p.Rows[0].Others)
		}
	}
}

// TestManyArtifacts: of a version with more artifacts than are looked at, not all are
// known to be reproduced.
func TestManyArtifacts(t *testing.T) {
	f := newFilled(t, 1)
	for i := range maxCurrent + 1 {
		d := digestOf(fmt.Sprint(i))
		f.says(word("r0", hello, d, Obtained))
		f.judges(d, verify.VerdictReproduced, never)
	}
	p, err := f.Package(t.Context(), hello)
	if err != nil || p.Verdict != verify.VerdictUnproven || len(p.Artifacts) != MaxArtifacts || !p.More {
		t.Errorf("%s, %d artifacts, %v", p.Verdict, len(p.Artifacts), err)
	}
}

// TestStrangersChangeNothing: what others log is listed apart, and nowhere else.
func TestStrangersChangeNothing(t *testing.T) {
	f := newFilled(t, 2)
	a, evil := digestOf("a"), digestOf("evil")
	f.says(word("r0", hello, a, Obtained), word("r1", image, a, Obtained), word("r1", "", digestOf("unnamed"), Obtained))
	f.judges(a, verify.VerdictReproduced, never)
	before, _ := f.Survey.Summary(t.Context())
	rows := summary(f.page(Filter{}))
	var list []*said
	for i := range 300 {
		who := fmt.Sprint("stranger ", i)
		list = append(list, word(who, hello, a, Different), word(who, hello, evil, Obtained), word(who, image, evil, Obtained),
			word(who, "pkg:generic/evil@1", a, Obtained), word(who, "", evil, Signed), word(who, attr, digestOf("unnamed"), Obtained))
	}
	f.says(list...)
	for i := range rows {
		if !strings.Contains(rows[i], "sha256:") {
			rows[i] += " +300"
		}
	}
	rows[0] += " +300" // what is unnamed
	f.wantRows("by default", Filter{}, rows...)
	after, err := f.Survey.Summary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Unheard = 0; !cmp.Equal(before, after) {
		t.Errorf("in sum:\n%s", cmp.Diff(before, after))
	}
	p := f.page(Filter{Everyone: true, ByName: true})
	for _, r := range p.Rows {
		if r.Heard != slices.Contains([]string{hello, image, string(digestOf("unnamed"))}, r.Package) || !r.Heard && r.Verdict == verify.VerdictReproduced {
			t.Errorf("with everyone: %+v", r)
		}
	}
	if len(p.Rows) != 5 || p.Total != 5 {
		t.Errorf("with everyone: %q", summary(p))
	}
	pkg, err := f.Package(t.Context(), hello)
	if err != nil {
		t.Fatal(err)
	}
	first := pkg.Artifacts[0]
	if pkg.Verdict != verify.VerdictReproduced || first.Digest != a || !first.Current || pkg.Artifacts[1].Current || !first.Statements[1].Rebuilder.Heard || first.Statements[2].Rebuilder.Heard {
		t.Errorf("the package is %s: %v, and then %v", pkg.Verdict, first.Statements[:3], pkg.Artifacts[1].Digest)
	}
	if list, err := f.Disagreements(t.Context(), 0, 10); err != nil || len(list) != 0 {
		t.Errorf("strangers disagree: %+v, %v", list, err)
	}
	if p, err := f.Rebuilders(t.Context(), 3); err != nil || len(p) != 3 || p[0].Name != "r0" && p[0].Name != "r1" || p[2].Heard {
		t.Errorf("rebuilders: %+v, %v", p, err)
	}
}

// TestNobodyIsHeard: without rebuilders everybody's packages are listed, and nothing
// is known of them.
func TestNobodyIsHeard(t *testing.T) {
	f := newFilled(t, 0)
	if f.Hears() {
		t.Error("it hears somebody")
	}
	a := digestOf("a")
	f.says(word("x", hello, a, Obtained), word("y", hello, a, Different), word("y", attr, digestOf("b"), Obtained))
	f.wantRows("both", Filter{}, attr+" untried 0:obtained", hello+" untried 0:different 1:obtained")
	p := f.page(Filter{})
	if p.Rebuilders[0].Operator != "https://y.example" || p.Rebuilders[0].Heard || p.Rows[0].Heard {
		t.Errorf("%+v", p)
	}
	list, err := f.Disagreements(t.Context(), 0, 10)
	if err != nil || len(list) != 1 || list[0].Package != hello || list[0].Verdict != verify.VerdictUntried {
		t.Errorf("disagreements: %+v, %v", list, err)
	}
	d, err := f.Distributions(t.Context())
	want := []Distribution{{Name: "deb/debian", Packages: 2, Counts: Counts{verify.VerdictUntried: 2}, Single: 2, Operators: 2}}
	if diff := cmp.Diff(want, d); err != nil || diff != "" {
		t.Errorf("distributions: %v\n%s", err, diff)
	}
	sum, err := f.Survey.Summary(t.Context())
	if diff := cmp.Diff(&Summary{Packages: 2, Counts: Counts{verify.VerdictUntried: 2}, Rebuilders: 2, Operators: 2}, sum); err != nil || diff != "" {
		t.Errorf("in sum: %v\n%s", err, diff)
	}
}

// TestDigestsGoByNames: an artifact goes by its digest until it has a name that counts
// as much.
func TestDigestsGoByNames(t *testing.T) {
	f := newFilled(t, 1)
	a := digestOf("a")
	f.says(word("stranger", "", a, Obtained))
	f.wantRows("nobody names it", Filter{Everyone: true}, string(a)+" untried +1")
	f.says(word("stranger", hello, a, Obtained))
	f.wantRows("a stranger does", Filter{Everyone: true}, hello+" untried +1")
	f.says(word("r0", "", a, Obtained))
	f.wantRows("who is heard does not", Filter{Everyone: true}, hello+" unproven 0:obtained +1", string(a)+" unproven 0:obtained +1")
	f.says(word("r0", hello, a, Signed))
	f.wantRows("and does", Filter{Everyone: true}, hello+" unproven 0:obtained +1")
	f.says(word("r0", "", a, Signed))
	f.wantRows("and says no name again", Filter{Everyone: true}, hello+" unproven 0:obtained +1")
	if p, err := f.Package(t.Context(), string(a)); err != nil || p.Package != string(a) || !p.Heard || p.Artifacts[0].Names[0] != hello {
		t.Errorf("by its digest: %+v, %v", p, err)
	}
	for _, unknown := range []string{"pkg:deb/debian/none@1", string(digestOf("none")), "", "%"} {
		if p, err := f.Package(t.Context(), unknown); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %+v, %v", unknown, p, err)
		}
	}
}

// TestNoVerdictIsTold: while verdicts cannot be relied on, none is told but unproven.
func TestNoVerdictIsTold(t *testing.T) {
	for name, spoil := range map[string]func(f *filled){
		"the log is not followed":        func(f *filled) { f.now = f.now.Add(time.Hour) },
		"the log was never followed":     func(f *filled) { f.current.Store(0); f.scanned.Store(1 << 40) },
		"there is no checkpoint":         func(f *filled) { f.cfg.Latest = failing },
		"the policy does not know it":    func(f *filled) { f.cfg.Policy, f.opened = newFilled(f, 2).cfg.Policy, nil },
		"an exception ended a while ago": func(f *filled) { f.now = f.now.Add(3 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilled(t, 2)
			a, b := digestOf("a"), digestOf("b")
			f.says(word("r0", hello, a, Obtained), word("r1", attr, b, Different))
			f.judges(a, verify.VerdictReproduced, f.now.Add(2*time.Minute).Unix())
			f.judges(b, verify.VerdictDiffers, never)
			f.wantRows("before", Filter{}, attr+" differs 1:different", hello+" reproduced 0:obtained")
			spoil(f)
			f.wantNothingTold(a)
		})
	}
}

func failing() (*checkpoint.Published, error) { return nil, errors.New("there is none") }

// wantNothingTold asks everything that has verdicts.
func (f *filled) wantNothingTold(d leaf.Digest) {
	f.Helper()
	ctx := context.Background()
	st, err := f.State(ctx)
	if err != nil || st.Problem == nil {
		f.Errorf("the state is %+v, %v", st, err)
	}
	p := f.page(Filter{})
	sum, err1 := f.Survey.Summary(ctx)
	strip, err2 := f.Strip(ctx)
	pkg, err3 := f.Package(ctx, hello)
	graph, err4 := f.Graph(ctx, d)
	differ, err5 := f.Disagreements(ctx, 0, 10)
	found, err6 := f.Find(ctx, "hello", 10)
	compared, err7 := f.Distributions(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		f.Fatal(err)
	}
	told := append(strip, pkg.Verdict, pkg.Artifacts[0].Verdict, graph.Nodes[0].Verdict, differ[0].Verdict, found[0].Verdict)
	for _, r := range p.Rows {
		told = append(told, r.Verdict)
	}
	if len(told) != 9 || slices.ContainsFunc(told, func(v verify.Verdict) bool { return v != verify.VerdictUnproven }) || pkg.Artifacts[0].Report != nil {
		f.Errorf("verdicts are told: %v", told)
	}
	for _, c := range []Counts{p.Counts, sum.Counts, compared[0].Counts} {
		if c != (Counts{verify.VerdictUnproven: 2}) {
			f.Errorf("counts are told: %v", c)
		}
	}
	for v := verify.VerdictUnproven; v <= verify.VerdictUntried; v++ {
		want := 0
		if v == verify.VerdictUnproven {
			want = 2
		}
		if p := f.page(Filter{Verdict: &v}); len(p.Rows) != want || p.Total != want {
			f.Errorf("%d rows of %d are said to be %s", len(p.Rows), p.Total, v)
		}
	}
}

// TestExceptionEnds: what may have rested on an exception is unproven until it is
// judged again, and everything else is told again.
func TestExceptionEnds(t *testing.T) {
	f := newFilled(t, 2)
	a, b := digestOf("a"), digestOf("b")
	f.says(word("r0", hello, a, Obtained), word("r1", attr, b, Different))
	f.judges(a, verify.VerdictReproduced, f.now.Add(2*time.Minute).Unix())
	f.judges(b, verify.VerdictDiffers, never)
	f.now = f.now.Add(3 * time.Minute)
	if err := f.expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.wantRows("after it", Filter{}, attr+" differs 1:different", hello+" unproven 0:obtained")
	if st, err := f.State(t.Context()); err != nil || st.Problem != nil || st.Due != 1 {
		t.Errorf("the state is %+v, %v", st, err)
	}
}

func TestPositions(t *testing.T) {
	for _, bad := range []string{" ", "0", "0 ", "7 x", "-1 x", "+1 x", "01 x", "x y"} {
		if _, err := parseFrom(bad); !reason.Is(err, reason.ArgumentInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseFrom(f *testing.F) {
	f.Add("3 " + hello)
	f.Fuzz(func(t *testing.T, from string) {
		if p, err := parseFrom(from); err == nil && from != "" && p.String() != from {
			t.Fatalf("%q is %+v", from, p)
		}
	})
}

func FuzzDecodeCells(f *testing.F) {
	f.Add(encodeCells([]cell{{1, Obtained, 7}, {300, Different, 1 << 40}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		cells, err := decodeCells(b)
		if err != nil {
			return
		}
		again, err := decodeCells(encodeCells(cells))
		if err != nil || !slices.Equal(cells, again) {
			t.Fatalf("%v is %v, %v", cells, again, err)
		}
	})
}

// TestCountsAreObjects: who reads the twins sees which number is which.
func TestCountsAreObjects(t *testing.T) {
	text, err := json.Marshal(struct {
		Counts Counts
		Words  []WordCounts
		Word   Word
	}{Counts{1, 2, 3, 4, 5}, []WordCounts{{Silent: 9, Signed: 1, Inconclusive: 2, Failed: 3, Obtained: 4, Different: 5}}, Different})
	want := `{"Counts":{"differs":3,"failed":4,"reproduced":2,"unproven":1,"untried":5},` +
		`"Words":[{"different":5,"failed":3,"inconclusive":2,"obtained":4,"signed":1}],"Word":"different"}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
