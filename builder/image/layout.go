package image

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/go-json-experiment/json"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What is read of a layout at most. BuildKit and registries hold manifests to
// 4 MiB; Linux mounts at most 128 layers in one way or another.
const (
	maxIndexBytes  = 4 << 20
	maxConfigBytes = 8 << 20
	maxManifests   = 1024 // in one layout
	maxNesting     = 4    // of indexes
	maxLayers      = 1024
)

// Media types of Docker's schema 2 that mean the same as those of OCI.
const (
	dockerManifest     = "application/vnd.docker.distribution.manifest.v2+json"
	dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig       = "application/vnd.docker.container.image.v1+json"
	dockerLayer        = "application/vnd.docker.image.rootfs.diff.tar"
	dockerLayerGzip    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	dockerLayerZstd    = "application/vnd.docker.image.rootfs.diff.tar.zstd"
)

// Open reads the image for a platform from the OCI layout in dir, without its
// layers. If platform is empty, the layout must hold one image only. The error
// names the platforms that are there.
func Open(dir, platform string) (*Image, error) {
	images, err := Images(dir)
	if err != nil {
		return nil, err
	}
	var there []string
	for _, img := range images {
		there = append(there, img.Platform)
	}
	if platform != "" {
		p, err := platforms.Parse(platform)
		if err != nil {
			return nil, fmt.Errorf("parsing the platform: %w", err)
		}
		name := platforms.FormatAll(platforms.Normalize(p))
		images = slices.DeleteFunc(images, func(img *Image) bool { return img.Platform != name })
	}
	switch {
	case len(images) == 1:
		return images[0], nil
	case len(images) > 1:
		return nil, fmt.Errorf("%s holds %d images, for %s: say which platform is meant",
			dir, len(images), strings.Join(there, ", "))
	}
	return nil, fmt.Errorf("%s holds no image for %s: there is %s", dir, platform, strings.Join(there, ", "))
}

// Images reads every image of the OCI layout in dir, in the order of its
// indexes and each once, without their layers. Attestations that BuildKit put
// beside the images are passed over. There is at least one image, or an error.
func Images(dir string) ([]*Image, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the OCI layout: %w", err)
	}
	defer root.Close()
	l := &layout{dir: dir, root: root, seen: make(map[digest.Digest]bool)}
	if err := l.read(); err != nil {
		return nil, fmt.Errorf("reading the OCI layout in %s: %w", dir, err)
	}
	return l.images, nil
}

// layout is one that is being read.
type layout struct {
	dir    string
	root   *os.Root
	images []*Image
	seen   map[digest.Digest]bool
	count  int // of descriptors in indexes
}

func (l *layout) read() error {
	var version ocispec.ImageLayout
	b, err := readFile(l.root, ocispec.ImageLayoutFile, 1024)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return fmt.Errorf("parsing %s: %w", ocispec.ImageLayoutFile, err)
	}
	if version.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%s has version %q: this program reads %s",
			ocispec.ImageLayoutFile, version.Version, ocispec.ImageLayoutVersion)
	}
	b, err = readFile(l.root, ocispec.ImageIndexFile, maxIndexBytes)
	if err != nil {
		return err
	}
	if err := l.index(b, ocispec.ImageIndexFile, digest.FromBytes(b), 1); err != nil {
		return err
	}
	if len(l.images) == 0 {
		return errors.New("no image in it")
	}
	return nil
}

// index walks the index b, whose digest is dgst.
func (l *layout) index(b []byte, name string, dgst digest.Digest, depth int) error {
	var index ocispec.Index
	if err := json.Unmarshal(b, &index); err != nil {
		return fmt.Errorf("parsing %s: %w", name, err)
	}
	if index.SchemaVersion != 2 {
		return fmt.Errorf("%s has schema version %d: it must be 2", name, index.SchemaVersion)
	}
	if l.count += len(index.Manifests); l.count > maxManifests {
		return fmt.Errorf("more than %d manifests", maxManifests)
	}
	for _, d := range index.Manifests {
		if l.seen[d.Digest] {
			continue
		}
		l.seen[d.Digest] = true
		var err error
		switch d.MediaType {
		case ocispec.MediaTypeImageIndex, dockerManifestList:
			if depth == maxNesting {
				return fmt.Errorf("indexes are nested more than %d deep", maxNesting)
			}
			var nested []byte
			if nested, err = readBlob(l.root, d, maxIndexBytes); err == nil {
				err = l.index(nested, "index "+d.Digest.String(), d.Digest, depth+1)
			}
		case ocispec.MediaTypeImageManifest, dockerManifest:
			if d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
				continue
			}
			err = l.manifest(d, dgst)
		default:
			err = fmt.Errorf("%s names %s of media type %q: it is neither an index nor a manifest", name, d.Digest, d.MediaType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// manifest reads the manifest that d describes, and its configuration.
func (l *layout) manifest(d ocispec.Descriptor, index digest.Digest) error {
	img := &Image{Dir: l.dir, Index: index, Manifest: d}
	b, err := readBlob(l.root, d, maxIndexBytes)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("parsing manifest %s: %w", d.Digest, err)
	}
	switch {
	case m.SchemaVersion != 2:
		return fmt.Errorf("manifest %s has schema version %d: it must be 2", d.Digest, m.SchemaVersion)
	case m.MediaType != "" && m.MediaType != d.MediaType:
		return fmt.Errorf("manifest %s says it is %q, its index says %q", d.Digest, m.MediaType, d.MediaType)
	case m.Config.MediaType != ocispec.MediaTypeImageConfig && m.Config.MediaType != dockerConfig:
		return fmt.Errorf("manifest %s is no image: its configuration has media type %q", d.Digest, m.Config.MediaType)
	case len(m.Layers) > maxLayers:
		return fmt.Errorf("manifest %s has %d layers: at most %d are read", d.Digest, len(m.Layers), maxLayers)
	}
	img.RawManifest, img.Config, img.Annotations = b, m.Config, m.Annotations
	if img.RawConfig, err = readBlob(l.root, m.Config, maxConfigBytes); err != nil {
		return err
	}
	if err := json.Unmarshal(img.RawConfig, &img.Image); err != nil {
		return fmt.Errorf("parsing configuration %s: %w", m.Config.Digest, err)
	}
	if err := img.layers(&m); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if err := img.platform(); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	l.images = append(l.images, img)
	return nil
}

// layers joins the layers of the manifest with the diff_ids of the
// configuration.
func (i *Image) layers(m *ocispec.Manifest) error {
	ids := i.Image.RootFS.DiffIDs
	if i.Image.RootFS.Type != "layers" {
		return fmt.Errorf("its root file system has type %q: it must be layers", i.Image.RootFS.Type)
	}
	if len(ids) != len(m.Layers) {
		return fmt.Errorf("it has %d layers, and its configuration %d diff_ids", len(m.Layers), len(ids))
	}
	for n, d := range m.Layers {
		if _, err := compressionOf(d.MediaType); err != nil {
			return fmt.Errorf("layer %d: %w", n, err)
		}
		for _, dgst := range []digest.Digest{d.Digest, ids[n]} {
			if err := checkDigest(dgst); err != nil {
				return fmt.Errorf("layer %d: %w", n, err)
			}
		}
		i.Layers = append(i.Layers, Layer{Descriptor: d, DiffID: ids[n]})
	}
	return nil
}

// platform sets the image's platform, which the configuration says and an index
// may repeat.
func (i *Image) platform() error {
	if i.Image.OS == "" || i.Image.Architecture == "" {
		return errors.New("its configuration names no os or no architecture")
	}
	p := platforms.Normalize(i.Image.Platform)
	if d := i.Manifest.Platform; d != nil {
		q := platforms.Normalize(*d)
		if q.OS != p.OS || q.Architecture != p.Architecture {
			return fmt.Errorf("its index says it is for %s, its configuration for %s",
				platforms.FormatAll(q), platforms.FormatAll(p))
		}
		p = q
	}
	i.Platform = platforms.FormatAll(p)
	return nil
}
