package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

func (a *app) newBundle() *cobra.Command {
	var f inquiryFlags
	var out string
	var rebuilders bool
	cmd := &cobra.Command{
		Use:   "bundle ARTIFACT -O FILE",
		Short: "Write all evidence about an artifact to a file",
		Long: `Bundle collects all that is logged about an artifact and its ancestry, with the
proofs and keys, and writes it to one file, with which cairn verify --bundle
decides offline, also years later. It holds what everybody says, as whoever
verifies uses a policy of their own; with --rebuilders, only what the rebuilders
of the given policy say.

If a policy is given, the bundle is verified before it is written, and the verdict
is said. It does not change the exit code: what is written is written, also if
nothing is known of the artifact.`,
		Example: `  cairn bundle hello.deb --policy trusted.policy -O hello.cairn-bundle
  cairn bundle sha256:9f2c… -O - | ssh archive 'cat > core-go.cairn-bundle'
  cairn bundle show hello.cairn-bundle`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.bundle(ctx, args[0], out, rebuilders, &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	outVar(cmd, &out, "write the bundle to `FILE`; \"-\" is stdout")
	fl.BoolVar(&rebuilders, "rebuilders", false, "collect only what the policy's rebuilders say")
	f.defineName(fl)
	f.defineAt(fl)
	cmd.AddCommand(a.newBundleShow())
	return cmd
}

func (a *app) newBundleShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "List what is in a bundle, unverified",
		Long: `Show lists what a bundle says it holds. Nothing of it is verified: whether it
proves anything is for cairn verify --bundle to say.`,
		Example: `  cairn bundle show hello.cairn-bundle
  cairn bundle show hello.cairn-bundle -o json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(_ context.Context, args []string) error { return a.showBundle(args[0]) }),
	}
}

// bundleAnswer is the JSON of cairn bundle and of cairn bundle show.
type bundleAnswer struct {
	Schema   string          `json:"schema"` // cairn/bundle/v1
	File     string          `json:"file"`
	Digest   leaf.Digest     `json:"digest"` // of the file
	Bytes    int             `json:"bytes"`
	Artifact leaf.Digest     `json:"artifact"`
	Names    []string        `json:"names"`
	Count    int             `json:"entryCount"`
	About    int             `json:"artifactCount"` // that its attestations are about
	Heads    []bundleHead    `json:"checkpoints"`
	Verified bool            `json:"verified"` // by the policy; show verifies nothing
	Verdict  *verify.Verdict `json:"verdict,omitempty"`
	Accepted *bool           `json:"accepted,omitempty"`
	Entries  []*entryView    `json:"entries,omitempty"` // of show
}

// bundleHead is a checkpoint that proofs of a bundle end in.
type bundleHead struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size"`
}

func (a *app) bundle(ctx context.Context, arg, out string, rebuilders bool, f *inquiryFlags) error {
	switch {
	case out == "":
		return cmdline.Usagef("give -O FILE, such as -O hello.cairn-bundle", "no file is named for the bundle")
	case out == "-" && a.Format == "json":
		return cmdline.Usagef("give -O FILE", "stdout cannot have both the bundle and the answer in JSON")
	case out == "-" && a.OutIsTerminal():
		return cmdline.Usagef("give -O FILE, or pipe stdout somewhere", "a bundle is not for a terminal to show")
	}
	q, err := a.inquire(f)
	if err != nil {
		return err
	}
	if q.everybody = !rebuilders; rebuilders && (q.policy == nil || len(q.policy.Rebuilders()) == 0) {
		return cmdline.Usagef("give --policy FILE with rebuilder lines, or leave out --rebuilders", "no policy names rebuilders")
	}
	t, err := q.target(ctx, arg)
	if err != nil {
		return err
	}
	b, err := q.collect(ctx, t)
	if err != nil {
		return err
	}
	raw, err := b.Marshal()
	if err != nil {
		return err
	}
	v, err := describeBundle(out, b, raw)
	if err != nil {
		return err
	}
	if err := q.verdictOf(t, b, v); err != nil {
		return err
	}
	if out == "-" {
		_, _ = a.Out.Write(raw) // the error is found at the end of the run
		a.Note("the bundle has %s", v.holds())
		return nil
	}
	if err := cmdline.WriteOut(out, raw); err != nil {
		return err
	}
	a.Answer(v, v.text)
	return nil
}

// verdictOf verifies a bundle before it is written, if there is a policy to
// decide by. A bundle that does not verify is not written.
func (q *inquiry) verdictOf(t *target, b *bundle.Bundle, v *bundleAnswer) error {
	if q.policy == nil {
		q.a.Note("the bundle is not verified: give --policy FILE, or set CAIRN_POLICY")
		return nil
	}
	ev, err := q.open(b)
	if err != nil {
		return err
	}
	v.Verified = true
	if !q.hears() {
		q.a.Note("every entry verifies; the policy names no rebuilders to decide by")
		return nil
	}
	r := q.judge(t, ev)
	v.Verdict, v.Accepted = &r.Verdict, &r.Accepted
	p := q.a.Printer(q.a.Err)
	if !q.a.Quiet {
		p.Printf("cairn: note: by the policy it is %s\n", glyphsFor(q.a.ascii()).state(p, r.Verdict, false, r.Exception != nil))
	}
	return nil
}

func (a *app) showBundle(path string) error {
	b, raw, err := readBundle(path)
	if err != nil {
		return err
	}
	v, err := describeBundle(path, b, raw)
	if err != nil {
		return badBundle(path, err)
	}
	for i := range b.Entries {
		e, err := viewBundled(&b.Entries[i])
		if err != nil {
			return badBundle(path, err)
		}
		v.Entries = append(v.Entries, e)
	}
	a.Note("nothing of it is verified: `cairn verify ARTIFACT --bundle %s` does that", path)
	a.Answer(v, v.text)
	return nil
}

// describeBundle says what a bundle holds, by its own word.
func describeBundle(file string, b *bundle.Bundle, raw []byte) (*bundleAnswer, error) {
	v := &bundleAnswer{
		Schema: "cairn/bundle/v1", File: file, Digest: leaf.SHA256(raw), Bytes: len(raw),
		Artifact: b.Artifact, Names: append([]string{}, b.Names...), Count: len(b.Entries), Heads: []bundleHead{},
	}
	about, heads := make(map[leaf.Digest]bool), make(map[bundleHead]bool)
	for i := range b.Entries {
		p, l, err := openBundled(&b.Entries[i])
		if err != nil {
			return nil, err
		}
		c, err := headOf(p)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", p.Index, err)
		}
		heads[c] = true
		if l.Kind == leaf.KindAttestation && len(l.Subjects) > 0 {
			about[l.Subjects[0]] = true
		}
	}
	v.About = len(about)
	v.Heads = slices.SortedFunc(maps.Keys(heads), func(x, y bundleHead) int {
		return strings.Compare(fmt.Sprintf("%s %020d", x.Origin, x.Size), fmt.Sprintf("%s %020d", y.Origin, y.Size))
	})
	return v, nil
}

func openBundled(e *bundle.Entry) (*tlogproof.Proof, *leaf.Leaf, error) {
	p, err := tlogproof.Parse(e.Proof)
	if err != nil {
		return nil, nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	l, err := leaf.Parse(p.Leaf)
	if err != nil {
		return nil, nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	return p, l, nil
}

// headOf reads the checkpoint of a proof without its signatures.
func headOf(p *tlogproof.Proof) (bundleHead, error) {
	c, _, err := tlogproof.Open(p.Checkpoint, nil)
	return bundleHead{c.Origin, c.N}, err
}

func viewBundled(e *bundle.Entry) (*entryView, error) {
	p, l, err := openBundled(e)
	if err != nil {
		return nil, err
	}
	c, err := headOf(p)
	if err != nil {
		return nil, err
	}
	return viewEntry(c.Origin, e.Index, string(p.Leaf), l), nil
}

func (v *bundleAnswer) holds() string {
	heads := make([]string, len(v.Heads))
	for i, h := range v.Heads {
		heads[i] = fmt.Sprintf("%s at size %d", h.Origin, h.Size)
	}
	s := fmt.Sprintf("%s about %s in %d bytes", plural(v.Count, "entry", "entries"), plural(v.About, "artifact", "artifacts"), v.Bytes)
	if len(heads) > 0 {
		s += ", of " + strings.Join(heads, " and ")
	}
	return s
}

func (v *bundleAnswer) text(p term.Printer) {
	p.Printf("%s\n", v.Digest)
	field(p, "file", "%s", v.File)
	field(p, "artifact", "%s", v.Artifact)
	for _, n := range v.Names {
		field(p, "name", "%s", n)
	}
	field(p, "holds", "%s", v.holds())
	for _, e := range v.Entries {
		e.line(p)
	}
}
