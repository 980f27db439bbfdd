package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// traceFlags are the flags of cairn trace.
type traceFlags struct {
	quorum    int
	operators []string
	seeds     []string
	ascii     bool
}

// traceAnswer is the JSON of cairn trace.
type traceAnswer struct {
	Schema   string         `json:"schema"` // cairn/trace/v1
	Artifact leaf.Digest    `json:"artifact"`
	Origin   string         `json:"origin"`
	Size     int64          `json:"completeUpTo"`
	Verdict  verify.Verdict `json:"verdict"`
	Quorum   int            `json:"quorum"`
	// SignatureChecked says whether the checkpoints satisfied a policy.
	SignatureChecked bool         `json:"signatureChecked"`
	Ancestry         *verify.Node `json:"ancestry"`
}

func (a *app) newTrace() *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use:   "trace ARTIFACT",
		Short: "Follow an artifact down to the seed",
		Long: `Trace follows what an artifact was built from, by the attestations in the ledger,
down to pinned sources and seeds, and prints the tree with a verdict on every
node: reproduced, differs, failed, unproven or untried.

An artifact is reproduced if enough operators obtained it by building it, from
materials that are good themselves. Each attestation is fetched, its signature
verified, and its entry proven to be in the log; that the ledger left out none is
its word. Operators are as the keys' enrolments name them, unless --operator says
which count.

A package URL without digest stands for the build that was logged last.`,
		Example: `  cairn trace sha256:9f2c…
  cairn trace 'pkg:oci/user-wc?arch=amd64&repository_url=stagex%2Fuser-wc'
  cairn trace --quorum 2 --seed sha256:77aa… ./hello.deb`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.trace(ctx, &f, args[0]) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.IntVar(&f.quorum, "quorum", 2, "`N` operators must have obtained each artifact")
	fl.StringArrayVar(&f.operators, "operator", nil, "count only the operator `URI`; repeatable")
	fl.StringArrayVar(&f.seeds, "seed", nil, "accept only the seed with this `DIGEST`; repeatable")
	fl.BoolVar(&f.ascii, "ascii", false, "draw the tree without other characters")
	return cmd
}

func (f *traceFlags) rules() (verify.Rules, error) {
	r := verify.Rules{Quorum: f.quorum, Operators: f.operators}
	if f.quorum < 1 {
		return r, cmdline.Usagef("give --quorum N of at least 1", "--quorum %d proves nothing", f.quorum)
	}
	for _, s := range f.seeds {
		d, err := leaf.ParseDigest(s)
		if err != nil {
			return r, cmdline.Usagef("write it as sha256:…", "--seed %s: %w", s, err)
		}
		r.Seeds = append(r.Seeds, d)
	}
	return r, nil
}

func (a *app) trace(ctx context.Context, f *traceFlags, arg string) error {
	rules, err := f.rules()
	if err != nil {
		return err
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	digest, err := a.artifactOf(ctx, o, arg)
	if err != nil {
		return err
	}
	v := traceAnswer{Schema: "cairn/trace/v1", Artifact: digest, Quorum: f.quorum, SignatureChecked: o.policy != nil}
	r, err := verify.Trace(ctx, digest, rules, func(ctx context.Context, d leaf.Digest) ([]verify.Traced, error) {
		claims, err := o.claims(ctx, &cairnv1.ListAttestationsRequest{Digest: string(d)})
		if err != nil {
			return nil, err
		}
		v.Origin, v.Size = o.origin, o.size
		return claims, nil
	})
	if err != nil {
		return err
	}
	v.Verdict, v.Ancestry = r.Verdict, r.Ancestry
	if len(f.seeds) == 0 {
		a.Note("every seed that claims name is accepted: give --seed DIGEST to name yours")
	}
	a.Answer(v, func(p term.Printer) { v.text(p, f.ascii) })
	if code := r.Exit(); code != 0 {
		return &cmdline.Silent{Exit: code}
	}
	return nil
}

// claims returns the verified claims for a query, as a trace takes them.
func (o *online) claims(ctx context.Context, q *cairnv1.ListAttestationsRequest) ([]verify.Traced, error) {
	found, err := o.Claims(ctx, q, o.policy)
	if err != nil {
		return nil, err
	}
	if o.origin == "" {
		o.origin = found.Origin
	}
	if o.size == 0 || found.Size < o.size {
		o.size = found.Size
	}
	claims := make([]verify.Traced, len(found.Logged))
	for i := range found.Logged {
		l := &found.Logged[i]
		claims[i] = verify.Traced{Index: l.Index, Entry: entryID(found.Origin, l.Index), Attestation: l.Attestation, Operators: l.Operators}
	}
	return claims, nil
}

// artifactOf returns the digest of the artifact that an argument names.
func (a *app) artifactOf(ctx context.Context, o *online, arg string) (leaf.Digest, error) {
	n, err := parseName(arg)
	if err != nil {
		return "", err
	}
	switch n.kind {
	case byDigest:
		return n.digest, nil
	case byPurl:
		return a.latestBuild(ctx, o, n.purl)
	case byFile:
		f, err := readNamed(n.path)
		if err != nil {
			return "", err
		}
		return f.sha256Digest(), nil
	}
	return "", cmdline.Usagef("give a digest, a package URL or a file", "%q names no artifact", arg)
}

// latestBuild returns what the build that was logged last says it built.
func (a *app) latestBuild(ctx context.Context, o *online, purl string) (leaf.Digest, error) {
	claims, err := o.claims(ctx, &cairnv1.ListAttestationsRequest{Name: purl})
	if err != nil {
		return "", err
	}
	for i := len(claims) - 1; i >= 0; i-- {
		c := &claims[i]
		claim := &c.Attestation.Claim
		if claim.Claim != leaf.ClaimBuild || len(claim.Subjects) == 0 {
			continue
		}
		if strong := claim.Subjects[0].Strong(); len(strong) > 0 {
			a.Note("%s is %s, by entry %s", purl, strong[0], c.Entry)
			return strong[0], nil
		}
	}
	return "", &cmdline.Problem{Reason: cmdline.NothingFound, Err: fmt.Errorf("no build of %s is logged", purl)}
}

// text draws the tree.
func (v *traceAnswer) text(p term.Printer, ascii bool) {
	d := drawing{p: p, mid: "├─ ", last: "└─ ", down: "│  ", none: "   "}
	if ascii {
		d = drawing{p: p, mid: "|- ", last: "`- ", down: "|  ", none: "   "}
	}
	d.node(v.Ancestry, "", "")
	p.Printf("\n%s: %s, with a quorum of %d operators for each step; log %s, complete up to %d by the ledger's word\n",
		paintVerdict(p, v.Verdict.String()), v.Artifact, v.Quorum, v.Origin, v.Size)
}

type drawing struct {
	p                     term.Printer
	mid, last, down, none string
}

// node draws a node and what is below it. Reasons are shown where a verdict is
// not good.
func (d *drawing) node(n *verify.Node, lead, below string) {
	state := n.Verdict.String()
	if n.Pinned {
		state = "pinned"
	}
	role := ""
	if n.Role != "" {
		role = n.Role + " "
	}
	d.p.Printf("%s%s %s%s %s", lead, paintVerdict(d.p, state), role, n.Name, d.p.Paint(term.Dim, string(n.Digest)))
	if len(n.Operators) > 0 {
		var names, entries []string
		for _, o := range n.Operators {
			names, entries = append(names, o.Operator), append(entries, o.Entries...)
		}
		d.p.Printf(" by %s in %s", join(names), join(entries))
	}
	if n.Seen {
		d.p.Printf(" (as above)")
	}
	d.p.Printf("\n")
	if !n.Accepted && !n.Seen {
		for _, why := range n.Reasons {
			d.p.Printf("%s%s%s\n", below, d.none, why)
		}
	}
	for i, m := range n.Materials {
		if i == len(n.Materials)-1 {
			d.node(m, below+d.last, below+d.none)
		} else {
			d.node(m, below+d.mid, below+d.down)
		}
	}
}

func paintVerdict(p term.Printer, state string) term.Painted {
	if state == "reproduced" || state == "pinned" {
		return p.Paint(term.Good, state)
	}
	return p.Paint(term.Bad, state)
}
