package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/builder/image"
)

// Under Go 1.27 and later this fails, and so does every build that would write
// an image: the digests would be others.
func TestDeflateIsThatOfTheProfile(t *testing.T) {
	if err := image.StageX1.CheckDeflate(); err != nil {
		t.Fatal(err)
	}
}

func TestParseProfile(t *testing.T) {
	if p, err := image.ParseProfile("stagex/1"); err != nil || p != image.StageX1 {
		t.Errorf("got %q, %v", p, err)
	}
	if _, err := image.ParseProfile("stagex/2"); err == nil || !strings.Contains(err.Error(), "there is stagex/1") {
		t.Errorf("got %v, want an error that names the profiles", err)
	}
	if _, err := image.Profile("x").Write(t.Context(), filepath.Join(t.TempDir(), "out"), &image.Input{}); err == nil {
		t.Error("an unknown profile writes")
	}
	if _, err := image.Profile("x").Describe(&image.Recipe{}); err == nil {
		t.Error("an unknown profile describes")
	}
}

// input is what a small image is written from.
func input(t *testing.T) *image.Input {
	t.Helper()
	desc, err := image.StageX1.Describe(&image.Recipe{
		Containerfile: []byte("FROM scratch\nCOPY a /\n"), Platform: "linux/amd64", Epoch: image.StageXEpoch(),
	})
	if err != nil {
		t.Fatal(err)
	}
	body := makeTar(t, f("a", "x"))
	return &image.Input{Description: desc, Layers: []func() (io.ReadCloser, error){
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}}
}

func TestWriteRefuses(t *testing.T) {
	stop := errors.New("stop")
	cancelled, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	for name, tc := range map[string]struct {
		want  string
		ctx   context.Context
		spoil func(*image.Input)
	}{
		"a layer too few":       {"make 1 layers, and there are 0", nil, func(in *image.Input) { in.Layers = nil }},
		"no platform":           {"no platform", nil, func(in *image.Input) { in.Description.Image.OS = "" }},
		"history without times": {"has no time", nil, func(in *image.Input) { in.Description.Image.History[0].Created = nil }},
		"history without the layer": {"history has 0 layers, and the image 1", nil, func(in *image.Input) {
			in.Description.Image.History[0].EmptyLayer = true
		}},
		"a layer that does not open": {"stop", nil, func(in *image.Input) { in.Layers[0] = func() (io.ReadCloser, error) { return nil, stop } }},
		"a layer that is no tar": {"reading the tar", nil, func(in *image.Input) {
			in.Layers[0] = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(strings.Repeat("x", 600))), nil }
		}},
		"cancelled": {"stop", cancelled, func(*image.Input) {}},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t)
			tc.spoil(in)
			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			parent := t.TempDir()
			_, err := image.StageX1.Write(ctx, filepath.Join(parent, "out"), in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if left, _ := os.ReadDir(parent); len(left) > 0 {
				t.Errorf("%v is left behind", left)
			}
		})
	}
	if _, err := image.StageX1.Write(t.Context(), t.TempDir(), input(t)); !errors.Is(err, os.ErrExist) {
		t.Errorf("a directory that exists: got %v", err)
	}
}

func TestWriteTwice(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, dir := range []string{a, b} {
		if _, err := image.StageX1.Write(t.Context(), dir, input(t)); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(readTree(t, a), readTree(t, b)); d != "" {
		t.Errorf("the same input gives other bytes:\n%s", d)
	}
	if fi, err := os.Stat(a); err != nil || fi.Mode().Perm()&0o055 != 0o055 {
		t.Errorf("the layout's directory is %v, %v: others cannot read it", fi.Mode(), err)
	}
}

// A base image of other compression is compressed anew, and its times stay.
func TestWriteOnZstdBase(t *testing.T) {
	old := with(f("old", "x"), func(h *tar.Header) { h.ModTime = time.Unix(1e9, 0) })
	base := imageOf(t, "zstd", []file{old})
	created := time.Unix(1e9, 0).UTC()
	base.RawConfig = bytes.Replace(base.RawConfig, []byte(`"os":"linux"`),
		[]byte(`"os":"linux","history":[{"created":"`+created.Format(time.RFC3339)+`"}]`), 1)
	desc, err := image.StageX1.Describe(&image.Recipe{
		Containerfile: []byte("FROM stagex/base:latest\nENV a=b\n"), Platform: "linux/amd64", Epoch: image.StageXEpoch(),
		Images: map[string]*image.Image{"stagex/base": base},
	})
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.StageX1.Write(t.Context(), filepath.Join(t.TempDir(), "out"), &image.Input{Description: desc})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(base.DiffIDs(), img.DiffIDs()); d != "" {
		t.Errorf("diff_ids (-base +image):\n%s", d)
	}
	if l := img.Layers[0]; l.MediaType != "application/vnd.oci.image.layer.v1.tar+gzip" || len(l.Annotations) > 0 {
		t.Errorf("the layer is %s with annotations %v", l.MediaType, l.Annotations)
	}
	if _, err := img.Content(t.Context()); err != nil {
		t.Error(err)
	}
	if h := img.Image.History; !h[0].Created.Equal(created) || !h[1].Created.Equal(image.StageXEpoch()) {
		t.Errorf("history has times %v, %v", h[0].Created, h[1].Created)
	}
}

func rewrite(t *testing.T, b []byte, epoch time.Time) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := image.RewriteTimestamps(&out, bytes.NewReader(b), epoch); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRewriteTimestamps(t *testing.T) {
	epoch := time.Unix(1000, 0)
	times := []time.Time{{}, time.Unix(0, 0), time.Unix(999, 5e8), epoch, time.Unix(1000, 1), time.Unix(2e9, 7)}
	var files []file
	for i, tm := range times {
		for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
			files = append(files, with(f(strings.Repeat("x", i+1)+format.String(), "body"), func(h *tar.Header) {
				h.Format, h.ModTime, h.Uname, h.Gname = format, tm, "someone", "some"
				if format == tar.FormatPAX {
					h.AccessTime, h.ChangeTime = tm, tm
					h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b", "mtime": "5", "VENDOR.key": "v"}
				}
			}))
		}
	}
	in := makeTar(t, files...)
	out := rewrite(t, append(bytes.Clone(in), make([]byte, 10240)...), epoch)
	if again := rewrite(t, out, epoch); !bytes.Equal(out, again) {
		t.Error("rewriting twice gives other bytes")
	}
	if early := rewrite(t, in, time.Unix(1<<40, 0)); !bytes.Equal(in, early) {
		t.Error("what is old enough gets other bytes")
	}
	a, b := tar.NewReader(bytes.NewReader(in)), tar.NewReader(bytes.NewReader(out))
	for range files {
		x, err := a.Next()
		y, err2 := b.Next()
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		for _, tm := range []*time.Time{&x.ModTime, &x.AccessTime, &x.ChangeTime} {
			if tm.After(epoch) {
				*tm = epoch
			}
		}
		for _, h := range []*tar.Header{x, y} {
			maps.DeleteFunc(h.PAXRecords, func(k, _ string) bool { return strings.HasSuffix(k, "time") })
		}
		if d := cmp.Diff(x, y); d != "" {
			t.Errorf("%s (-clamped +got):\n%s", x.Name, d)
		}
	}
	if _, err := b.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last entry: %v", err)
	}
}

// What reads a layer fails at its end if the layer is another: after the
// archive.
func TestRewriteReadsToTheEnd(t *testing.T) {
	stop := errors.New("another digest")
	r := io.MultiReader(bytes.NewReader(makeTar(t, f("a", "x"))), bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(stop))
	if err := image.RewriteTimestamps(io.Discard, r, time.Unix(1, 0)); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

func FuzzRewriteTimestamps(f *testing.F) {
	f.Add(makeTar(f, sample()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var once, twice bytes.Buffer
		epoch := time.Unix(1, 0)
		if err := image.RewriteTimestamps(&once, bytes.NewReader(b), epoch); err != nil {
			return
		}
		if err := image.RewriteTimestamps(&twice, bytes.NewReader(once.Bytes()), epoch); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Error("rewriting twice gives other bytes")
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	desc, err := image.StageX1.Describe(&image.Recipe{
		Containerfile: []byte("FROM scratch\nCOPY a /\n"), Platform: "linux/amd64", Epoch: image.StageXEpoch(),
	})
	if err != nil {
		b.Fatal(err)
	}
	body := makeTar(b, f("a", strings.Repeat("0123456789abcdef", 1<<20)))
	in := &image.Input{Description: desc, Layers: []func() (io.ReadCloser, error){
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}}
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "out")
		if _, err := image.StageX1.Write(b.Context(), dir, in); err != nil {
			b.Fatal(err)
		}
		os.RemoveAll(dir)
	}
}
