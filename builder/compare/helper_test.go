package compare_test

import (
	"archive/tar"
	"bytes"
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

// spec is an image for a test.
type spec struct {
	layers  [][]file
	zstd    bool
	arch    string // amd64 if empty
	history string
	config  string // JSON of the configuration's member "config"
	compact bool   // no space in the JSON
}

type file struct {
	tar.Header
	body string
}

func f(name, body string) file {
	return file{tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))}, body}
}

func of(typ byte, name, link string) file {
	return file{tar.Header{Typeflag: typ, Name: name, Linkname: link, Mode: 0o644}, ""}
}

func with(e file, set func(*tar.Header)) file {
	set(&e.Header)
	return e
}

// one is an image of one layer.
func one(files ...file) spec { return spec{layers: [][]file{files}} }

func makeTar(t testing.TB, files []file) []byte {
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

func (s spec) configuration(rootfs ocispec.RootFS) map[string]any {
	if s.arch == "" {
		s.arch = "amd64"
	}
	config := map[string]any{"os": "linux", "architecture": s.arch, "rootfs": rootfs}
	if s.history != "" {
		config["history"] = []map[string]string{{"created_by": s.history}}
	}
	if s.config != "" {
		config["config"] = json.RawMessage(s.config)
	}
	return config
}

// open writes the image and opens it.
func (s spec) open(t testing.TB) *image.Image {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, b []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(mediaType string, b []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		put("blobs/sha256/"+d.Digest.Encoded(), b)
		return d
	}
	doc := func(v any) []byte {
		b, err := json.MarshalIndent(v, "", " ")
		if s.compact {
			b, err = json.Marshal(v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}}
	rootfs := ocispec.RootFS{Type: "layers"}
	for _, files := range s.layers {
		b := makeTar(t, files)
		rootfs.DiffIDs = append(rootfs.DiffIDs, digest.FromBytes(b))
		if !s.zstd {
			m.Layers = append(m.Layers, blob(ocispec.MediaTypeImageLayer, b))
			continue
		}
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, blob(ocispec.MediaTypeImageLayerZstd, z.EncodeAll(b, nil)))
	}
	m.Config = blob(ocispec.MediaTypeImageConfig, doc(s.configuration(rootfs)))
	manifest := blob(ocispec.MediaTypeImageManifest, doc(m))
	put("index.json", doc(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{manifest}}))
	put("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	img, err := image.Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return img
}
