package cli

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/client/seen"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/reason"
)

func (a *app) newLogMirror() *cobra.Command {
	return &cobra.Command{
		Use:   "mirror SOURCE DIR --policy FILE",
		Short: "Copy a log, verified, into a directory",
		Long: `Mirror copies a whole log into a directory, or brings such a copy up to date:
entries, attestations, and the archive of published checkpoints. SOURCE is the
URL of a ledger, or the URL or directory of another mirror.

Everything is verified while it is copied, against a checkpoint that satisfies
the policy, and the copy's own checkpoint is replaced last. So a copy that is
interrupted, even by a crash, is as good as before, and goes on where it was. It
never goes backwards.

Any web server can serve the directory. Where other commands take --ledger, they
take the directory, or its URL, too.

Attestations that the source does not hold, or withholds, are asked for again by
every later run, of whatever source. The exit code is 3 while the copy lacks any.

The exit code is 5 if the source contradicts the copy, or itself; both checkpoints
are kept.`,
		Example: `  cairn log mirror https://ledger.example /srv/mirror --policy trusted.policy
  cairn log mirror /srv/mirror /media/usb/mirror --policy trusted.policy -o json
  cairn list --ledger /srv/mirror
  cairn show --ledger https://mirror.example 7`,
		Args: cmdline.Takes(2, 2),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.mirror(ctx, args[0], args[1]) }),
	}
}

// mirrorAnswer is the JSON of cairn log mirror.
type mirrorAnswer struct {
	Schema  string `json:"schema"` // cairn/mirror/v1
	Source  string `json:"source"`
	Dir     string `json:"dir"`
	Entries int64  `json:"entries"` // that are new
	// Withheld is the attestations that the copy lacks, Recovered those that it
	// lacked before this run.
	Withheld  int64 `json:"withheld"`
	Recovered int64 `json:"recovered"`
	// Behind is the size of the source's checkpoint, if the copy is ahead of it.
	Behind     *int64         `json:"behind,omitempty"`
	Archived   bool           `json:"archived"` // the checkpoints that were published before
	Checkpoint checkpointView `json:"checkpoint"`
}

func (a *app) mirror(ctx context.Context, source, dir string) error {
	if a.policy == "" {
		return cmdline.Usagef("give --policy FILE, or set CAIRN_POLICY; the least is `log VKEY` and `quorum none`", "no policy says which log to believe")
	}
	a.ledger = source
	o, err := a.connect() // which holds the source to what is remembered
	if err != nil {
		return err
	}
	src, err := mirror.OpenSource(ctx, source, a.clientOptions())
	if err != nil {
		return cmdline.Doing("opening "+source, err)
	}
	progress := a.Progress()
	report, err := mirror.Copy(ctx, src, dir, o.policy, mirror.Options{
		Hold: o.hold,
		Progress: func(p mirror.Progress) {
			progress.Showf("copying: %d of %d entries", p.Entries, p.Size)
		},
	})
	progress.Done()
	var fork *mirror.ForkError
	if errors.As(err, &fork) {
		return o.forked(ctx, fork, dir)
	}
	if err != nil {
		return cmdline.Doing("copying "+source, err)
	}
	c, err := client.VerifyCheckpoint(report.Checkpoint, o.policy)
	if err != nil {
		return err
	}
	v := &mirrorAnswer{
		Schema: "cairn/mirror/v1", Source: source, Dir: dir, Entries: report.Entries,
		Withheld: report.Withheld, Recovered: report.Recovered,
		Behind: report.Behind, Archived: !report.Unarchived, Checkpoint: o.viewCheckpoint(report.Checkpoint, c),
	}
	a.Answer(v, v.text)
	if v.Withheld > 0 {
		return &cmdline.Silent{Exit: reason.ExitUnproven}
	}
	return nil
}

// forked keeps the two checkpoints of a fork that a copy came upon.
func (o *online) forked(ctx context.Context, fork *mirror.ForkError, dir string) error {
	store := seen.New(filepath.Join(dir, "index"))
	if o.memory != nil {
		store = o.memory.store
	}
	err := store.Keep(fork.Kept, fork.Shown, &client.MisbehaviourError{Message: fork.Error()})
	for _, l := range o.logs {
		if _, nerr := note.Open([]byte(fork.Shown), note.VerifierList(l.Verifier)); nerr == nil {
			return o.unheld(ctx, l, err)
		}
	}
	return err
}

func (v *mirrorAnswer) text(p term.Printer) {
	p.Printf("%s: log %s, %d entries, %d of them new\n", v.Dir, v.Checkpoint.Origin, v.Checkpoint.Size, v.Entries)
	if v.Recovered > 0 {
		p.Printf("  the attestations of %d entries were withheld before, and are copied now\n", v.Recovered)
	}
	if v.Withheld > 0 {
		p.Printf("  the source does not hold the attestations of %d entries: the next run asks again\n", v.Withheld)
	}
	if v.Behind != nil {
		p.Printf("  the source is behind, at %d entries\n", *v.Behind)
	} else if !v.Archived {
		p.Printf("  the source keeps no archive of its checkpoints\n")
	}
}
