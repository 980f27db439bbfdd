package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxZstdMemory bounds what a zstd frame may ask for: RFC 8878 §3.1.1.1.2
// recommends to support 8 MiB, and --ultra --long uses up to 128 MiB.
const maxZstdMemory = 128 << 20

// checkDigest accepts sha256 alone: the one that every tool writes, and the one
// that the log holds.
func checkDigest(d digest.Digest) error {
	hex, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return fmt.Errorf("digest %.100q is not sha256: and 64 lower-case hex digits, the only kind supported", string(d))
	}
	return nil
}

// readFile reads a file of the layout of at most limit bytes.
func readFile(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, nil
}

// openFile opens a regular file below root. A named pipe would block, and a
// device could do anything, so the type is looked at first.
func openFile(root *os.Root, name string) (*os.File, error) {
	fi, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	return root.Open(name)
}

// readBlob reads the blob that d describes, of at most limit bytes, and checks
// it.
func readBlob(root *os.Root, d ocispec.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %s has %d bytes: at most %d are read", d.Digest, d.Size, limit)
	}
	r, err := openBlob(root, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// openBlob opens the blob that d describes. The reader fails at the end if the
// bytes are not those that d says.
func openBlob(root *os.Root, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	f, err := openFile(root, path.Join("blobs", d.Digest.Algorithm().String(), d.Digest.Encoded()))
	if err != nil {
		return nil, fmt.Errorf("opening blob %s: %w", d.Digest, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{newVerifier(f, "blob "+d.Digest.String(), d.Digest, d.Size), f}, nil
}

// verifier reads what r reads, and fails at its end if that is not what it
// should be.
type verifier struct {
	r    io.Reader
	what string // is read, for errors
	hash hash.Hash
	want digest.Digest
	left int64 // bytes to come; negative if the size is not known
	err  error // once it is known
}

func newVerifier(r io.Reader, what string, want digest.Digest, size int64) *verifier {
	return &verifier{r: r, what: what, hash: want.Algorithm().Hash(), want: want, left: size}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if v.left >= 0 {
		if int64(n) > v.left {
			v.err = fmt.Errorf("%s is longer than its descriptor says", v.what)
			return 0, v.err
		}
		v.left -= int64(n)
	}
	if errors.Is(err, io.EOF) {
		switch got := digest.NewDigest(v.want.Algorithm(), v.hash); {
		case v.left > 0:
			err = fmt.Errorf("%s is %d bytes shorter than its descriptor says", v.what, v.left)
		case got != v.want:
			err = fmt.Errorf("%s has another digest: %s", v.what, got)
		}
	} else if err != nil {
		err = fmt.Errorf("reading %s: %w", v.what, err)
	}
	v.err = err
	return n, err
}

// compression is how the tar of a layer is compressed.
type compression int

const (
	uncompressed compression = iota
	gzipped
	zstandard
)

func compressionOf(mediaType string) (compression, error) {
	switch mediaType {
	case ocispec.MediaTypeImageLayer, dockerLayer:
		return uncompressed, nil
	case ocispec.MediaTypeImageLayerGzip, dockerLayerGzip:
		return gzipped, nil
	case ocispec.MediaTypeImageLayerZstd, dockerLayerZstd:
		return zstandard, nil
	}
	return 0, fmt.Errorf("media type %q is not that of a layer that can be read", mediaType)
}

// OpenLayer opens the uncompressed tar of layer n. The reader fails at its end
// if the blob is not what the manifest says or the tar not what the
// configuration says, and when ctx is done.
func (i *Image) OpenLayer(ctx context.Context, n int) (io.ReadCloser, error) {
	l := i.Layers[n]
	r, err := i.openLayer(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("opening layer %d of the image in %s: %w", n, i.Dir, err)
	}
	return r, nil
}

func (i *Image) openLayer(ctx context.Context, l Layer) (io.ReadCloser, error) {
	root, err := os.OpenRoot(i.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	blob, err := openBlob(root, l.Descriptor)
	if err != nil {
		return nil, err
	}
	r := &layerReader{ctx: ctx, blob: blob}
	tar, err := r.decompress(l.MediaType)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("blob %s: %w", l.Digest, err), blob.Close())
	}
	if tar == io.Reader(blob) {
		// The blob's digest is the tar's, which is checked already.
		if l.Digest != l.DiffID {
			return nil, errors.Join(fmt.Errorf("blob %s is not compressed, and its diff_id is %s", l.Digest, l.DiffID), blob.Close())
		}
		r.tar = tar
		return r, nil
	}
	r.tar = newVerifier(tar, "uncompressed blob "+l.Digest.String(), l.DiffID, -1)
	return r, nil
}

// layerReader reads the tar of a layer. The decompressors read the blob to its
// end, where its digest is checked, and refuse what follows the tar.
type layerReader struct {
	ctx   context.Context
	blob  io.ReadCloser
	tar   io.Reader
	close func() // of the decompressor, may be nil
}

func (r *layerReader) decompress(mediaType string) (io.Reader, error) {
	c, err := compressionOf(mediaType)
	if err != nil {
		return nil, err
	}
	switch c {
	case gzipped:
		return gzip.NewReader(r.blob)
	case zstandard:
		// One goroutine: who compares images has others to run.
		z, err := zstd.NewReader(r.blob, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxZstdMemory), zstd.WithDecoderMaxWindow(maxZstdMemory))
		if err != nil {
			return nil, err
		}
		r.close = z.Close
		return z, nil
	}
	return r.blob, nil
}

func (r *layerReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.tar.Read(p)
}

func (r *layerReader) Close() error {
	if r.close != nil {
		r.close()
	}
	return r.blob.Close()
}
