package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

func (a *app) newPolicyExplain() *cobra.Command {
	var f inquiryFlags
	cmd := &cobra.Command{
		Use:   "explain ARTIFACT --policy FILE [--bundle FILE]",
		Short: "Say which lines of a policy an artifact satisfies",
		Long: `Explain draws the lines of a policy that count for an artifact: which are
satisfied, by whom, and what is missing. It is about the artifact itself: what it
is made from must be accepted too, which cairn trace draws.

The verdict and the exit code are those of cairn verify.`,
		Example: `  cairn policy explain hello.deb --policy trusted.policy
  cairn policy explain hello.deb --policy trusted.policy --bundle hello.cairn-bundle
  cairn policy explain sha256:9f2c… --policy trusted.policy -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.explain(ctx, args[0], &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.define(fl)
	f.defineName(fl)
	return cmd
}

// explainAnswer is the JSON of cairn policy explain.
type explainAnswer struct {
	Schema   string         `json:"schema"` // cairn/policy-explain/v1
	Artifact leaf.Digest    `json:"artifact"`
	Names    []string       `json:"names"`
	At       time.Time      `json:"at"`
	Verdict  verify.Verdict `json:"verdict"`
	Accepted bool           `json:"accepted"`
	Reasons  []string       `json:"reasons"`
	// Checkpoint is how the lines about logs and witnesses stand, absent if
	// nothing is logged.
	Checkpoint *policy.Explanation        `json:"checkpoint,omitempty"`
	Rebuilt    *policy.RebuildExplanation `json:"rebuilt,omitempty"` // absent if the evidence does not verify
	Tolerates  int                        `json:"tolerates"`         // operators who may dissent
	Dissent    []verify.Dissent           `json:"dissent"`
	Exceptions []explainedException       `json:"exceptions"`
	Seeds      []explainedSeed            `json:"seeds"`

	exit int
}

type explainedException struct {
	Glob   string    `json:"glob"`
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
	Over   bool      `json:"over"`
	Holds  bool      `json:"holds"` // for this artifact, at this time
}

type explainedSeed struct {
	Digest leaf.Digest `json:"digest"`
	Name   string      `json:"name,omitempty"`
	Line   bool        `json:"line"` // of the policy
	Met    bool        `json:"met"`  // in the ancestry
}

func (a *app) explain(ctx context.Context, arg string, f *inquiryFlags) error {
	if err := a.requirePolicy(); err != nil {
		return err
	}
	q, err := a.inquire(f)
	if err != nil {
		return err
	}
	t, err := q.target(ctx, arg)
	if err != nil {
		return err
	}
	b, err := q.collect(ctx, t)
	if err != nil {
		return err
	}
	v, err := q.explained(t, b)
	if err != nil {
		return err
	}
	a.Answer(v, func(p term.Printer) { v.text(p, a.ascii()) })
	if v.exit != 0 {
		return &cmdline.Silent{Exit: v.exit}
	}
	return nil
}

// explained says how the lines of the policy stand. Evidence that is not enough
// to be believed is explained too: that is when people ask.
func (q *inquiry) explained(t *target, b *bundle.Bundle) (*explainAnswer, error) {
	v := &explainAnswer{
		Schema: "cairn/policy-explain/v1", Artifact: t.digest, Names: append([]string{}, t.names...), At: q.at,
		Reasons: []string{}, Tolerates: q.policy.Tolerates(), Dissent: []verify.Dissent{},
		Exceptions: []explainedException{}, Seeds: []explainedSeed{},
	}
	var err error
	if v.Checkpoint, err = q.explainCheckpoint(b); err != nil {
		return nil, badBundle(q.file, err)
	}
	ev, err := q.open(b)
	var lacking *verify.OpenError
	if errors.As(err, &lacking) && lacking.Fork == nil && lacking.Outcome == verify.Unproven {
		v.Reasons, v.exit = lacking.Reasons, lacking.Exit()
		v.exceptions(q, t.names)
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	r := q.judge(t, ev)
	v.Verdict, v.Accepted, v.Reasons, v.exit = r.Verdict, r.Accepted, r.Reasons, r.Exit()
	v.Rebuilt, v.Dissent, v.Names = r.Quorum, r.Dissent, r.Names
	v.exceptions(q, t.names) // what claims call it excepts nothing
	v.seeds(q, r.Ancestry)
	return v, nil
}

// explainCheckpoint says how the checkpoint stands that the newest entry ends in,
// or returns nil if there is no entry.
func (q *inquiry) explainCheckpoint(b *bundle.Bundle) (*policy.Explanation, error) {
	if len(b.Entries) == 0 {
		return nil, nil
	}
	p, err := tlogproof.Parse(b.Entries[len(b.Entries)-1].Proof)
	if err != nil {
		return nil, err
	}
	c, sigs, err := tlogproof.Open(p.Checkpoint, q.policy)
	if err != nil {
		return nil, err
	}
	e := q.policy.ExplainAt(c.Origin, sigs, q.at)
	return &e, nil
}

func (v *explainAnswer) exceptions(q *inquiry, names []string) {
	now, holds := q.policy.Exception(names, q.at)
	for _, e := range q.policy.Exceptions() {
		v.Exceptions = append(v.Exceptions, explainedException{e.Glob, e.Until, e.Reason, e.Over(q.at), holds && e == now})
	}
}

// seeds lists the seeds of the policy, and those that the ancestry ends in.
func (v *explainAnswer) seeds(q *inquiry, root *verify.Node) {
	at := make(map[leaf.Digest]int)
	for _, d := range q.policy.Seeds() {
		at[d] = len(v.Seeds)
		v.Seeds = append(v.Seeds, explainedSeed{Digest: d, Line: true})
	}
	var walk func(*verify.Node)
	walk = func(n *verify.Node) {
		if n.Role == attest.RoleSeed {
			i, ok := at[n.Digest]
			if !ok {
				i = len(v.Seeds)
				at[n.Digest] = i
				v.Seeds = append(v.Seeds, explainedSeed{Digest: n.Digest})
			}
			v.Seeds[i].Name, v.Seeds[i].Met = n.Name, true
		}
		for _, m := range n.Materials {
			walk(m)
		}
	}
	walk(root)
}

// text draws the lines. The glyphs are package policy's.
func (v *explainAnswer) text(p term.Printer, ascii bool) {
	g := glyphsFor(ascii)
	letters := strings.NewReplacer("✓", g.good, "✗", g.differs, "·", g.untried)
	glyph := func(ok bool) string {
		if ok {
			return g.good
		}
		return g.differs
	}
	p.Printf("%s   %s\n", g.state(p, v.Verdict, false, v.Accepted && v.Verdict != verify.VerdictReproduced), v.Artifact)
	lines := func(text string) {
		for line := range strings.Lines(text) {
			p.Printf("    %s\n", letters.Replace(strings.TrimSuffix(line, "\n")))
		}
	}
	if v.Checkpoint == nil {
		p.Printf("    nothing is logged about it\n")
	} else {
		lines(v.Checkpoint.String())
	}
	if v.Rebuilt != nil {
		lines(v.Rebuilt.String())
	}
	p.Printf("    %s dissent: %s, %d tolerated\n", glyph(v.Verdict != verify.VerdictDiffers), plural(v.dissenters(), "operator", "operators"), v.Tolerates)
	for i := range v.Dissent {
		p.Printf("      %s\n", dissentLine(&v.Dissent[i]))
	}
	for _, s := range v.Seeds {
		what := "in the policy, and not in the ancestry"
		switch {
		case s.Line && s.Met:
			what = "in the policy and the ancestry"
		case s.Met:
			what = "in the ancestry, and not in the policy"
		}
		p.Printf("    %s seed %s: %s\n", glyph(s.Line), s.Digest, what)
	}
	for _, e := range v.Exceptions {
		p.Printf("    %s except %s until %s: %s\n", g.exceptionGlyph(e.Holds), e.Glob, e.Until.Add(-1).Format(time.DateOnly), e.state()) // as the line has it: that day too
	}
	for _, why := range v.Reasons {
		p.Printf("    why: %s\n", why)
	}
}

func (g *glyphs) exceptionGlyph(holds bool) string {
	if holds {
		return g.good
	}
	return g.untried
}

func (e *explainedException) state() string {
	switch {
	case e.Over:
		return "over"
	case e.Holds:
		return "holds for it: " + e.Reason
	}
	return "does not match its names"
}

// dissenters counts the operators who obtained something else.
func (v *explainAnswer) dissenters() int {
	who := make(map[string]bool)
	for _, d := range v.Dissent {
		if d.Result == leaf.Different {
			who[d.Operator] = true
		}
	}
	return len(who)
}
