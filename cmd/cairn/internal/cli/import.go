package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
)

// shownRefusals is how many items are named of those refused for one reason,
// without --verbose.
const shownRefusals = 5

func (a *app) newImport() *cobra.Command {
	return cmdline.NewGroup(&cobra.Command{
		Use:   "import",
		Short: "Log what others signed",
		Long: `Import logs the signatures of another project as they are, and reports what was
logged, what the log had already, and what was refused and why.

It may be run again, and after it was interrupted: what is logged stays logged,
and the ledger knows it. What is reported as logged was verified to be in the tree
of a published checkpoint; with a policy, of one that satisfies it. The exit code
is 0 if everything is logged, and 1 if something was refused.`,
		Example: `  cairn import stagex stagex/ --keyring stagex-keyring.pgp
  cairn import guix-sigs guix.sigs/
  cairn import rebuilderd https://reproduce.example --state reproduce.state`,
	}, a.imports()...)
}

// imports are the commands that import; each makes an importer.Source and calls
// runImport.
func (a *app) imports() []*cobra.Command {
	return []*cobra.Command{
		a.newImportStagex(), a.newImportGuixSigs(), a.newImportBuildinfo(), a.newImportRebuilderd(), a.newImportOSSRebuild(),
		a.newImportRekor(),
	}
}

// importFlags are those of every import.
type importFlags struct {
	state, report   string
	dryRun, verbose bool

	enrolled []*attest.PublicKey // that a dry run takes for enrolled
}

func (f *importFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&f.dryRun, "dry-run", false, "ask no ledger: check everything here, with the keys of the import")
	fl.StringVar(&f.state, "state", "", "go on where the import whose state is in `FILE` ended, and keep it there")
	fl.StringVar(&f.report, "report", "", "write the whole report to `FILE`, as JSON")
	fl.BoolVar(&f.verbose, "verbose", false, "name all that was refused")
}

// runImport imports a source and answers with the report.
func (a *app) runImport(ctx context.Context, src importer.Source, f *importFlags) error {
	progress := a.Progress()
	im := importer.Import{
		Source: src,
		Keys:   f.enrolled,
		Sleep:  client.Sleep,
		Progress: func(r *importer.Report) {
			progress.Showf("%s", r.Line())
		},
	}
	origin, checked := "", false
	if !f.dryRun {
		o, err := a.connectForMany(ctx)
		if err != nil {
			return err
		}
		im.Ledger, origin, checked = newLogger(o), o.origin, o.policy != nil
	}
	if f.state != "" {
		if f.dryRun {
			return cmdline.Usagef("leave out --state", "an import that logs nothing has no state")
		}
		var err error
		if im.State, err = importer.OpenState(f.state, origin, src.String()); err != nil {
			return stateProblem(f.state, err)
		}
	}
	report, err := im.Run(ctx)
	progress.Done()
	report.Origin, report.SignatureChecked = origin, checked
	if cerr := im.State.Close(); err == nil && cerr != nil {
		err = cmdline.Unwritable("closing "+f.state, cmdline.PathCause(cerr))
	}
	return a.answerImport(report, f, err)
}

// stateProblem says what is wrong with a state file.
func stateProblem(path string, err error) error {
	if errors.Is(err, importer.ErrOtherImport) {
		return cmdline.Usagef("name another file with --state, or delete this one", "reading %s: %w", path, err)
	}
	return cmdline.Unreadable("opening "+path, cmdline.PathCause(err))
}

// connectForMany returns the ledger, for hundreds of requests at a time, once it
// answered.
func (a *app) connectForMany(ctx context.Context) (*online, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = importer.InFlight, importer.InFlight
	a.http, a.patience = &http.Client{Transport: transport}, client.Sleep
	o, err := a.connect()
	if err != nil {
		return nil, err
	}
	if _, _, err := o.latest(ctx); err != nil {
		return nil, cmdline.Doing("asking for the log's origin", err)
	}
	return o, nil
}

// answerImport answers with a report, of a failed import too. Where something
// was refused, the exit code says so.
func (a *app) answerImport(r *importer.Report, f *importFlags, err error) error {
	if f.report != "" {
		b, jerr := json.MarshalIndent(r, "", "  ")
		if jerr == nil {
			jerr = cmdline.WriteOut(f.report, append(b, '\n'))
		}
		if err == nil {
			err = jerr
		}
	}
	if err != nil {
		if r.Items > 0 {
			a.Note("before it ended, the import had %s", r.Line())
		}
		return cmdline.After(r, sourceProblem("importing "+r.Source, err))
	}
	a.Answer(r, func(p term.Printer) { importText(p, r, f.verbose) })
	if r.Refused > 0 {
		return &cmdline.Silent{Exit: reason.ExitNo}
	}
	return nil
}

// sourceProblem adds what was being done to an error of an import, which may be
// the source's.
func sourceProblem(doing string, err error) error {
	var file *fs.PathError
	var web *importer.WebError
	p := cmdline.Doing(doing, err).(*cmdline.Problem)
	switch {
	case errors.As(err, &file):
		p.Reason = cmdline.FileUnreadable
	case errors.As(err, &web):
		p.Reason = cmdline.SourceUnreachable
	}
	return p
}

func importText(p term.Printer, r *importer.Report, verbose bool) {
	p.Printf("%s: %s\n", r.Source, r.Line())
	for _, g := range r.Groups {
		p.Printf("  %-60s %6d logged %6d refused\n", g.Name, g.Logged, g.Refused)
	}
	for _, list := range r.Refusals {
		p.Printf("\n%s %s\n", p.Paint(term.Bad, fmt.Sprintf("%d refused:", list.Count)), list.Reason)
		for i, item := range list.Items {
			if i == shownRefusals && !verbose {
				p.Printf("  and %d more: see --verbose, or --report FILE\n", list.Count-i)
				break
			}
			p.Printf("  %s\n      %s\n", item.Name, item.Message)
		}
	}
}
