package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairnlog/cairn/ledger/leaf"
)

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func randomImage(t testing.TB) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1)
	return mutate.MediaType(must(t, img, err), types.OCIManifestSchema1)
}

func digest(t testing.TB, of interface{ Digest() (v1.Hash, error) }) leaf.Digest {
	t.Helper()
	h, err := of.Digest()
	return leaf.Digest(must(t, h, err).String())
}

// indexOf is an index of images for one platform after another.
func indexOf(images ...v1.Image) v1.ImageIndex {
	x := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, img := range images {
		x = mutate.AppendManifests(x, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i]},
		}})
	}
	return x
}

// attested is an index with what BuildKit adds.
func attested(t testing.TB, x v1.ImageIndex) v1.ImageIndex {
	return mutate.AppendManifests(x, mutate.IndexAddendum{Add: randomImage(t), Descriptor: v1.Descriptor{
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
	}})
}

// disguised is an index with an image that is called an attestation.
func disguised(t testing.TB, x v1.ImageIndex, img v1.Image) v1.ImageIndex {
	return mutate.AppendManifests(x, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
		Platform:    &v1.Platform{OS: "linux", Architecture: "arm64"},
	}})
}

func writeLayout(t testing.TB, x v1.ImageIndex) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, x)
	must(t, p, err)
	return dir
}

// pack returns a tar archive of a directory.
func pack(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layout.tar")
	f, err := os.Create(file)
	must(t, f, err)
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheDigestThatStandsForALayout(t *testing.T) {
	amd64, arm64 := randomImage(t), randomImage(t)
	both := indexOf(amd64, arm64)
	tests := []struct {
		name   string
		layout v1.ImageIndex
		want   *Choice // no digest: that of index.json
	}{
		{"one image is its manifest", indexOf(amd64), &Choice{Digest: digest(t, amd64), Images: []Image{{digest(t, amd64), "linux/amd64"}}}},
		{"one image with attestations is its manifest", attested(t, indexOf(amd64)), &Choice{Digest: digest(t, amd64), Images: []Image{{digest(t, amd64), "linux/amd64"}}}},
		{"one index of one image is its manifest", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: attested(t, indexOf(amd64))}),
			&Choice{Digest: digest(t, amd64), Images: []Image{{digest(t, amd64), "linux/amd64"}}}},
		{"one index of several is the index", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: both}),
			&Choice{Digest: digest(t, both), Index: true, Images: []Image{{digest(t, amd64), "linux/amd64"}, {digest(t, arm64), "linux/arm64"}}}},
		{"what is called an attestation and could run is an image", disguised(t, indexOf(amd64), arm64),
			&Choice{Index: true, Images: []Image{{digest(t, amd64), "linux/amd64"}, {digest(t, arm64), "linux/arm64"}}}},
		{"several images are index.json", both,
			&Choice{Index: true, Images: []Image{{digest(t, amd64), "linux/amd64"}, {digest(t, arm64), "linux/arm64"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeLayout(t, tt.layout)
			want := *tt.want
			if want.Digest == "" {
				b, err := os.ReadFile(filepath.Join(dir, "index.json"))
				want.Digest = leaf.SHA256(must(t, b, err))
			}
			for _, path := range []string{dir, pack(t, dir)} {
				got, err := ReadLayout(path)
				if diff := cmp.Diff(&want, must(t, got, err)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", filepath.Base(path), diff)
				}
			}
		})
	}
}

func TestWhatIsNoLayout(t *testing.T) {
	dir := t.TempDir()
	files := map[string][]byte{"empty": nil, "text": []byte(strings.Repeat("no archive\n", 100)), "short": []byte("x")}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadLayout(filepath.Join(dir, name)); !IsNotLayout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{dir, pack(t, dir)} {
		if _, err := ReadLayout(path); !IsNotLayout(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBadLayouts(t *testing.T) {
	img := randomImage(t)
	write := func(dir, name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blob := "blobs/sha256/" + digest(t, img).Hex()
	tests := []struct {
		name  string
		spoil func(dir string)
		want  string
	}{
		{"a damaged manifest", func(dir string) { write(dir, blob, "{}") }, "is damaged"},
		{"a manifest that is not there", func(dir string) { _ = os.Remove(filepath.Join(dir, blob)) }, digest(t, img).Hex()},
		{"a manifest that is too long", func(dir string) { write(dir, blob, strings.Repeat(" ", MaxIndexBytes+1)) }, "over the limit of 4194304 bytes"},
		{"an index that is none", func(dir string) { write(dir, "index.json", "[]") }, "parsing index.json"},
		{"no image", func(dir string) { write(dir, "index.json", `{"schemaVersion":2,"manifests":[]}`) }, "no image in it"},
		{"another digest", func(dir string) {
			write(dir, "index.json", `{"manifests":[{"mediaType":"x","digest":"sha512:`+strings.Repeat("a", 128)+`"}]}`)
		}, "unsupported hash"},
		{"another media type", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, "index.json"))
			write(dir, "index.json", strings.ReplaceAll(string(b), string(types.OCIManifestSchema1), "text/plain"))
		}, "neither an index nor a manifest"},
		{"manifests in two spellings", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, "index.json"))
			write(dir, "index.json", strings.Replace(string(b), `"manifests"`, `"manifests":[],"Manifests"`, 1))
		}, "in two spellings"},
		{"a manifest that could be an index", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, "index.json"))
			write(dir, "index.json", strings.Replace(string(b), `"manifests"`, `"layers":[],"manifests"`, 1))
		}, "it is not plain what it is"},
		{"an index that says it is a manifest", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, "index.json"))
			write(dir, "index.json", strings.Replace(string(b), string(types.OCIImageIndex), string(types.OCIManifestSchema1), 1))
		}, "it says that it is of the media type"},
		{"manifests twice", func(dir string) {
			b, _ := os.ReadFile(filepath.Join(dir, "index.json"))
			write(dir, "index.json", strings.Replace(string(b), `"manifests"`, `"manifests":[],"manifests"`, 1))
		}, "duplicate"},
		{"too many manifests", func(dir string) {
			write(dir, "index.json", `{"manifests":[`+strings.Repeat("{},", MaxManifests)+`{}]}`)
		}, "more than 1024 manifests"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := writeLayout(t, indexOf(img))
			tt.spoil(dir)
			for _, path := range []string{dir, pack(t, dir)} {
				_, err := ReadLayout(path)
				if err == nil || IsNotLayout(err) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %v, want %q", filepath.Base(path), err, tt.want)
				}
			}
		})
	}
}

func TestNestingIsBounded(t *testing.T) {
	x := indexOf(randomImage(t))
	for range maxNesting {
		x = mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: x})
	}
	if _, err := ReadLayout(writeLayout(t, x)); err == nil || !strings.Contains(err.Error(), "nested more than 4 deep") {
		t.Errorf("error %v", err)
	}
}

func TestLayoutsDoNotLeadOutside(t *testing.T) {
	img := randomImage(t)
	dir, other := writeLayout(t, indexOf(img)), writeLayout(t, indexOf(img))
	blob := filepath.Join(dir, "blobs/sha256", digest(t, img).Hex())
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(other, "blobs/sha256", digest(t, img).Hex()), blob); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadLayout(dir); err == nil {
		t.Errorf("a link to elsewhere was followed: %+v", got)
	}
}

const hash = "9f2c5a1b0c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7"

func TestReferences(t *testing.T) {
	tests := []struct {
		in   string
		want Reference
		purl string
	}{
		{"registry.example/stagex/core-go@sha256:" + hash, Reference{"registry.example/stagex/core-go", "", "sha256:" + hash},
			"pkg:oci/core-go@sha256:" + hash + "?repository_url=registry.example%2Fstagex%2Fcore-go"},
		{"registry.example/core-go:1.2", Reference{"registry.example/core-go", "1.2", ""}, "pkg:oci/core-go?repository_url=registry.example%2Fcore-go"},
		{"localhost/a/b:x@sha256:" + hash, Reference{"localhost/a/b", "x", "sha256:" + hash}, "pkg:oci/b@sha256:" + hash + "?repository_url=localhost%2Fa%2Fb"},
		{"127.0.0.1:5000/bb:x", Reference{"127.0.0.1:5000/bb", "x", ""}, "pkg:oci/bb?repository_url=127.0.0.1:5000%2Fbb"},
	}
	for _, tt := range tests {
		got, ok, err := ParseReference(tt.in)
		if !ok || err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, %v", tt.in, got, ok, err)
		}
		if purl, err := got.Purl(got.Digest); purl != tt.purl || err != nil {
			t.Errorf("%s: %s, %v, want %s", tt.in, purl, err, tt.purl)
		}
	}
	for _, in := range []string{"hello.deb", "a/b:c", "a/b@sha256:" + hash, "registry.example/b", "", "/", "./a:b", "dir/a.deb"} {
		if got, ok, err := ParseReference(in); ok || err != nil {
			t.Errorf("%q is read as %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"registry.example/bb@sha256:12", "registry.example/bb@sha512:" + hash + hash, "registry.example/BB:x", "registry.example/bb:", "registry.example/:x", "h.example/bb@"} {
		if got, ok, err := ParseReference(in); !ok || err == nil {
			t.Errorf("%q is read as %+v, %v", in, got, ok)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("registry.example/stagex/core-go:1@sha256:" + hash)
	f.Add("127.0.0.1:5000/b:x")
	f.Fuzz(func(t *testing.T, s string) {
		r, ok, err := ParseReference(s)
		if !ok || err != nil {
			return
		}
		again := r.Repository
		if r.Tag != "" {
			again += ":" + r.Tag
		}
		if r.Digest != "" {
			again += "@" + string(r.Digest)
		}
		if again != s {
			t.Errorf("%q is read as %q", s, again)
		}
		if _, err := r.Purl(r.Digest); err != nil {
			t.Errorf("%q has no purl: %v", s, err)
		}
	})
}

func FuzzLayoutTar(f *testing.F) {
	b, err := os.ReadFile(pack(f, writeLayout(f, indexOf(randomImage(f)))))
	f.Add(must(f, b, err))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := readTar(bytes.NewReader(b))
		if err != nil {
			return
		}
		if c, err := choose(in); err == nil && (!c.Digest.Valid() || len(c.Images) == 0) {
			t.Errorf("chose %+v", c)
		}
	})
}

func TestResolve(t *testing.T) {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	img, x := randomImage(t), attested(t, indexOf(randomImage(t), randomImage(t)))
	push := func(tag string, write func(name.Reference) error) {
		t.Helper()
		ref, err := name.ParseReference(fmt.Sprintf("%s/stagex/core-go:%s", host, tag))
		if err := write(must(t, ref, err)); err != nil {
			t.Fatal(err)
		}
	}
	push("one", func(r name.Reference) error { return remote.Write(r, img) })
	push("several", func(r name.Reference) error { return remote.WriteIndex(r, x) })
	resolve := func(tag string) (*Choice, error) {
		r, _, err := ParseReference(host + "/stagex/core-go:" + tag)
		return Resolve(context.Background(), must(t, r, err), "test")
	}
	got, err := resolve("one")
	if must(t, got, err); got.Digest != digest(t, img) || got.Index {
		t.Errorf("one image: %+v", got)
	}
	got, err = resolve("several")
	if must(t, got, err); got.Digest != digest(t, x) || !got.Index || len(got.Images) != 2 {
		t.Errorf("an index: %+v", got)
	}
	pinned := Reference{Repository: host + "/stagex/core-go", Tag: "one", Digest: digest(t, x)}
	got, err = Resolve(context.Background(), pinned, "test")
	if must(t, got, err); got.Digest != digest(t, x) || !got.Index {
		t.Errorf("an index by its digest: %+v", got)
	}
	if _, err := resolve("none"); !errors.Is(err, ErrNotThere) {
		t.Errorf("no such tag: %v", err)
	}
	s.Close()
	if _, err := resolve("one"); err == nil || errors.Is(err, ErrNotThere) {
		t.Errorf("no such registry: %v", err)
	}
}

func TestLoopback(t *testing.T) {
	for in, want := range map[string]bool{
		"localhost/a": true, "localhost:5000/a": true, "127.0.0.1:5000/a": true, "127.3.2.1/a": true, "[::1]:5000/a": true,
		"localhost.example/a": false, "10.0.0.1/a": false, "registry.example:5000/a": false, "127.0.0.1.example/a": false,
	} {
		if got := isLoopback(in); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// TestFilesThatAreNone has what an unpacked layout shows be another thing than
// the bytes that are read.
func TestFilesThatAreNone(t *testing.T) {
	dir := writeLayout(t, indexOf(randomImage(t)))
	archive, err := os.ReadFile(pack(t, dir))
	archive = bytes.TrimRight(must(t, archive, err), "\x00")
	archive = append(archive, make([]byte, -len(archive)&511)...)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeSymlink, Name: "index.json", Linkname: "other.json"},
		{Typeflag: tar.TypeLink, Name: "./index.json", Linkname: "other.json"},
	} {
		more := bytes.NewBuffer(bytes.Clone(archive))
		w := tar.NewWriter(more)
		if err := errors.Join(w.WriteHeader(h), w.Close()); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "layout.tar")
		if err := os.WriteFile(file, more.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadLayout(file); err == nil || !strings.Contains(err.Error(), "index.json is not a regular file") {
			t.Errorf("%c: %+v, error %v", h.Typeflag, got, err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "index.json")), syscall.Mkfifo(filepath.Join(dir, "index.json"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadLayout(dir); err == nil || !strings.Contains(err.Error(), "index.json is not a regular file") {
		t.Errorf("a pipe: %+v, error %v", got, err)
	}
}
