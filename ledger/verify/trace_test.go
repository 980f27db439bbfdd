package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// digestOf returns a digest that stands for a word.
func digestOf(word string) leaf.Digest { return leaf.SHA256([]byte(word)) }

func resource(word, role string) attest.Resource {
	return attest.Resource{Name: word, Role: role, Digests: map[string]string{"sha256": digestOf(word).Hex()}}
}

// book is claims by the word of their subject.
type book map[string][]Claim

func (b book) find(_ context.Context, d leaf.Digest) ([]Claim, error) {
	for word, claims := range b {
		if digestOf(word) == d {
			return claims, nil
		}
	}
	return nil, nil
}

// claim writes a claim as "operator result [of] subject from role:word …".
func claim(operator string, result leaf.Result, subject string, materials ...string) Claim {
	c := Claim{Entry: operator + "#" + subject, Operators: []string{operator}}
	c.Claim.Subjects = []attest.Resource{resource(subject, "")}
	c.Claim.Claim = leaf.ClaimBuild
	if result != leaf.NoResult {
		c.Claim.Claim, c.Claim.Result, c.Claim.Obtained = leaf.ClaimReproduction, result, attest.Built
	}
	for _, m := range materials {
		role, word, _ := strings.Cut(m, ":")
		r := resource(word, role)
		if role == "unpinned" {
			r.Role, r.Digests = "source", map[string]string{"sha1": strings.Repeat("0", 40)}
		}
		c.Claim.Materials = append(c.Claim.Materials, r)
	}
	return c
}

// seeded is a book in which two operators obtained tool from a seed.
func seeded(more book) book {
	b := book{"tool": {
		claim("a", leaf.NoResult, "tool", "seed:hex0", "source:hex0.hex"),
		claim("b", leaf.Identical, "tool", "seed:hex0", "source:hex0.hex"),
	}}
	for word, claims := range more {
		b[word] = claims
	}
	return b
}

func substituted(c Claim) Claim {
	c.Claim.Obtained = attest.Substituted
	return c
}

func by(c Claim, operators ...string) Claim {
	c.Operators = operators
	return c
}

// app is what an app is made of.
var app = []string{"source:app.tar", "toolchain:tool"}

var traceTests = []struct {
	name   string
	book   book
	rules  Rules
	want   Verdict
	reason string // that some node gives
}{
	{"two operators, down to the seed", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}}),
		Rules{Quorum: 2}, VerdictReproduced, ""},
	{"equivalent counts", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Equivalent, "app", app...)}}),
		Rules{Quorum: 2}, VerdictReproduced, ""},
	{"nothing is logged", book{}, Rules{Quorum: 1}, VerdictUntried, "nothing that counts is logged"},
	{"one operator of two", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...)}}),
		Rules{Quorum: 2}, VerdictUnproven, "1 of 2 operators"},
	{"one operator with two keys", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("a", leaf.Identical, "app", app...)}}),
		Rules{Quorum: 2}, VerdictUnproven, "1 of 2 operators"},
	{"one claim, signed for two", seeded(book{"app": {by(claim("a", leaf.NoResult, "app", app...), "a", "b")}}),
		Rules{Quorum: 2}, VerdictReproduced, ""},
	{"fetched counts for nothing", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), substituted(claim("b", leaf.Identical, "app", app...))}}),
		Rules{Quorum: 2}, VerdictUnproven, "1 of 2 operators"},
	{"inconclusive counts for nothing", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Inconclusive, "app", app...)}}),
		Rules{Quorum: 2}, VerdictUnproven, "1 of 2 operators"},
	{"an operator who does not count", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("c", leaf.Identical, "app", app...)}}),
		Rules{Quorum: 2, Operators: []string{"a", "b"}}, VerdictUnproven, "1 of 2 operators"},
	{"a difference is not outvoted", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...), claim("c", leaf.Different, "app", app...)}}),
		Rules{Quorum: 2}, VerdictDiffers, "c says DIFFERENT in entry c#app"},
	{"a difference of somebody who does not count", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...), claim("c", leaf.Different, "app", app...)}}),
		Rules{Quorum: 2, Operators: []string{"a", "b"}}, VerdictReproduced, ""},
	{"a failure", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...), claim("c", leaf.BuildFailed, "app", app...)}}),
		Rules{Quorum: 2}, VerdictFailed, "BUILD_FAILED"},
	{"a material nobody built", book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}},
		Rules{Quorum: 2}, VerdictUnproven, `toolchain "tool" is untried`},
	{"a material without a role must be good", book{"app": {claim("a", leaf.NoResult, "app", ":thing"), claim("b", leaf.Identical, "app", ":thing")}},
		Rules{Quorum: 2}, VerdictUnproven, `material "thing" is untried`},
	{"a material that one operator obtained", book{
		"app":  {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)},
		"tool": {claim("a", leaf.NoResult, "tool", "seed:hex0")},
	}, Rules{Quorum: 2}, VerdictUnproven, `toolchain "tool" is unproven`},
	{"a material that differs", book{
		"app":  {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)},
		"tool": {claim("c", leaf.Different, "tool"), claim("a", leaf.NoResult, "tool", "seed:hex0"), claim("b", leaf.Identical, "tool", "seed:hex0")},
	}, Rules{Quorum: 2}, VerdictUnproven, `toolchain "tool" is differs`},
	{"a difference and a failure", book{"app": {claim("a", leaf.Different, "app"), claim("b", leaf.BuildFailed, "app")}},
		Rules{Quorum: 1}, VerdictDiffers, ""},
	{"a toolchain that is called a source, too", book{"app": {claim("a", leaf.NoResult, "app", "source:tool", "toolchain:tool")}},
		Rules{Quorum: 1}, VerdictUnproven, `"name":"tool","role":"toolchain","verdict":"untried"`},
	{"no materials", book{"app": {claim("a", leaf.NoResult, "app"), claim("b", leaf.Identical, "app")}},
		Rules{Quorum: 2}, VerdictUnproven, "it names no material"},
	{"a source that is not pinned", book{"app": {claim("a", leaf.NoResult, "app", "unpinned:app.tar"), claim("b", leaf.Identical, "app", "unpinned:app.tar")}},
		Rules{Quorum: 2}, VerdictUnproven, "is not pinned by a sha256"},
	{"the rules' seed", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}}),
		Rules{Quorum: 2, Seeds: []leaf.Digest{digestOf("hex0")}}, VerdictReproduced, ""},
	{"another seed", seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}}),
		Rules{Quorum: 2, Seeds: []leaf.Digest{digestOf("other")}}, VerdictUnproven, "is not a seed of the rules"},
	{"a cycle", book{
		"app":  {claim("a", leaf.NoResult, "app", "toolchain:tool"), claim("b", leaf.Identical, "app", "toolchain:tool")},
		"tool": {claim("a", leaf.NoResult, "tool", "toolchain:app"), claim("b", leaf.Identical, "tool", "toolchain:app")},
	}, Rules{Quorum: 1}, VerdictUnproven, `["it is made from itself: a cycle"],"operators":[],"entries":[],"dissent":[],"materials":[]}`},
	{"claims about something else", book{"app": {claim("a", leaf.NoResult, "other", app...), claim("b", leaf.NoResult, "other", app...)}},
		Rules{Quorum: 1}, VerdictUntried, ""},
}

func TestTrace(t *testing.T) {
	for _, tt := range traceTests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Trace(t.Context(), digestOf("app"), tt.rules, tt.book.find)
			if err != nil {
				t.Fatal(err)
			}
			if n.Verdict != tt.want || n.Good() != (tt.want == VerdictReproduced) {
				t.Errorf("verdict %s, want %s; reasons %q", n.Verdict, tt.want, n.Reasons)
			}
			if all, _ := json.Marshal(n); tt.reason != "" && !strings.Contains(strings.ReplaceAll(string(all), `\"`, `"`), tt.reason) {
				t.Errorf("no node says %q:\n%s", tt.reason, all)
			}
		})
	}
}

func TestTraceTree(t *testing.T) {
	b := seeded(book{"app": {claim("a", leaf.NoResult, "app", "source:app.tar", "toolchain:tool"), claim("b", leaf.Identical, "app", "source:app.tar", "toolchain:tool")}})
	n, err := Trace(t.Context(), digestOf("app"), Rules{Quorum: 2}, b.find)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var draw func(n *Node, depth int)
	draw = func(n *Node, depth int) {
		lines = append(lines, fmt.Sprintf("%*s%s %s pinned=%v by %v", 2*depth, "", n.Name, n.Verdict, n.Pinned, n.Operators))
		for _, m := range n.Materials {
			draw(m, depth+1)
		}
	}
	draw(n, 0)
	want := []string{
		"app reproduced pinned=false by [a b]",
		"  app.tar unproven pinned=true by []",
		"  tool reproduced pinned=false by [a b]",
		"    hex0 unproven pinned=true by []",
		"    hex0.hex unproven pinned=true by []",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestTraceRefuses(t *testing.T) {
	if _, err := Trace(t.Context(), digestOf("app"), Rules{}, book{}.find); err == nil {
		t.Error("a quorum of nobody is taken")
	}
	boom := errors.New("boom")
	_, err := Trace(t.Context(), digestOf("app"), Rules{Quorum: 1}, func(context.Context, leaf.Digest) ([]Claim, error) { return nil, boom })
	if !errors.Is(err, boom) {
		t.Errorf("error %v, want %v", err, boom)
	}
	// A ledger that makes up one toolchain after another must come to an end.
	endless := func(_ context.Context, d leaf.Digest) ([]Claim, error) {
		c := claim("a", leaf.NoResult, "x")
		c.Claim.Subjects[0].Digests["sha256"] = d.Hex()
		c.Claim.Materials = []attest.Resource{resource(string(d), "toolchain")}
		return []Claim{c}, nil
	}
	if _, err := Trace(t.Context(), digestOf("app"), Rules{Quorum: 1}, endless); err == nil || !strings.Contains(err.Error(), "deeper than 1000 steps") {
		t.Errorf("an endless ancestry is followed: %v", err)
	}
}

func TestVerdictZeroIsUnproven(t *testing.T) {
	var n Node
	if n.Good() || n.Verdict.String() != "unproven" || Verdict(99).String() != "unproven" {
		t.Errorf("the zero node is %s, good %v", n.Verdict, n.Good())
	}
}

// TestTraceIsIndependentOfOrder has a tool that two operators obtained from the
// seed, and one from the app, which is made from the tool: the cycle makes
// neither of them bad, whichever is met first.
func TestTraceIsIndependentOfOrder(t *testing.T) {
	b := seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}})
	b["tool"] = append(b["tool"], claim("c", leaf.Identical, "tool", "toolchain:app"))
	for _, order := range [][]string{{"toolchain:app", "toolchain:tool"}, {"toolchain:tool", "toolchain:app"}} {
		b["top"] = []Claim{claim("a", leaf.NoResult, "top", order...), claim("b", leaf.Identical, "top", order...)}
		n, err := Trace(t.Context(), digestOf("top"), Rules{Quorum: 2}, b.find)
		if err != nil {
			t.Fatal(err)
		}
		var check func(n *Node)
		check = func(n *Node) {
			if !n.Good() {
				t.Errorf("%v: %s is %s: %q", order, n.Name, n.Verdict, n.Reasons)
			}
			for _, m := range n.Materials {
				check(m)
			}
		}
		check(n)
	}
}

// TestTraceAsksOnce: an artifact that many are made from is looked up once.
func TestTraceAsksOnce(t *testing.T) {
	b := seeded(book{"app": {claim("a", leaf.NoResult, "app", app...), claim("b", leaf.Identical, "app", app...)}})
	asked := make(map[leaf.Digest]int)
	_, err := Trace(t.Context(), digestOf("app"), Rules{Quorum: 2}, func(ctx context.Context, d leaf.Digest) ([]Claim, error) {
		asked[d]++
		return b.find(ctx, d)
	})
	want := map[leaf.Digest]int{digestOf("app"): 1, digestOf("tool"): 1}
	if diff := cmp.Diff(want, asked); diff != "" || err != nil {
		t.Errorf("asked (-want +got):\n%s%v", diff, err)
	}
}

// TestTraceOfManyArtifacts has a ledger that makes up one claim of very many
// toolchains.
func TestTraceOfManyArtifacts(t *testing.T) {
	many := claim("a", leaf.NoResult, "app")
	for i := range MaxNodes {
		many.Claim.Materials = append(many.Claim.Materials, resource(fmt.Sprint(i), "toolchain"))
	}
	_, err := Trace(t.Context(), digestOf("app"), Rules{Quorum: 1}, func(_ context.Context, d leaf.Digest) ([]Claim, error) {
		if d == digestOf("app") {
			return []Claim{many}, nil
		}
		return nil, nil
	})
	if err == nil || !strings.Contains(err.Error(), "more than 20000 artifacts") {
		t.Errorf("error %v", err)
	}
}
