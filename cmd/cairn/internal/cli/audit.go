package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/sigstore"
)

// auditFlags are the flags of cairn audit.
type auditFlags struct {
	state        string
	noSignatures bool
	anchors      []string
	rekorKey     string
	root         string
}

func (a *app) newAudit() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit DIR|URL --policy FILE",
		Short: "Check a whole log",
		Long: `Audit reads a whole log once and checks that everything in it holds together:
every tile and root is rebuilt from the entries, every archived checkpoint is
compared with the root at its size and with the policy, every attestation's
signatures are verified with the keys that were enrolled before it, its entry is
derived again, and the query index is compared row for row.

DIR is a ledger's own directory (with log, blobs.db and index.db), which may be
in use, or a copy of a log; nothing is written there. URL is a ledger, or a copy
of a log on a web server.

With --state, what a clean audit checked is not checked again by the next one.

With --anchor, checkpoints that cairn anchor put into a Rekor log are compared
with the log, too: that shows a log that was rolled back or rewritten, even if it
is flawless by itself. Their proofs are verified offline, with the Rekor log's key.

The exit code is that of the gravest finding: 5 for a fork, 10 for corrupt, 11
for policy, 12 for attestation, 3 for incomplete. docs/audit.md says what each
finding means and what to do.`,
		Example: `  cairn audit /var/lib/cairn --policy trusted.policy
  cairn audit mirror/ --policy trusted.policy --state mirror.audit -o json
  cairn audit mirror/ --policy trusted.policy --anchor anchors/ --rekor-key rekor.pub
  cairn audit mirror/ --policy trusted.policy --trusted-root trusted_root.json
  cairn audit https://ledger.example --policy trusted.policy --no-signatures`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.audit(ctx, &f, args[0]) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.state, "state", "", "go on from the audit that `FILE` keeps, and keep this one; FILE.identities belongs to it")
	fl.StringVar(&f.root, "trusted-root", "", "check who issued the certificates of Sigstore bundles by the trusted root in `FILE`")
	fl.BoolVar(&f.noSignatures, "no-signatures", false, "leave the attestations out, enrolments excepted")
	fl.StringArrayVar(&f.anchors, "anchor", nil, "compare the log with the anchor in `FILE`, or with all *.anchor of that directory; repeatable")
	fl.StringVar(&f.rekorKey, "rekor-key", "", "the public key of the Rekor log that the anchors are in, pinned, in the PEM `FILE`")
	return cmd
}

func (a *app) audit(ctx context.Context, f *auditFlags, place string) error {
	if a.policy == "" {
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; the least is `log VKEY` and `quorum none`", "no policy says which log to believe")
	}
	p, err := cmdline.ReadPolicy(a.policy)
	if err != nil {
		return err
	}
	anchors, err := readAnchors(f.anchors, f.rekorKey)
	if err != nil {
		return err
	}
	certificate, err := readTrustedRoot(f.root)
	if err != nil {
		return err
	}
	c, err := a.openCopy(ctx, place)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // it was only read
	shown := a.newAuditProgress()
	report, err := audit.Run(ctx, c, audit.Options{
		Policy: p, State: f.state, NoSignatures: f.noSignatures, Certificate: certificate, Anchors: anchors, Progress: shown.tell,
	})
	shown.end()
	switch {
	case errors.Is(err, audit.ErrState):
		return cmdline.Usagef("name another --state FILE, or delete it with its .identities to begin anew", "%w", err)
	case err != nil:
		return cmdline.After(report, err)
	}
	a.Answer(report, func(p term.Printer) { auditText(p, report) })
	if code := report.ExitCode(); code != 0 {
		return &cmdline.Silent{Exit: code}
	}
	return nil
}

// readTrustedRoot returns what checks certificates by the trusted root in a file; nil
// if none is named.
func readTrustedRoot(path string) (func(*attest.Attestation) error, error) {
	if path == "" {
		return nil, nil
	}
	r, err := sigstore.ReadRoot(path)
	if err != nil {
		return nil, cmdline.Usagef("a Sigstore instance publishes its trusted root as trusted_root.json; `cosign trusted-root create` writes one", "%w", err)
	}
	return r.Check, nil
}

func (a *app) openCopy(ctx context.Context, place string) (audit.Copy, error) {
	if strings.HasPrefix(place, "http://") || strings.HasPrefix(place, "https://") {
		c, err := audit.OpenURL(ctx, place, client.Options{Timeout: a.timeout, Sleep: a.sleep})
		if err != nil {
			return c, cmdline.Doing("opening "+place, err)
		}
		return c, nil
	}
	c, err := audit.OpenDir(place)
	if err != nil {
		return c, cmdline.Unreadable("opening "+place, cmdline.PathCause(err))
	}
	return c, nil
}

// auditText writes a report for people.
func auditText(p term.Printer, r *audit.Report) {
	if c := r.Checkpoint; c != nil {
		p.Printf("log       %s\n", c.Origin)
		p.Printf("size      %d\nroot      %s\n", c.Size, c.Root)
	}
	if r.Resumed {
		p.Printf("from      %d, where an earlier audit ended\n", r.From)
	}
	n := &r.Counts
	p.Printf("checked   %d entries, %d tiles, %d checkpoints with %d cosignatures, %d keys\n",
		n.Entries.Load(), n.Tiles.Load(), n.Checkpoints.Load(), n.Cosignatures.Load(), n.Keys.Load())
	p.Printf("          %d attestations, %d rows of the query index, %d files, in %.1f s\n",
		n.Attestations.Load(), n.IndexRows.Load(), n.Files.Load(), r.Seconds)
	if anchors := n.Anchors.Load(); anchors > 0 {
		p.Printf("          %d anchored checkpoints\n", anchors)
	}
	if skipped := auditSkipped(r); skipped != "" {
		p.Printf("not       %s\n", skipped)
	}
	if ahead := n.Unpublished.Load(); ahead > 0 {
		p.Printf("ahead     %d files and checkpoints are not published yet, and were not checked\n", ahead)
	}
	for _, f := range r.Findings {
		p.Printf("%s %s %s: %s\n", p.Paint(term.Bad, string(f.Class)), f.Kind, f.Where, f.What)
	}
	if r.LeftOut > 0 {
		p.Printf("… and %d more\n", r.LeftOut)
	}
	if r.Clean {
		p.Printf("%s\n", p.Paint(term.Good, "clean"))
		return
	}
	total := fmt.Sprintf("%d findings", len(r.Findings)+r.LeftOut)
	if total == "1 findings" {
		total = "1 finding"
	}
	p.Printf("%s\n", p.Paint(term.Bad, total))
}

// auditSkipped names what was not looked at.
func auditSkipped(r *audit.Report) string {
	var parts []string
	for _, x := range []struct {
		covered bool
		name    string
	}{
		{r.Coverage.Signatures, "attestations"},
		{r.Coverage.Certificates || !r.Coverage.Signatures, "who issued the certificates of Sigstore bundles"},
		{r.Coverage.Index, "a query index"},
		{r.Coverage.Archive, "archived checkpoints"},
		{r.Coverage.FilesListed, "other files"},
	} {
		if !x.covered {
			parts = append(parts, x.name)
		}
	}
	return strings.Join(parts, ", ")
}

// How often an audit that runs is shown.
const (
	auditOnTerminal = 200 * time.Millisecond
	auditElsewhere  = 10 * time.Second
)

// auditProgress shows how far an audit is: on a terminal in a line that is
// redrawn, elsewhere in lines that a log can keep.
type auditProgress struct {
	p        term.Printer
	quiet    bool
	terminal bool
	told     time.Time
	drawn    bool
}

func (a *app) newAuditProgress() *auditProgress {
	f, ok := a.Err.(*os.File)
	terminal := ok && isatty.IsTerminal(f.Fd()) && a.Getenv("TERM") != "dumb"
	return &auditProgress{p: a.Printer(a.Err), quiet: a.Quiet, terminal: terminal, told: time.Now()}
}

func (s *auditProgress) tell(at audit.Progress) {
	every := auditElsewhere
	if s.terminal {
		every = auditOnTerminal
	}
	if s.quiet || time.Since(s.told) < every {
		return
	}
	s.told = time.Now()
	begin, end := "", "\n"
	if s.terminal {
		begin, end = "\r\x1b[K", ""
		s.drawn = true
	}
	s.p.Printf("%scairn: %s: %d of %d entries, %d attestations, %d findings, %s%s", term.Painted(begin),
		at.Phase, at.Entries, at.Of, at.Signatures, at.Findings, at.Elapsed.Round(time.Second), term.Painted(end))
}

func (s *auditProgress) end() {
	if s.drawn {
		s.p.Printf("%s", term.Painted("\r\x1b[K"))
	}
}
