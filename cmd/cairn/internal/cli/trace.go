package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// traceFlags are the flags of cairn trace.
type traceFlags struct {
	inquiryFlags
	quorum    int
	operators []string
	seeds     []string
	depth     int
	ascii     bool
}

func (a *app) newTrace() *cobra.Command {
	var f traceFlags
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use:   "trace ARTIFACT",
		Short: "Draw what an artifact was built from, down to the seed",
		Long: `Trace follows what an artifact was built from, down to pinned sources and seeds,
and draws the tree with a verdict on every node: reproduced, differs, failed,
unproven or untried. Below a node is who obtained it by building it, and in which
entries of the log; and where it is not accepted, why.

The verdicts are those of cairn verify by the same policy, and so is the exit
code. Without a policy that names rebuilders, --quorum operators must have
obtained each artifact. Operators are then as the keys' enrolments name them,
unless --operator says which count: whoever enrols keys can claim to be many.

Each attestation is fetched, its signature verified, and its entry proven to be
in the log; that the ledger left out none is its word. A package URL without
digest stands for the build that was logged last.`,
		Example: `  cairn trace hello.deb --policy trusted.policy
  cairn trace hello.deb --policy trusted.policy --bundle hello.cairn-bundle --depth 2
  cairn trace 'pkg:oci/user-wc?arch=amd64&repository_url=stagex%2Fuser-wc'
  cairn trace --quorum 2 --seed sha256:77aa… ./hello.deb`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			own := slices.ContainsFunc([]string{"quorum", "operator", "seed"}, cmd.Flags().Changed)
			return a.trace(ctx, &f, own, args[0])
		}),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.define(fl)
	f.defineName(fl)
	fl.IntVar(&f.quorum, "quorum", defaultQuorum, "instead of the policy's rebuilders, `N` operators must have obtained each\nartifact; this counts where no policy names rebuilders")
	fl.StringArrayVar(&f.operators, "operator", nil, "with --quorum, count only the operator `URI`; repeatable")
	fl.StringArrayVar(&f.seeds, "seed", nil, "with --quorum, accept only the seed with this `DIGEST`; repeatable")
	fl.IntVar(&f.depth, "depth", -1, "draw `N` levels below the artifact (default all)")
	fl.BoolVar(&f.ascii, "ascii", false, "draw the tree without other characters")
	return cmd
}

// defaultQuorum counts where neither a policy nor a flag says how many.
const defaultQuorum = 2

// rules returns what counts instead of the policy's lines about rebuilders, or
// nil where these do: where there are some, and no flag is the user's own word.
func (f *traceFlags) rules(own bool, q *inquiry) (*verify.Rules, error) {
	if q.hears() && !own {
		return nil, nil
	}
	r := &verify.Rules{Quorum: f.quorum, Operators: f.operators}
	if f.quorum < 1 {
		return nil, cmdline.Usagef("give --quorum N of at least 1", "--quorum %d proves nothing", f.quorum)
	}
	for _, s := range f.seeds {
		d, err := leaf.ParseDigest(s)
		if err != nil {
			return nil, cmdline.Usagef("write it as sha256:…", "--seed %s: %w", s, err)
		}
		r.Seeds = append(r.Seeds, d)
	}
	return r, nil
}

// traceAnswer is the JSON of cairn trace: a report under another schema, for
// without a policy it rests on nobody's signature.
type traceAnswer verify.Report

func (a *app) trace(ctx context.Context, f *traceFlags, own bool, arg string) error {
	q, err := a.inquire(&f.inquiryFlags)
	if err != nil {
		return err
	}
	if q.rules, err = f.rules(own, q); err != nil {
		return err
	}
	if q.online == nil && q.policy == nil {
		a.Note("the log's signature is not checked: give --policy FILE, or set CAIRN_POLICY")
	}
	t, err := q.target(ctx, arg)
	if err != nil {
		return err
	}
	r, err := q.report(ctx, t)
	if err != nil {
		return err
	}
	if q.rules != nil && len(q.rules.Seeds) == 0 {
		a.Note("every seed that claims name is accepted: give --seed DIGEST to name yours")
	}
	v := traceAnswer(*r)
	v.Schema = "cairn/trace/v1"
	a.Answer(v, func(p term.Printer) {
		d := drawing{glyphs: glyphsFor(f.ascii || a.ascii()), p: p, depth: f.depth}
		d.draw(r.Ancestry)
		d.foot(r, q.rules)
	})
	return endWith(r)
}

// foot says what the tree comes to, and by what.
func (d *drawing) foot(r *verify.Report, rules *verify.Rules) {
	by := "by the policy"
	if rules != nil {
		by = "with a quorum of " + plural(rules.Quorum, "operator", "operators") + " for each step"
	}
	d.p.Printf("\n%s: %s, %s at %s\n", d.state(d.p, r.Verdict, false, r.Exception != nil), r.Artifact, by, r.At.UTC().Format(time.RFC3339))
	d.p.Printf("%s\n", r.Counts.String())
	if r.Log.Origin == "" {
		return
	}
	vouched := "its signatures checked by the policy"
	if !r.Log.SignatureChecked {
		vouched = "no signature of it checked"
	}
	d.p.Printf("log %s, complete up to %d by the word of whoever collected it, %s\n", r.Log.Origin, r.Log.Size, vouched)
}
