package image_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/cairnlog/cairn/builder/image"
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	zeros = "0000000000000000000000000000000000000000000000000000000000000000"
	ones  = "1111111111111111111111111111111111111111111111111111111111111111"
)

func TestParseDigests(t *testing.T) {
	text := zeros + " core-a\n" + ones + " core-a-b.c_d+e\n"
	d, err := image.ParseDigests("core", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := image.Digests{"core-a": "sha256:" + zeros, "core-a-b.c_d+e": "sha256:" + ones}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("digests (-want +got):\n%s", diff)
	}
	if got := string(d.Format("core")); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"no newline":        {zeros + " core-a", "line 1 does not end"},
		"an empty line":     {zeros + " core-a\n\n", "line 2 is not"},
		"two spaces":        {zeros + "  core-a\n", "line 1 is not"},
		"upper case":        {strings.Repeat("A", 64) + " core-a\n", "line 1 is not"},
		"short":             {zeros[1:] + " core-a\n", "line 1 is not"},
		"no name":           {zeros + " core-\n", "line 1 is not"},
		"a path":            {zeros + " core-../x\n", "line 1 is not"},
		"a carriage return": {zeros + " core-a\r\n", "line 1 is not"},
		"another stage":     {zeros + " user-a\n", "line 1 is of stage user"},
		"not sorted":        {zeros + " core-b\n" + zeros + " core-a\n", "line 2: a does not come after b"},
		"twice":             {zeros + " core-b\n" + ones + " core-b\n", "line 2: b does not come after b"},
	} {
		if d, err := image.ParseDigests("core", []byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, %v; want an error with %q", name, d, err, tc.want)
		}
	}
}

func FuzzParseDigests(f *testing.F) {
	f.Add([]byte(zeros + " core-a\n" + ones + " core-b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := image.ParseDigests("core", text)
		if err != nil {
			return
		}
		if got := d.Format("core"); !bytes.Equal(got, text) {
			t.Errorf("got %q, want %q", got, text)
		}
	})
}

// TestStageXDigests reads a real tree's digests, if CAIRN_STAGEX_TREE names one.
func TestStageXDigests(t *testing.T) {
	dir := filepath.Join("testdata", "digests") // two small files of ours
	if tree := os.Getenv("CAIRN_STAGEX_TREE"); tree != "" {
		dir = filepath.Join(tree, "digests")
	}
	d, err := image.ReadDigests(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d digests of %v", len(d), d.Stages())
	out := t.TempDir()
	if err := image.WriteDigests(out, d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(readTree(t, dir), readTree(t, out)); diff != "" {
		t.Errorf("files (-read +written):\n%s", diff)
	}
}

func TestWriteDigestsRefuses(t *testing.T) {
	for name, d := range map[string]image.Digests{
		"nothing": {}, "a path": {"../x": "sha256:" + zeros}, "a digest": {"core-a": "x"}, "no stage": {"a": "sha256:" + zeros},
	} {
		dir := t.TempDir()
		if err := image.WriteDigests(dir, d); err == nil {
			t.Errorf("%s is written", name)
		}
		if left, _ := fs.ReadDir(os.DirFS(dir), "."); len(left) > 0 {
			t.Errorf("%s: %v is left", name, left)
		}
	}
	if _, err := image.ReadDigests(t.TempDir()); err == nil {
		t.Error("a directory without digests is read")
	}
}

func TestCheckDigests(t *testing.T) {
	out := t.TempDir()
	for _, name := range []string{"config", "files", "i386"} {
		if err := os.CopyFS(filepath.Join(out, "core-"+name), os.DirFS((&golden{name: name}).dir("layout"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "log"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := image.OutDigests(out)
	if err != nil {
		t.Fatal(err)
	}
	want := image.Digests{
		"core-config": got["core-config"], "core-files": digest.FromString("another"), "core-gone": digest.FromString("gone"),
	}
	checks, err := image.CheckDigests(want, got)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]image.DigestCheck{
		{ID: "core-config", State: image.Equal, Want: want["core-config"], Got: want["core-config"]},
		{ID: "core-files", State: image.Differs, Want: want["core-files"], Got: (&golden{name: "files"}).open(t).Manifest.Digest},
		{ID: "core-gone", State: image.Missing, Want: want["core-gone"]},
		{ID: "core-i386", State: image.Extra, Got: got["core-i386"]},
	}, checks); d != "" {
		t.Errorf("checks (-want +got):\n%s", d)
	}
	if _, err := image.CheckDigests(nil, nil); err == nil {
		t.Error("nothing compared is a success")
	}
	if _, err := image.OutDigests(filepath.Join(out, "none")); err == nil {
		t.Error("a missing directory is read")
	}
	if err := os.Mkdir(filepath.Join(out, "core-half"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := image.OutDigests(out); err == nil {
		t.Error("half a layout is passed over")
	}
}
