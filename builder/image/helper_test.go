package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cairnlog/cairn/builder/image"
)

// file is an entry of a tar, with its bytes.
type file struct {
	tar.Header
	body string
}

// f is a regular file of root's.
func f(name, body string) file {
	return file{tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}, body}
}

// of returns the entry of another type.
func of(typ byte, name, link string) file {
	return file{tar.Header{Typeflag: typ, Name: name, Linkname: link, Mode: 0o755}, ""}
}

func with(e file, set func(*tar.Header)) file {
	set(&e.Header)
	return e
}

func makeTar(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range files {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// layout is an OCI layout that is being written.
type layout struct {
	t   testing.TB
	dir string
}

func newLayout(t testing.TB) *layout {
	t.Helper()
	l := &layout{t, filepath.Join(t.TempDir(), "layout")}
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l *layout) put(name string, b []byte) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), b, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *layout) blob(mediaType string, b []byte) ocispec.Descriptor {
	l.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	l.put(filepath.Join("blobs", "sha256", d.Digest.Encoded()), b)
	return d
}

func (l *layout) json(mediaType string, v any) ocispec.Descriptor {
	l.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, b)
}

// image adds an image of the given tars.
func (l *layout) image(arch, compression string, tars ...[]byte) ocispec.Descriptor {
	l.t.Helper()
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}}
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, b := range tars {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(b))
		m.Layers = append(m.Layers, l.layer(compression, b))
	}
	m.Config = l.json(ocispec.MediaTypeImageConfig, config)
	return l.json(ocispec.MediaTypeImageManifest, m)
}

func (l *layout) layer(compression string, b []byte) ocispec.Descriptor {
	l.t.Helper()
	var out bytes.Buffer
	switch compression {
	case "":
		return l.blob(ocispec.MediaTypeImageLayer, b)
	case "gzip":
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return l.blob(ocispec.MediaTypeImageLayerGzip, out.Bytes())
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			l.t.Fatal(err)
		}
		z.Write(b)
		z.Close()
		return l.blob(ocispec.MediaTypeImageLayerZstd, out.Bytes())
	}
	l.t.Fatalf("compression %q", compression)
	return ocispec.Descriptor{}
}

// index writes index.json.
func (l *layout) index(manifests ...ocispec.Descriptor) string {
	l.t.Helper()
	b, err := json.Marshal(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: manifests})
	if err != nil {
		l.t.Fatal(err)
	}
	l.put("index.json", b)
	return l.dir
}

// imageOf returns an image of the given layers.
func imageOf(t testing.TB, compression string, layers ...[]file) *image.Image {
	t.Helper()
	l := newLayout(t)
	var tars [][]byte
	for _, files := range layers {
		tars = append(tars, makeTar(t, files...))
	}
	img, err := image.Open(l.index(l.image("amd64", compression, tars...)), "")
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// text returns the content's text, or the error.
func text(t testing.TB, img *image.Image) (string, error) {
	t.Helper()
	c, err := img.Content(t.Context())
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := c.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if got := digest.FromBytes(b.Bytes()); got != c.Digest {
		t.Errorf("the text has digest %s, the content says %s", got, c.Digest)
	}
	return b.String(), nil
}
