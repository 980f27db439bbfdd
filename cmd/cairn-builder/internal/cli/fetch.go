package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
	"github.com/cairnlog/cairn/ledger/reason"
)

// fetchAnswer is the JSON of cairn-builder fetch.
type fetchAnswer struct {
	Schema  string        `json:"schema"` // cairn.builder.fetch/v1
	Sources []fetchedView `json:"sources"`
}

// fetchedView is one source in the answer.
type fetchedView struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	File    string `json:"file"`
	SHA256  string `json:"sha256"`
	Path    string `json:"path"`
}

func (a *app) newFetch() *cobra.Command {
	var s selection
	var from []string
	var offline, check bool
	cmd := &cobra.Command{
		Use:   "fetch [PACKAGE...]",
		Short: "Fill the store of sources",
		Long: `Fetch gets the sources of packages, and of all that they are built from, into the
builder's directory: from the directories of --from, where a file or a commit of
a git repository has the right hash, and from the mirrors that package.toml
names. What has another hash than package.toml's is refused. After it, nothing
else needs the network.`,
		Example: `  cairn-builder fetch --all
  cairn-builder fetch --from ~/mirrors bootstrap/stage0`,
		RunE: cmdline.RunE(func(ctx context.Context, args []string) error {
			if check {
				return a.checkStore(ctx)
			}
			return a.fetch(ctx, &s, from, offline, args)
		}),
	}
	cmd.Flags().SortFlags = false
	s.flags(cmd.Flags())
	cmd.Flags().StringArrayVar(&from, "from", nil, "look for files and git repositories in `DIR` first; repeatable")
	cmd.Flags().BoolVar(&offline, "offline", false, "ask no mirror")
	cmd.Flags().BoolVar(&check, "check", false, "hash every file of the store instead, and name what is damaged")
	return cmd
}

// closure returns the packages and all that they are built from.
func closure(t *tree.Tree, ids []string) ([]*tree.Package, error) {
	g, err := t.Graph()
	if err != nil {
		return nil, &cmdline.Problem{Reason: cmdline.TreeInvalid, Err: err}
	}
	named := make([]*tree.Package, len(ids))
	for i, id := range ids {
		named[i] = g.Node(id).Package
	}
	var all []*tree.Package
	for _, n := range g.Closure(named...) {
		all = append(all, n.Package)
	}
	return all, nil
}

func (a *app) fetch(ctx context.Context, s *selection, from []string, offline bool, args []string) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	ids, err := s.ids(t, args)
	if err != nil {
		return err
	}
	store, err := a.store()
	if err != nil {
		return err
	}
	if err := a.takeFrom(ctx, store, t, ids, from); err != nil {
		return err
	}
	packages, err := closure(t, ids)
	if err != nil {
		return err
	}
	wanted := source.All(t, packages)
	if offline {
		err = missing(store, wanted)
	} else {
		report := newFetchReport(a)
		err = fetcher(store).Fetch(ctx, wanted, report.progress)
		report.Close()
	}
	if err != nil {
		return classify(err)
	}
	v := fetchAnswer{Schema: "cairn.builder.fetch/v1", Sources: []fetchedView{}}
	for i := range wanted {
		w := &wanted[i]
		v.Sources = append(v.Sources, fetchedView{w.Package, w.Name, w.File, w.SHA256, store.Path(w.SHA256)})
	}
	a.Answer(v, func(p term.Printer) {
		for _, s := range v.Sources {
			p.Printf("%s %s %s\n", s.SHA256, s.Package, s.File)
		}
	})
	return nil
}

// checkAnswer is the JSON of cairn-builder fetch --check.
type checkAnswer struct {
	Schema  string   `json:"schema"` // cairn.builder.check/v1
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Damaged []string `json:"damaged"`
}

func (a *app) checkStore(ctx context.Context) error {
	store, err := a.store()
	if err != nil {
		return err
	}
	r, err := store.Check(ctx)
	if err != nil {
		return cmdline.Unreadable("checking the store of sources", err)
	}
	v := checkAnswer{"cairn.builder.check/v1", r.Files, r.Bytes, []string{}}
	for _, d := range r.Damage {
		v.Damaged = append(v.Damaged, d.String())
	}
	a.Answer(v, func(p term.Printer) {
		for _, d := range v.Damaged {
			p.Printf("%s\n", d)
		}
		p.Printf("%d files, %s, %d damaged\n", v.Files, size(v.Bytes), len(v.Damaged))
	})
	switch {
	case len(v.Damaged) > 0:
		return &cmdline.Silent{Exit: reason.ExitNo}
	case v.Files == 0:
		return &cmdline.Silent{Exit: reason.ExitUnproven}
	}
	return nil
}

// store opens the store of sources.
func (a *app) store() (*source.Store, error) {
	s, err := source.Open(a.path("sources"))
	if err != nil {
		return nil, cmdline.Unwritable("opening the store of sources", err)
	}
	return s, nil
}

// takeFrom takes what is missing from directories.
func (a *app) takeFrom(ctx context.Context, store *source.Store, t *tree.Tree, ids, dirs []string) error {
	if len(dirs) == 0 {
		return nil
	}
	packages, err := closure(t, ids)
	if err != nil {
		return err
	}
	report := newFetchReport(a)
	taken, err := fetcher(store).Import(ctx, source.All(t, packages), dirs, report.progress)
	report.Close()
	if err != nil {
		return cmdline.Doing("looking for sources", err)
	}
	for _, unread := range taken.Unread {
		a.Note("not looked at: %v", unread)
	}
	for _, f := range taken.Found {
		a.Note("%s: %s is %s", f.Package, f.File, f.From)
	}
	return nil
}

func fetcher(store *source.Store) *source.Fetcher {
	return &source.Fetcher{Store: store, UserAgent: "cairn-builder/" + cmdline.Version()}
}

// missing returns an error of the sources that the store lacks.
func missing(store *source.Store, wanted []source.Wanted) error {
	var lacking []source.Missing
	for _, w := range wanted {
		if !store.Has(w.SHA256) {
			lacking = append(lacking, source.Missing{Wanted: w})
		}
	}
	if lacking == nil {
		return nil
	}
	return &source.MissingError{Sources: lacking}
}
