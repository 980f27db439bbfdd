package cli_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// imageWorld is a world with an image in a layout and at a registry.
func imageWorld(t *testing.T) (w *world, digest, repository string) {
	t.Helper()
	w = newWorld(t)
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	for dir, index := range map[string]v1.ImageIndex{
		"one":     mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img}),
		"several": mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img}, mutate.IndexAddendum{Add: otherImage(t)}),
	} {
		if _, err := layout.Write(w.path(dir), index); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	repository = strings.TrimPrefix(s.URL, "http://") + "/stagex/core-go"
	ref, err := name.ParseReference(repository + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return w, d.String(), repository
}

func otherImage(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImagesAreNamed(t *testing.T) {
	w, digest, repository := imageWorld(t)
	purl := "pkg:oci/core-go?repository_url=" + strings.ReplaceAll(repository, "/", "%2F")
	tests := []struct {
		arg  string
		out  string // of the answer
		note string
	}{
		{"@/one", digest, "/one is the image " + digest},
		{"oci:@/one", digest, "/one is the image " + digest},
		{"@/several", `"verdict":"untried"`, "of 2 images; each is an artifact of its own: "},
		{repository + ":1", digest, repository + ":1 is the image " + digest},
		{repository + ":1", purl, ""},
		{repository + ":2@" + digest, purl, "is taken by its digest; the tag 2 is not looked at"},
		{repository + "@" + digest, digest, ""},
	}
	for _, tt := range tests {
		r := w.run("verify", tt.arg, "-o", "json")
		if r.exit != 3 || !strings.Contains(r.stdout, tt.out) || !strings.Contains(r.stderr, tt.note) {
			t.Errorf("%s: exit %d, want %q and %q\n%s%s", tt.arg, r.exit, tt.out, tt.note, r.stdout, r.stderr)
		}
	}
	for arg, want := range map[string]string{
		repository + ":none":             "NOTHING_FOUND",
		"127.0.0.1:1/stagex/core-go:one": "LEDGER_UNREACHABLE",
		"@/":                             "FILE_UNREADABLE",
		"oci:@/hello.deb":                "FILE_UNREADABLE",
		"oci:@/nowhere":                  "FILE_UNREADABLE",
	} {
		if f := w.mustFail("verify", arg); f.Reason != want {
			t.Errorf("%s: %+v, want %s", arg, f, want)
		}
	}
}

// TestFilesGoBeforeReferences names a file like an image at a registry.
func TestFilesGoBeforeReferences(t *testing.T) {
	w := newWorld(t)
	t.Chdir(w.dir)
	if err := os.Mkdir("registry.example", 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("registry.example/hello:1", "hello\n")
	r := w.run("verify", "registry.example/hello:1", "-o", "json")
	if r.exit != 3 || !strings.Contains(r.stdout, "sha256:5891b5b522d5df08") ||
		!strings.Contains(r.stderr, "registry.example/hello:1 is taken as the file, not as an image at a registry") {
		t.Errorf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
	}
}

// TestFilesThatAreNamedLikeOtherThings must not be passed over for these.
func TestFilesThatAreNamedLikeOtherThings(t *testing.T) {
	w := newWorld(t)
	t.Chdir(w.dir)
	if err := os.Mkdir("pkg:generic", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"sha256:" + strings.Repeat("a", 64), "pkg:generic/hello", "7", "log.example#7", "oci:out"} {
		w.write(arg, "hello\n")
		if f := w.mustFail("verify", arg); f.Reason != "USAGE" || !strings.Contains(f.Hint, "write ./"+arg) {
			t.Errorf("%s: %+v", arg, f)
		}
		if r := w.run("verify", "./"+arg, "-o", "json"); r.exit != 3 || !strings.Contains(r.stdout, "sha256:5891b5b522d5df08") {
			t.Errorf("./%s: exit %d\n%s%s", arg, r.exit, r.stdout, r.stderr)
		}
	}
}

// TestImagesAreAttested names the subject of a reproduction like an image.
func TestImagesAreAttested(t *testing.T) {
	w, digest, repository := imageWorld(t)
	for _, of := range []string{repository + "@" + digest, "@/one"} {
		r := w.run("attest", "reproduction", "--of", of, "--output", "oci:@/one", "--key", "@/alice.key", "--rebuilder-id", "https://alice.example", "-O", "@/a")
		if r.exit != 0 || !strings.Contains(r.stderr, "the result is IDENTICAL") {
			t.Errorf("%s: exit %d\n%s", of, r.exit, r.stderr)
		}
	}
	f := w.mustFail("attest", "reproduction", "--of", repository+":1", "--output", digest, "--key", "@/alice.key", "--rebuilder-id", "https://alice.example")
	if f.Reason != "USAGE" || !strings.Contains(f.Error, "may name another image tomorrow") {
		t.Errorf("%+v", f)
	}
	if f := w.mustFail("list", repository+":1"); f.Reason != "USAGE" || !strings.Contains(f.Hint, "@sha256:") {
		t.Errorf("%+v", f)
	}
}
