// Package cli is the command line of cairn-builder. Each command is in a file
// of its own; package cmdline has what it shares with cairn.
//
// Invariants beside those of package cmdline:
//   - Only fetch uses the network for sources; every other command works on what
//     is at hand, and asks nobody but the ledger that was named.
//   - What is attested is what this run, or a result it kept, obtained.
package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

// app is one run of the command, with the flags that all commands have.
type app struct {
	*cmdline.App
	tree string // directory
	dir  string // of the builder
}

// Run runs the command with args, and returns its exit code.
func Run(ctx context.Context, args []string, stdio cmdline.IO) int {
	a, root := newApp(stdio)
	return a.Run(ctx, root, args)
}

// Commands returns the tree of commands, for the reference that is generated
// from it.
func Commands() *cobra.Command {
	_, root := newApp(cmdline.IO{Out: io.Discard, Err: io.Discard, Getenv: func(string) string { return "" }})
	return root
}

func newApp(stdio cmdline.IO) (*app, *cobra.Command) {
	a := &app{App: cmdline.NewApp("cairn-builder", stdio)}
	root := &cobra.Command{
		Use:   "cairn-builder",
		Short: "Build package trees from the seed up, bit for bit",
		Long: `Cairn-builder builds StageX-style package trees: a package.toml with hash-locked
sources and a Containerfile for each package. Every image is built without
network from the images below it, attested, and logged; and anyone rebuilds what
others logged, and logs whether it came out the same.`,
		Example: `  cairn-builder graph
  cairn-builder fetch --all
  cairn-builder build --all --key ci.key --operator https://ci.example
  cairn-builder reproduce --all --engine buildah --key bob.key --operator https://bob.example`,
	}
	a.Connect(root)
	f := root.PersistentFlags()
	f.StringVar(&a.tree, "tree", ".", "the package tree in `DIR`, which holds packages/")
	f.StringVar(&a.dir, "dir", ".cairn-builder", "keep images, results, sources and caches in `DIR`")
	a.AnswerFlags(root)
	root.AddCommand(
		a.newGraph(), a.newLint(), a.newFetch(), a.newLock(), a.newBuild(), a.newReproduce(), a.newCompare(),
		a.newSign(), a.newDigests(), a.newWorker(), a.NewVersion(), cmdline.NewExitCodesTopic(),
	)
	return a, root
}

// load reads the tree.
func (a *app) load() (*tree.Tree, error) {
	t, err := tree.Load(a.tree)
	if err != nil {
		return nil, &cmdline.Problem{Reason: cmdline.TreeInvalid, Err: fmt.Errorf("reading the tree in %s: %w", a.tree, err)}
	}
	return t, nil
}

// path returns a path in the builder's directory.
func (a *app) path(name string) string { return filepath.Join(a.dir, name) }

// selection is which packages a command is about.
type selection struct {
	all bool
}

func (s *selection) flags(f *pflag.FlagSet) {
	f.BoolVar(&s.all, "all", false, "every package of the tree")
}

// ids returns the IDs of the packages that the arguments name.
func (s *selection) ids(t *tree.Tree, args []string) ([]string, error) {
	if s.all {
		if len(args) > 0 {
			return nil, cmdline.Usagef("leave out --all, or the packages", "--all and packages are both given")
		}
		args = tree.Stages
	}
	if len(args) == 0 {
		return nil, cmdline.Usagef("name packages, such as core/go, or give --all", "no package is named")
	}
	packages, err := t.Select(args...)
	if err != nil {
		return nil, cmdline.Usagef("list them with `cairn-builder graph`", "%w", err)
	}
	ids := make([]string, len(packages))
	for i, p := range packages {
		ids[i] = p.ID()
	}
	return ids, nil
}
