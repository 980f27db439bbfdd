package enginetest

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what a build wrote, read by the shortest way that checks digests.
type Image struct {
	Manifest    digest.Digest
	DiffIDs     []digest.Digest
	Annotations map[string]string
	Platform    ocispec.Platform
	Config      ocispec.ImageConfig
	Files       map[string]File // by path without a leading slash
}

// File is a file of an image, as its last layer has it.
type File struct {
	Mode    fs.FileMode
	Content string
	Link    string
	Time    int64
}

// Read reads the layout: an index, in which one index holds one manifest.
func Read(t testing.TB, dir string) *Image {
	t.Helper()
	var outer, inner ocispec.Index
	data, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	must(t, err)
	must(t, json.Unmarshal(data, &outer))
	if len(outer.Manifests) != 1 || outer.Manifests[0].MediaType != ocispec.MediaTypeImageIndex {
		t.Fatalf("the layout does not name one index: %s", data)
	}
	readJSON(t, dir, outer.Manifests[0].Digest, &inner)
	if len(inner.Manifests) != 1 || inner.Manifests[0].Platform == nil {
		t.Fatalf("the index does not name one manifest with its platform: %+v", inner)
	}
	var manifest ocispec.Manifest
	readJSON(t, dir, inner.Manifests[0].Digest, &manifest)
	var config ocispec.Image
	readJSON(t, dir, manifest.Config.Digest, &config)
	image := &Image{
		Manifest:    inner.Manifests[0].Digest,
		DiffIDs:     config.RootFS.DiffIDs,
		Annotations: manifest.Annotations,
		Platform:    *inner.Manifests[0].Platform,
		Config:      config.Config,
		Files:       map[string]File{},
	}
	for _, layer := range manifest.Layers {
		image.apply(t, dir, layer)
	}
	return image
}

func readJSON(t testing.TB, dir string, d digest.Digest, v any) {
	t.Helper()
	data, err := os.ReadFile(blobName(dir, d))
	must(t, err)
	if got := digest.FromBytes(data); got != d {
		t.Fatalf("blob %s has the digest %s", d, got)
	}
	must(t, json.Unmarshal(data, v))
}

func blobName(dir string, d digest.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Encoded())
}

// apply knows no deletions: the tests' images have none.
func (i *Image) apply(t testing.TB, dir string, layer ocispec.Descriptor) {
	t.Helper()
	f, err := os.Open(blobName(dir, layer.Digest))
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		must(t, err)
		content, err := io.ReadAll(r)
		must(t, err)
		i.Files[path.Clean(h.Name)] = File{h.FileInfo().Mode(), string(content), h.Linkname, h.ModTime.Unix()}
	}
}
