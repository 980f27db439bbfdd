package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// ancestry has a node of every kind, and names that somebody hostile chose.
func ancestry() *verify.Node {
	by := func(entries ...string) []verify.Operator {
		return []verify.Operator{{Operator: "https://a.example", Rebuilders: []string{"a"}, Entries: entries}}
	}
	tool := func() *verify.Node {
		return &verify.Node{Digest: "sha256:t", Name: "tool", Role: "toolchain", Verdict: verify.VerdictReproduced, Accepted: true, Operators: by("log#2", "log#4"),
			Dissent:   []verify.Dissent{{Operator: "https://b.example", Rebuilder: "b", Result: leaf.Different, Entry: "log#9"}},
			Materials: []*verify.Node{{Digest: "sha256:s", Name: "seed", Role: "seed", Pinned: true, Accepted: true}}}
	}
	again := tool()
	again.Seen, again.Materials = true, nil
	return &verify.Node{
		Digest: "sha256:a", Name: "app\x1b[31m\nfake", Verdict: verify.VerdictUnproven, Reasons: []string{"missing: \x1b]0;1 more"},
		Materials: []*verify.Node{
			tool(),
			{Digest: "sha256:l", Name: strings.Repeat("long", 40), Role: "library", Verdict: verify.VerdictDiffers, Reasons: []string{"b says DIFFERENT"}, Materials: []*verify.Node{again}},
			{Digest: "sha256:e", Name: "old", Verdict: verify.VerdictUntried, Accepted: true, Exception: &verify.Exception{Glob: "pkg:oci/old", Until: time.Unix(0, 0), Reason: "ported"}},
			{Name: "loose", Role: "source", Reasons: []string{"is not pinned"}},
			{Digest: "sha256:f", Name: "fails", Verdict: verify.VerdictFailed},
		},
	}
}

func drawn(n *verify.Node, ascii bool, depth int) string {
	var b strings.Builder
	d := drawing{glyphs: glyphsFor(ascii), p: term.Printer{W: &b}, depth: depth}
	d.draw(n)
	return b.String()
}

func TestDrawing(t *testing.T) {
	n := ancestry()
	want := `? unproven app\u001b[31m\u000afake sha256:a
│  missing: \u001b]0;1 more
├─ ✓ reproduced toolchain tool sha256:t
│  │  by https://a.example (a) in log#2, log#4
│  │  in spite of that https://b.example (b) says DIFFERENT in log#9
│  └─ ✓ pinned seed seed sha256:s
├─ ✗ differs library ` + strings.Repeat("long", 19) + `lon… sha256:l
│  │  b says DIFFERENT
│  └─ ✓ reproduced toolchain tool sha256:t (as above)
├─ ✓ excepted (untried) old sha256:e
│     ` + n.Materials[2].Exception.String() + `
├─ ? unproven source loose
│     is not pinned
└─ ! failed fails sha256:f
`
	if diff := cmp.Diff(want, drawn(n, false, -1)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	want = `?? unproven app\u001b[31m\u000afake sha256:a
|  missing: \u001b]0;1 more
` + "`- ... 7 more below, of which 3 not accepted\n"
	if diff := cmp.Diff(want, drawn(n, true, 0)); diff != "" {
		t.Errorf("tree of depth 0 (-want +got):\n%s", diff)
	}
	if got := drawn(n, false, 1); !strings.Contains(got, "│  └─ … 1 more below\n") || strings.Contains(got, "pinned seed") {
		t.Errorf("tree of depth 1:\n%s", got)
	}
	for line := range strings.Lines(drawn(n, true, -1)) {
		for _, r := range line {
			if r > 127 {
				t.Errorf("%q is not ASCII", line)
			}
		}
	}
}

func TestStates(t *testing.T) {
	p := term.Printer{}
	for want, got := range map[string]term.Painted{
		"? unproven":           unicodeGlyphs.state(p, verify.Verdict(0), false, false),
		"✓ reproduced":         unicodeGlyphs.state(p, verify.VerdictReproduced, false, false),
		"✓ excepted (differs)": unicodeGlyphs.state(p, verify.VerdictDiffers, false, true),
		"NO differs":           asciiGlyphs.state(p, verify.VerdictDiffers, false, false),
		"?? unproven":          asciiGlyphs.state(p, verify.Verdict(77), false, false),
		"ok pinned":            asciiGlyphs.state(p, verify.VerdictUnproven, true, false),
	} {
		if string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := (term.Printer{Colour: true}); unicodeGlyphs.state(got, verify.VerdictUnproven, false, false) == unicodeGlyphs.state(p, verify.VerdictUnproven, false, false) {
		t.Error("no colour")
	}
}
