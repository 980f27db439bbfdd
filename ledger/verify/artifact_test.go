package verify_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// app is what "app" is made from, and tool what "tool" is.
var (
	app  = []string{"source:app.tar", "toolchain:tool"}
	tool = []string{"seed:hex0", "source:hex0.hex"}
)

// toolOf logs that a and b obtained the tool.
func toolOf(l *ledger) {
	l.builds("a", "tool", tool...)
	l.rebuilds("b", "tool", "tool", tool...)
}

// both logs that a and b obtained the app and its tool.
func both(l *ledger) {
	toolOf(l)
	l.builds("a", "app", app...)
	l.rebuilds("b", "app", "app", app...)
}

var artifactTests = []struct {
	name   string
	story  func(l *ledger)
	k      int      // operators that must have obtained it
	lines  []string // more of the policy; such tests are not asked by simple rules
	want   verify.Verdict
	reason string // that the report gives
}{
	{"two operators, down to the seed", both, 2, nil, verify.VerdictReproduced, ""},
	{"nothing is logged", func(*ledger) {}, 1, nil, verify.VerdictUntried, "nothing that counts is logged of it, of 0 claims"},
	{"one operator of two", func(l *ledger) { toolOf(l); l.builds("a", "app", app...) }, 2, nil, verify.VerdictUnproven, "missing: "},
	{"one operator with two keys", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.rebuilds("a2", "app", "app", app...)
	}, 2, nil, verify.VerdictUnproven, "missing: "},
	{"one claim that two signed", func(l *ledger) { toolOf(l); l.builds("a+b", "app", app...) }, 2, nil, verify.VerdictReproduced, ""},
	{"one claim that one operator signed with two keys", func(l *ledger) { toolOf(l); l.builds("a+a2", "app", app...) }, 2, nil, verify.VerdictUnproven, "missing: "},
	{"one claim that was logged twice", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.builds("a", "app", app...)
	}, 2, nil, verify.VerdictUnproven, "missing: "},
	{"equivalent counts", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.add(claim{who: "b", result: leaf.Equivalent, obtained: attest.Built, subject: "app", outputs: []string{"app.alike"}, from: app})
	}, 2, nil, verify.VerdictReproduced, ""},
	{"what was fetched counts for nothing", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.add(claim{who: "b", result: leaf.Identical, obtained: attest.Substituted, subject: "app", outputs: []string{"app"}, from: app})
	}, 2, nil, verify.VerdictUnproven, "the output was not built: it is SUBSTITUTED"},
	{"everything was fetched", func(l *ledger) {
		toolOf(l)
		for _, who := range []string{"a", "b", "c"} {
			l.add(claim{who: who, result: leaf.Identical, obtained: attest.Substituted, subject: "app", outputs: []string{"app"}, from: app})
		}
	}, 1, nil, verify.VerdictUntried, "SUBSTITUTED"},
	{"what was obtained nobody knows how counts for nothing", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.add(claim{who: "b", result: leaf.Identical, subject: "app", outputs: []string{"app"}, from: app})
	}, 2, nil, verify.VerdictUnproven, "it does not say that the output was built"},
	{"inconclusive counts for nothing", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.add(claim{who: "b", result: leaf.Inconclusive, subject: "app", from: app})
	}, 2, nil, verify.VerdictUnproven, "it is INCONCLUSIVE"},
	{"of two subjects, only what is an output was obtained", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.add(claim{who: "b", result: leaf.Identical, obtained: attest.Built, subject: "app+other", outputs: []string{"other"}, from: app})
	}, 2, nil, verify.VerdictUnproven, "the artifact is none of its outputs"},
	{"claims about something else", func(l *ledger) {
		toolOf(l)
		l.builds("a", "other", app...)
		l.rebuilds("b", "other", "app", app...)
	}, 1, nil, verify.VerdictUntried, ""},

	{"a difference is not outvoted", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", app...) },
		2, nil, verify.VerdictDiffers, "https://c.example says DIFFERENT in entry log.example/cairn#"},
	{"a difference that is tolerated", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", app...) },
		2, []string{"dissent tolerate 1"}, verify.VerdictReproduced, ""},
	{"one difference more than is tolerated", func(l *ledger) {
		both(l)
		l.rebuilds("c", "app", "app.other", app...)
		l.rebuilds("d", "app", "app.other", app...)
	}, 2, []string{"dissent tolerate 1"}, verify.VerdictDiffers, "https://d.example says DIFFERENT"},
	{"two keys of one operator dissent once", func(l *ledger) {
		toolOf(l)
		l.builds("b", "app", app...)
		l.builds("c", "app", app...)
		l.rebuilds("a", "app", "app.other", app...)
		l.rebuilds("a2", "app", "app.other", app...)
	}, 2, []string{"dissent tolerate 1"}, verify.VerdictReproduced, ""},
	{"who dissents does not count", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.builds("b", "app", app...)
		l.rebuilds("a2", "app", "app.other", "source:elsewhere")
	}, 2, []string{"dissent tolerate 1"}, verify.VerdictUnproven, "missing: "},
	{"a difference of somebody who is not heard", func(l *ledger) { both(l); l.rebuilds("stranger", "app", "app.other", app...) },
		2, []string{"dissent block"}, verify.VerdictReproduced, ""},
	{"a build by somebody who is not heard", func(l *ledger) { toolOf(l); l.builds("a", "app", app...); l.builds("stranger", "app", app...) },
		2, []string{"dissent block"}, verify.VerdictUnproven, "missing: "},
	{"a failure does not outvote a quorum", func(l *ledger) { both(l); l.fails("c", "app", app...) }, 2, nil, verify.VerdictReproduced, ""},
	{"a failure, and nobody obtained it", func(l *ledger) { toolOf(l); l.fails("c", "app", app...) },
		2, nil, verify.VerdictFailed, "https://c.example says BUILD_FAILED"},
	{"a failure, and too few obtained it", func(l *ledger) { toolOf(l); l.builds("a", "app", app...); l.fails("c", "app", app...) },
		2, nil, verify.VerdictUnproven, "https://c.example says BUILD_FAILED"},
	{"a difference and a failure", func(l *ledger) { l.rebuilds("a", "app", "app.other"); l.fails("b", "app") }, 1, nil, verify.VerdictDiffers, ""},

	{"a material that nobody built", func(l *ledger) {
		l.builds("a", "app", app...)
		l.builds("b", "app", app...)
	}, 2, nil, verify.VerdictUnproven, `toolchain "tool" ` + string(digestOf("tool")) + " is not reproduced"},
	{"a material without a role must be good", func(l *ledger) {
		l.builds("a", "app", ":thing")
		l.builds("b", "app", ":thing")
	}, 2, nil, verify.VerdictUnproven, `material "thing" `},
	{"a material that one operator obtained", func(l *ledger) {
		l.builds("a", "tool", tool...)
		l.builds("a", "app", app...)
		l.builds("b", "app", app...)
	}, 2, nil, verify.VerdictUnproven, `"tool" ` + string(digestOf("tool")) + " is unproven: "},
	{"a material that differs", func(l *ledger) { both(l); l.rebuilds("c", "tool", "tool.other", tool...) },
		2, nil, verify.VerdictUnproven, `"tool" ` + string(digestOf("tool")) + " is differs: https://c.example says DIFFERENT"},
	{"a toolchain that is called a source, too", func(l *ledger) { l.builds("a", "app", "source:tool", "toolchain:tool") },
		1, nil, verify.VerdictUnproven, `toolchain "tool"`},
	{"no materials", func(l *ledger) { l.builds("a", "app"); l.builds("b", "app") }, 2, nil, verify.VerdictUnproven, "it names no material"},
	{"materials that are named and not pinned", func(l *ledger) {
		l.builds("a", "app", "source:app.tar", "named:gcc")
		l.builds("b", "app", "source:app.tar", "named:gcc")
	}, 2, nil, verify.VerdictUnproven, "it pins by a sha256 or sha512 none of what was installed"},
	{"a source that is not pinned", func(l *ledger) {
		l.builds("a", "app", "unpinned:app.tar")
		l.builds("b", "app", "unpinned:app.tar")
	}, 2, nil, verify.VerdictUnproven, `source "app.tar" is not pinned by a sha256 or sha512`},
	{"a seed that the policy does not have", func(l *ledger) {
		l.builds("a", "app", "seed:other")
		l.builds("b", "app", "seed:other")
	}, 2, nil, verify.VerdictUnproven, `seed "other" ` + string(digestOf("other")) + " is no seed of the policy"},
	{"two materials, of which one is good", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", "toolchain:tool", "library:lib")
		l.builds("b", "app", "toolchain:tool", "library:lib")
	}, 2, nil, verify.VerdictUnproven, `"lib" ` + string(digestOf("lib")) + " is untried"},
	{"two materials, of which one is good by exception as well", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", "toolchain:tool", "library:lib")
		l.builds("b", "app", "toolchain:tool", "library:lib")
	}, 2, []string{"except pkg:generic/tool until 2999-01-01 reason bootstrap"}, verify.VerdictUnproven, `"lib" ` + string(digestOf("lib")) + " is untried"},
	{"a cycle", func(l *ledger) {
		for _, who := range []string{"a", "b"} {
			l.builds(who, "app", "toolchain:tool")
			l.builds(who, "tool", "toolchain:app")
		}
	}, 2, nil, verify.VerdictUnproven, "it is made from itself: a cycle"},
	{"made from itself", func(l *ledger) { l.builds("a", "app", "toolchain:app") }, 1, nil, verify.VerdictUnproven, "it is made from itself: a cycle"},
	{"a cycle beside a way that has none", func(l *ledger) { both(l); l.builds("c", "tool", "toolchain:app") }, 2, nil, verify.VerdictReproduced, ""},

	{"one key, two outputs of the same inputs", func(l *ledger) { both(l); l.builds("b", "app.other", app...) },
		2, nil, verify.VerdictUnproven, "https://b.example equivocates: key "},
	{"two outputs of different inputs", func(l *ledger) { both(l); l.builds("b", "app.other", "source:app2.tar", "toolchain:tool") },
		2, nil, verify.VerdictReproduced, ""},
	{"two outputs of different names", func(l *ledger) { both(l); l.builds("b", "lib", app...) }, 2, nil, verify.VerdictReproduced, ""},
	{"two keys, two outputs", func(l *ledger) { both(l); l.builds("c", "app.other", app...) }, 2, nil, verify.VerdictReproduced, ""},
	{"a rebuild that was found to be equivalent is no equivocation", func(l *ledger) {
		both(l)
		l.add(claim{who: "b", result: leaf.Equivalent, obtained: attest.Built, subject: "app", outputs: []string{"app.alike"}, from: app})
	}, 2, nil, verify.VerdictReproduced, ""},
	{"who builds what is equivalent does not equivocate", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", app...)
		l.builds("b", "app.alike", app...)
		l.add(claim{who: "b", result: leaf.Equivalent, obtained: attest.Built, subject: "app", outputs: []string{"app.alike"}, from: app})
	}, 2, nil, verify.VerdictReproduced, ""},
	{"no inputs are not the same inputs", func(l *ledger) {
		both(l)
		l.builds("b", "app")
		l.builds("b", "app.other")
	}, 2, nil, verify.VerdictReproduced, ""},
	{"what is fetched is no second output", func(l *ledger) {
		both(l)
		l.add(claim{who: "b", result: leaf.Different, obtained: attest.Substituted, subject: "app.other", outputs: []string{"app.third"}, from: app})
	}, 2, nil, verify.VerdictReproduced, ""},
	{"a DIFFERENT of who built it: dissent and equivocation", func(l *ledger) { both(l); l.rebuilds("b", "app", "app.other", app...) },
		1, []string{"dissent tolerate 1"}, verify.VerdictReproduced, ""},

	{"an exception that holds", func(l *ledger) { toolOf(l); l.builds("a", "app", app...) },
		2, []string{"except pkg:generic/app until 2999-01-01 reason moving house"}, verify.VerdictUnproven, "missing: "},
	{"an exception that is over", func(l *ledger) { toolOf(l); l.builds("a", "app", app...) },
		2, []string{"except pkg:generic/app until 2020-01-01 reason moving house"}, verify.VerdictUnproven, "missing: "},
	{"an exception for a material", func(l *ledger) { l.builds("a", "app", app...); l.builds("b", "app", app...) },
		2, []string{"except pkg:generic/tool until 2999-01-01 reason bootstrap"}, verify.VerdictReproduced, ""},
	{"an exception for a material that is over", func(l *ledger) { l.builds("a", "app", app...); l.builds("b", "app", app...) },
		2, []string{"except pkg:generic/tool until 2020-01-01 reason bootstrap"}, verify.VerdictUnproven, "is untried"},
	{"an exception does not hide a difference", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", app...) },
		2, []string{"except pkg:generic/app until 2999-01-01 reason moving house"}, verify.VerdictDiffers, "DIFFERENT"},

	{"two vendors", func(l *ledger) {
		toolOf(l)
		l.add(claim{who: "a", subject: "app", from: app, env: map[string]string{"cpuVendor": "GenuineIntel"}})
		l.add(claim{who: "b", subject: "app", result: leaf.Identical, obtained: attest.Built, outputs: []string{"app"}, from: app, env: map[string]string{"cpuVendor": "AuthenticAMD"}})
		l.add(claim{who: "a", subject: "tool", from: tool, env: map[string]string{"cpuVendor": "GenuineIntel"}})
		l.add(claim{who: "b", subject: "tool", from: tool, env: map[string]string{"cpuVendor": "AuthenticAMD"}})
	}, 2, []string{"distinct cpu-vendor 2"}, verify.VerdictReproduced, ""},
	{"one vendor of two", func(l *ledger) {
		toolOf(l)
		for _, who := range []string{"a", "b"} {
			l.add(claim{who: who, subject: "app", from: app, env: map[string]string{"cpuVendor": "GenuineIntel"}})
		}
	}, 2, []string{"distinct cpu-vendor 2"}, verify.VerdictUnproven, "missing: "},
	{"two engines", func(l *ledger) {
		for _, subject := range []string{"app", "tool"} {
			from := map[string][]string{"app": app, "tool": tool}[subject]
			l.add(claim{who: "a", subject: subject, from: from, version: map[string]string{"buildkit": "v0.33.0"}})
			l.add(claim{who: "b", subject: subject, from: from, version: map[string]string{"buildah": "v1.44.0"}})
		}
	}, 2, []string{"distinct engine 2"}, verify.VerdictReproduced, ""},
	{"a stricter quorum for a name", both, 2, []string{"rebuild-group three 3 b c d", "rebuild-quorum three for pkg:generic/app"}, verify.VerdictUnproven, "missing: "},
	{"a laxer quorum for a name", func(l *ledger) { toolOf(l); l.builds("c", "app", app...) },
		2, []string{"rebuild-group one 1 b c d", "rebuild-quorum one for pkg:generic/app"}, verify.VerdictReproduced, ""},
}

// excepted are the tests whose artifact is accepted by exception.
var excepted = map[string]bool{"an exception that holds": true, "an exception does not hide a difference": true}

func TestArtifactByPolicy(t *testing.T) {
	for _, tt := range artifactTests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "a2", "b", "c", "d", "stranger")
			tt.story(l)
			var names []string
			if excepted[tt.name] {
				names = []string{"pkg:generic/app"}
			}
			checkReport(t, l.ask(l.quorum(tt.k, tt.lines...), names...), tt.want, excepted[tt.name], tt.reason)
		})
	}
}

// TestArtifactByRules asks the same by simple rules, of everything that needs no
// line of a policy.
func TestArtifactByRules(t *testing.T) {
	for _, tt := range artifactTests {
		if tt.lines != nil {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "a2", "b", "c", "d", "stranger")
			tt.story(l)
			checkReport(t, l.trace(verify.Rules{Quorum: tt.k, Seeds: []leaf.Digest{digestOf("hex0")}}), tt.want, false, tt.reason)
		})
	}
}

// TestArtifactByRulesOfOperators counts only the operators that are named.
func TestArtifactByRulesOfOperators(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	both(l)
	l.rebuilds("c", "app", "app.other", app...)
	for _, tt := range []struct {
		operators string
		want      verify.Verdict
	}{
		{"a b", verify.VerdictReproduced},
		{"a c", verify.VerdictDiffers},
		{"a d", verify.VerdictUnproven},
		{"", verify.VerdictDiffers},
	} {
		by := verify.Rules{Quorum: 2}
		for _, name := range strings.Fields(tt.operators) {
			by.Operators = append(by.Operators, operators[name])
		}
		if r := l.trace(by); r.Verdict != tt.want {
			t.Errorf("%s: %s, want %s", tt.operators, r.Verdict, tt.want)
		}
	}
}

func checkReport(t *testing.T, r *verify.Report, want verify.Verdict, excepted bool, reason string) {
	t.Helper()
	if r.Verdict != want || r.Ancestry.Verdict != want {
		t.Errorf("verdict %s, want %s", r.Verdict, want)
	}
	if accepted := want == verify.VerdictReproduced || excepted; r.Accepted != accepted || r.Ancestry.Accepted != accepted || (r.Exit() == 0) != accepted {
		t.Errorf("accepted %t, exit code %d; want accepted %t", r.Accepted, r.Exit(), accepted)
	}
	if (r.Exception != nil) != excepted {
		t.Errorf("exception %v", r.Exception)
	}
	if reasons := strings.Join(r.Reasons, "\n"); !strings.Contains(reasons, reason) || (want == verify.VerdictReproduced) != (reasons == "") {
		t.Errorf("the reasons do not say %q:\n%s", reason, reasons)
	}
	wantExit := map[verify.Verdict]int{verify.VerdictDiffers: 1, verify.VerdictFailed: 1, verify.VerdictUnproven: 3, verify.VerdictUntried: 3}[want]
	if !r.Accepted && r.Exit() != wantExit {
		t.Errorf("exit code %d, want %d", r.Exit(), wantExit)
	}
	if b, err := json.Marshal(r); err != nil || strings.Contains(string(b), ":null") {
		t.Errorf("%v, a list is null in %s", err, b)
	}
	if t.Failed() {
		var text strings.Builder
		_ = r.Text(&text, false)
		t.Logf("\n%s", text.String())
	}
}
