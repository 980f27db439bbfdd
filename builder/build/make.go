package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// made is an image that was obtained, before it is kept.
type made struct {
	dir    string // of all that is temporary
	layout string
	result *record.Result
}

func (m *made) discard() { _ = os.RemoveAll(m.dir) }

// make runs the build of a package.
func (b *Builder) make(ctx context.Context, p *tree.Package, in *inputs, noCache bool) (*made, error) {
	m := &made{dir: filepath.Join(b.tmp(), p.ID()), result: b.newResult(p, in)}
	m.layout = filepath.Join(m.dir, "image")
	err := b.fill(ctx, m, p, in, noCache)
	if err != nil {
		m.discard()
		return nil, err
	}
	return m, nil
}

func (b *Builder) fill(ctx context.Context, m *made, p *tree.Package, in *inputs, noCache bool) error {
	params, err := b.parameters(p, in)
	if err != nil {
		return err
	}
	m.result.Parameters = params
	if err := os.RemoveAll(m.dir); err != nil {
		return fmt.Errorf("%s: clearing %s: %w", p.ID(), m.dir, err)
	}
	req := b.request(p, in, m)
	req.NoCache = noCache
	if err := b.stage(p, in, req.Context); err != nil {
		return fmt.Errorf("%s: preparing the build context: %w", p.ID(), err)
	}
	done, err := b.cfg.Engine.Build(ctx, req)
	if done != nil {
		m.result.Steps, m.result.Started, m.result.Ended = done.Steps, done.Started, done.Ended
		m.result.Rebuilt = !done.Cached()
	}
	if err != nil {
		return engineError(p, err)
	}
	m.result.Obtained = attest.Built
	return m.describe(ctx)
}

// EngineError is an engine that could not say what comes of a package: it ended,
// could not be reached, or had no space.
type EngineError struct {
	Package string
	Err     error
}

func (e *EngineError) Error() string { return fmt.Sprintf("%s: %v", e.Package, e.Err) }

// Unwrap returns the cause.
func (e *EngineError) Unwrap() error { return e.Err }

// engineError tells what a package did from what the engine did.
func engineError(p *tree.Package, err error) error {
	if isStep(err) {
		return err
	}
	return &EngineError{p.ID(), err}
}

// stage makes the build context, and checks that the package's directory is
// still what the inputs say.
func (b *Builder) stage(p *tree.Package, in *inputs, dst string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := b.missing(p); err != nil {
		return err
	}
	if _, err := source.Stage(b.cfg.Store, b.packageDir(p), p.Sources, dst); err != nil {
		return err
	}
	now, err := hashDir(b.cfg.Tree.Root, p)
	if err != nil {
		return err
	}
	if now.digest != in.context.digest {
		return fmt.Errorf("%s has changed since this run began: run it again", p.Dir)
	}
	return nil
}

// missing returns an error of the sources that were not fetched.
func (b *Builder) missing(p *tree.Package) error {
	e := &source.MissingError{}
	for _, s := range p.Sources {
		if !b.cfg.Store.Has(s.SHA256) {
			e.Sources = append(e.Sources, source.Missing{Wanted: source.Wanted{Source: s, Package: p.ID(), Dir: b.packageDir(p)}})
		}
	}
	if len(e.Sources) > 0 {
		return e
	}
	return nil
}

func (b *Builder) packageDir(p *tree.Package) string {
	return filepath.Join(b.cfg.Tree.Root, filepath.FromSlash(p.Dir))
}

func (b *Builder) request(p *tree.Package, in *inputs, m *made) *engine.Request {
	req := &engine.Request{
		ID:          p.ID(),
		Context:     filepath.Join(m.dir, "context"),
		Target:      p.Target,
		Platform:    in.platform,
		Args:        args(p),
		Images:      make(map[string]string, len(in.images)),
		Annotations: b.cfg.Tree.Annotations(p),
		Output:      m.layout,
		Limits:      b.cfg.Limits,
		Progress:    b.progress,
	}
	req.Containerfile = filepath.Join(req.Context, "Containerfile")
	for _, res := range in.images {
		req.Images[b.cfg.Tree.Prefix+res.Package] = b.Layout(res.Package)
	}
	return req
}

func (b *Builder) newResult(p *tree.Package, in *inputs) *record.Result {
	return &record.Result{
		Package:     p.ID(),
		Version:     p.Version,
		Inputs:      in.digest,
		Platform:    in.platform,
		Engine:      b.cfg.Engine.Info(),
		Profile:     string(image.StageX1),
		Materials:   b.materials(p, in),
		Environment: b.cfg.Environment,
	}
}

// describe fills in what the image's bytes say.
func (m *made) describe(ctx context.Context) error {
	im, err := image.Open(m.layout, m.result.Platform)
	if err != nil {
		return fmt.Errorf("reading the image of %s: %w", m.result.Package, err)
	}
	content, err := im.Content(ctx)
	if err != nil {
		return fmt.Errorf("reading the image of %s: %w", m.result.Package, err)
	}
	running, err := im.Running()
	if err != nil {
		return fmt.Errorf("reading the image of %s: %w", m.result.Package, err)
	}
	r := m.result
	r.Running = string(leaf.SHA256(running))
	r.Index, r.Manifest, r.Config = im.Index.String(), im.Manifest.Digest.String(), im.Config.Digest.String()
	r.Content = content.Digest.String()
	for _, l := range im.Layers {
		r.DiffIDs = append(r.DiffIDs, l.DiffID.String())
	}
	return nil
}

// hashDir hashes a package's directory as it will be staged.
func hashDir(root string, p *tree.Package) (*packageContext, error) {
	c, err := source.HashContext(filepath.Join(root, filepath.FromSlash(p.Dir)))
	if err != nil {
		return nil, err
	}
	pc := &packageContext{digest: strings.TrimPrefix(c.Digest, "sha256:"), files: c.Files}
	for _, seed := range p.Seeds {
		if pc.files[seed] == "" {
			return nil, fmt.Errorf("the seed %s is not in %s", seed, p.Dir)
		}
	}
	return pc, nil
}
