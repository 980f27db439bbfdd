package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
)

// endorseFlags name the keys of others that an import endorses.
type endorseFlags struct {
	key       string
	endorse   []string
	endorseAs string
}

func (f *endorseFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.key, "key", "", "sign with the private key in `FILE`, which must be enrolled")
	fl.StringArrayVar(&f.endorse, "endorse", nil, "endorse the public key in `FILE` first; repeatable")
	fl.StringVar(&f.endorseAs, "endorse-as", "", "`URI` of who operates the keys that are endorsed")
}

// keys returns the items that endorse the keys, and further ones in PEM.
func (f *endorseFlags) keys(further ...string) (importer.Keys, error) {
	var keys importer.Keys
	if len(f.endorse)+len(further) == 0 {
		return nil, nil
	}
	signer, err := cmdline.ReadKey(f.key)
	if err != nil {
		return nil, err
	}
	if f.endorseAs == "" {
		return nil, cmdline.Usagef("give --endorse-as URI, such as https://reproduce.example", "it is not said who operates the keys that are endorsed")
	}
	add := func(name string, pem []byte) error {
		key, err := attest.ParsePublicKey(pem)
		if err != nil {
			return cmdline.Doing("reading "+name, err)
		}
		raw, err := attest.Endorse(signer, key, f.endorseAs, "")
		if err != nil {
			return err
		}
		keys.AddEndorsement(name, raw)
		return nil
	}
	for _, path := range f.endorse {
		pem, err := cmdline.ReadSmall("public key", path)
		if err != nil {
			return nil, err
		}
		if err := add(path, pem); err != nil {
			return nil, err
		}
	}
	for _, pem := range further {
		if err := add("the daemon's key", []byte(pem)); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// importRebuilderdFlags are those of cairn import rebuilderd.
type importRebuilderdFlags struct {
	importFlags
	endorseFlags
	filter     importer.RebuilderdFilter
	endorseOwn bool
	fetch      bool
	operator   string
	split      bool
}

func (a *app) newImportRebuilderd() *cobra.Command {
	var f importRebuilderdFlags
	cmd := &cobra.Command{
		Use:   "rebuilderd URL",
		Short: "Log the results of a rebuilderd",
		Long: `Rebuilderd logs the latest result for every package of a rebuilderd, by its REST
interface in version 1.

Where there is an attestation, it is logged as it is. Its keys must be known to the
log: --endorse-daemon endorses those that the daemon says it signs with, and
--endorse FILE others, such as a worker's; your own key must be enrolled. With
--split, each signature is an entry of its own, so that the daemon's is logged
though the worker's key is unknown.

Without one, rebuilderd says GOOD, BAD or FAIL in JSON that nobody signed, and
gives no digest of anything. With --key and --fetch, these results become
reproductions that you claim: IDENTICAL, DIFFERENT or BUILD_FAILED, about the
artifact that its URL serves now. They count for nothing where a policy asks who
built: you did not. Otherwise these results are refused.`,
		Example: `  cairn import rebuilderd https://reproduce.example --key alice.key \
      --endorse-daemon --endorse-as https://reproduce.example --state reproduce.state
  cairn import rebuilderd https://reproduce.example --distribution debian --architecture amd64 \
      --key alice.key --fetch --report report.json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.importRebuilderd(ctx, args[0], &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.endorseFlags.add(cmd)
	fl.BoolVar(&f.endorseOwn, "endorse-daemon", false, "endorse the keys that the daemon says it signs with")
	fl.BoolVar(&f.fetch, "fetch", false, "fetch artifacts of results without attestation, and claim these results")
	fl.StringVar(&f.operator, "operator", "", "`URI` of who runs the daemon, for these claims")
	fl.BoolVar(&f.split, "split", false, "make each signature of an attestation an entry of its own")
	fl.StringVar(&f.filter.Distribution, "distribution", "", "only of the distribution `NAME`")
	fl.StringVar(&f.filter.Release, "release", "", "only of the release `NAME`")
	fl.StringVar(&f.filter.Component, "component", "", "only of the component `NAME`")
	fl.StringVar(&f.filter.Architecture, "architecture", "", "only of the architecture `NAME`")
	fl.StringVar(&f.filter.Name, "name", "", "only the package `NAME`")
	f.importFlags.add(cmd)
	return cmd
}

func (a *app) importRebuilderd(ctx context.Context, url string, f *importRebuilderdFlags) error {
	if !importer.IsURL(url) {
		return cmdline.Usagef("give it as https://HOST, without /api/v1", "%q is no URL", url)
	}
	src := &importer.Rebuilderd{URL: url, Filter: f.filter, Web: a.web(), Operator: f.operator, Split: f.split}
	var own []string
	var err error
	if f.endorseOwn {
		if own, err = src.PublicKeys(ctx); err != nil {
			return sourceProblem("asking for the daemon's keys", err)
		}
	}
	if src.Keys, err = f.keys(own...); err != nil {
		return err
	}
	if f.fetch {
		if src.Signer, err = cmdline.ReadKey(f.key); err != nil {
			return err
		}
	}
	return a.runImport(ctx, src, &f.importFlags)
}
