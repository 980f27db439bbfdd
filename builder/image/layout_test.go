package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/cairnlog/cairn/builder/image"
)

func TestOpen(t *testing.T) {
	l := newLayout(t)
	body := makeTar(t, f("a", "x"))
	amd64, i386 := l.image("amd64", "gzip", body), l.image("386", "zstd", body)
	amd64.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	attestation := l.json(ocispec.MediaTypeImageManifest, map[string]any{"schemaVersion": 2})
	attestation.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
	nested := l.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{amd64, i386, attestation},
	})
	dir := l.index(nested, amd64) // the second time it is the same image

	images, err := image.Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, img := range images {
		got = append(got, img.Platform)
	}
	if d := cmp.Diff([]string{"linux/amd64", "linux/386"}, got); d != "" {
		t.Errorf("platforms (-want +got):\n%s", d)
	}
	img, err := image.Open(dir, "linux/x86_64")
	if err != nil {
		t.Fatal(err)
	}
	if img.Manifest.Digest != amd64.Digest || img.Index != nested.Digest || img.DiffIDs()[0] != digest.FromBytes(body) {
		t.Errorf("got manifest %s of index %s with diff_ids %s", img.Manifest.Digest, img.Index, img.DiffIDs())
	}
	for platform, want := range map[string]string{
		"":            "holds 2 images, for linux/amd64, linux/386",
		"linux/arm64": "no image for linux/arm64: there is linux/amd64, linux/386",
		"a/b/c/d/e":   "parsing the platform",
	} {
		if _, err := image.Open(dir, platform); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("platform %q: got %v, want an error with %q", platform, err, want)
		}
	}
}

func TestDockerTypes(t *testing.T) {
	l := newLayout(t)
	body := makeTar(t, f("a", "x"))
	layer := l.layer("gzip", body)
	layer.MediaType = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, Layers: []ocispec.Descriptor{layer}}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(body)}}
	m.Config = l.json("application/vnd.docker.container.image.v1+json", config)
	m.MediaType = "application/vnd.docker.distribution.manifest.v2+json"
	list := l.json("application/vnd.docker.distribution.manifest.list.v2+json",
		ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{l.json(m.MediaType, m)}})
	img, err := image.Open(l.index(list), "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.Content(t.Context()); err != nil {
		t.Error(err)
	}
}

// broken is a layout with one thing wrong.
func broken(t *testing.T, breakIt func(*layout, *ocispec.Manifest, *ocispec.Image)) (*image.Image, error) {
	l := newLayout(t)
	body := makeTar(t, f("a", "x"))
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(body)}}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Layers = []ocispec.Descriptor{l.layer("gzip", body)}
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	breakIt(l, &m, &config)
	mediaType := m.Config.MediaType
	if m.Config.Digest == "" {
		m.Config = l.json(mediaType, config)
	}
	d := l.json(ocispec.MediaTypeImageManifest, m)
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	return image.Open(l.index(d), "")
}

// breakage is something wrong in a layout, and the error it should give.
type breakage struct {
	want    string
	breakIt func(*layout, *ocispec.Manifest, *ocispec.Image)
}

func checkRefused(t *testing.T, breakages map[string]breakage) {
	for name, tc := range breakages {
		t.Run(name, func(t *testing.T) {
			if _, err := broken(t, tc.breakIt); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	checkRefused(t, map[string]breakage{
		"no layout file": {"oci-layout", func(l *layout, _ *ocispec.Manifest, _ *ocispec.Image) { os.Remove(filepath.Join(l.dir, "oci-layout")) }},
		"another version": {`version "2.0.0"`, func(l *layout, _ *ocispec.Manifest, _ *ocispec.Image) {
			l.put("oci-layout", []byte(`{"imageLayoutVersion":"2.0.0"}`))
		}},
		"not JSON":       {"parsing oci-layout", func(l *layout, _ *ocispec.Manifest, _ *ocispec.Image) { l.put("oci-layout", []byte(`x`)) }},
		"schema version": {"schema version 1", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.SchemaVersion = 1 }},
		"manifest type":  {"says it is", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.MediaType = ocispec.MediaTypeImageIndex }},
		"config type":    {"is no image", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.Config.MediaType = "application/x" }},
		"layer type":     {"not that of a layer", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].MediaType = "text/plain" }},
		"layer algorithm": {"the only kind", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) {
			m.Layers[0].Digest = digest.Digest("sha512:" + strings.Repeat("0", 128))
		}},
		"layer digest":       {"the only kind", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.Layers[0].Digest = "sha256:../../x" }},
		"diff_id":            {"the only kind", func(_ *layout, _ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs[0] = "x" }},
		"count of diff_ids":  {"1 layers, and its configuration 0", func(_ *layout, _ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.DiffIDs = nil }},
		"type of the rootfs": {"must be layers", func(_ *layout, _ *ocispec.Manifest, c *ocispec.Image) { c.RootFS.Type = "" }},
		"another platform":   {"for linux/amd64, its configuration for linux/386", func(_ *layout, _ *ocispec.Manifest, c *ocispec.Image) { c.Architecture = "386" }},
		"no platform":        {"no os or no architecture", func(_ *layout, _ *ocispec.Manifest, c *ocispec.Image) { c.OS = "" }},
	})
}

func TestOpenRefusesBlobs(t *testing.T) {
	checkRefused(t, map[string]breakage{
		"a missing blob": {"opening blob", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) { m.Config.Digest = digest.FromString("?") }},
		"a long blob": {"bytes: at most", func(_ *layout, m *ocispec.Manifest, _ *ocispec.Image) {
			m.Config.Digest, m.Config.Size = digest.FromString("?"), 1<<30
		}},
		"a longer blob": {"longer than", func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
			m.Config = l.json(m.Config.MediaType, c)
			m.Config.Size--
		}},
		"a shorter blob": {"1 bytes shorter", func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
			m.Config = l.json(m.Config.MediaType, c)
			m.Config.Size++
		}},
		"another blob": {"another digest", func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
			m.Config = l.json(m.Config.MediaType, c)
			l.put("blobs/sha256/"+m.Config.Digest.Encoded(), bytes.Repeat([]byte("x"), int(m.Config.Size)))
		}},
		"a pipe for a blob": {"not a regular file", func(l *layout, m *ocispec.Manifest, _ *ocispec.Image) {
			m.Config.Digest = digest.FromString("pipe")
			if err := syscall.Mkfifo(filepath.Join(l.dir, "blobs/sha256", m.Config.Digest.Encoded()), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"a blob elsewhere": {"escapes", func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
			m.Config = l.json(m.Config.MediaType, c)
			name := filepath.Join(l.dir, "blobs/sha256", m.Config.Digest.Encoded())
			if err := errors.Join(os.Rename(name, filepath.Join(filepath.Dir(l.dir), "x")), os.Symlink("../../../x", name)); err != nil {
				t.Fatal(err)
			}
		}},
		"a name twice": {"duplicate", func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
			b, _ := json.Marshal(c)
			m.Config = l.blob(m.Config.MediaType, append([]byte(`{"os":"linux",`), b[1:]...))
		}},
	})
}

func TestIndexRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		want  string
		index func(l *layout)
	}{
		"empty":        {"no image", func(l *layout) { l.index() }},
		"unknown type": {"neither an index nor a manifest", func(l *layout) { l.index(l.blob("text/plain", nil)) }},
		"nested deeply": {"nested more than", func(l *layout) {
			d := l.image("amd64", "")
			for range 5 {
				d = l.json(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}})
			}
			l.index(d)
		}},
		"many manifests": {"more than 1024 manifests", func(l *layout) { l.index(make([]ocispec.Descriptor, 1025)...) }},
		"long":           {"more than 4194304 bytes", func(l *layout) { l.put("index.json", make([]byte, 5<<20)) }},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLayout(t)
			tc.index(l)
			if _, err := image.Images(l.dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// What a layer says of itself is checked as it is read.
func TestLayerRefuses(t *testing.T) {
	body := makeTar(t, f("a", strings.Repeat("x", 100000)))
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	z.Write(body)
	z.Close()
	for name, tc := range map[string]struct {
		want, mediaType string
		blob            []byte
		diffID          digest.Digest
		size            int64 // beyond the blob's own
	}{
		"another diff_id":      {"another digest", ocispec.MediaTypeImageLayerGzip, gz.Bytes(), digest.FromString("?"), 0},
		"uncompressed diff_id": {"is not compressed", ocispec.MediaTypeImageLayer, body, digest.FromString("?"), 0},
		"size":                 {"1 bytes shorter", ocispec.MediaTypeImageLayerGzip, gz.Bytes(), digest.FromBytes(body), 1},
		"cut short":            {"unexpected EOF", ocispec.MediaTypeImageLayerGzip, gz.Bytes()[:200], digest.FromBytes(body), 0},
		"not gzip":             {"invalid header", ocispec.MediaTypeImageLayerGzip, body, digest.FromBytes(body), 0},
		"not zstd":             {"magic number", ocispec.MediaTypeImageLayerZstd, body, digest.FromBytes(body), 0},
		"a tail":               {"gzip: invalid header", ocispec.MediaTypeImageLayerGzip, append(bytes.Clone(gz.Bytes()), "a tail that is long"...), digest.FromBytes(body), 0},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := broken(t, func(l *layout, m *ocispec.Manifest, c *ocispec.Image) {
				m.Layers[0] = l.blob(tc.mediaType, tc.blob)
				m.Layers[0].Size += tc.size
				c.RootFS.DiffIDs[0] = tc.diffID
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := img.Content(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

// Another blob may decompress to the same tar, and is another blob.
func TestLayerOfAnotherBlob(t *testing.T) {
	for _, compression := range []string{"gzip", "zstd"} {
		img := imageOf(t, compression, []file{f("a", strings.Repeat("x", 1000))})
		name := filepath.Join(img.Dir, "blobs", "sha256", img.Layers[0].Digest.Encoded())
		b := readFile(t, name)
		if compression == "gzip" {
			b[4]++ // the time in the header
		} else {
			b = append(b, 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0) // an empty frame to skip
			img.Layers[0].Size = int64(len(b))
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := img.Content(t.Context()); err == nil || !strings.Contains(err.Error(), "another digest") {
			t.Errorf("%s: got %v, want an error about the digest", compression, err)
		}
	}
}

func TestLayerStops(t *testing.T) {
	img := imageOf(t, "gzip", []file{f("a", strings.Repeat("x", 1<<20))})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	r, err := img.OpenLayer(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel(stop)
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	if _, err := img.Content(ctx); !errors.Is(err, stop) {
		t.Errorf("Content: got %v, want %v", err, stop)
	}
}

func FuzzContent(f *testing.F) {
	f.Add(makeTar(f, sample()...))
	f.Add(makeTar(f, file{tar.Header{Name: "a/.wh.b"}, ""}, file{tar.Header{Name: "a/.wh..wh..opq"}, ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLayout(t)
		img, err := image.Open(l.index(l.image("amd64", "", b, b)), "")
		if err != nil {
			t.Fatal(err)
		}
		c, err := img.Content(t.Context())
		if err != nil {
			return
		}
		for i := range c.Entries[1:] {
			if c.Entries[i].Path >= c.Entries[i+1].Path {
				t.Errorf("%q comes before %q", c.Entries[i].Path, c.Entries[i+1].Path)
			}
		}
	})
}

func FuzzImages(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00","size":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := newLayout(t)
		l.put("index.json", b)
		if images, err := image.Images(l.dir); err == nil {
			t.Errorf("%d images without a blob", len(images))
		}
	})
}
