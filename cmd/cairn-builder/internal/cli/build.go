package cli

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairnlog/cairn/builder/build"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/cmd/internal/term"
)

// buildFlags are the flags of what builds.
type buildFlags struct {
	selection
	engine   engineFlags
	attester attesterFlags
	gate     gateFlags
	from     []string
	treeURI  string
	platform string
	parallel int
	noCache  bool
	logs     bool
}

func (f *buildFlags) flags(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.SortFlags = false
	f.selection.flags(fl)
	f.engine.flags(cmd)
	fl.StringVar(&f.platform, "platform", "linux/"+runtime.GOARCH, "build for `PLATFORM` where a package names none")
	fl.StringArrayVar(&f.from, "from", nil, "take missing sources from files and git repositories in `DIR`; repeatable")
	fl.IntVarP(&f.parallel, "parallel", "j", 1, "build `N` packages at a time")
	fl.StringVar(&f.treeURI, "tree-uri", "", "`URI` at which others find the tree")
	f.attester.flags(fl)
	f.gate.flags(cmd)
	fl.BoolVar(&f.logs, "logs", false, "show all that steps write")
}

func (a *app) newBuild() *cobra.Command {
	var f buildFlags
	var images string
	cmd := &cobra.Command{
		Use:   "build [PACKAGE...]",
		Short: "Build packages, attest them and log them",
		Long: `Build builds packages and all that they are built from, in order, and prints the
manifest digest of each. What is unchanged is not built again.

With --key, each result is attested; with --ledger, the attestation is logged.
A package of which the tree says gate = N is not built upon before N independent
results in the ledger agree on it.`,
		Example: `  cairn-builder build bootstrap/stage0
  cairn-builder build --all --key ci.key --operator https://ci.example --ledger https://log.example
  cairn-builder build --tree stagex --from sources/ bootstrap/stage0`,
		RunE: cmdline.RunE(func(ctx context.Context, args []string) error {
			return a.build(ctx, &f, images, args)
		}),
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.noCache, "no-cache", false, "build what is known, too, and run every step")
	cmd.Flags().StringVar(&images, "images", "", "take the images in `DIR`, of others, instead of building;\nthey are never attested as built")
	return cmd
}

// packageView is one package in the answer of build and sign.
type packageView struct {
	Package  string        `json:"package"`
	Action   build.Action  `json:"action"`
	Manifest string        `json:"manifest"`
	Content  string        `json:"content"`
	Platform string        `json:"platform"`
	Engine   string        `json:"engine"`
	Rebuilt  bool          `json:"rebuilt"`
	Seconds  float64       `json:"seconds"`
	Entry    string        `json:"entry,omitempty"` // of the log
	Layout   string        `json:"layout"`
	Error    string        `json:"error,omitempty"`
	took     time.Duration // as Seconds
}

// buildAnswer is the JSON of cairn-builder build.
type buildAnswer struct {
	Schema   string        `json:"schema"` // cairn.builder.build/v1
	Tree     string        `json:"tree"`   // digest
	Packages []packageView `json:"packages"`
}

func (a *app) build(ctx context.Context, f *buildFlags, images string, args []string) error {
	t, err := a.load()
	if err != nil {
		return err
	}
	ids, err := f.ids(t, args)
	if err != nil {
		return err
	}
	v := buildAnswer{Schema: "cairn.builder.build/v1", Packages: []packageView{}}
	named := make(map[string]bool)
	for _, id := range ids {
		named[id] = true
	}
	err = a.withBuilder(ctx, t, ids, f, func(cfg *build.Config) {
		cfg.Images = images
		cfg.Done = func(r build.Report) { a.built(&v, r, named[r.Package]) }
	}, func(b *build.Builder) error {
		if v.Tree, err = b.TreeDigest(); err != nil {
			return err
		}
		return b.Build(ctx, ids)
	})
	if err != nil {
		return cmdline.After(v, classify(err))
	}
	if a.Format == "json" {
		a.AnswerJSON(v)
	}
	return nil
}

// built adds a package to the answer. As text, it answers at once.
func (a *app) built(v *buildAnswer, r build.Report, named bool) {
	view := packageView{Package: r.Package, Action: r.Action, Seconds: r.Took.Seconds(), took: r.Took}
	if r.Err != nil {
		view.Error = r.Err.Error()
	}
	if res := r.Result; res != nil {
		view.Manifest, view.Content, view.Platform = res.Manifest, res.Content, res.Platform
		view.Engine, view.Rebuilt = res.Engine.Name+" "+res.Engine.Version, res.Rebuilt
		view.Layout = a.path("out/" + r.Package)
		if res.Logged != nil {
			view.Entry = res.Logged.String()
		}
	}
	v.Packages = append(v.Packages, view)
	if a.Format != "json" && (named || r.Action != build.Unchanged) && r.Err == nil {
		view.text(a.Printer(a.Out))
	}
}

func (v *packageView) text(p term.Printer) {
	p.Printf("%s %s %s", hexOf(v.Manifest), v.Package, p.Paint(term.Dim, string(v.Action)))
	if v.Action == build.Built {
		p.Printf(" in %s", v.took.Round(100*time.Millisecond))
	}
	if v.Entry != "" {
		p.Printf(" %s", v.Entry)
	}
	p.Printf("\n")
}

// withBuilder makes a builder of the flags for the length of use.
func (a *app) withBuilder(ctx context.Context, t *tree.Tree, ids []string, f *buildFlags, change func(*build.Config), use func(*build.Builder) error) (err error) {
	cfg := build.Config{
		Tree: t, TreeURI: f.treeURI, Dir: a.dir, Platform: f.platform,
		Parallel: f.parallel, NoCache: f.noCache, Limits: f.engine.limits(),
		Environment: environment(a.dir, a.Getenv),
	}
	if cfg.Recorder, err = f.attester.recorder(a, record.Results{Dir: a.path("results")}); err != nil {
		return err
	}
	if cfg.Gate, err = f.gate.gate(a, cfg.Recorder); err != nil {
		return err
	}
	if cfg.Store, err = a.store(); err != nil {
		return err
	}
	if err := a.takeFrom(ctx, cfg.Store, t, ids, f.from); err != nil {
		return err
	}
	printer := a.progress(f.logs)
	defer printer.Close()
	cfg.Progress = printer.Event
	change(&cfg)
	done := cfg.Done
	cfg.Done = func(r build.Report) {
		printer.Ended(r.Package)
		if done != nil {
			printer.Aside(func() { done(r) })
		}
	}
	if cfg.Engine, err = f.engine.start(ctx, a); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cfg.Engine.Close()) }()
	b, err := build.New(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return use(b)
}

// attesterFlags say who attests, and where it is logged.
type attesterFlags struct {
	network
	key, operator, builderID, repository string
}

func (f *attesterFlags) flags(fl *pflag.FlagSet) {
	fl.StringVar(&f.key, "key", "", "attest with the private key in `FILE`")
	fl.StringVar(&f.operator, "operator", "", "`URI` of who runs this builder")
	fl.StringVar(&f.builderID, "builder-id", "", "`URI` of this builder (default the operator's)")
	fl.StringVar(&f.repository, "repository", "stagex", "`PREFIX` of the images' names in package URLs")
	f.network.flags(fl)
}

// recorder returns who attests, or nil if nobody does.
func (f *attesterFlags) recorder(a *app, results record.Results) (*record.Recorder, error) {
	ledger, err := f.network.connect(a)
	if err != nil {
		return nil, err
	}
	if f.key == "" {
		if ledger != nil && f.ledger != "" {
			a.Note("nothing is attested: give --key FILE")
		}
		return nil, nil
	}
	if f.operator == "" {
		return nil, cmdline.Usagef("give --operator URI, as the key was enrolled with", "no operator is named")
	}
	signer, err := cmdline.ReadKey(f.key)
	if err != nil {
		return nil, err
	}
	id := &record.Identity{Signer: signer, BuilderID: f.builderID, Operator: f.operator, Repository: f.repository}
	if id.BuilderID == "" {
		id.BuilderID = f.operator
	}
	return &record.Recorder{Identity: id, Ledger: ledger, Results: results}, nil
}
