// Package build builds the packages of a tree in the order that their graph
// asks for, and rebuilds what others built.
//
// Invariants:
//   - A package is built from images that this builder obtained, by digest, and
//     from sources of its store: a build never fetches.
//   - What a package is a function of is in its inputs digest; a result is used
//     again only for the same inputs, and only while its image is whole.
//   - A gate is open only if it was seen open: nothing is built on an image whose
//     gate was not asked, or did not answer.
//   - A result is kept once its image is complete on disk, and logged after it is
//     kept. A builder that is killed in between goes on from there.
//   - A rebuild is never answered from a cache.
package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/ledger/attest"
)

// Config is what a Builder works with.
type Config struct {
	Tree    *tree.Tree
	TreeURI string // where others find the tree; may be empty
	Store   *source.Store
	Engine  engine.Engine
	// Dir holds the images (out/), results (results/) and what is being built
	// (tmp/). One builder at a time uses it.
	Dir      string
	Platform string // of packages that name none, such as linux/amd64
	Recorder *record.Recorder
	Gate     Gate // nil keeps every gate shut
	// Images is a directory of OCI layouts that others built, <id> each, which
	// are taken instead of building; empty for none.
	Images      string
	Parallel    int // packages at a time; at least 1
	NoCache     bool
	Limits      engine.Limits
	Environment map[string]string // the machine, as attestations have it
	Progress    func(engine.Event)
	// Done is called for each package as it is done, one call at a time.
	Done func(Report)
}

// Report is what became of one package.
type Report struct {
	Package string
	Action  Action
	Result  *record.Result // nil if there is none
	Took    time.Duration
	Err     error
}

// Action says how a package came to its result.
type Action string

// The actions.
const (
	Built       Action = "built"
	Unchanged   Action = "unchanged"
	Substituted Action = "substituted"
	Failed      Action = "failed"
)

// Builder builds the packages of one tree.
type Builder struct {
	cfg     Config
	results record.Results

	treeDigest func() (string, error)

	mu       sync.Mutex
	contexts map[string]*packageContext // by directory
	opened   map[string]bool            // gates that were open, by package and image
	lock     *os.File
	watch    func(engine.Event)
}

// New returns a Builder. Close ends its use of the directory.
func New(cfg Config) (*Builder, error) {
	if cfg.Parallel < 1 {
		cfg.Parallel = 1
	}
	if cfg.Done == nil {
		cfg.Done = func(Report) {}
	}
	b := &Builder{
		cfg:      cfg,
		results:  record.Results{Dir: filepath.Join(cfg.Dir, "results")},
		contexts: make(map[string]*packageContext),
		opened:   make(map[string]bool),
	}
	b.treeDigest = sync.OnceValues(b.hashTree)
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the builder's directory: %w", err)
	}
	var err error
	if b.lock, err = lockDir(cfg.Dir); err != nil {
		return nil, err
	}
	// What a killed builder left half-done is nobody's result.
	if err := os.RemoveAll(b.tmp()); err != nil {
		return nil, errors.Join(fmt.Errorf("clearing what was left half-done: %w", err), b.Close())
	}
	return b, nil
}

// Close lets go of the directory.
func (b *Builder) Close() error { return b.lock.Close() }

func (b *Builder) tmp() string { return filepath.Join(b.cfg.Dir, "tmp") }

// Layout returns the directory of a package's image.
func (b *Builder) Layout(id string) string { return layoutIn(filepath.Join(b.cfg.Dir, "out"), id) }

// Result returns the result of a package, or nil if it was not built.
func (b *Builder) Result(id string) (*record.Result, error) { return b.results.Get(id) }

// Ledger returns the ledger that results are logged in, and who attests them;
// nil if there is none.
func (b *Builder) Ledger() (*record.Ledger, *record.Identity) {
	if b.cfg.Recorder == nil {
		return nil, nil
	}
	return b.cfg.Recorder.Ledger, b.cfg.Recorder.Identity
}

// Attend has what is built from now on watched, and confirmed before any of it is
// logged; nil for both ends it. It is for a builder that does one thing at a
// time.
func (b *Builder) Attend(confirm func(context.Context) error, watch func(engine.Event)) {
	if b.cfg.Recorder != nil {
		b.cfg.Recorder.Confirm = confirm
	}
	b.watch = watch
}

// progress tells whoever wants to know.
func (b *Builder) progress(e engine.Event) {
	if b.cfg.Progress != nil {
		b.cfg.Progress(e)
	}
	if b.watch != nil {
		b.watch(e)
	}
}

// Changed returns those of the packages whose inputs are not those of their last
// result, as far as that can be said without building: a package changed if one
// of those it is built from did.
func (b *Builder) Changed(ctx context.Context, ids []string) ([]string, error) {
	plan, err := b.plan(ids)
	if err != nil {
		return nil, err
	}
	changed := make(map[string]bool)
	for _, p := range plan {
		if slices.ContainsFunc(before(p), func(id string) bool { return changed[id] }) {
			changed[p.ID()] = true
			continue
		}
		res, err := b.results.Get(p.ID())
		if err != nil {
			return nil, err
		}
		if res == nil {
			changed[p.ID()] = true
			continue
		}
		in, err := b.inputs(ctx, p)
		if err != nil {
			return nil, err
		}
		changed[p.ID()] = res.Inputs != in.digest
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !changed[id] }), nil
}

// Build builds the named packages and all that they are built from, and returns
// the error of the first that failed. What does not need that one is finished
// if it was begun.
func (b *Builder) Build(ctx context.Context, ids []string) error {
	plan, err := b.plan(ids)
	if err != nil {
		return err
	}
	return b.run(ctx, plan, false, func(ctx context.Context, p *tree.Package) Report { return b.build(ctx, p, true) })
}

// plan returns the named packages and what they need, in the order of building.
func (b *Builder) plan(ids []string) ([]*tree.Package, error) {
	g, err := b.cfg.Tree.Graph()
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool)
	var want func(p *tree.Package)
	want = func(p *tree.Package) {
		if wanted[p.ID()] {
			return
		}
		wanted[p.ID()] = true
		for _, id := range before(p) {
			want(g.Node(id).Package) // Graph has found them all
		}
	}
	for _, id := range ids {
		p, err := b.cfg.Tree.Lookup(id)
		if err != nil {
			return nil, err
		}
		want(p)
	}
	var plan []*tree.Package
	for _, n := range g.Nodes {
		if wanted[n.ID()] {
			plan = append(plan, n.Package)
		}
	}
	return plan, nil
}

// before returns the packages that must be built before p.
func before(p *tree.Package) []string {
	ids := append(slices.Clone(p.Needs()), p.Meets...)
	slices.Sort(ids)
	return slices.Compact(ids)
}

// turn is a package's turn in a run.
type turn struct {
	done chan struct{} // closed when it is over
	ok   bool          // whether there is an image; to be read once it is over
}

// run calls one for each package of the plan, after those it needs. A failure
// ends what was not begun; with goOn, one of a step ends only what needs the
// package. It returns the first failure.
func (b *Builder) run(ctx context.Context, plan []*tree.Package, goOn bool, one func(context.Context, *tree.Package) Report) error {
	building := ctx // of which who called is the end
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	turns := make(map[string]*turn, len(plan))
	for _, p := range plan {
		turns[p.ID()] = &turn{done: make(chan struct{})}
	}
	slots := make(chan struct{}, b.cfg.Parallel)
	var wg sync.WaitGroup
	var reporting sync.Mutex
	var first error
	for _, p := range plan {
		wg.Go(func() {
			t := turns[p.ID()]
			defer close(t.done)
			if !await(ctx, turns, before(p), slots) {
				return
			}
			defer func() { <-slots }()
			started := time.Now()
			r := one(building, p)
			r.Package, r.Took = p.ID(), time.Since(started)
			reporting.Lock()
			defer reporting.Unlock()
			if t.ok = r.Err == nil; !t.ok {
				r.Action = Failed
				first = cmp.Or(first, r.Err)
				if !goOn || !isStep(r.Err) {
					cancel(r.Err)
				}
			}
			b.cfg.Done(r)
		})
	}
	wg.Wait()
	return cmp.Or(first, context.Cause(ctx))
}

func isStep(err error) bool {
	var step *engine.StepError
	return errors.As(err, &step)
}

// await waits for the turns of what a package needs, and for a slot. It reports
// whether the package's own turn has come: not if one that it needs has no
// image, or if the run is over.
func await(ctx context.Context, turns map[string]*turn, needs []string, slots chan struct{}) bool {
	for _, id := range needs {
		select {
		case <-turns[id].done:
			if !turns[id].ok {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	if ctx.Err() != nil { // both were ready
		<-slots
		return false
	}
	return true
}

// build obtains one package's image, and attests it if attested is set.
func (b *Builder) build(ctx context.Context, p *tree.Package, attested bool) Report {
	in, err := b.inputs(ctx, p)
	if err != nil {
		return Report{Err: err}
	}
	res, action, err := b.obtain(ctx, p, in)
	if err != nil {
		return Report{Err: err}
	}
	if attested && b.cfg.Recorder != nil {
		err = b.cfg.Recorder.Build(ctx, res)
	}
	return Report{Action: action, Result: res, Err: err}
}

func (b *Builder) obtain(ctx context.Context, p *tree.Package, in *inputs) (*record.Result, Action, error) {
	if !b.cfg.NoCache {
		res, err := b.known(p, in)
		if res != nil || err != nil {
			return res, Unchanged, err
		}
	}
	if b.cfg.Images != "" {
		res, err := b.substitute(ctx, p, in)
		if res != nil || err != nil {
			return res, Substituted, err
		}
	}
	made, err := b.make(ctx, p, in, b.cfg.NoCache)
	if err != nil {
		return nil, Failed, err
	}
	defer made.discard()
	return made.result, Built, b.keep(made)
}

// known returns the result of the same inputs, if its image is whole. What others
// built is known only to who takes such images.
func (b *Builder) known(p *tree.Package, in *inputs) (*record.Result, error) {
	res, err := b.results.Get(p.ID())
	if err != nil || res == nil || res.Inputs != in.digest || res.Engine.Name != b.cfg.Engine.Info().Name {
		return nil, err
	}
	if res.Obtained != attest.Built && b.cfg.Images == "" || !intact(b.Layout(p.ID()), res) {
		return nil, nil
	}
	return res, nil
}

// keep moves an image to its place and keeps its result. In between, there is
// an image without a result, which is built again.
func (b *Builder) keep(m *made) error {
	id, layout := m.result.Package, b.Layout(m.result.Package)
	if err := b.results.Remove(id); err != nil {
		return err
	}
	if err := os.RemoveAll(layout); err != nil {
		return fmt.Errorf("making room for the image of %s: %w", id, err)
	}
	if err := os.MkdirAll(filepath.Dir(layout), 0o755); err != nil {
		return fmt.Errorf("making room for the image of %s: %w", id, err)
	}
	if err := os.Rename(m.layout, layout); err != nil {
		return fmt.Errorf("keeping the image of %s: %w", id, err)
	}
	if err := record.SyncDir(filepath.Dir(layout)); err != nil {
		return fmt.Errorf("keeping the image of %s: %w", id, err)
	}
	m.layout = layout
	return b.results.Put(m.result)
}

// substitute takes an image that others built. It is never called built.
func (b *Builder) substitute(ctx context.Context, p *tree.Package, in *inputs) (*record.Result, error) {
	theirs := layoutIn(b.cfg.Images, p.ID())
	if _, err := os.Stat(theirs); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	m := &made{dir: filepath.Join(b.tmp(), p.ID())}
	defer m.discard()
	m.layout = filepath.Join(m.dir, "image")
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return nil, fmt.Errorf("taking the image of %s: %w", p.ID(), err)
	}
	if err := os.CopyFS(m.layout, os.DirFS(theirs)); err != nil {
		return nil, fmt.Errorf("taking the image of %s from %s: %w", p.ID(), theirs, err)
	}
	m.result = b.newResult(p, in)
	m.result.Obtained = attest.Substituted
	if err := m.describe(ctx); err != nil {
		return nil, fmt.Errorf("taking the image of %s from %s: %w", p.ID(), theirs, err)
	}
	return m.result, b.keep(m)
}
