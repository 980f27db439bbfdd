package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// outline draws a tree as lines.
func outline(n *verify.Node, depth int) []string {
	s := strings.Repeat("  ", depth) + n.Name + " " + n.Verdict.String()
	if n.Role != "" {
		s = strings.Repeat("  ", depth) + n.Role + " " + strings.TrimLeft(s, " ")
	}
	for _, flag := range []struct {
		set  bool
		word string
	}{{n.Pinned, "pinned"}, {n.Accepted, "accepted"}, {n.Seen, "seen"}, {n.Exception != nil, "excepted"}} {
		if flag.set {
			s += " " + flag.word
		}
	}
	for _, o := range n.Operators {
		s += fmt.Sprintf(" %s%v%v", o.Operator, o.Rebuilders, o.Entries)
	}
	lines := []string{strings.ReplaceAll(strings.ReplaceAll(s, "https://", ""), origin, "")}
	for _, m := range n.Materials {
		lines = append(lines, outline(m, depth+1)...)
	}
	return lines
}

func TestAncestry(t *testing.T) {
	l := newLedger(t, "a", "b")
	toolOf(l)
	l.builds("a", "lib", "source:lib.tar", "toolchain:tool", "library:old")
	l.builds("b", "lib", "source:lib.tar", "toolchain:tool", "library:old")
	l.builds("a", "app", "source:app.tar", "library:lib", "toolchain:tool", "toolchain:tool", "seed:other")
	l.builds("b", "app", "unpinned:app.tar", "library:lib", "toolchain:tool")
	r := l.ask(l.quorum(2, "except pkg:generic/old until 2999-01-01 reason nobody has the sources"))
	want := []string{
		"app unproven",
		"  source app.tar unproven pinned accepted",
		"  library lib reproduced accepted a.example[a][#4] b.example[b][#5]",
		"    source lib.tar unproven pinned accepted",
		"    toolchain tool reproduced accepted seen a.example[a][#2] b.example[b][#3]",
		"    library old untried accepted excepted",
		"  toolchain tool reproduced accepted a.example[a][#2] b.example[b][#3]",
		"    seed hex0 unproven pinned accepted",
		"    source hex0.hex unproven pinned accepted",
		"  seed other unproven",
		"  source app.tar unproven",
	}
	if d := cmp.Diff(want, outline(r.Ancestry, 0)); d != "" {
		t.Errorf("tree (-want +got):\n%s", d)
	}
	counts := verify.Counts{Artifacts: 4, Reproduced: 2, Unproven: 1, Untried: 1, Excepted: 1, Sources: 3, Seeds: 1, Refused: 2}
	if d := cmp.Diff(counts, r.Counts); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
	var ids []string
	for _, a := range r.Attestations {
		ids = append(ids, strings.TrimPrefix(a.Entry, origin))
	}
	if want := []string{"#2", "#3", "#4", "#5", "#6", "#7"}; !slices.Equal(ids, want) {
		t.Errorf("attestations %v, want %v", ids, want)
	}
	if want := leaf.SHA256(l.entries[2].Raw); r.Attestations[0].Envelope != want {
		t.Errorf("envelope %s, want %s", r.Attestations[0].Envelope, want)
	}
}

// What an excepted artifact is made from is nobody's business but its own.
func TestNothingBelowAnException(t *testing.T) {
	l := newLedger(t, "a", "b")
	for _, who := range []string{"a", "b"} {
		l.builds(who, "app", app...)
		l.builds(who, "tool", "toolchain:older")
	}
	pol := l.quorum(2, "except pkg:generic/tool until 2999-01-01 reason bootstrap")
	r := l.ask(pol)
	want := []string{
		"app reproduced accepted a.example[a][#2] b.example[b][#4]",
		"  source app.tar unproven pinned accepted",
		"  toolchain tool unproven accepted excepted",
	}
	if d := cmp.Diff(want, outline(r.Ancestry, 0)); d != "" || r.Counts.Artifacts != 2 {
		t.Errorf("%d artifacts, tree (-want +got):\n%s", r.Counts.Artifacts, d)
	}
	// Of what is asked about itself, all is shown.
	r = verify.Artifact(verify.Question{Artifact: digestOf("tool"), Names: []string{"pkg:generic/tool"}, Policy: pol, At: now}, l.open(pol))
	if !r.Accepted || r.Verdict != verify.VerdictUnproven || len(r.Ancestry.Materials) != 1 {
		t.Errorf("the tool is %s with %d materials", r.Verdict, len(r.Ancestry.Materials))
	}
}

// What others call an artifact does not except it.
func TestExceptionsAreForTheAskersNames(t *testing.T) {
	l := newLedger(t, "a", "b")
	toolOf(l)
	l.builds("a", "app", app...)
	pol := l.quorum(2, "except pkg:generic/app until 2999-01-01 reason moving house")
	r := l.ask(pol)
	if r.Accepted || !strings.Contains(strings.Join(r.Reasons, "\n"), "the policy excepts pkg:generic/app, as which claims know it") {
		t.Errorf("asked by digest, accepted %t: %q", r.Accepted, r.Reasons)
	}
	if r := l.ask(pol, "pkg:generic/other"); r.Accepted {
		t.Error("a claim's name excepts what the asker calls otherwise")
	}
	// It holds to the end of the day.
	r = l.ask(pol, "pkg:generic/app")
	if !r.Accepted || r.Exception.Reason != "moving house" || r.Exception.Until != time.Date(2999, 1, 2, 0, 0, 0, 0, time.UTC) {
		t.Errorf("asked by its name, accepted %t: exception %+v", r.Accepted, r.Exception)
	}
}

// A material is excepted for the claims that call it by an excepted name, so who
// calls a bad one so gives away no more than their own vote.
func TestExceptionsAreForTheClaimThatNamesIt(t *testing.T) {
	for _, tt := range []struct {
		name       string
		liars      []string
		want       verify.Verdict
		inAncestry int
	}{
		{"one of two lies", []string{"a"}, verify.VerdictUnproven, 2},
		{"two of two call it so", []string{"a", "b"}, verify.VerdictReproduced, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b")
			for _, who := range []string{"a", "b"} {
				if slices.Contains(tt.liars, who) {
					l.builds(who, "app", "toolchain:tool=odd")
				} else {
					l.builds(who, "app", "toolchain:tool")
				}
			}
			// To call it so in a claim about it excepts nothing.
			l.add(claim{who: "a", subject: "tool=odd", result: leaf.Inconclusive})
			r := l.ask(l.quorum(2, "except pkg:generic/odd until 2999-01-01 reason odd"))
			if r.Verdict != tt.want || r.Counts.Artifacts != tt.inAncestry || r.Counts.Excepted != 1 {
				t.Errorf("%s, counts %+v, reasons %q", r.Verdict, r.Counts, r.Reasons)
			}
		})
	}
}

// The quorum of every name must be met, the asker's as well.
func TestQuorumsOfAllNames(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	both(l)
	pol := l.quorum(2, "rebuild-group three 3 a b c", "rebuild-quorum three for pkg:generic/precious")
	if r := l.ask(pol); !r.Accepted {
		t.Errorf("by the claims' names: %s", r.Verdict)
	}
	r := l.ask(pol, "pkg:generic/precious@"+string(digestOf("app")))
	if r.Accepted || r.Name != "pkg:generic/precious@"+string(digestOf("app")) {
		t.Errorf("as precious: %s %q", r.Verdict, r.Name)
	}
	if want := []string{"pkg:generic/app", "pkg:generic/precious"}; !slices.Equal(r.Names, want) {
		t.Errorf("names %q, want %q", r.Names, want)
	}
}

func TestEquivocationsAreReported(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	both(l)
	l.builds("c", "tool", tool...)
	l.builds("c", "app", app...)
	l.builds("a", "tool.other", tool...)
	r := l.ask(l.quorum(2))
	if !r.Accepted || len(r.Ancestry.Equivocations) != 0 {
		t.Errorf("%s, %+v", r.Verdict, r.Ancestry.Equivocations)
	}
	want := []verify.Equivocation{{
		Operator: "https://a.example", Key: attestSignerFingerprint("a"), Name: "pkg:generic/tool",
		Entries: []string{origin + "#3", origin + "#9"},
	}}
	if d := cmp.Diff(want, r.Equivocations); d != "" {
		t.Error(d)
	}
	n := find(r.Ancestry, "tool")
	if d := cmp.Diff(want, n.Equivocations); d != "" {
		t.Error(d)
	}
	var names []string
	for _, o := range n.Operators {
		names = append(names, o.Operator)
	}
	if want := []string{"https://b.example", "https://c.example"}; !slices.Equal(names, want) {
		t.Errorf("who counts for the tool: %q, want %q", names, want)
	}
}

func TestDissentIsReported(t *testing.T) {
	l := newLedger(t, "a", "b", "c", "d")
	both(l)
	l.fails("d", "app", app...)
	l.rebuilds("c", "app", "app.other", app...)
	r := l.ask(l.quorum(2, "dissent tolerate 1"))
	want := []verify.Dissent{
		{Operator: "https://d.example", Rebuilder: "d", Result: leaf.BuildFailed, Entry: origin + "#8"},
		{Operator: "https://c.example", Rebuilder: "c", Result: leaf.Different, Entry: origin + "#9"},
	}
	if d := cmp.Diff(want, r.Dissent); d != "" || !r.Accepted {
		t.Errorf("%s\n%s", r.Verdict, d)
	}
}

// TestOrderDoesNotMatter asks the same of ledgers that have the same claims in
// other orders.
func TestOrderDoesNotMatter(t *testing.T) {
	stories := []func(l *ledger){
		func(l *ledger) { l.builds("a", "app", app...) },
		func(l *ledger) { l.builds("b", "app", "toolchain:tool", "source:app.tar") },
		func(l *ledger) { l.builds("a", "tool", tool...) },
		func(l *ledger) { l.builds("b", "tool", "toolchain:app") },
		func(l *ledger) { l.builds("c", "tool", tool...) },
		func(l *ledger) { l.builds("d", "tool", "toolchain:nobody") },
	}
	for from := range stories {
		l := newLedger(t, "a", "b", "c", "d")
		for i := range stories {
			stories[(from+i)%len(stories)](l)
		}
		if r := l.ask(l.quorum(2)); !r.Accepted || r.Counts.Reproduced != 2 {
			t.Errorf("beginning with %d: %s, %q", from, r.Verdict, r.Reasons)
		}
	}
}

// chain logs a claim that each of n artifacts is made from the one before it.
func chain(l *ledger, n int) leaf.Digest {
	word := "hex0"
	for i := range n {
		next := fmt.Sprintf("link%d", i)
		role := "toolchain:"
		if i == 0 {
			role = "seed:"
		}
		l.builds("a", next, role+word)
		word = next
	}
	return digestOf(word)
}

func TestLimits(t *testing.T) {
	t.Run("depth", func(t *testing.T) {
		l := newLedger(t, "a")
		top := chain(l, verify.MaxDepth+2)
		pol := l.quorum(1)
		ev := l.open(pol)
		r := verify.Artifact(verify.Question{Artifact: top, Policy: pol, At: now}, ev)
		if r.Accepted || r.Exit() != 3 || !strings.Contains(strings.Join(r.Reasons, ""), "deeper than 1000 steps") {
			t.Errorf("%s: %q", r.Verdict, r.Reasons)
		}
		r = verify.Artifact(verify.Question{Artifact: digestOf(fmt.Sprint("link", verify.MaxDepth)), Policy: pol, At: now}, ev)
		if !r.Accepted || r.Counts.Reproduced != verify.MaxDepth+1 {
			t.Errorf("at the limit: %s, %+v %.300q", r.Verdict, r.Counts, r.Reasons)
		}
	})
	t.Run("artifacts", func(t *testing.T) {
		l := newLedger(t, "a")
		var all []string
		for i := range verify.MaxNodes + 1 {
			all = append(all, fmt.Sprintf("toolchain:%d", i))
		}
		const each = 2000 // in one attestation
		for i := 0; i < len(all); i += each {
			l.builds("a", "app", all[i:min(len(all), i+each)]...)
		}
		if r := l.ask(l.quorum(1)); r.Accepted || r.Exit() != 3 || !strings.Contains(strings.Join(r.Reasons, ""), "more than 20000 artifacts") {
			t.Errorf("%s: %q", r.Verdict, r.Reasons)
		}
	})
}

// Everything that programs read survives JSON.
func TestReportJSON(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	both(l)
	l.rebuilds("c", "app", "app.other", app...)
	l.builds("b", "tool.other", tool...)
	r := l.ask(l.quorum(2, "except pkg:generic/app until 2999-01-01 reason moving house"), "pkg:generic/app")
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back verify.Report
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, &back, cmpopts.IgnoreUnexported(verify.Report{}), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("JSON does not carry all of it: %s", d)
	}
	for _, want := range []string{
		`"schema":"cairn/verify/v1"`, `"verdict":"differs"`, `"accepted":true`, `"artifact":"` + string(digestOf("app")) + `"`,
		`"exception":{"for":"pkg:generic/app","until":"2999-01-02T00:00:00Z","reason":"moving house"}`,
		`"dissent":[{"operator":"https://c.example","rebuilder":"c","result":"DIFFERENT","entry":"log.example/cairn#7"}]`,
		`"log":{"origin":"log.example/cairn","checkpointSize":9,"checkpointTime":"`, `"signatureChecked":true`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s is not in\n%s", want, b)
		}
	}
	var v verify.Verdict
	if err := v.UnmarshalText([]byte("good")); err == nil || v != verify.VerdictUnproven {
		t.Errorf("good is read as %s, %v", v, err)
	}
}

func TestVerdictZeroIsUnproven(t *testing.T) {
	var n verify.Node
	var r verify.Report
	if n.Accepted || n.Verdict.String() != "unproven" || verify.Verdict(99).String() != "unproven" || r.Exit() != 3 {
		t.Errorf("the zero node is %s, accepted %v, exit code %d", n.Verdict, n.Accepted, r.Exit())
	}
}
