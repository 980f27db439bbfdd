package cli

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/cairn/internal/stagex"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

// stagexKeyring is the keyring in StageX's repository of signatures.
const stagexKeyring = "stagex-keyring.pgp"

// stagexStore is where StageX's signatures are, and what is to be closed.
type stagexStore struct {
	stagex.Store
	tree importer.Tree // nil over HTTP
}

func (s *stagexStore) Close() error {
	if s.tree == nil {
		return nil
	}
	return s.tree.Close()
}

// openStagexStore opens a directory, a git repository at a commit, or a URL.
func (a *app) openStagexStore(ctx context.Context, arg, commit string) (*stagexStore, error) {
	if importer.IsURL(arg) {
		if commit != "" {
			return nil, cmdline.Usagef("clone the repository, and name its directory", "%s is read over HTTP, and has no commits", arg)
		}
		return &stagexStore{Store: stagex.NewLookaside(arg, a.web())}, nil
	}
	tree, err := openTree(ctx, arg, commit)
	if err != nil {
		return nil, err
	}
	name := arg
	if commit != "" {
		name += "@" + commit
	}
	return &stagexStore{Store: stagex.NewTreeStore(name, tree), tree: tree}, nil
}

func openTree(ctx context.Context, path, commit string) (importer.Tree, error) {
	tree, err := importer.OpenTree(ctx, path, commit)
	if err != nil {
		return nil, cmdline.Unreadable("opening "+path, cmdline.PathCause(err))
	}
	return tree, nil
}

// keyring returns the keyring that a store has, if it has one.
func (s *stagexStore) keyring(ctx context.Context) ([]byte, error) {
	if s.tree == nil {
		return nil, nil
	}
	for _, p := range []string{stagexKeyring, "signatures/" + stagexKeyring} {
		b, err := s.tree.Read(ctx, p, maxKeyring)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, nil
}

// importStagexFlags are those of cairn import stagex.
type importStagexFlags struct {
	importFlags
	keyringFlags
	commit, digests string
}

func (a *app) newImportStagex() *cobra.Command {
	var f importStagexFlags
	cmd := &cobra.Command{
		Use:   "stagex DIR|URL",
		Short: "Log the signatures of StageX's maintainers",
		Long: `Stagex logs the OpenPGP signatures of StageX's images, one entry for each file

  [signatures/]stagex/NAME@sha256=HEX/signature-N

of a directory or git repository, bare or not: StageX's own of former times, or
that of its signatures. Of a URL, over HTTP, it takes those of the images in the
digests/*.txt of --digests DIR, signature-1 and so on until there is none.

A file whose path names another digest than was signed is refused. The keys must
be enrolled: --keyring FILE does that first, as the file stagex-keyring.pgp does if
the directory has it.`,
		Example: `  cairn import stagex signatures/ --policy policy
  cairn import stagex stagex.git --commit b4f0c7df --keyring maintainers.asc
  cairn import stagex https://sigs.stagex.tools --digests stagex/ --keyring maintainers.asc`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error { return a.importStagex(ctx, args[0], &f) }),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	f.keyringFlags.add(cmd)
	fl.StringVar(&f.digests, "digests", "", "take only signatures of the images in digests/*.txt of the tree `DIR`")
	fl.StringVar(&f.commit, "commit", "", "read `COMMIT` of the git repository")
	f.importFlags.add(cmd)
	return cmd
}

func (a *app) importStagex(ctx context.Context, arg string, f *importStagexFlags) error {
	if importer.IsURL(arg) && f.digests == "" {
		return cmdline.Usagef("give --digests DIR, StageX's tree", "signatures over HTTP have no list: it is not known which to ask for")
	}
	store, err := a.openStagexStore(ctx, arg, f.commit)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	src := &stagex.Source{Store: store}
	if src.Keys, err = f.keys(); err != nil {
		return err
	}
	ring, err := store.keyring(ctx)
	if err == nil && ring != nil {
		err = src.Keys.AddKeyring(stagexKeyring, ring)
	}
	if err != nil {
		return cmdline.Doing("reading "+stagexKeyring, err)
	}
	if f.digests != "" {
		if src.Images, err = readImages(ctx, f.digests); err != nil {
			return err
		}
	}
	return a.runImport(ctx, src, &f.importFlags)
}

// readImages reads the digests of StageX's tree in a directory.
func readImages(ctx context.Context, dir string) ([]stagex.Image, error) {
	tree, err := openTree(ctx, dir, "")
	if err != nil {
		return nil, err
	}
	defer func() { _ = tree.Close() }()
	images, err := stagex.ReadImages(ctx, tree)
	if err != nil {
		return nil, cmdline.Unreadable("reading the digests of "+filepath.Clean(dir), err)
	}
	return images, nil
}

func (a *app) newImportGuixSigs() *cobra.Command {
	var f importFlags
	var k keyringFlags
	var commit string
	cmd := &cobra.Command{
		Use:   "guix-sigs DIR",
		Short: "Log the attestations of Guix builds",
		Long: `Guix-sigs logs the attestations of Guix builds that Bitcoin Core and others collect
in a git repository: VERSION/SIGNER/{noncodesigned,all}.SHA256SUMS, each with its
detached signature .asc. The keys in builder-keys are enrolled first.`,
		Example: `  cairn import guix-sigs guix.sigs/
  cairn import guix-sigs guix.sigs.git --commit 1f0c22d9 --report guix.json`,
		Args: cmdline.Takes(1, 1),
		RunE: a.run(func(ctx context.Context, args []string) error {
			keys, err := k.keys()
			if err != nil {
				return err
			}
			tree, err := openTree(ctx, args[0], commit)
			if err != nil {
				return err
			}
			defer func() { _ = tree.Close() }()
			return a.runImport(ctx, &importer.GuixSigs{Name: args[0], Tree: tree, Keys: keys}, &f)
		}),
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	k.add(cmd)
	fl.StringVar(&commit, "commit", "", "read `COMMIT` of the git repository")
	f.add(cmd)
	return cmd
}
