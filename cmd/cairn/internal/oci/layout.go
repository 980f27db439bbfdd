// Package oci finds the digest of an image: in an OCI layout, which is a
// directory or a tar archive, or in a reference to a registry.
//
// Invariants:
//   - Whatever is read is bounded, and every blob must have the digest that
//     names it.
//   - A layout gives digests, and no names: who wrote the layout must not choose
//     what a policy calls it.
//   - Only Resolve uses the network.
package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Limits of a layout.
const (
	MaxIndexBytes = 4 << 20 // of an index or manifest, as registries hold them
	MaxManifests  = 1024    // in all indexes together
	maxNesting    = 4       // of indexes
	maxTarEntries = 100_000
)

// Image is an image of one platform.
type Image struct {
	Digest   leaf.Digest
	Platform string // empty if the index does not say
}

// Choice is the digest that stands for a layout or reference.
type Choice struct {
	Digest leaf.Digest
	// Index says that the digest is that of an index, and not of the manifest
	// of an image.
	Index  bool
	Images []Image // those of the index; the image alone otherwise
}

// errNotLayout says that something is no OCI layout, but may be something else.
var errNotLayout = errors.New("it is no OCI layout")

// IsNotLayout reports whether an error of ReadLayout says that there is no
// layout, rather than that it is a bad one.
func IsNotLayout(err error) bool { return errors.Is(err, errNotLayout) }

// ReadLayout chooses the digest that stands for the OCI layout in a directory or
// tar archive: that of its image's manifest, if there is one image; else that of
// its index, which is the only one that index.json names, or index.json itself.
// Attestations that BuildKit puts beside an image are no images.
func ReadLayout(name string) (*Choice, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = root.Close() }()
		return choose(rootFiles{root})
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	files, err := readTar(f)
	if err != nil {
		return nil, err
	}
	return choose(files)
}

// files are those of a layout.
type files interface {
	// read returns a file of at most limit bytes. A file that is not there is
	// fs.ErrNotExist.
	read(name string, limit int64) ([]byte, error)
}

// choose reads a layout.
func choose(in files) (*Choice, error) {
	if _, err := in.read("oci-layout", 1024); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it has no file oci-layout", errNotLayout)
	} else if err != nil {
		return nil, err
	}
	b, err := in.read("index.json", MaxIndexBytes)
	if err != nil {
		return nil, err
	}
	top, err := parseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("parsing index.json: %w", err)
	}
	w := walk{in: in, seen: make(map[v1.Hash]bool)}
	if err := w.index(top, 1); err != nil {
		return nil, err
	}
	switch {
	case len(w.images) == 0:
		return nil, errors.New("no image in it")
	case len(w.images) == 1:
		return &Choice{Digest: w.images[0].Digest, Images: w.images}, nil
	}
	c := &Choice{Digest: leaf.SHA256(b), Index: true, Images: w.images}
	if len(top.Manifests) == 1 {
		c.Digest, err = digestOf(top.Manifests[0].Digest)
	}
	return c, err
}

// parseIndex reads an index, which must be nothing else to anybody: no manifest
// to those who are told that it is one, and no other index to those who take a
// member of another case for the same, or do not. Runtimes are all of these.
func parseIndex(b []byte) (*v1.IndexManifest, error) {
	x, err := v1.ParseIndexManifest(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var exact v1.IndexManifest
	var members map[string]jsontext.Value
	if err := errors.Join(json.Unmarshal(b, &exact), json.Unmarshal(b, &members)); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(x, &exact) {
		return nil, errors.New("it has a member in two spellings, or not in its own")
	}
	for name := range members {
		if slices.Contains([]string{"config", "layers", "fslayers", "blobs"}, strings.ToLower(name)) {
			return nil, fmt.Errorf("it has a member %.40q as manifests have: it is not plain what it is", name)
		}
	}
	if x.MediaType != "" && !x.MediaType.IsIndex() {
		return nil, fmt.Errorf("it says that it is of the media type %.100q", x.MediaType)
	}
	return x, nil
}

// walk finds the images of nested indexes, each once.
type walk struct {
	in     files
	seen   map[v1.Hash]bool
	count  int
	images []Image
}

func (w *walk) index(x *v1.IndexManifest, depth int) error {
	if w.count += len(x.Manifests); w.count > MaxManifests {
		return fmt.Errorf("more than %d manifests", MaxManifests)
	}
	for i := range x.Manifests {
		d := &x.Manifests[i]
		if w.seen[d.Digest] || isAttestation(d) {
			continue
		}
		w.seen[d.Digest] = true
		digest, err := digestOf(d.Digest)
		if err != nil {
			return err
		}
		b, err := w.blob(digest)
		if err != nil {
			return err
		}
		switch {
		case d.MediaType.IsImage():
			w.images = append(w.images, Image{digest, platformOf(d)})
		case !d.MediaType.IsIndex():
			return fmt.Errorf("%s has the media type %.100q: it is neither an index nor a manifest", digest, d.MediaType)
		case depth == maxNesting:
			return fmt.Errorf("indexes are nested more than %d deep", maxNesting)
		default:
			nested, err := parseIndex(b)
			if err != nil {
				return fmt.Errorf("parsing index %s: %w", digest, err)
			}
			if err := w.index(nested, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// blob returns the blob with a digest.
func (w *walk) blob(d leaf.Digest) ([]byte, error) {
	b, err := w.in.read("blobs/sha256/"+d.Hex(), MaxIndexBytes)
	if err != nil {
		return nil, err
	}
	if got := leaf.SHA256(b); got != d {
		return nil, fmt.Errorf("the blob %s is damaged: its digest is %s", d, got)
	}
	return b, nil
}

// isAttestation reports whether BuildKit put a manifest into an index beside the
// images. That it says so is not enough: runtimes choose by the platform alone,
// and would run what is called an attestation, but has one.
func isAttestation(d *v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" &&
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

func platformOf(d *v1.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return d.Platform.String()
}

// digestOf returns a digest of an index. Only SHA-256 names images.
func digestOf(h v1.Hash) (leaf.Digest, error) {
	d, err := leaf.ParseDigest(h.String())
	if err != nil {
		return "", err
	}
	if h.Algorithm != "sha256" {
		return "", fmt.Errorf("%s is not named by its sha256", d)
	}
	return d, nil
}

// rootFiles are the files below a directory, and none outside it.
type rootFiles struct{ root *os.Root }

func (r rootFiles) read(name string, limit int64) ([]byte, error) {
	info, err := r.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name) // a pipe would be waited for
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return readAll(name, f, limit)
}

// tarFiles are the files of a tar archive, by their cleaned names. Of a name
// that comes twice the last counts, as it does where an archive is unpacked. If
// that is a link or a sparse file, it cannot be read: who unpacks the archive
// would see something else there than its bytes.
type tarFiles struct {
	r     io.ReaderAt
	where map[string]span
}

type span struct {
	offset, size int64
	other        bool // not a regular file
}

func (t tarFiles) read(name string, limit int64) ([]byte, error) {
	s, ok := t.where[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if s.other {
		return nil, fmt.Errorf("%s is not a regular file in the archive", name)
	}
	return readAll(name, io.NewSectionReader(t.r, s.offset, s.size), limit)
}

// readTar finds the files of a tar archive. Package tar reads no further than
// the header, so that is where the content begins.
func readTar(f io.ReadSeeker) (tarFiles, error) {
	at, ok := f.(io.ReaderAt)
	if !ok {
		return tarFiles{}, errors.New("the archive cannot be read at random")
	}
	t := tarFiles{at, make(map[string]span)}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil && len(t.where) == 0:
			return t, fmt.Errorf("%w: it is no tar archive either", errNotLayout)
		case err != nil:
			return t, fmt.Errorf("reading the tar archive: %w", err)
		case n == maxTarEntries:
			return t, fmt.Errorf("the tar archive has more than %d entries", maxTarEntries)
		case h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader:
			continue
		}
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return t, fmt.Errorf("reading the tar archive: %w", err)
		}
		t.where[path.Clean(h.Name)] = span{offset, h.Size, h.Typeflag != tar.TypeReg || isSparse(h)}
	}
}

// isSparse reports whether a file is written without its holes.
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

func readAll(name string, r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is over the limit of %d bytes", name, limit)
	}
	return b, nil
}
