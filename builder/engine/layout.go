package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest bounds what is read into memory of a layout: indices, manifests
// and configurations.
const maxManifest = 4 << 20

// layouts reads the blobs of OCI layouts, and writes none.
type layouts []string

// openLayout returns the descriptor of the one image, or index of images, of a
// layout, having checked that its images hold no triggers.
func openLayout(dir string) (ocispec.Descriptor, error) {
	data, err := readBounded(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading %s: %w", filepath.Join(dir, ocispec.ImageIndexFile), err)
	}
	if len(index.Manifests) != 1 {
		return ocispec.Descriptor{}, fmt.Errorf("%s: its index names %d images, not 1", dir, len(index.Manifests))
	}
	return index.Manifests[0], checkTriggers(dir, index.Manifests[0], 2)
}

// checkTriggers refuses images with ONBUILD triggers, down to depth indices.
func checkTriggers(dir string, desc ocispec.Descriptor, depth int) error {
	if depth < 0 {
		return fmt.Errorf("%s: more than one index within another", dir)
	}
	var manifest struct {
		Manifests []ocispec.Descriptor
		Config    *ocispec.Descriptor
	}
	if err := readBlob(dir, desc, &manifest); err != nil {
		return err
	}
	for _, d := range manifest.Manifests {
		if err := checkTriggers(dir, d, depth-1); err != nil {
			return err
		}
	}
	if manifest.Config == nil {
		return nil
	}
	var image struct{ Config struct{ OnBuild []string } }
	if err := readBlob(dir, *manifest.Config, &image); err != nil {
		return err
	}
	if len(image.Config.OnBuild) > 0 {
		return fmt.Errorf("%s: the image has ONBUILD triggers, which would run in builds whose Containerfiles do not show them", dir)
	}
	return nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("reading %s: longer than %d bytes", name, maxManifest)
	}
	return data, nil
}

// readBlob decodes a blob of JSON, once its digest is checked.
func readBlob(dir string, desc ocispec.Descriptor, v any) error {
	name, err := blobPath(dir, desc.Digest)
	if err != nil {
		return err
	}
	data, err := readBounded(name)
	if err != nil {
		return err
	}
	if got := desc.Digest.Algorithm().FromBytes(data); got != desc.Digest {
		return fmt.Errorf("reading %s: its digest is %s", name, got)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func blobPath(dir string, d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil {
		return "", fmt.Errorf("%s: digest %q: %w", dir, d, err)
	}
	return filepath.Join(dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()), nil
}

func (l layouts) open(d digest.Digest) (*os.File, fs.FileInfo, error) {
	for _, dir := range l {
		name, err := blobPath(dir, d)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		fi, err := f.Stat()
		if err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return f, fi, nil
	}
	return nil, nil, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
}

// Info is of content.Store.
func (l layouts) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	f, fi, err := l.open(d)
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: fi.Size()}, f.Close()
}

// ReaderAt is of content.Store. The engine checks the digest of what it reads.
func (l layouts) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	f, fi, err := l.open(desc.Digest)
	if err != nil {
		return nil, err
	}
	return &blob{f, fi.Size()}, nil
}

type blob struct {
	*os.File
	size int64
}

func (b *blob) Size() int64 { return b.size }

var errReadOnly = fmt.Errorf("the image of another package: %w", errdefs.ErrPermissionDenied)

// The rest of content.Store is refused.

func (layouts) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errReadOnly
}
func (layouts) Walk(context.Context, content.WalkFunc, ...string) error { return errReadOnly }
func (layouts) Delete(context.Context, digest.Digest) error             { return errReadOnly }
func (layouts) Abort(context.Context, string) error                     { return errReadOnly }
func (layouts) Status(context.Context, string) (content.Status, error) {
	return content.Status{}, errReadOnly
}
func (layouts) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errReadOnly
}
func (layouts) Writer(context.Context, ...content.WriterOpt) (content.Writer, error) {
	return nil, errReadOnly
}

// unpackLayout writes the OCI layout in a tar to dir, which it makes. Each blob
// is checked against its name, and everything is on disk when it returns.
func unpackLayout(r io.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	dirs := []string{"."}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the engine's output: %w", err)
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			dirs = append(dirs, name)
		case tar.TypeReg:
			if err := unpackFile(root, name, t); err != nil {
				return err
			}
		default:
			return fmt.Errorf("reading the engine's output: %s is neither file nor directory", name)
		}
	}
	// What a directory names comes before the directory.
	slices.Reverse(dirs)
	for _, name := range dirs {
		if err := syncDir(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_, err = openLayout(dir)
	return err
}

func unpackFile(root *os.Root, name string, r io.Reader) (err error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := digest.SHA256.Digester()
	if _, err := io.Copy(io.MultiWriter(f, h.Hash()), r); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if path.Dir(name) == ocispec.ImageBlobsDir+"/sha256" && path.Base(name) != h.Digest().Encoded() {
		return fmt.Errorf("reading the engine's output: %s has the digest %s", name, h.Digest())
	}
	return f.Sync()
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// output is where a build's layout is put together: beside r.Output, so that it
// can be renamed to it.
type output struct{ final, temp string }

func newOutput(r *Request) (*output, error) {
	final, err := filepath.Abs(r.Output)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: the output %s exists already, or cannot be told not to: %w", r.ID, final, errors.Join(err, fs.ErrExist))
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return nil, fmt.Errorf("%s: making the directory of the output: %w", r.ID, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(final), "."+filepath.Base(final)+".*")
	if err != nil {
		return nil, fmt.Errorf("%s: making the output: %w", r.ID, err)
	}
	return &output{final: final, temp: temp}, nil
}

// dir returns the directory to write the layout to, which does not exist yet.
func (o *output) dir() string { return filepath.Join(o.temp, "layout") }

// publish gives the layout its name.
func (o *output) publish() error {
	if err := os.Rename(o.dir(), o.final); err != nil {
		return fmt.Errorf("publishing the output: %w", err)
	}
	return syncDir(filepath.Dir(o.final))
}

// discard removes what publish left.
func (o *output) discard() error { return os.RemoveAll(o.temp) }
