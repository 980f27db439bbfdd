package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/oci"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/gate"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// signaturesAnswer is the JSON of cairn export signatures.
type signaturesAnswer struct {
	Schema string           `json:"schema"` // cairn/export-signatures/v1
	Key    leaf.Fingerprint `json:"key"`
	Images []signedImage    `json:"images"` // of an index the platform manifests, too
}

// signedImage is what came of one image.
type signedImage struct {
	Image    string   `json:"image"`
	Accepted bool     `json:"accepted"`
	Verdict  string   `json:"verdict,omitempty"` // none after an error
	Removed  bool     `json:"removed"`           // a signature of before was removed
	Reasons  []string `json:"reasons"`           // why it is not accepted
	Remarks  []string `json:"remarks"`           // about what is accepted
	Error    string   `json:"error,omitempty"`   // why nothing was decided

	exit int
}

func (a *app) newExportSignatures() *cobra.Command {
	var keyFile string
	var valid time.Duration
	cmd := &cobra.Command{
		Use:   "signatures DIR IMAGE… --gate-key FILE",
		Short: "Sign images that the policy accepts, into a lookaside store",
		Long: `Signatures decides about each image by the policy, and puts the gate's signature
of what is accepted into the lookaside store DIR:

  DIR/HOST/PATH@sha256=HEX/signature-1

The gate's signature of what is not accepted, or could not be decided, is removed
if there is one; signatures of others stay. An IMAGE is HOST/PATH@sha256:HEX, or
HOST/PATH:TAG for what the registry has there now. Of an index, each platform
manifest is decided and signed on its own: that is the signature that podman
looks for.

The exit code is 0 if all are accepted; else that of the gravest: 1 for a
definite no, 3 for too little evidence, 4 for what could not be asked.`,
		Example: `  cairn export signatures out/lookaside docker.io/stagex/core-go@sha256:… \
      --gate-key gate.key --policy trusted.policy
  cairn export signatures out/lookaside docker.io/stagex/core-go:1.26 --gate-key gate.key -o json`,
		Args: cmdline.Takes(2, cmdline.AnyNumber),
		RunE: a.run(func(ctx context.Context, args []string) error {
			return a.exportSignatures(ctx, args[0], args[1:], keyFile, valid)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&keyFile, "gate-key", "", "sign with the secret key in `FILE`: see cairn gate keygen")
	f.DurationVar(&valid, "valid", 7*24*time.Hour, "let signatures expire after `DURATION`; 0 for never")
	return cmd
}

func (a *app) exportSignatures(ctx context.Context, dir string, args []string, keyFile string, valid time.Duration) error {
	key, err := readGateKey(keyFile)
	if err != nil {
		return err
	}
	if err := checkValid(valid); err != nil {
		return err
	}
	decide, err := a.decider()
	if err != nil {
		return err
	}
	images := make([]gate.Image, len(args))
	for i, arg := range args {
		if images[i], err = a.imageArgument(ctx, arg); err != nil {
			return err
		}
	}
	e := &signatureExport{
		gate: &gate.Gate{Decide: decide, Instances: a.instances}, store: &gate.Lookaside{Dir: dir, Key: key}, valid: valid,
		seen: make(map[gate.Image]bool),
	}
	v := signaturesAnswer{Schema: "cairn/export-signatures/v1", Key: key.Fingerprint(), Images: []signedImage{}}
	exit := reason.ExitYes
	for _, img := range images {
		signed, err := e.export(ctx, img)
		if err != nil {
			return cmdline.After(v, err)
		}
		v.Images = append(v.Images, signed...)
		for i := range signed {
			exit = graver(exit, signed[i].exit)
		}
	}
	a.Answer(v, func(p term.Printer) { signaturesText(p, &v) })
	if exit != reason.ExitYes {
		return &cmdline.Silent{Exit: exit}
	}
	return nil
}

// imageArgument reads an image's reference. A host is asked for, as everywhere in
// Cairn; what follows it is read as container runtimes do.
func (a *app) imageArgument(ctx context.Context, arg string) (gate.Image, error) {
	const hint = "name it as HOST/PATH@sha256:<hex> or HOST/PATH:TAG, such as docker.io/library/busybox:1"
	if _, ok, err := oci.ParseReference(arg); err != nil {
		return gate.Image{}, cmdline.Usagef(hint, "%w", err)
	} else if !ok {
		return gate.Image{}, cmdline.Usagef(hint, "%.300q is not an image at a registry", arg)
	}
	img, tag, err := gate.ParseImage(arg)
	if err != nil {
		return gate.Image{}, cmdline.Usagef(hint, "%w", err)
	}
	if img.Digest != "" {
		return img, nil
	}
	if img, err = a.resolveTag(ctx, img.Repository, tag); err != nil {
		return gate.Image{}, &cmdline.Problem{
			Reason: cmdline.LedgerUnreachable, Err: fmt.Errorf("asking the registry for %s: %w", arg, err),
			Hint: "check the reference and the registry, or name the image by digest: HOST/PATH@sha256:<hex>",
		}
	}
	a.Note("%s is the image %s", arg, img.Digest)
	return img, nil
}

// signatureExport is one run of cairn export signatures.
type signatureExport struct {
	gate  *gate.Gate
	store *gate.Lookaside
	valid time.Duration
	seen  map[gate.Image]bool // what was answered for
}

// export signs an image, and its platform manifests if it is an index. An error
// is one of the store.
func (e *signatureExport) export(ctx context.Context, img gate.Image) ([]signedImage, error) {
	decisions, err := e.gate.Expand(ctx, img)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s := signedImage{Image: img.String(), Reasons: []string{}, Remarks: []string{}, Error: err.Error(), exit: cmdline.Lookup(cmdline.Classify(err).Reason).Exit}
		if s.Removed, err = e.store.Remove(img, time.Now()); err != nil {
			return nil, cmdline.Unwritable("removing a signature", err)
		}
		return []signedImage{s}, nil
	}
	var signed []signedImage
	for _, d := range decisions {
		if e.seen[d.Image] {
			continue
		}
		e.seen[d.Image] = true
		s, err := e.settle(d)
		if err != nil {
			return nil, cmdline.Unwritable("writing the signatures of "+d.Image.String(), err)
		}
		signed = append(signed, s)
	}
	return signed, nil
}

// settle makes the store say what was decided.
func (e *signatureExport) settle(d *gate.Decision) (signedImage, error) {
	s := signedImage{
		Image: d.Image.String(), Accepted: d.Accepted, Verdict: d.Report.Verdict.String(), Reasons: d.Reasons,
		Remarks: append([]string{}, d.Remarks()...), exit: d.Exit(),
	}
	now := time.Now()
	if !d.Accepted {
		var err error
		s.Removed, err = e.store.Remove(d.Image, now)
		return s, err
	}
	signature, err := e.store.Key.Sign(d.Image, now, e.valid)
	if err != nil {
		return s, err
	}
	return s, e.store.Put(d.Image, signature, now)
}

// graver returns the exit code that weighs more: what a log did wrong, then a
// definite no, then what could not be asked, then what lacks evidence.
func graver(a, b int) int {
	order := []int{reason.ExitYes, reason.ExitUnproven, reason.ExitNotAsked, reason.ExitUsage, reason.ExitNo, reason.ExitMisbehave}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

func signaturesText(p term.Printer, v *signaturesAnswer) {
	for _, s := range v.Images {
		switch {
		case s.Accepted:
			p.Printf("%s %-10s %s\n", p.Paint(term.Good, "signed  "), s.Verdict, s.Image)
		case s.Error != "":
			p.Printf("%s %-10s %s: %s\n", p.Paint(term.Bad, "unsigned"), "unasked", s.Image, s.Error)
		default:
			p.Printf("%s %-10s %s: %s\n", p.Paint(term.Bad, "unsigned"), s.Verdict, s.Image, strings.Join(s.Reasons, "; "))
		}
		if s.Removed {
			p.Printf("         the signature that it had is removed\n")
		}
		for _, r := range s.Remarks {
			p.Printf("         %s\n", r)
		}
	}
}
