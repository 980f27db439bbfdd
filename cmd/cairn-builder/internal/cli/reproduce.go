package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/build"
	"github.com/cairnlog/cairn/builder/compare"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// reproduceFlags are the flags of cairn-builder reproduce.
type reproduceFlags struct {
	buildFlags
	changed          bool
	digests, against string
}

func (a *app) newReproduce() *cobra.Command {
	var f reproduceFlags
	cmd := &cobra.Command{
		Use:   "reproduce [PACKAGE...]",
		Short: "Rebuild what others built, and log whether it is the same",
		Long: `Reproduce rebuilds packages, from images that this builder built itself, and
compares each with what was distributed: IDENTICAL, EQUIVALENT, DIFFERENT or
BUILD_FAILED. With --key the result is attested, and with --ledger logged.

What was distributed is what builds of the same tree in the ledger claim, or what
--digests lists. A package is never taken from a cache; what it is built from
is, where it was built here before.

The exit code is 0 if all are IDENTICAL or EQUIVALENT, and 1 if one is not.`,
		Example: `  cairn-builder reproduce --all --ledger https://log.example --key bob.key --operator https://bob.example
  cairn-builder reproduce bootstrap/stage0 --digests digests/
  cairn-builder reproduce --changed --engine buildah --against ../ci/.cairn-builder/out`,
		RunE: cmdline.RunE(func(ctx context.Context, args []string) error { return a.reproduce(ctx, &f, args) }),
	}
	f.flags(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.changed, "changed", false, "the packages that changed since they were last built here")
	fl.StringVar(&f.digests, "digests", "", "reproduce the images that the lists in `DIR` name: StageX's digests/*.txt")
	fl.StringVar(&f.against, "against", "", "say what differs from the distributed images in `DIR`")
	fl.BoolVar(&f.noCache, "no-cache", false, "build what the packages are built from again, too")
	return cmd
}

// reproductionView is one reproduction in the answer.
type reproductionView struct {
	Package     string          `json:"package"`
	Result      leaf.Result     `json:"result"`
	Distributed string          `json:"distributed"` // manifest digest
	Claim       string          `json:"claim,omitempty"`
	Obtained    string          `json:"obtained,omitempty"` // manifest digest
	Equivalence string          `json:"equivalence,omitempty"`
	Failure     string          `json:"failure,omitempty"`
	Entry       string          `json:"entry,omitempty"`
	Diff        *compare.Report `json:"diff,omitempty"`
}

// reproduceAnswer is the JSON of cairn-builder reproduce.
type reproduceAnswer struct {
	Schema        string             `json:"schema"` // cairn.builder.reproduce/v1
	Reproductions []reproductionView `json:"reproductions"`
}

func (a *app) reproduce(ctx context.Context, f *reproduceFlags, args []string) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	if f.changed {
		f.all = true
	}
	ids, err := f.ids(t, args)
	if err != nil {
		return err
	}
	v := reproduceAnswer{Schema: "cairn.builder.reproduce/v1", Reproductions: []reproductionView{}}
	err = a.withBuilder(ctx, t, ids, &f.buildFlags, func(*build.Config) {}, func(b *build.Builder) error {
		if f.changed {
			if ids, err = b.Changed(ctx, ids); err != nil {
				return err
			}
			if len(ids) == 0 {
				a.Note("nothing changed since it was last built here: name packages, or give --all, to reproduce what did not")
				return nil
			}
		}
		claims, err := f.claims(b)
		if err != nil {
			return err
		}
		return b.Reproduce(ctx, ids, build.ReproduceOptions{
			Claims: claims, Against: f.against,
			Each: func(r *build.Reproduction) { a.reproduced(&v, r) },
		})
	})
	if err != nil {
		return cmdline.After(v, classify(err))
	}
	if a.Format == "json" {
		a.AnswerJSON(v)
	}
	return v.verdict()
}

// verdict is the exit code: every result counts, and none is no success.
func (v *reproduceAnswer) verdict() error {
	exit := reason.ExitYes
	if len(v.Reproductions) == 0 {
		exit = reason.ExitUnproven
	}
	for i := range v.Reproductions {
		switch v.Reproductions[i].Result {
		case leaf.Identical, leaf.Equivalent:
		case leaf.Inconclusive:
			if exit == reason.ExitYes {
				exit = reason.ExitUnproven
			}
		default:
			exit = reason.ExitNo
		}
	}
	if exit == reason.ExitYes {
		return nil
	}
	return &cmdline.Silent{Exit: exit}
}

// claims returns where it is said what was distributed.
func (f *reproduceFlags) claims(b *build.Builder) (build.Claims, error) {
	if f.digests != "" {
		list, err := image.ReadDigests(f.digests)
		if err != nil {
			return nil, cmdline.Unreadable("reading the lists of digests in "+f.digests, err)
		}
		return build.PublishedClaims(list), nil
	}
	ledger, id := b.Ledger()
	if ledger == nil {
		return nil, cmdline.Usagef("give --ledger URL with --key FILE, or --digests DIR", "it is not said what was distributed")
	}
	return b.LoggedClaims(ledger, id), nil
}

func (a *app) reproduced(v *reproduceAnswer, r *build.Reproduction) {
	view := reproductionView{
		Package: r.Package, Result: r.Outcome.Result, Distributed: r.Claimed.Manifest,
		Obtained: r.Result.Manifest, Equivalence: r.Outcome.Method, Failure: r.Outcome.Failure, Diff: r.Diff,
	}
	if r.Claimed.Entry != nil {
		view.Claim = r.Claimed.Entry.String()
	}
	if r.Entry != nil {
		view.Entry = r.Entry.String()
	}
	v.Reproductions = append(v.Reproductions, view)
	if a.Format != "json" {
		view.text(a.Printer(a.Out))
	}
}

func (v *reproductionView) text(p term.Printer) {
	colour := term.Bad
	if v.Result == leaf.Identical || v.Result == leaf.Equivalent {
		colour = term.Good
	}
	p.Printf("%s %s %s", p.Paint(colour, string(v.Result)), hexOf(v.Distributed), v.Package)
	if v.Entry != "" {
		p.Printf(" %s", v.Entry)
	}
	p.Printf("\n")
	if v.Obtained != "" && v.Obtained != v.Distributed {
		p.Printf("  obtained %s\n", hexOf(v.Obtained))
	}
	if v.Failure != "" {
		p.Printf("  %s\n", v.Failure)
	}
	if v.Diff != nil {
		_ = v.Diff.WriteText(p.W)
	}
}

func (a *app) newSign() *cobra.Command {
	var s selection
	var f attesterFlags
	cmd := &cobra.Command{
		Use:   "sign [PACKAGE...] --key FILE",
		Short: "Attest what was built here before",
		Long: `Sign attests results that were kept without an attestation, and logs them with
--ledger. What was taken from elsewhere cannot be signed as built: sign refuses
it, and signs nothing.`,
		Example: `  cairn-builder sign --all --key ci.key --operator https://ci.example --ledger https://log.example`,
		RunE:    cmdline.RunE(func(ctx context.Context, args []string) error { return a.sign(ctx, &s, &f, args) }),
	}
	cmd.Flags().SortFlags = false
	s.flags(cmd.Flags())
	f.flags(cmd.Flags())
	return cmd
}

func (a *app) sign(ctx context.Context, s *selection, f *attesterFlags, args []string) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	ids, err := s.ids(t, args)
	if err != nil {
		return err
	}
	if f.key == "" {
		return cmdline.Usagef("make a key with `cairn keygen -o FILE`, and give it with --key FILE", "no key is named")
	}
	rec, err := f.recorder(a, record.Results{Dir: a.path("results")})
	if err != nil {
		return err
	}
	results := make([]*record.Result, len(ids))
	for i, id := range ids {
		if results[i], err = rec.Results.Get(id); err != nil {
			return err
		}
		if results[i] == nil {
			return cmdline.Usagef("build it with `cairn-builder build "+id+"`", "%s was not built here", id)
		}
		if results[i].Obtained != attest.Built {
			_, err := rec.Identity.Build(results[i])
			return &cmdline.Problem{Reason: cmdline.NotBuilt, Err: err}
		}
	}
	v := buildAnswer{Schema: "cairn.builder.sign/v1", Packages: []packageView{}}
	for _, res := range results {
		if err := rec.Build(ctx, res); err != nil {
			return cmdline.After(v, err)
		}
		a.built(&v, build.Report{Package: res.Package, Action: "signed", Result: res}, true)
	}
	if a.Format == "json" {
		a.AnswerJSON(v)
	}
	return nil
}
