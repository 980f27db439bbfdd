package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// rewrittenAnnotation is on the layers whose times BuildKit has rewritten, with
// the epoch as its value. Those of the base image are left alone.
const rewrittenAnnotation = "buildkit/rewritten-timestamp"

// layers writes the layers of the base image, and then those on top of it.
func (w *writer) layers() error {
	if err := os.MkdirAll(filepath.Join(w.dir, ocispec.ImageBlobsDir, "sha256"), 0o755); err != nil {
		return err
	}
	if base := w.in.Description.Base; base != nil {
		for n := range base.Layers {
			if err := w.baseLayer(base, n); err != nil {
				return err
			}
		}
	}
	epoch := w.in.Description.Epoch
	for n, open := range w.in.Layers {
		r, err := open()
		if err != nil {
			return fmt.Errorf("opening layer %d: %w", n, err)
		}
		d, err := w.layer(func(dst io.Writer) error { return RewriteTimestamps(dst, ctxReader{w.ctx, r}, epoch) })
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("layer %d: %w", n, err)
		}
		d.Annotations = map[string]string{rewrittenAnnotation: strconv.FormatInt(epoch.Unix(), 10)}
		w.descs = append(w.descs, *d)
	}
	return nil
}

// baseLayer takes over a layer of the base image: its very bytes if they are
// gzip, as force-compression=true does.
func (w *writer) baseLayer(base *Image, n int) error {
	l := base.Layers[n]
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: l.Digest, Size: l.Size}
	c, err := compressionOf(l.MediaType)
	if err != nil {
		return err
	}
	if c == gzipped {
		err = w.copyBlob(base, l)
	} else {
		var made *ocispec.Descriptor
		made, err = w.layer(func(dst io.Writer) error {
			r, err := base.OpenLayer(w.ctx, n)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(dst, r)
			return err
		})
		if err == nil {
			d = *made
			w.diffIDs = w.diffIDs[:len(w.diffIDs)-1] // it is added below
		}
	}
	if err != nil {
		return fmt.Errorf("layer %d of the base image: %w", n, err)
	}
	w.descs = append(w.descs, d)
	w.diffIDs = append(w.diffIDs, l.DiffID)
	return nil
}

func (w *writer) copyBlob(base *Image, l Layer) error {
	root, err := os.OpenRoot(base.Dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r, err := openBlob(root, l.Descriptor)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(w.blobPath(l.Digest), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, ctxReader{w.ctx, r})
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// layer compresses the tar that fill writes, and notes its diff_id.
func (w *writer) layer(fill func(io.Writer) error) (*ocispec.Descriptor, error) {
	f, err := os.CreateTemp(w.dir, "layer-")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blob, tar := digest.SHA256.Digester(), digest.SHA256.Digester()
	size := &counter{}
	z := w.newGzip(io.MultiWriter(f, blob.Hash(), size))
	if err := fill(io.MultiWriter(z, tar.Hash())); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	d := &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: blob.Digest(), Size: size.n}
	w.diffIDs = append(w.diffIDs, tar.Digest())
	return d, os.Rename(f.Name(), w.blobPath(d.Digest))
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// ctxReader fails once its context is done.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
