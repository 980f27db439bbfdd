package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/platforms"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Profile is a named, versioned way to put an image into bytes: its JSON, its
// annotations and its compression. Two programs that write the same layers and
// description under the same profile write the same digests.
type Profile string

// StageX1 is the bytes that BuildKit 0.29 to 0.33 writes, built by Go 1.26 or
// older, for the exporter's options type=oci, rewrite-timestamp=true and
// force-compression=true with BUILDKIT_MULTI_PLATFORM=1, as StageX calls it.
const StageX1 Profile = "stagex/1"

// ParseProfile returns the profile of a name.
func ParseProfile(name string) (Profile, error) {
	if p := Profile(name); p == StageX1 {
		return p, nil
	}
	return "", fmt.Errorf("profile %q is not known: there is %s", name, StageX1)
}

// StageXAnnotations returns the annotations that StageX gives each manifest.
func StageXAnnotations(id, version string) map[string]string {
	return map[string]string{
		"containerd.io/distribution.source.docker.io": "stagex/" + id,
		ocispec.AnnotationVersion:                     version,
		ocispec.AnnotationCreated:                     StageXEpoch().Format(time.RFC3339),
	}
}

// StageXEpoch returns the SOURCE_DATE_EPOCH of StageX: one second after 1970
// began.
func StageXEpoch() time.Time { return time.Unix(1, 0).UTC() }

// Description is what an image's Containerfile says of its configuration.
// Profile.Describe makes it.
type Description struct {
	// Base is the image of the last FROM, or nil for scratch. Its layers come
	// first, as they are.
	Base *Image
	// Image is the configuration with its history, without layers.
	Image dockerspec.DockerOCIImage
	// Layers is how many layers the instructions make on top of Base.
	Layers int
	Epoch  time.Time // SOURCE_DATE_EPOCH
}

// Input is what Profile.Write puts into bytes.
type Input struct {
	Description *Description
	// Layers open the tars of the layers on top of those of Description.Base,
	// uncompressed. Their times are clamped to the epoch.
	Layers []func() (io.ReadCloser, error)
	// Annotations are those of the manifest.
	Annotations map[string]string
	// Name is the image's name in index.json; it may be empty. It is in no digest
	// but that file's own.
	Name string
}

// Write writes an OCI layout to dir, which must not exist: an index, in which one
// index holds the manifest. The directory appears complete or not at all. The
// same input gives the same bytes.
func (p Profile) Write(ctx context.Context, dir string, in *Input) (*Image, error) {
	return p.write(ctx, dir, in, newGzip)
}

func (p Profile) write(ctx context.Context, dir string, in *Input, newGzip newGzipFunc) (*Image, error) {
	if _, err := ParseProfile(string(p)); err != nil {
		return nil, err
	}
	if err := p.checkDeflate(newGzip); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("writing an image to %s: %w", dir, err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("writing an image to %s: %w", dir, cmp.Or(err, os.ErrExist))
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	w := &writer{ctx: ctx, dir: tmp, in: in, newGzip: newGzip}
	if err := w.write(); err != nil {
		return nil, fmt.Errorf("writing an image to %s: %w", dir, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return nil, err
	}
	return Open(dir, "")
}

// check refuses what BuildKit could not have written, or would have filled in
// from what is not in the input.
func (in *Input) check() error {
	d := in.Description
	if d.Image.OS == "" || d.Image.Architecture == "" {
		return errors.New("the description has no platform")
	}
	if len(in.Layers) != d.Layers {
		return fmt.Errorf("the instructions make %d layers, and there are %d: engines differ over WORKDIR", d.Layers, len(in.Layers))
	}
	count, base := 0, 0
	if d.Base != nil {
		base = len(d.Base.Layers)
	}
	for i, h := range d.Image.History {
		if h.Created == nil {
			return fmt.Errorf("history entry %d has no time: the base image must have one for each", i)
		}
		if !h.EmptyLayer {
			count++
		}
	}
	if count != base+d.Layers {
		return fmt.Errorf("the history has %d layers, and the image %d", count, base+d.Layers)
	}
	return nil
}

// index.json's annotation for containerd, besides OCI's ref.name.
const annotationImageName = "io.containerd.image.name"

// write writes everything but the layers' bytes.
func (w *writer) write() error {
	if err := w.layers(); err != nil {
		return err
	}
	config, err := w.config()
	if err != nil {
		return err
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig},
		Layers:    w.descs, Annotations: w.in.Annotations,
	}
	if err := w.blob(config, &m.Config); err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}
	if err := w.indented(m, &desc); err != nil {
		return err
	}
	p := platforms.Normalize(w.in.Description.Image.Platform)
	desc.Platform = &p
	nested := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{desc},
	}
	top := nested
	desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex}
	if err := w.indented(nested, &desc); err != nil {
		return err
	}
	desc.Annotations = map[string]string{
		ocispec.AnnotationCreated: w.in.Description.Epoch.UTC().Format(time.RFC3339),
	}
	if name := w.in.Name; name != "" {
		desc.Annotations[annotationImageName] = name
		_, tag, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
		desc.Annotations[ocispec.AnnotationRefName] = cmp.Or(tag, name)
	}
	top.Manifests = []ocispec.Descriptor{desc}
	if err := w.file(ocispec.ImageIndexFile, top); err != nil {
		return err
	}
	return w.file(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
}

// config returns the configuration's JSON. BuildKit's exporter sets members of
// an object that it takes apart into a map, so they come sorted.
func (w *writer) config() ([]byte, error) {
	d := w.in.Description
	b, err := json.Marshal(d.Image)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, err
	}
	var created *time.Time
	if n := len(d.Image.History); n > 0 {
		created = d.Image.History[n-1].Created
	}
	for name, v := range map[string]any{
		"rootfs":  ocispec.RootFS{Type: "layers", DiffIDs: w.diffIDs},
		"history": d.Image.History,
		"created": created,
	} {
		if members[name], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return json.Marshal(members)
}

// writer writes one layout.
type writer struct {
	ctx     context.Context
	dir     string
	in      *Input
	newGzip newGzipFunc
	descs   []ocispec.Descriptor
	diffIDs []digest.Digest
}

// indented writes v as a blob, as BuildKit writes manifests and indexes, and
// completes its descriptor.
func (w *writer) indented(v any, d *ocispec.Descriptor) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return w.blob(b, d)
}

func (w *writer) blob(b []byte, d *ocispec.Descriptor) error {
	d.Digest, d.Size = digest.FromBytes(b), int64(len(b))
	return os.WriteFile(w.blobPath(d.Digest), b, 0o644)
}

func (w *writer) blobPath(d digest.Digest) string {
	return filepath.Join(w.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

func (w *writer) file(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, name), b, 0o644)
}
