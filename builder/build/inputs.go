package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/builder/record"
	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/builder/tree"
	"github.com/cairnlog/cairn/ledger/attest"
)

// inputs is all that an image is a function of.
type inputs struct {
	digest   string // sha256:<hex> of their text
	platform string
	context  *packageContext
	images   []*record.Result // of the packages it is built from, by ID
}

// packageContext is a package's directory, without its sources.
type packageContext struct {
	digest string            // hex
	files  map[string]string // path to hex digest
}

// platform returns the platform that a package is built for.
func (b *Builder) platform(p *tree.Package) string {
	if len(p.Platforms) > 0 {
		return p.Platforms[0]
	}
	return b.cfg.Platform
}

// inputs finds the inputs of a package, all of whose dependencies are built,
// and sees to it that their gates are open.
func (b *Builder) inputs(ctx context.Context, p *tree.Package) (*inputs, error) {
	in := &inputs{platform: b.platform(p)}
	for _, id := range p.Needs() {
		res, err := b.dependency(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.ID(), err)
		}
		in.images = append(in.images, res)
	}
	if err := b.meet(p); err != nil {
		return nil, err
	}
	var err error
	if in.context, err = b.packageContext(p); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(b.inputText(p, in)))
	in.digest = "sha256:" + hex.EncodeToString(sum[:])
	return in, nil
}

// dependency returns the result of a package that others are built from, once
// its gate is open.
func (b *Builder) dependency(ctx context.Context, id string) (*record.Result, error) {
	res, err := b.results.Get(id)
	if err != nil {
		return nil, err
	}
	if res == nil {
		return nil, fmt.Errorf("%s is not built", id)
	}
	dep, err := b.cfg.Tree.Lookup(id)
	if err != nil {
		return nil, err
	}
	return res, b.pass(ctx, dep, res)
}

// meet checks that the packages that p names hold the same content.
func (b *Builder) meet(p *tree.Package) error {
	var first *record.Result
	for _, id := range p.Meets {
		res, err := b.results.Get(id)
		if err != nil {
			return err
		}
		if res == nil {
			return fmt.Errorf("%s: %s is not built", p.ID(), id)
		}
		if first == nil {
			first = res
			continue
		}
		if res.Content != first.Content {
			return &GateError{Package: p.ID(), Reason: fmt.Sprintf(
				"%s and %s must meet in the same content, and do not: %s and %s; see what differs with `cairn-builder compare %s %s`",
				first.Package, id, first.Content, res.Content, first.Package, id)}
		}
	}
	return nil
}

// inputText is the text that the inputs digest is of. Every word that others
// choose is quoted, so that no two inputs have one text.
func (b *Builder) inputText(p *tree.Package, in *inputs) string {
	var t strings.Builder
	fmt.Fprintf(&t, "cairn.builder.inputs/v1\nprofile %s\nplatform %s\ntarget %q\n", image.StageX1, in.platform, p.Target)
	for _, a := range args(p) {
		fmt.Fprintf(&t, "arg %q %q\n", a.Name, a.Value)
	}
	annotations := b.cfg.Tree.Annotations(p)
	for _, name := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&t, "annotation %q %q\n", name, annotations[name])
	}
	fmt.Fprintf(&t, "context %s\n", in.context.digest)
	for _, s := range p.Sources {
		fmt.Fprintf(&t, "source %q %s\n", s.File, s.SHA256)
	}
	for _, res := range in.images {
		fmt.Fprintf(&t, "image %q %s\n", res.Package, res.Manifest)
	}
	return t.String()
}

func args(p *tree.Package) []tree.Arg { return append(tree.FixedArgs(), p.Args...) }

// materials are the inputs as attestations list them.
func (b *Builder) materials(p *tree.Package, in *inputs) []record.Material {
	list := []record.Material{{
		Name: p.Dir, SHA256: in.context.digest, Role: attest.RoleSource, MediaType: source.ContextMediaType,
	}}
	for _, seed := range p.Seeds {
		list = append(list, record.Material{Name: p.Dir + "/" + seed, SHA256: in.context.files[seed], Role: attest.RoleSeed})
	}
	for _, s := range p.Sources {
		m := record.Material{Name: s.File, SHA256: s.SHA256, Role: s.Role}
		if len(s.Mirrors) > 0 {
			m.URI = s.Mirrors[0]
		}
		list = append(list, m)
	}
	for _, res := range in.images {
		list = append(list, record.Material{
			Name: res.Package, URI: b.purl(res), Role: attest.RoleToolchain,
			SHA256: strings.TrimPrefix(res.Manifest, "sha256:"),
		})
	}
	return list
}

// purl names an image where somebody attests; otherwise nobody reads it.
func (b *Builder) purl(res *record.Result) string {
	if b.cfg.Recorder == nil {
		return ""
	}
	return b.cfg.Recorder.Identity.Purl(res.Package, res.Manifest, res.Platform)
}

// parameters are the package as attestations name it.
func (b *Builder) parameters(p *tree.Package, in *inputs) (map[string]any, error) {
	digest, err := b.treeDigest()
	if err != nil {
		return nil, err
	}
	ref := map[string]any{"digest": map[string]any{"sha256": digest}}
	if b.cfg.TreeURI != "" {
		ref["uri"] = b.cfg.TreeURI
	}
	values := make(map[string]any)
	for _, a := range args(p) {
		values[a.Name] = a.Value
	}
	params := map[string]any{"tree": ref, "package": p.ID(), "platform": in.platform, "args": values, "inputs": in.digest}
	if p.Target != "" {
		params["target"] = p.Target
	}
	if len(p.Reproduce) > 0 {
		params["reproduce"] = p.Reproduce
	}
	return params, nil
}

// TreeDigest returns the digest of the whole tree, in hex: the SHA-256 of its
// package directories with their digests.
func (b *Builder) TreeDigest() (string, error) { return b.treeDigest() }

func (b *Builder) hashTree() (string, error) {
	var t strings.Builder
	for _, p := range b.cfg.Tree.Packages {
		c, err := b.packageContext(p)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&t, "%s %s\n", c.digest, p.Dir)
	}
	sum := sha256.Sum256([]byte(t.String()))
	return hex.EncodeToString(sum[:]), nil
}

// packageContext hashes a package's directory once.
func (b *Builder) packageContext(p *tree.Package) (*packageContext, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.contexts[p.Dir]; c != nil {
		return c, nil
	}
	c, err := hashDir(b.cfg.Tree.Root, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID(), err)
	}
	b.contexts[p.Dir] = c
	return c, nil
}

// intact reports whether a layout is the image of a result, and all of it is
// there. Layers are not hashed: whoever builds on them does.
func intact(dir string, res *record.Result) bool {
	im, err := image.Open(dir, res.Platform)
	if err != nil || im.Index.String() != res.Index || im.Manifest.Digest.String() != res.Manifest ||
		im.Config.Digest.String() != res.Config || len(im.Layers) != len(res.DiffIDs) {
		return false
	}
	for i, l := range im.Layers {
		info, err := os.Lstat(blobPath(dir, l.Digest.String()))
		if err != nil || !info.Mode().IsRegular() || info.Size() != l.Size || l.DiffID.String() != res.DiffIDs[i] {
			return false
		}
	}
	return true
}

// layoutIn returns where a directory of images has that of a package.
func layoutIn(dir, id string) string { return filepath.Join(dir, id) }

func blobPath(dir, digest string) string {
	alg, hex, _ := strings.Cut(digest, ":")
	return filepath.Join(dir, "blobs", alg, hex)
}
