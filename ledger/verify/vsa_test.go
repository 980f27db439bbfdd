package verify_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

func summaryOf(t *testing.T, l *ledger, r *verify.Report, by verify.SummaryBy) (*attest.Attestation, map[string]any) {
	t.Helper()
	st, err := verify.Summary(r, by)
	if err != nil {
		t.Fatal(err)
	}
	s := l.signer("a")
	env, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, env, s.Public)
	var p map[string]any
	if err := json.Unmarshal(a.Statement.Predicate, &p); err != nil {
		t.Fatal(err)
	}
	return a, p
}

func TestSummary(t *testing.T) {
	l := newLedger(t, "a", "b", "c")
	both(l)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.FixedZone("x", 3600))
	by := verify.SummaryBy{Verifier: "https://verifier.example", PolicyURI: "https://verifier.example/policy", Policy: []byte("the policy\n"), At: at}
	r := l.ask(l.quorum(2), "pkg:generic/app@"+string(digestOf("app")))
	a, got := summaryOf(t, l, r, by)
	digest := func(d leaf.Digest) map[string]any { return map[string]any{"sha256": d.Hex()} }
	var inputs []any
	for i, e := range l.entries[3:] {
		inputs = append(inputs, map[string]any{"name": origin + "#" + string(rune('3'+i)), "digest": digest(leaf.SHA256(e.Raw))})
	}
	want := map[string]any{
		"verifier":           map[string]any{"id": "https://verifier.example"},
		"timeVerified":       "2026-11-21T11:00:00Z",
		"resourceUri":        "pkg:generic/app@" + string(digestOf("app")),
		"policy":             map[string]any{"uri": "https://verifier.example/policy", "digest": digest(leaf.SHA256([]byte("the policy\n")))},
		"inputAttestations":  inputs,
		"verificationResult": "PASSED",
		"verifiedLevels":     []any{"CAIRN_REPRODUCED", "SLSA_BUILD_LEVEL_UNEVALUATED"},
		"dependencyLevels":   map[string]any{"CAIRN_REPRODUCED": 1.0, "CAIRN_SOURCE": 2.0, "CAIRN_SEED": 1.0},
		"slsaVersion":        "1.2",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if a.Claim.PredicateType != "https://slsa.dev/verification_summary/v1" || a.Claim.Claim != leaf.ClaimOther || len(a.Claim.Subjects) != 1 || a.Claim.Subjects[0].Digests["sha256"] != digestOf("app").Hex() {
		t.Errorf("claim %+v", a.Claim)
	}
}

func TestSummaryOfOthers(t *testing.T) {
	by := verify.SummaryBy{Verifier: "https://verifier.example", Policy: []byte("p"), At: now}
	for _, tt := range []struct {
		name         string
		story        func(l *ledger)
		lines        []string
		result       string
		level        string
		dependencies string
	}{
		{"differs", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", app...) }, nil, "FAILED", "FAILED",
			`{"CAIRN_REPRODUCED":1,"CAIRN_SEED":1,"CAIRN_SOURCE":2}`},
		{"untried", func(*ledger) {}, nil, "FAILED", "FAILED", "null"},
		{"excepted", func(l *ledger) { toolOf(l); l.builds("a", "app", "toolchain:tool", "toolchain:nobody", "unpinned:x") },
			[]string{"except pkg:generic/app until 2999-01-01 reason x"}, "PASSED", "CAIRN_EXCEPTED",
			`{"CAIRN_REPRODUCED":1,"CAIRN_SEED":1,"CAIRN_SOURCE":1,"FAILED":2}`},
		{"excepted, and differs", func(l *ledger) { both(l); l.rebuilds("c", "app", "app.other", app...) },
			[]string{"except pkg:generic/app until 2999-01-01 reason x"}, "PASSED", "CAIRN_EXCEPTED",
			`{"CAIRN_REPRODUCED":1,"CAIRN_SEED":1,"CAIRN_SOURCE":2}`},
		{"resting on what is excepted", func(l *ledger) { l.builds("a", "app", "toolchain:tool"); l.builds("b", "app", "toolchain:tool") },
			[]string{"except pkg:generic/tool until 2999-01-01 reason x"}, "PASSED", "CAIRN_REPRODUCED", `{"CAIRN_EXCEPTED":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger(t, "a", "b", "c")
			tt.story(l)
			var names []string
			resource := string(digestOf("app"))
			if tt.level == "CAIRN_EXCEPTED" {
				names, resource = []string{"pkg:generic/app"}, "pkg:generic/app"
			}
			_, got := summaryOf(t, l, l.ask(l.quorum(2, tt.lines...), names...), by)
			if got["verificationResult"] != tt.result || got["verifiedLevels"].([]any)[0] != tt.level {
				t.Errorf("%s %v, want %s %s", got["verificationResult"], got["verifiedLevels"], tt.result, tt.level)
			}
			if b, _ := json.Marshal(got["dependencyLevels"]); string(b) != tt.dependencies {
				t.Errorf("dependencies %s, want %s", b, tt.dependencies)
			}
			// Where nobody asked by name, what claims call it is not vouched for.
			if got["resourceUri"] != resource {
				t.Errorf("resource %s", got["resourceUri"])
			}
			if p := got["policy"].(map[string]any); p["uri"] != string(leaf.SHA256([]byte("p"))) {
				t.Errorf("policy %v", p)
			}
		})
	}
}

// Where a policy without seeds is content with builds from nobody states what, a
// summary is not.
func TestSummaryOfUnstatedMaterials(t *testing.T) {
	l := newLedger(t, "a", "b")
	for _, who := range []string{"a", "b"} {
		l.builds(who, "tool")
		l.builds(who, "app", "toolchain:tool")
	}
	pol := l.policy(append(l.rebuilders(), "rebuild-group two 2 a b", "rebuild-quorum two")...)
	by := verify.SummaryBy{Verifier: "https://verifier.example", Policy: []byte("p"), At: now}
	for word, want := range map[string]string{
		"app":  `["CAIRN_REPRODUCED","SLSA_BUILD_LEVEL_UNEVALUATED"] {"CAIRN_REBUILT":1}`,
		"tool": `["CAIRN_REBUILT","SLSA_BUILD_LEVEL_UNEVALUATED"] null`,
	} {
		r := verify.Artifact(verify.Question{Artifact: digestOf(word), Policy: pol, At: now}, l.open(pol))
		_, got := summaryOf(t, l, r, by)
		levels, _ := json.Marshal(got["verifiedLevels"])
		below, _ := json.Marshal(got["dependencyLevels"])
		if s := string(levels) + " " + string(below); s != want || got["verificationResult"] != "PASSED" {
			t.Errorf("%s: %s, want %s", word, s, want)
		}
	}
}

func TestSummaryRefuses(t *testing.T) {
	l := newLedger(t, "a", "b")
	both(l)
	good := l.ask(l.quorum(2))
	by := verify.SummaryBy{Verifier: "https://verifier.example", Policy: []byte("p"), At: now}
	if _, err := verify.Summary(good, by); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		r      *verify.Report
		change func(*verify.SummaryBy)
		why    string
	}{
		"nothing":            {nil, nil, "no verdict"},
		"no artifact":        {new(verify.Report), nil, "no verdict"},
		"a relative URI":     {good, func(by *verify.SummaryBy) { by.Verifier = "verifier" }, "not an absolute URI"},
		"no policy":          {good, func(by *verify.SummaryBy) { by.Policy = nil }, "not by a policy"},
		"simple rules":       {l.trace(verify.Rules{Quorum: 2}), nil, "not by a policy"},
		"no policy in force": {verify.Artifact(verify.Question{Artifact: digestOf("app")}, nil), nil, "not by a policy"},
	} {
		by := by
		if tt.change != nil {
			tt.change(&by)
		}
		if st, err := verify.Summary(tt.r, by); err == nil || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, %v; want %q", name, st, err, tt.why)
		}
	}
}
