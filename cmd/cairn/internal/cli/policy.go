package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
)

func (a *app) newPolicy() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "policy",
		Short: "Read a trust policy",
		Long: `A policy is the file that says whom you believe: which logs and witnesses, whose
rebuilds, and how many of them. See docs/policy.md.`,
		Example: `  cairn policy check trusted.policy
  cairn policy explain hello.deb --policy trusted.policy`,
	}, a.newPolicyCheck(), a.newPolicyExplain())
}

func (a *app) newPolicyCheck() *cobra.Command {
	var canonical bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a policy, and say what it asks for",
		Long: `Check reads a policy, FILE or else that of --policy, and prints what it says: logs,
witnesses and their quorum, rebuilders by operator, rebuild-quorums as trees, and
the other rules. Whatever it does not understand, and a rule that nobody applies
or that nobody can meet, is an error that names its line.

The exit code is 0 for a policy and 2 for anything else. Nobody is asked.`,
		Example: `  cairn policy check trusted.policy
  cairn policy check trusted.policy -o json
  cairn policy check trusted.policy --canonical | diff - trusted.policy`,
		Args: cmdline.Takes(0, 1),
		RunE: a.run(func(_ context.Context, args []string) error {
			path := a.policy
			if len(args) > 0 {
				path = args[0]
			}
			return a.checkPolicy(path, canonical, time.Now())
		}),
	}
	cmd.Flags().BoolVar(&canonical, "canonical", false, "print the policy's canonical text instead")
	return cmd
}

func (a *app) checkPolicy(path string, canonical bool, now time.Time) error {
	if path == "" {
		return cmdline.Usagef("name a FILE, give --policy FILE, or set CAIRN_POLICY", "no policy is named")
	}
	p, err := cmdline.ReadPolicy(path)
	if err != nil {
		return err
	}
	v := viewPolicy(path, p, now)
	if canonical && a.Format == "text" && plain.Lines(v.Canonical) != v.Canonical {
		return cmdline.Usagef("use -o json, which escapes them", "policy %s has names with characters that are not to be printed", path)
	}
	for _, n := range v.Notes {
		a.Note("%s", n)
	}
	a.Answer(v, func(p term.Printer) {
		if canonical {
			p.Printf("%s", term.Painted(v.Canonical))
			return
		}
		v.text(p, a.ascii())
	})
	return nil
}

// policyAnswer is the JSON of cairn policy check.
type policyAnswer struct {
	Schema         string            `json:"schema"` // cairn/policy/v1
	Path           string            `json:"path"`
	Logs           []policyKey       `json:"logs"`
	Witnesses      []policyKey       `json:"witnesses"`
	Quorum         policyTree        `json:"quorum"`
	MaxAge         string            `json:"maxAge,omitempty"`
	Rebuilders     []policyRebuilder `json:"rebuilders"`
	RebuildQuorums []policyQuorum    `json:"rebuildQuorums"`
	Distinct       []policyDistinct  `json:"distinct"`
	Tolerates      int               `json:"tolerates"` // operators who may dissent
	Seeds          []leaf.Digest     `json:"seeds"`
	Exceptions     []policyException `json:"exceptions"`
	Notes          []string          `json:"notes"` // what its author may not have meant
	Canonical      string            `json:"canonical"`
}

type policyKey struct {
	Name string `json:"name"`
	VKey string `json:"vkey"`
	URL  string `json:"url,omitempty"`
}

type policyRebuilder struct {
	Name      string           `json:"name"`
	Key       leaf.Fingerprint `json:"key"`
	Operator  string           `json:"operator"`
	CPUVendor string           `json:"cpuVendor,omitempty"`
	Country   string           `json:"country,omitempty"`
}

// policyTree is what a quorum asks for: of a group, need of the of members, in a
// rebuild-group of the operators and groups that are members.
type policyTree struct {
	Kind     string       `json:"kind"`
	Name     string       `json:"name"`
	Operator string       `json:"operator,omitempty"`
	Need     int          `json:"need,omitempty"`
	Of       int          `json:"of,omitempty"`
	Members  []policyTree `json:"members,omitempty"`

	outline string
}

type policyQuorum struct {
	Line string     `json:"line"`
	For  string     `json:"for,omitempty"`
	Tree policyTree `json:"tree"`
}

type policyDistinct struct {
	What string `json:"what"`
	Need int    `json:"need"`
}

type policyException struct {
	Glob   string    `json:"glob"`
	Until  time.Time `json:"until"` // the first instant at which it does not hold
	Reason string    `json:"reason"`
	Over   bool      `json:"over"`

	line string
}

func viewPolicy(path string, p *policy.Policy, now time.Time) *policyAnswer {
	v := &policyAnswer{
		Schema: "cairn/policy/v1", Path: path, Logs: []policyKey{}, Witnesses: []policyKey{},
		Quorum: viewTree(p.Explain("", nil).Quorum), Rebuilders: []policyRebuilder{}, RebuildQuorums: []policyQuorum{},
		Distinct: []policyDistinct{}, Tolerates: p.Tolerates(), Seeds: append([]leaf.Digest{}, p.Seeds()...),
		Exceptions: []policyException{}, Notes: []string{}, Canonical: p.String(),
	}
	for _, l := range p.Logs() {
		v.Logs = append(v.Logs, policyKey{l.Name, l.VKey, l.URL})
	}
	for _, w := range p.Witnesses() {
		v.Witnesses = append(v.Witnesses, policyKey{w.Name, w.VKey, w.URL})
	}
	if p.MaxAge() > 0 {
		v.MaxAge = policy.FormatAge(p.MaxAge())
	}
	for _, r := range p.Rebuilders() {
		v.Rebuilders = append(v.Rebuilders, policyRebuilder(r))
	}
	for _, q := range p.RebuildQuorums() {
		v.RebuildQuorums = append(v.RebuildQuorums, policyQuorum{q.Line, q.For, viewTree(q.Node)})
	}
	for _, d := range p.Distinct() {
		v.Distinct = append(v.Distinct, policyDistinct{d.What, d.K})
	}
	for _, e := range p.Exceptions() {
		v.Exceptions = append(v.Exceptions, policyException{e.Glob, e.Until, e.Reason, e.Over(now), e.String()})
	}
	v.note(p)
	return v
}

func viewTree(n policy.Node) policyTree {
	t := policyTree{Kind: n.Kind, Name: n.Name, Operator: n.Operator, Need: n.Need, Of: n.Of, outline: n.Outline()}
	for _, m := range n.Members {
		t.Members = append(t.Members, viewTree(m))
	}
	return t
}

// note says what is allowed, and may still be a mistake.
func (v *policyAnswer) note(p *policy.Policy) {
	add := func(format string, args ...any) { v.Notes = append(v.Notes, fmt.Sprintf(format, args...)) }
	if v.Quorum.Kind == policy.KindNone {
		add("no witness is asked for: a log of this policy could show you another history than others")
	}
	switch {
	case len(v.RebuildQuorums) == 0:
		add("there is no rebuild-quorum: nothing is ever reproduced by this policy")
	case !slices.ContainsFunc(v.RebuildQuorums, func(q policyQuorum) bool { return q.For == "" }):
		add("every rebuild-quorum is `for` some packages: whatever has another name, or none, is never reproduced")
	}
	if len(v.RebuildQuorums) > 0 && len(v.Seeds) == 0 {
		add("there is no seed: an ancestry must end in pinned sources alone")
	}
	for _, r := range p.Unasked() {
		add("no rebuild-quorum asks for rebuilder %s: it can only dissent", r.Name)
	}
	for _, e := range v.Exceptions {
		if e.Over {
			add("the exception for %s is over", e.Glob)
		}
	}
}

func (v *policyAnswer) text(p term.Printer, ascii bool) {
	glyph := "✓"
	if ascii {
		glyph = "ok"
	}
	p.Printf("%s policy   %s\n", p.Paint(term.Good, glyph), v.Path)
	section := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		p.Printf("%s\n", title)
		for _, l := range lines {
			p.Printf("    %s\n", l)
		}
	}
	section("logs, one of which must have signed", keyLines(v.Logs))
	section("witnesses", keyLines(v.Witnesses))
	section("witness quorum", v.Quorum.lines())
	if v.MaxAge != "" {
		section("max-age", []string{"cosignatures count for " + v.MaxAge})
	}
	section("rebuilders, by operator", v.operatorLines())
	for _, q := range v.RebuildQuorums {
		section(q.Line, q.Tree.lines())
	}
	v.rules(section)
}

func (v *policyAnswer) rules(section func(title string, lines []string)) {
	var distinct, seeds, exceptions []string
	for _, d := range v.Distinct {
		distinct = append(distinct, fmt.Sprintf("%s: at least %d different, among those who count", d.What, d.Need))
	}
	section("distinct", distinct)
	if len(v.Rebuilders) > 0 {
		dissent := "one operator of the policy who got another result blocks"
		if v.Tolerates > 0 {
			dissent = fmt.Sprintf("up to %d operators may have got another result", v.Tolerates)
		}
		section("dissent", []string{dissent})
	}
	for _, d := range v.Seeds {
		seeds = append(seeds, string(d))
	}
	section("seeds", seeds)
	for _, e := range v.Exceptions {
		line := strings.TrimPrefix(e.line, "except ")
		if e.Over {
			line = "over: " + line
		}
		exceptions = append(exceptions, line)
	}
	section("exceptions", exceptions)
}

func keyLines(keys []policyKey) []string {
	var lines []string
	for _, k := range keys {
		lines = append(lines, strings.TrimSpace(k.Name+"   "+k.URL))
	}
	return lines
}

func (t *policyTree) lines() []string {
	return strings.Split(strings.TrimSuffix(t.outline, "\n"), "\n")
}

// operatorLines lists operators in the order of the policy, each with its keys.
func (v *policyAnswer) operatorLines() []string {
	keys := make(map[string][]string)
	var operators []string
	for _, r := range v.Rebuilders {
		if keys[r.Operator] == nil {
			operators = append(operators, r.Operator)
		}
		line := fmt.Sprintf("    %s   %s", r.Name, r.Key)
		if r.CPUVendor != "" {
			line += "   cpu-vendor=" + r.CPUVendor
		}
		if r.Country != "" {
			line += "   country=" + r.Country
		}
		keys[r.Operator] = append(keys[r.Operator], line)
	}
	var lines []string
	for _, op := range operators {
		lines = append(append(lines, op), keys[op]...)
	}
	return lines
}
