package cli

import (
	"context"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/client"
)

// maxKeyring bounds a keyring that is read.
const maxKeyring = 16 << 20

// keyringFlags name the keys that an import enrols.
type keyringFlags struct {
	keyrings []string
}

func (f *keyringFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keyrings, "keyring", nil, "enrol the OpenPGP keys in `FILE` first; repeatable")
}

// keys returns the items that enrol the keys.
func (f *keyringFlags) keys() (importer.Keys, error) {
	var keys importer.Keys
	for _, path := range f.keyrings {
		b, err := cmdline.ReadUpTo("keyring", path, maxKeyring)
		if err != nil {
			return nil, err
		}
		if err := keys.AddKeyring(filepath.Base(path), b); err != nil {
			return nil, cmdline.Doing("reading keyring "+path, err)
		}
	}
	return keys, nil
}

// web returns what gets the files of sources.
func (a *app) web() *importer.Web {
	return &importer.Web{Client: &http.Client{Timeout: a.timeout}, Agent: a.userAgent(), Sleep: client.Sleep}
}

func (a *app) newImportBuildinfo() *cobra.Command {
	var f importFlags
	var k keyringFlags
	cmd := &cobra.Command{
		Use:   "buildinfo FILE|DIR|URL...",
		Short: "Log signed .buildinfo files",
		Long: `Buildinfo logs Debian's .buildinfo files: those that are signed as cleartext, and
those with a detached signature beside them, as FILE.asc, FILE.sig or FILE.gpg. Of
a directory it takes all, whatever its depth. Where several signed one file, each
signature is an entry of its own.`,
		Example: `  cairn import buildinfo hello_2.10-3_amd64.buildinfo --keyring alice.asc
  cairn import buildinfo buildinfo-pool/ --keyring /usr/share/keyrings/debian-keyring.gpg
  cairn import buildinfo https://builds.example/hello_2.10-3_amd64.buildinfo`,
		Args: cmdline.Takes(1, cmdline.AnyNumber),
		RunE: a.run(func(ctx context.Context, args []string) error {
			keys, err := k.keys()
			if err != nil {
				return err
			}
			return a.runImport(ctx, &importer.Files{
				Kind: "buildinfo", Args: args, Suffixes: []string{".buildinfo"}, Keys: keys, Web: a.web(),
			}, &f)
		}),
	}
	cmd.Flags().SortFlags = false
	k.add(cmd)
	f.add(cmd)
	return cmd
}

func (a *app) newImportOSSRebuild() *cobra.Command {
	var f importFlags
	var e endorseFlags
	cmd := &cobra.Command{
		Use:   "oss-rebuild FILE|DIR|URL...",
		Short: "Log the rebuilds of OSS Rebuild",
		Long: `Oss-rebuild logs the attestations of OSS Rebuild: rebuild.intoto.jsonl files, of
which each line is an entry of its own. Of a directory it takes all .jsonl files,
whatever its depth. The key that signed them cannot enrol itself: --endorse FILE
endorses it, by your own enrolled --key.`,
		Example: `  cairn import oss-rebuild rebuild.intoto.jsonl
  cairn import oss-rebuild attestations/ --state oss-rebuild.state --key alice.key \
      --endorse oss-rebuild.pub --endorse-as https://oss-rebuild.dev`,
		Args: cmdline.Takes(1, cmdline.AnyNumber),
		RunE: a.run(func(ctx context.Context, args []string) error {
			keys, err := e.keys()
			if err != nil {
				return err
			}
			return a.runImport(ctx, &importer.Files{
				Kind: "oss-rebuild", Args: args, Suffixes: []string{".jsonl"}, Lines: true, Keys: keys, Web: a.web(),
			}, &f)
		}),
	}
	cmd.Flags().SortFlags = false
	e.add(cmd)
	f.add(cmd)
	return cmd
}
