package verify_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/verify"
)

var clockTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)

func reportText(t *testing.T, r *verify.Report, ascii bool) string {
	t.Helper()
	var b strings.Builder
	if err := r.Text(&b, ascii); err != nil {
		t.Fatal(err)
	}
	return clockTime.ReplaceAllString(b.String(), "TIME")
}

var appDigest = string(digestOf("app"))

// reportTexts are reports and what people read of them.
var reportTexts = []struct {
	name  string
	story func(l *ledger)
	ask   func(l *ledger) *verify.Report
	want  string
}{
	{"reproduced", func(l *ledger) { both(l); l.fails("c", "app", "source:x") },
		func(l *ledger) *verify.Report { return l.ask(l.quorum(2, "distinct operator 2"), "pkg:generic/app") },
		`✓ reproduced   pkg:generic/app   ` + appDigest + `
    built    ✓ https://a.example (a) in log.example/cairn#5
    built    ✓ https://b.example (b) in log.example/cairn#6
    dissent  ! https://c.example (c) BUILD_FAILED in log.example/cairn#7
    policy   ✓ rebuild-quorum all-of-them: 2 of 3, needs 2
    distinct ✓ operator: 2 of 2
    log      log.example/cairn, checkpoint 8 of TIME, 1 of 1 witnesses (policy w1)
    ancestry 2 of 2 artifacts reproduced, 2 pinned sources, 1 seeds
`},
	{"differs", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", "source:x") },
		func(l *ledger) *verify.Report { return l.trace(verify.Rules{Quorum: 2}) },
		`✗ differs   app   ` + appDigest + `
    built    ✓ https://a.example in log.example/cairn#5
    built    ✓ https://b.example in log.example/cairn#6
    dissent  ✗ https://c.example DIFFERENT in log.example/cairn#7
    policy   ✓ a quorum of 2 operators: 2 of 2, needs 2
    log      log.example/cairn, checkpoint 8, whose signature was not asked for
    ancestry 1 of 2 artifacts reproduced, 1 differ, 2 pinned sources, 1 seeds
    why      https://c.example says DIFFERENT in entry log.example/cairn#7
`},
	{"failed", func(l *ledger) { l.fails("c", "app", "source:x") }, func(l *ledger) *verify.Report { return l.ask(l.quorum(1)) },
		`! failed   app   ` + appDigest + `
    dissent  ! https://c.example (c) BUILD_FAILED in log.example/cairn#3
    policy   ? rebuild-quorum all-of-them: 0 of 3, needs 1
    log      log.example/cairn, checkpoint 4 of TIME, 1 of 1 witnesses (policy w1)
    ancestry 0 of 1 artifacts reproduced, 1 failed
    why      https://c.example says BUILD_FAILED in entry log.example/cairn#3
    why      missing: 1 more of https://a.example (a), https://b.example (b), https://c.example (c) for rebuild-group all-of-them
`},
	{"untried", func(*ledger) {}, func(l *ledger) *verify.Report {
		return l.trace(verify.Rules{Quorum: 1, Operators: []string{"https://a.example"}})
	},
		`· untried   ` + appDigest + `
    policy   ? a quorum of 1 operators: 0 of 1, needs 1
    log      log.example/cairn, checkpoint 3, whose signature was not asked for
    ancestry 0 of 1 artifacts reproduced, 1 untried
    why      nothing that counts is logged of it, of 0 claims
    why      missing: 0 of 1 operators obtained it
`},
	{"excepted, with an equivocation", func(l *ledger) {
		toolOf(l)
		l.builds("a", "app", "toolchain:tool")
		l.builds("a", "app.2", "toolchain:tool")
	},
		func(l *ledger) *verify.Report {
			return l.ask(l.quorum(1, "except pkg:generic/app until 2999-01-01 reason moving house"), "pkg:generic/app")
		},
		`✓ excepted (unproven)   pkg:generic/app   ` + appDigest + `
    except   to the end of 2999-01-01, by the policy's line for pkg:generic/app: moving house
    equivoc. ✗ https://a.example of pkg:generic/app in log.example/cairn#5, log.example/cairn#6
    policy   ? rebuild-quorum all-of-them: 0 of 3, needs 1
    log      log.example/cairn, checkpoint 7 of TIME, 1 of 1 witnesses (policy w1)
    ancestry 1 of 2 artifacts reproduced, 1 excepted, 1 unproven, 1 pinned sources, 1 seeds
    why      https://a.example equivocates: key ` + string(attestSignerFingerprint("a")) + ` says in entries log.example/cairn#5, log.example/cairn#6 that the same inputs gave different outputs, and does not count
    why      missing: 1 more of https://a.example (a), https://b.example (b), https://c.example (c) for rebuild-group all-of-them
`},
	{"no policy", func(*ledger) {}, func(l *ledger) *verify.Report {
		return verify.Artifact(verify.Question{Artifact: digestOf("app")}, nil)
	}, "? unproven   " + appDigest + "\n    why      there is no evidence\n"},
}

func TestReportText(t *testing.T) {
	for _, tt := range reportTexts {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b", "c")
			tt.story(l)
			r := tt.ask(l)
			if d := cmp.Diff(tt.want, reportText(t, r, false)); d != "" {
				t.Error(d)
			}
			ascii := strings.NewReplacer("✓", "ok", "✗", "NO", "! failed", "NO failed", "! https", "NO https", "? ", "?? ", "· ", "?? ").Replace(tt.want)
			if d := cmp.Diff(ascii, reportText(t, r, true)); d != "" {
				t.Error(d)
			}
			if err := r.Text(badWriter{}, false); err == nil {
				t.Error("an error of the writer is lost")
			}
		})
	}
}

// What signers write must not be able to forge a line, hide one, or push a
// digest out of sight.
func TestReportTextOfHostileClaims(t *testing.T) {
	const evil = "a\n    ✓ built \x1b[2J\u202eelpmaxe\u009b2J\u2066"
	long := strings.Repeat("é", 10_000)
	s := attestSigner(t, "a")
	var subjects, froms []attest.ResourceDescriptor
	for _, name := range []string{evil, long} {
		subjects = append(subjects, attest.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": digestOf("app").Hex()}})
		froms = append(froms, attest.ResourceDescriptor{Name: name, Digest: map[string]string{"sha256": leaf.SHA256([]byte(name)).Hex()}, Annotations: map[string]any{"role": "toolchain" + name}})
		froms = append(froms, attest.ResourceDescriptor{Name: name, Annotations: map[string]any{"role": name}})
	}
	for _, ascii := range []bool{false, true} {
		for i := range subjects {
			l := newLedger(t)
			l.people["a"] = s
			env, err := attest.Enrol(s, "https://a.example/%E2%80%AE?"+strings.Repeat("x", 1900), "")
			if err != nil {
				t.Fatal(err)
			}
			l.log(env, s)
			for _, result := range []leaf.Result{leaf.Identical, leaf.Different, leaf.BuildFailed} {
				st, err := attest.NewStatement(attest.PredicateReproduction, &attest.Reproduction{
					Result: result, Obtained: attest.Built, Rebuilder: attest.Builder{ID: evil},
					BuildDefinition: &attest.BuildDefinition{BuildType: "x", ResolvedDependencies: froms},
				}, subjects[i])
				if err != nil {
					t.Fatal(err)
				}
				if env, err = s.Sign(st); err != nil {
					t.Fatal(err)
				}
				l.log(env, s)
			}
			r := l.trace(verify.Rules{Quorum: 1})
			got := reportText(t, r, ascii)
			for _, c := range got {
				if c != '\n' && c < 0x20 || c >= 0x7f && c <= 0xa0 || c == '\u202e' || c == '\u2066' || ascii && c > 0x7e {
					t.Errorf("ascii %t: %U is printed as it is", ascii, c)
				}
			}
			for line := range strings.Lines(got) {
				if max := 4000; len(line) > max {
					t.Errorf("ascii %t: a line of %d bytes: %.100s", ascii, len(line), line)
				}
				if strings.HasPrefix(line, "    ✓ built") {
					t.Errorf("a forged line: %s", line)
				}
			}
			if first, _, _ := strings.Cut(got, "\n"); !strings.HasSuffix(first, string(digestOf("app"))) {
				t.Errorf("ascii %t: the first line is %s", ascii, first)
			}
		}
	}
}

// However much there is, a screen is enough.
func TestReportTextIsBounded(t *testing.T) {
	r := &verify.Report{Verdict: verify.VerdictUnproven, Artifact: digestOf("app"), Quorum: &policy.RebuildExplanation{}}
	for i := range 1000 {
		name := fmt.Sprint("https://", i, ".example")
		var entries []string
		for j := range 1000 {
			entries = append(entries, fmt.Sprint("log#", j))
		}
		r.Operators = append(r.Operators, verify.Operator{Operator: name, Entries: entries})
		r.Dissent = append(r.Dissent, verify.Dissent{Operator: name})
		r.Equivocations = append(r.Equivocations, verify.Equivocation{Operator: name, Entries: entries})
		r.Reasons = append(r.Reasons, name)
	}
	got := reportText(t, r, false)
	if n := strings.Count(got, "\n"); n != 1+4*21 || len(got) > 20_000 {
		t.Errorf("%d lines, %d bytes", n, len(got))
	}
	if !strings.Contains(got, "    built    and 980 more\n") || !strings.Contains(got, "log#3, 996 more\n") {
		t.Errorf("what is left out is not said:\n%s", got)
	}
}
