package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/compare"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// digestsAnswer is the JSON of cairn-builder digests.
type digestsAnswer struct {
	Schema string              `json:"schema"` // cairn.builder.digests/v1
	Images []image.DigestCheck `json:"images"`
}

func (a *app) newDigests() *cobra.Command {
	var check, write, out string
	cmd := &cobra.Command{
		Use:   "digests",
		Short: "List, write or check the digests of what was built",
		Long: `Digests prints the manifest digest of each image that was built, in the form of
StageX's digests/*.txt. With --check it compares them with such files: the exit
code is 1 if one differs, and 3 if none does, but one was not built. Of an image
for several platforms only the first manifest counts, as in StageX.`,
		Example: `  cairn-builder digests
  cairn-builder digests --write digests/
  cairn-builder digests --check stagex/digests/`,
		Args: cmdline.Takes(0, 0),
		RunE: cmdline.RunE(func(context.Context, []string) error { return a.digests(check, write, out) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&check, "check", "", "compare with the files in `DIR`")
	f.StringVar(&write, "write", "", "write the files in `DIR`")
	f.StringVar(&out, "out", "", "the images in `DIR` (default: those of the builder's directory)")
	return cmd
}

func (a *app) digests(check, write, out string) error {
	if check != "" && write != "" {
		return cmdline.Usagef("give one of them", "--check and --write are both given")
	}
	if out == "" {
		out = a.path("out")
	}
	got, err := image.OutDigests(out)
	if err != nil {
		return cmdline.Unreadable("reading what was built", err)
	}
	want := image.Digests{}
	if check != "" {
		if want, err = image.ReadDigests(check); err != nil {
			return cmdline.Unreadable("reading the digests in "+check, err)
		}
	}
	if write != "" {
		if err := os.MkdirAll(write, 0o755); err != nil {
			return cmdline.Unwritable("making "+write, err)
		}
		if err := image.WriteDigests(write, got); err != nil {
			return cmdline.Unwritable("writing the digests", err)
		}
	}
	images, err := image.CheckDigests(want, got)
	if err != nil {
		return &cmdline.Problem{Reason: cmdline.NothingFound, Err: err, Hint: "build something first"}
	}
	v := digestsAnswer{Schema: "cairn.builder.digests/v1", Images: images}
	a.Answer(v, func(p term.Printer) { v.text(p, check != "") })
	if check == "" {
		return nil
	}
	return v.verdict()
}

func (v *digestsAnswer) text(p term.Printer, checked bool) {
	for _, im := range v.Images {
		switch {
		case !checked:
			p.Printf("%s %s\n", im.Got.Encoded(), im.ID)
		case im.State == image.Equal:
			p.Printf("%s %s %s\n", p.Paint(term.Good, string(im.State)), im.Got.Encoded(), im.ID)
		case im.Got == "":
			p.Printf("%s %s %s\n", im.State, im.Want.Encoded(), im.ID)
		default:
			p.Printf("%s %s %s\n", p.Paint(term.Bad, string(im.State)), im.Got.Encoded(), im.ID)
		}
	}
}

// verdict is the exit code of a check.
func (v *digestsAnswer) verdict() error {
	exit := reason.ExitYes
	for _, im := range v.Images {
		switch im.State {
		case image.Equal:
		case image.Differs:
			return &cmdline.Silent{Exit: reason.ExitNo}
		default:
			exit = reason.ExitUnproven
		}
	}
	if exit == reason.ExitYes {
		return nil
	}
	return &cmdline.Silent{Exit: exit}
}

func (a *app) newCompare() *cobra.Command {
	var platform string
	cmd := &cobra.Command{
		Use:   "compare IMAGE IMAGE",
		Short: "Say in which sense two images are the same, and what differs",
		Long: `Compare compares two images: packages that were built here, or OCI layouts. They
are IDENTICAL by their manifests, EQUIVALENT by their layers or by the content
of their root file systems, or DIFFERENT: then it says in which files and
bytes. The exit code is 1 if they are DIFFERENT.`,
		Example: `  cairn-builder compare bootstrap/tinycc-gcc bootstrap/tinycc-clang
  cairn-builder compare ./out/core-musl ../other/out/core-musl`,
		Args: cmdline.Takes(2, 2),
		RunE: cmdline.RunE(func(ctx context.Context, args []string) error { return a.compare(ctx, platform, args) }),
	}
	cmd.Flags().StringVar(&platform, "platform", "", "of layouts with several, compare the images for `PLATFORM`")
	return cmd
}

func (a *app) compare(ctx context.Context, platform string, args []string) error {
	images := make([]*image.Image, len(args))
	for i, arg := range args {
		dir, err := a.layoutOf(arg)
		if err != nil {
			return err
		}
		if images[i], err = image.Open(dir, platform); err != nil {
			return cmdline.Unreadable("reading "+arg, err)
		}
	}
	report, err := compare.Compare(ctx, images[0], images[1])
	if err != nil {
		return cmdline.Doing("comparing the images", err)
	}
	if a.Format == "json" {
		a.AnswerJSON(report)
	} else {
		_ = report.WriteText(a.Out)
	}
	if report.Result == leaf.Different {
		return &cmdline.Silent{Exit: reason.ExitNo}
	}
	return nil
}

// layoutOf returns the directory of an image: one that was named, or that of a
// package that was built here.
func (a *app) layoutOf(arg string) (string, error) {
	if _, err := os.Stat(arg + "/oci-layout"); err == nil {
		return arg, nil
	}
	t, err := a.load()
	if err != nil {
		return "", err
	}
	p, err := t.Lookup(arg)
	if err != nil {
		return "", cmdline.Usagef("name a package of the tree, or the directory of an OCI layout", "%w", err)
	}
	return a.path("out/" + p.ID()), nil
}
