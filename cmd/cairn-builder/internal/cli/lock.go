package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
)

// lockAnswer is the JSON of cairn-builder lock.
type lockAnswer struct {
	Schema   string `json:"schema"` // cairn.builder.lock/v1
	File     string `json:"file"`
	Packages int    `json:"packages"`
	SHA256   string `json:"sha256"` // of the root file system
}

func (a *app) newLock() *cobra.Command {
	var arch, out string
	cmd := &cobra.Command{
		Use:   "lock SUITE DEBIAN-PACKAGE...",
		Short: "Pin Debian packages as the seed of a package",
		Long: `Lock resolves Debian packages and all that they depend on, by the machine's apt,
writes them with versions and hashes to a file, and makes the root file system
that they give. A source with the mirror deb-rootfs:FILE and the hash that is
printed is that root file system, for everybody.`,
		Example: `  cairn-builder lock bookworm gcc-12 libc6-dev binutils dash coreutils -O debian.lock`,
		Args:    cmdline.Takes(2, cmdline.AnyNumber),
		RunE: cmdline.RunE(func(ctx context.Context, args []string) error {
			return a.lock(ctx, args[0], arch, args[1:], out)
		}),
	}
	cmd.Flags().StringVar(&arch, "arch", "", "the packages' `ARCH` (default the machine's)")
	cmd.Flags().StringVarP(&out, "out", "O", "debian.lock", "write the lock to `FILE`")
	return cmd
}

func (a *app) lock(ctx context.Context, suite, arch string, packages []string, out string) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	lock, err := fetcher(store).Lock(ctx, suite, arch, packages)
	if err != nil {
		return &cmdline.Problem{Reason: cmdline.SourceMissing, Err: err, Hint: "check the suite's and the packages' names, and that apt can reach its archive"}
	}
	report := newFetchReport(a)
	sum, err := fetcher(store).Rootfs(ctx, lock, report.progress)
	report.Close()
	if err != nil {
		return &cmdline.Problem{Reason: cmdline.SourceMissing, Err: err, Hint: "try again: what was fetched is kept"}
	}
	if err := cmdline.WriteOut(out, lock.Format()); err != nil {
		return err
	}
	v := lockAnswer{"cairn.builder.lock/v1", out, len(lock.Debs), sum}
	a.Answer(v, func(p term.Printer) { p.Printf("%s %s\n", v.SHA256, v.File) })
	return nil
}
