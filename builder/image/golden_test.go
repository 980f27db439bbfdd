package image_test

import (
	"compress/gzip"
	"context"
	"flag"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/image"
)

// The goldens are layouts that BuildKit wrote. To have them written again, by a
// buildkitd at BUILDKIT_HOST and the buildctl in PATH, as root:
//
//	go test ./builder/image -run Golden -update
var update = flag.Bool("update", false, "have BuildKit write the golden layouts again")

// golden is an image that BuildKit 0.32.2 built as StageX has it built.
type golden struct {
	name     string
	target   string
	platform string // linux/amd64 if empty
	base     string // the golden that is stagex/core-config
}

var goldens = []golden{
	{name: "files"}, // hard links, symbolic links, modes, owners, names, types
	{name: "copies"},
	{name: "whiteouts"},
	{name: "heredocs"},
	{name: "config"}, // every instruction that sets something
	{name: "i386", platform: "linux/386"},
	{name: "armv7", platform: "linux/arm/v7"},
	{name: "based", base: "config"},
	{name: "rebased", base: "config"},
	{name: "target", target: "package-one"},
	{name: "inherited"},
	{name: "nothing"},
}

// goldenArgs are the build arguments of every golden.
var goldenArgs = map[string]string{"SOURCE_DATE_EPOCH": "1", "BUILDKIT_MULTI_PLATFORM": "1", "VERSION": "1.2.3"}

func (g *golden) dir(part string) string { return filepath.Join("testdata", "golden", g.name, part) }

func (g *golden) open(t *testing.T) *image.Image {
	t.Helper()
	img, err := image.Open(g.dir("layout"), g.platform)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (g *golden) recipe(t *testing.T) *image.Recipe {
	t.Helper()
	text, err := os.ReadFile(g.dir("Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	r := &image.Recipe{
		Containerfile: text, Target: g.target, Platform: g.platform,
		Args: goldenArgs, Epoch: image.StageXEpoch(), Images: map[string]*image.Image{},
	}
	if r.Platform == "" {
		r.Platform = "linux/amd64"
	}
	if g.base != "" {
		r.Images["stagex/core-config"] = (&golden{name: g.base}).open(t)
	}
	return r
}

// write writes the image again, from its Containerfile and these layers.
func (g *golden) write(t *testing.T, layers []func() (io.ReadCloser, error)) string {
	t.Helper()
	desc, err := image.StageX1.Describe(g.recipe(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	_, err = image.StageX1.Write(t.Context(), dir, &image.Input{
		Description: desc, Layers: layers,
		Annotations: image.StageXAnnotations("core-"+g.name, "1.2.3"),
		Name:        "docker.io/stagex/core-" + g.name + ":1.2.3",
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// layersOf opens the layers of an image from the one with number first.
func layersOf(ctx context.Context, img *image.Image, first int) []func() (io.ReadCloser, error) {
	var layers []func() (io.ReadCloser, error)
	for n := first; n < len(img.Layers); n++ {
		layers = append(layers, func() (io.ReadCloser, error) { return img.OpenLayer(ctx, n) })
	}
	return layers
}

func TestGoldenImages(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			if *update {
				g.update(t)
			}
			base := 0
			if g.base != "" {
				base = len((&golden{name: g.base}).open(t).Layers)
			}
			compareTrees(t, g.dir("layout"), g.write(t, layersOf(t.Context(), g.open(t), base)))
		})
	}
}

// The layers as they were before BuildKit rewrote their times give the same
// image.
func TestGoldenRawLayers(t *testing.T) {
	for _, g := range goldens {
		raw, err := filepath.Glob(g.dir("raw/*.tar.gz"))
		if err != nil || len(raw) == 0 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			var layers []func() (io.ReadCloser, error)
			for _, name := range raw {
				layers = append(layers, func() (io.ReadCloser, error) { return openGzip(name) })
			}
			compareTrees(t, g.dir("layout"), g.write(t, layers))
		})
	}
}

func openGzip(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	return struct {
		io.Reader
		io.Closer
	}{z, f}, err
}

// compareTrees checks that two directories hold the same files. JSON is shown.
func compareTrees(t *testing.T, want, got string) {
	t.Helper()
	w, g := readTree(t, want), readTree(t, got)
	if len(w) < 4 {
		t.Fatalf("%s holds only %d files", want, len(w))
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g))); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	if d := cmp.Diff(documents(w), documents(g)); d != "" {
		t.Errorf("documents (-want +got):\n%s", d)
	}
	for name := range w {
		if w[name] != g[name] && g[name] != "" {
			t.Errorf("%s has other bytes", name)
		}
	}
}

// documents returns what is JSON, by its first key.
func documents(files map[string]string) map[string]string {
	docs := make(map[string]string)
	for _, text := range files {
		if len(text) > 80 && text[0] == '{' {
			docs[text[:80]] = text
		}
	}
	return docs
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
