package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entry is one of a tar. Without content it is a directory if its name ends in a
// slash, and a link if it does not.
type entry struct{ name, content string }

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Size: int64(len(e.content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if e.content == "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "/"
			if strings.HasSuffix(e.name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func blobEntry(content string) (entry, string) {
	d := digest.FromString(content)
	return entry{"blobs/sha256/" + d.Encoded(), content}, d.String()
}

// good is a layout in a tar: an index of one image that has a configuration.
func good() []entry {
	config, configDigest := blobEntry(`{}`)
	manifest, manifestDigest := blobEntry(`{"config":{"digest":"` + configDigest + `"}}`)
	return []entry{
		{"blobs/", ""}, {"blobs/sha256/", ""}, config, manifest,
		{"index.json", `{"manifests":[{"digest":"` + manifestDigest + `"}]}`},
		{"oci-layout", `{"imageLayoutVersion":"1.0.0"}`},
	}
}

func TestUnpackLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	if err := unpackLayout(bytes.NewReader(packed(t, good()...)), dir); err != nil {
		t.Fatal(err)
	}
	for _, e := range good() {
		if got, err := os.ReadFile(filepath.Join(dir, e.name)); e.content != "" && string(got) != e.content {
			t.Errorf("%s holds %q: %v", e.name, got, err)
		}
	}
}

func TestUnpackLayoutRefuses(t *testing.T) {
	other := "blobs/sha256/" + digest.FromString("other").Encoded()
	nested := good()
	index, indexDigest := blobEntry(`{"manifests":[{"digest":"` + strings.Split(nested[4].content, `"`)[5] + `"}]}`)
	first, firstDigest := blobEntry(`{"manifests":[{"digest":"` + indexDigest + `"}]}`)
	second, secondDigest := blobEntry(`{"manifests":[{"digest":"` + firstDigest + `"}]}`)
	for _, c := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"nothing", nil, "index.json"},
		{"a blob with another's name", append(good(), entry{other, "content"}), "has the digest"},
		{"a name that leads out", append(good(), entry{"../out", "x"}), "out"},
		{"an absolute name", append(good(), entry{"/tmp/out", "x"}), "/tmp/out"},
		{"a link", append(good(), entry{"blobs/link", ""}), "neither file nor directory"},
		{"a file twice", append(good(), entry{"oci-layout", "x"}), "exists"},
		{"no manifest", append(good()[:3], good()[4:]...), "no such file"},
		{"an index of nothing", append(good()[:4], entry{"index.json", `{"manifests":[]}`}), "names 0 images"},
		{"an index that is none", append(good()[:4], entry{"index.json", `[]`}), "index.json"},
		{"a digest that leads out", append(good()[:4], entry{"index.json", `{"manifests":[{"digest":"sha256:../../x"}]}`}), "digest"},
		{"too many indices", append(good()[:4], index, first, second, entry{"index.json", `{"manifests":[{"digest":"` + secondDigest + `"}]}`}), "within another"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parent := t.TempDir()
			err := unpackLayout(bytes.NewReader(packed(t, c.entries...)), filepath.Join(parent, "layout"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if entries, err := os.ReadDir(parent); len(entries) != 1 || err != nil {
				t.Errorf("something was written elsewhere: %v, %v", entries, err)
			}
		})
	}
}

func FuzzUnpackLayout(f *testing.F) {
	f.Add(packed(f, good()...))
	f.Add(packed(f, entry{"../x", "x"}, entry{"a/", ""}))
	f.Fuzz(func(t *testing.T, data []byte) {
		parent, err := os.MkdirTemp("/dev/shm", "") // where syncing takes no time
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(parent)
		dir := filepath.Join(parent, "layout")
		err = unpackLayout(bytes.NewReader(data), dir)
		if entries, e := os.ReadDir(parent); len(entries) != 1 || e != nil {
			t.Fatalf("something was written elsewhere: %v, %v", entries, e)
		}
		if err != nil {
			return
		}
		blobs, _ := filepath.Glob(filepath.Join(dir, "blobs/sha256/*"))
		for _, name := range blobs {
			content, err := os.ReadFile(name)
			if err == nil && digest.FromBytes(content).Encoded() != filepath.Base(name) {
				t.Fatalf("%s is not what its name says", name)
			}
		}
	})
}

// Layouts that are given to a build are not written to.
func TestLayoutsAreReadOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	if err := unpackLayout(bytes.NewReader(packed(t, good()...)), dir); err != nil {
		t.Fatal(err)
	}
	l, ctx, d := layouts{t.TempDir(), dir}, t.Context(), digest.FromString("{}")
	if info, err := l.Info(ctx, d); err != nil || info.Size != 2 {
		t.Errorf("Info says %+v, %v", info, err)
	}
	if _, err := l.ReaderAt(ctx, ocispec.Descriptor{Digest: digest.FromString("absent")}); !errdefs.IsNotFound(err) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, err := l.Info(ctx, "sha256:../x"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a digest that is none: %v", err)
	}
	if err := l.Delete(ctx, d); !errdefs.IsPermissionDenied(err) {
		t.Errorf("Delete: %v", err)
	}
	if _, err := l.Writer(ctx); !errdefs.IsPermissionDenied(err) {
		t.Errorf("Writer: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ingest")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was made: %v", err)
	}
}
