package cli

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/certification/export"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

func (a *app) newExportCertifications() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "certifications DIR --policy FILE",
		Short: "Write what is attested of packages as files that any web server can serve",
		Long: `Certifications writes every attestation that names a package, as it was submitted,
with its proof and a list for each package, at the paths under which a ledger
serves them:

  DIR/certifications/PACKAGE/index.json
  DIR/certifications/PACKAGE/SHA256.FORMAT             an attestation
  DIR/certifications/PACKAGE/SHA256.FORMAT.tlog-proof
  DIR/certifications/checkpoint                        what is complete up to it

PACKAGE is the package URL, of which every byte but a-z, 0-9, "-", "_" and "." is
written as "~" and two hex digits. The ledger is asked, or a mirror's directory.

The policy is required: each file is verified before it is written. Nothing is
deleted, and a second run writes only what is new. The exit code is 3 while the
source does not hold all attestations, and 5 if it contradicts what was exported.`,
		Example: `  cairn export certifications /srv/www --policy trusted.policy
  cairn export certifications out --ledger /srv/mirror --policy trusted.policy -o json
  cairn export certifications out --policy trusted.policy --name 'pkg:deb/debian/hello@2.10-3?arch=amd64'`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.exportCertifications(ctx, args[0], names) }),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&names, "name", nil, "write only what is about the package URL `PURL`; repeatable")
	return cmd
}

// certificationsAnswer is the JSON of cairn export certifications.
type certificationsAnswer struct {
	Schema   string   `json:"schema"` // cairn/export-certifications/v1
	Dir      string   `json:"dir"`
	Names    []string `json:"names"`    // look-up names; none for all
	Entries  int64    `json:"entries"`  // that were looked at
	Written  int64    `json:"written"`  // attestations that are new in the directory
	Withheld int64    `json:"withheld"` // that the source does not hold
	// Behind is the size of the source's checkpoint, if the directory is ahead.
	Behind     *int64         `json:"behind,omitempty"`
	Checkpoint checkpointView `json:"checkpoint"`
}

func (a *app) exportCertifications(ctx context.Context, dir string, purls []string) error {
	if err := a.requirePolicy(); err != nil {
		return err
	}
	names := []string{}
	for _, p := range purls {
		n, err := attest.LookupName(p)
		if err != nil {
			return cmdline.Doing("reading --name", err)
		}
		names = append(names, n)
	}
	pol, err := cmdline.ReadPolicy(a.policy)
	if err != nil {
		return err
	}
	o, err := a.connect()
	if err != nil {
		return err
	}
	src, err := mirror.OpenSource(ctx, a.ledger, a.clientOptions())
	if err != nil {
		return cmdline.Doing("opening "+a.ledger, err)
	}
	progress := a.Progress()
	report, err := export.Run(ctx, src, o.Client, dir, pol, export.Options{
		Names: names, At: time.Now(), Hold: o.hold,
		Progress: func(entries, size int64) { progress.Showf("exporting: %d of %d entries", entries, size) },
	})
	progress.Done()
	if err != nil {
		return cmdline.Doing("exporting the certifications of "+a.ledger, unexported(err))
	}
	c, err := client.VerifyCheckpoint(report.Checkpoint, o.policy)
	if err != nil {
		return err
	}
	v := &certificationsAnswer{
		Schema: "cairn/export-certifications/v1", Dir: dir, Names: names, Entries: report.Entries, Written: report.Written,
		Withheld: report.Withheld, Behind: report.Behind, Checkpoint: o.viewCheckpoint(report.Checkpoint, c),
	}
	a.Answer(v, v.text)
	if v.Withheld > 0 {
		return &cmdline.Silent{Exit: reason.ExitUnproven}
	}
	return nil
}

// unexported says what kind of failure ended an export.
func unexported(err error) error {
	var wrong *verify.OpenError
	var path *fs.PathError
	switch {
	case errors.Is(err, export.ErrOtherLog):
		return cmdline.Usagef("name another directory, or the policy and ledger of that log", "%w", err)
	case errors.As(err, &wrong) && wrong.Outcome == verify.Refuted:
		return &client.MisbehaviourError{Message: "what the source gave does not verify", Err: err}
	case errors.As(err, &wrong):
		return &cmdline.Problem{Reason: cmdline.EvidenceLacking, Err: err}
	case errors.As(err, &path):
		return cmdline.Unwritable("writing the export", err)
	}
	return err
}

func (v *certificationsAnswer) text(p term.Printer) {
	p.Printf("%s: %s new, of log %s with %d entries\n", v.Dir, plural(int(v.Written), "certification", "certifications"), v.Checkpoint.Origin, v.Checkpoint.Size)
	if v.Withheld > 0 {
		p.Printf("  the source does not hold %s: the next run asks again\n", plural(int(v.Withheld), "attestation", "attestations"))
	}
	if v.Behind != nil {
		p.Printf("  the source is behind, at %d entries: nothing was done\n", *v.Behind)
	}
}
