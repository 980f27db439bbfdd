package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cairnlog/cairn/builder/image"
)

// buildahProgram is what builds with buildah, and docs/builder.md describes: it
// is a module of its own, builder/buildah.
const buildahProgram = "cairn-buildah"

// buildah runs builds with cairn-buildah, one process for each.
type buildah struct {
	opts    Options
	program string
	runtime string // runc
	info    Info
	root    string

	ctx    context.Context // ended by Close
	cancel context.CancelFunc
	mu     sync.Mutex // guards adding to builds
	builds sync.WaitGroup
}

// Buildah returns an engine that builds with buildah, through the program
// cairn-buildah. It needs root, and runc in PATH. Images are written by the
// profile stagex/1, so that the same layers give the same digests as with
// BuildKit.
//
// Its requests must have the argument SOURCE_DATE_EPOCH.
func Buildah(ctx context.Context, o Options) (Engine, error) {
	if o.Address != "" {
		return nil, errors.New("buildah: an address was given, and there is no daemon to connect to")
	}
	if o.CacheBytes != 0 {
		return nil, errors.New("buildah: its cache cannot be bounded: remove the engine's directory instead")
	}
	if o.Root == "" {
		return nil, errors.New("buildah: no directory was given for the engine")
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	b := &buildah{opts: o, root: root}
	if o.Program == "" {
		o.Program = buildahProgram
	}
	if b.program, err = exec.LookPath(o.Program); err != nil {
		return nil, fmt.Errorf("buildah: %w: 'make deps' builds it", err)
	}
	if b.program, err = filepath.Abs(b.program); err != nil {
		return nil, err
	}
	if b.runtime, err = exec.LookPath("runc"); err != nil {
		return nil, fmt.Errorf("buildah: %w: install runc", err)
	}
	if b.runtime, err = filepath.Abs(b.runtime); err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, b.program, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("buildah: asking %s for its version: %w", b.program, err)
	}
	b.info = Info{Name: "buildah", Version: "v" + string(bytes.TrimSpace(version))}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Info says which buildah was linked.
func (b *buildah) Info() Info { return b.info }

// Close cancels builds that still run, and waits for their processes.
func (b *buildah) Close() error {
	b.mu.Lock()
	b.cancel()
	b.mu.Unlock()
	b.builds.Wait()
	return nil
}

var errClosed = errors.New("the engine is closed")

// Build builds r.
func (b *buildah) Build(ctx context.Context, r *Request) (_ *Result, err error) {
	b.mu.Lock()
	if b.ctx.Err() != nil {
		b.mu.Unlock()
		return nil, fmt.Errorf("%s: %w", r.ID, errClosed)
	}
	b.builds.Add(1)
	b.mu.Unlock()
	defer b.builds.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(errClosed) })()
	if limit := r.Limits.Time; limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, limit, fmt.Errorf("the build was not done after %s, its limit: %w", limit, context.DeadlineExceeded))
		defer stop()
	}
	if _, err := readContainerfile(r, b.opts.HostNetwork); err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.Context); err != nil {
		return nil, fmt.Errorf("%s: reading the build context: %w", r.ID, err)
	}
	desc, err := describe(r)
	if err != nil {
		// If the Containerfile is wrong, cairn-buildah says so, and where.
		_, wrong := b.run(ctx, r, "")
		return nil, cmp.Or(wrong, err)
	}
	out, err := newOutput(r)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := out.discard(); err == nil && e != nil {
			err = fmt.Errorf("%s: removing what the build left: %w", r.ID, e)
		}
	}()
	started := time.Now()
	plain := filepath.Join(out.temp, "plain")
	result, err := b.run(ctx, r, plain)
	if err != nil {
		return nil, err
	}
	if err := repack(ctx, plain, out.dir(), r, desc); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	if err := out.publish(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	result.Started, result.Ended = started, time.Now()
	return result, nil
}

// describe derives the configuration of the image, which buildah would write
// otherwise than BuildKit.
func describe(r *Request) (*image.Description, error) {
	text, err := os.ReadFile(r.Containerfile)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the Containerfile: %w", r.ID, err)
	}
	recipe := &image.Recipe{
		Containerfile: text, Target: r.Target, Platform: r.Platform,
		Args: make(map[string]string), Images: make(map[string]*image.Image),
	}
	for _, a := range r.Args {
		recipe.Args[a.Name] = a.Value
	}
	seconds, err := strconv.ParseInt(recipe.Args["SOURCE_DATE_EPOCH"], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: buildah needs the argument SOURCE_DATE_EPOCH: %w", r.ID, err)
	}
	recipe.Epoch = time.Unix(seconds, 0).UTC()
	for name, dir := range r.Images {
		if _, err := openLayout(dir); err != nil {
			return nil, fmt.Errorf("%s: image %s: %w", r.ID, name, err)
		}
		// An image for another platform may be the only one there is.
		img, err := image.Open(dir, "")
		if err != nil {
			img, err = image.Open(dir, r.Platform)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: image %s: %w", r.ID, name, err)
		}
		recipe.Images[name] = img
	}
	return image.StageX1.Describe(recipe)
}

// repack writes the layers of the layout in plain to dir, with the
// configuration that desc says, by the profile stagex/1.
func repack(ctx context.Context, plain, dir string, r *Request, desc *image.Description) error {
	img, err := image.Open(plain, "")
	if err != nil {
		return err
	}
	base := 0
	if desc.Base != nil {
		base = len(desc.Base.Layers)
	}
	if len(img.Layers) < base {
		return fmt.Errorf("buildah made %d layers, fewer than the %d of the base image", len(img.Layers), base)
	}
	in := &image.Input{Description: desc, Annotations: r.Annotations}
	files := &layerFiles{epoch: desc.Epoch, files: make(map[string]layerFile)}
	for n := range img.Layers {
		entries, err := files.add(ctx, img, n)
		if err != nil {
			return err
		}
		if n < base {
			if got, want := img.Layers[n].DiffID, desc.Base.Layers[n].DiffID; got != want {
				return fmt.Errorf("layer %d is %s after the build, and %s in the base image", n, got, want)
			}
			continue
		}
		in.Layers = append(in.Layers, func() (io.ReadCloser, error) {
			layer, err := img.OpenLayer(ctx, n)
			if err != nil {
				return nil, err
			}
			return trim(layer, entries), nil
		})
	}
	if _, err := image.StageX1.Write(ctx, dir, in); err != nil {
		return err
	}
	return syncTree(dir)
}

// syncTree writes a tree to disk, what a directory holds before the directory.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		sync := syncDir // which syncs files as well
		if e.IsDir() {
			sync = syncTree
		}
		if err := sync(name); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// lastLine returns the last line that says something.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
