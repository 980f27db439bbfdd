package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/cairnlog/cairn/builder/image"
)

const root = "/ d 0755 0 0\n"

func line(path, mode, body string) string {
	return fmt.Sprintf("%s f %s 0 0 %d %x\n", path, mode, len(body), sha256.Sum256([]byte(body)))
}

func opaque(dir string) file { return f(dir+"/.wh..wh..opq", "") }

func TestContent(t *testing.T) {
	dir := func(name string) file { return of(tar.TypeDir, name+"/", "") }
	for name, tc := range map[string]struct {
		layers [][]file
		want   string
	}{
		"nothing":            {nil, root},
		"an empty layer":     {[][]file{{}}, root},
		"the root itself":    {[][]file{{with(dir("."), func(h *tar.Header) { h.Mode, h.Uid = 0o700, 5 })}}, "/ d 0700 5 0\n"},
		"names are cleaned":  {[][]file{{f("./a//b/./c", "x")}}, root + "/a d 0755 0 0\n/a/b d 0755 0 0\n" + line("/a/b/c", "0644", "x")},
		"sorted by path":     {[][]file{{f("a/b", ""), f("a-b", "")}}, root + "/a d 0755 0 0\n" + line("/a-b", "0644", "") + line("/a/b", "0644", "")},
		"a later layer wins": {[][]file{{f("a", "1")}, {f("a", "2")}}, root + line("/a", "0644", "2")},
		"a later entry wins": {[][]file{{f("a", "1"), f("a", "2")}}, root + line("/a", "0644", "2")},
		"whiteout":           {[][]file{{f("d/a", ""), f("d/b", "")}, {f("d/.wh.a", "")}}, root + "/d d 0755 0 0\n" + line("/d/b", "0644", "")},
		"whiteout of a tree": {[][]file{{f("d/e/a", ""), f("b", "")}, {f(".wh.d", "")}}, root + line("/b", "0644", "")},
		"whiteout of nothing that is there": {[][]file{{f("b", "")}, {f(".wh.d", ""), f("x/.wh.y", "")}},
			root + line("/b", "0644", "")},
		"a whiteout spares its own layer": {[][]file{{f("a", "1")}, {f("a", "2"), f(".wh.a", "")}}, root + line("/a", "0644", "2")},
		"opaque": {[][]file{{f("d/a", ""), f("d/e/b", "")}, {f("d/c", ""), opaque("d")}},
			root + "/d d 0755 0 0\n" + line("/d/c", "0644", "")},
		"opaque root": {[][]file{{f("a", "")}, {opaque("."), f("b", "")}}, root + line("/b", "0644", "")},
		"a directory keeps what it holds": {[][]file{{f("d/a", "")}, {with(dir("d"), func(h *tar.Header) { h.Mode = 0o700 })}},
			root + "/d d 0700 0 0\n" + line("/d/a", "0644", "")},
		"a file replaces a directory":  {[][]file{{f("d/a", "")}, {f("d", "")}}, root + line("/d", "0644", "")},
		"a directory replaces a file":  {[][]file{{f("d", "")}, {dir("d"), f("d/a", "")}}, root + "/d d 0755 0 0\n" + line("/d/a", "0644", "")},
		"a link to a file":             {[][]file{{f("a", "x"), with(of(tar.TypeLink, "b", "a"), perm)}}, root + line("/a", "0644", "x") + line("/b", "0644", "x")},
		"a link to a link, before it":  {[][]file{{with(of(tar.TypeLink, "c", "b"), perm), with(of(tar.TypeLink, "b", "./a"), perm), f("a", "x")}}, root + line("/a", "0644", "x") + line("/b", "0644", "x") + line("/c", "0644", "x")},
		"a link to an older layer":     {[][]file{{f("a", "x")}, {with(of(tar.TypeLink, "b", "a"), perm)}}, root + line("/a", "0644", "x") + line("/b", "0644", "x")},
		"a linked file may go":         {[][]file{{f("a", "x"), with(of(tar.TypeLink, "b", "a"), perm)}, {f(".wh.a", "")}}, root + line("/b", "0644", "x")},
		"symbolic links have one mode": {[][]file{{of(tar.TypeSymlink, "l", "../a b")}}, root + "/l l 0777 0 0 ../a\\x20b\n"},
		"devices": {[][]file{{with(of(tar.TypeChar, "c", ""), func(h *tar.Header) { h.Devmajor, h.Devminor = 1, 3 }), of(tar.TypeBlock, "d", ""), of(tar.TypeFifo, "p", "")}},
			root + "/c c 0755 0 0 1:3\n/d b 0755 0 0 0:0\n/p p 0755 0 0\n"},
		"names are escaped": {[][]file{{f("é \\\n\x7f~!", "")}}, root + line(`/\xc3\xa9\x20\x5c\x0a\x7f~!`, "0644", "")},
		"a comment for all": {[][]file{{file{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}}}, root},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := text(t, imageOf(t, "", tc.layers...))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff("cairn.rootfs/v1\n"+tc.want, got); d != "" {
				t.Errorf("content (-want +got):\n%s", d)
			}
		})
	}
}

func perm(h *tar.Header) { h.Mode = 0o644 }

func TestContentRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		layers [][]file
		want   string
	}{
		"up":                       {[][]file{{f("a/../b", "")}}, "goes up"},
		"a link up":                {[][]file{{f("a", ""), of(tar.TypeLink, "b", "../a")}}, "goes up"},
		"a long name":              {[][]file{{f(strings.Repeat("x", 4097), "")}}, "4097 bytes"},
		"below a file":             {[][]file{{f("a", ""), f("a/b", "")}}, "not a directory"},
		"below an older file":      {[][]file{{f("a", "")}, {f("a/b", "")}}, "not a directory"},
		"below a symbolic link":    {[][]file{{of(tar.TypeSymlink, "a", "x")}, {f("a/b", "")}}, "not a directory"},
		"a link to nothing":        {[][]file{{of(tar.TypeLink, "b", "a")}}, "is no file"},
		"a link to a directory":    {[][]file{{of(tar.TypeDir, "a", ""), of(tar.TypeLink, "b", "a")}}, "is no file"},
		"links in a circle":        {[][]file{{of(tar.TypeLink, "a", "b"), of(tar.TypeLink, "b", "a")}}, "is no file"},
		"a link with another mode": {[][]file{{f("a", ""), of(tar.TypeLink, "b", "a")}}, "another mode or owner"},
		"a link that is a file":    {[][]file{{f("a", ""), f("b", "1"), with(of(tar.TypeLink, "b", "a"), perm)}}, "something else"},
		"a link with entries":      {[][]file{{f("a", ""), f("b/c", ""), with(of(tar.TypeLink, "b", "a"), perm)}}, "something else"},
		"a whiteout of nothing":    {[][]file{{f(".wh.", "")}}, "of nothing"},
		"a whiteout of up":         {[][]file{{f("a/.wh...", "")}}, "of nothing"},
		"a whiteout with entries":  {[][]file{{f(".wh.a/b", "")}}, "holds no entries"},
		"the root is no file":      {[][]file{{of(tar.TypeFifo, ".", "")}}, "root is of type"},
		"a negative owner":         {[][]file{{with(f("a", ""), func(h *tar.Header) { h.Uid = -1; h.Format = tar.FormatGNU })}}, "owner -1"},
		"a name for all":           {[][]file{{file{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}, ""}}}, "not specified"},
		"an unknown type":          {[][]file{{of('Z', "a", "")}}, `type 'Z'`},
		"many attributes": {[][]file{{with(f("a", ""), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": strings.Repeat("x", 70000)}
		})}}, "extended attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := text(t, imageOf(t, "gzip", tc.layers...))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, %v; want an error with %q", got, err, tc.want)
			}
		})
	}
}

// Go's archive/tar writes no sparse file, so a name is changed to one.
func TestSparse(t *testing.T) {
	b := makeTar(t, with(f("a", ""), func(h *tar.Header) { h.PAXRecords = map[string]string{"ABC.sparse.x": "1"} }))
	b = bytes.Replace(b, []byte("ABC.sparse"), []byte("GNU.sparse"), 1)
	l := newLayout(t)
	img, err := image.Open(l.index(l.image("amd64", "", b)), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.Content(t.Context()); err == nil || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("content: got %v", err)
	}
	if err := image.RewriteTimestamps(io.Discard, bytes.NewReader(b), time.Unix(1, 0)); err == nil || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("rewriting: got %v", err)
	}
}

// The vector is the content of the golden image "files". docs/builder-formats.md
// names it.
func TestContentVector(t *testing.T) {
	name := filepath.Join("testdata", "rootfs-v1.txt")
	got, err := text(t, (&golden{name: "files"}).open(t))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("content (-want +got):\n%s", d)
	}
	const sum = "sha256:e1ee615050d4b09ba5fc502bcea4fdc7e13901ccd01ecbb923faf0e341e98842"
	if got := digest.FromBytes(want).String(); got != sum {
		t.Errorf("the vector has digest %s, want %s", got, sum)
	}
}

// sample is a root file system with something of everything.
func sample() []file {
	return []file{
		of(tar.TypeDir, "bin/", ""), with(f("bin/a", "aaa"), func(h *tar.Header) { h.Mode = 0o4755 }),
		with(f("bin/c", "ccc"), func(h *tar.Header) { h.Uid, h.Gid = 1, 2 }),
		f("etc/deep/er/file", "x"), of(tar.TypeSymlink, "lib", "usr/lib"),
		with(of(tar.TypeLink, "bin/b", "bin/a"), func(h *tar.Header) { h.Mode = 0o4755 }),
		of(tar.TypeFifo, "run/p", ""), f(strings.Repeat("long/", 30)+"name", "n"), f("naïve", "u"),
	}
}

// TestContentIsOneForAll changes everything that must not matter.
func TestContentIsOneForAll(t *testing.T) {
	want, err := text(t, imageOf(t, "", sample()))
	if err != nil {
		t.Fatal(err)
	}
	same := func(name, compression string, layers ...[]file) {
		t.Helper()
		if got, err := text(t, imageOf(t, compression, layers...)); err != nil || got != want {
			t.Errorf("%s: %v, -want +got:\n%s", name, err, cmp.Diff(want, got))
		}
	}
	same("gzip", "gzip", sample())
	same("zstd", "zstd", sample())
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		files := sample()
		r.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		same("another order", "", files)
		link := slices.IndexFunc(files, func(e file) bool { return e.Typeflag == tar.TypeLink })
		if cut := r.IntN(len(files)); link >= cut {
			// A link must come with or after its file.
			a := slices.IndexFunc(files, func(e file) bool { return e.Name == "bin/a" })
			files[0], files[a] = files[a], files[0]
			same("two layers", "gzip", files[:max(cut, 1)], files[max(cut, 1):])
		}
	}
	files := sample()
	for i := range files {
		files[i].ModTime = time.Unix(int64(i)*1e6, 0)
		files[i].Uname, files[i].Gname = "someone", "some"
	}
	same("other times and names of owners", "", files)
	files = sample()
	for i := range files {
		files[i].Mode |= 0o100000 // as old tars have it
	}
	same("modes with a type", "", files)
	files = sample()
	files[1], files[5] = with(f("bin/b", "aaa"), func(h *tar.Header) { h.Mode = 0o4755 }),
		with(of(tar.TypeLink, "bin/a", "bin/b"), func(h *tar.Header) { h.Mode = 0o4755 })
	same("the link the other way round", "", files)
	files = sample()
	files[5] = with(f("bin/b", "aaa"), func(h *tar.Header) { h.Mode = 0o4755 })
	same("a copy in place of the link", "", files)
	same("files added and removed again", "gzip", append(sample(), f("bin/x", ""), f("gone/y", "")), []file{f("bin/.wh.x", ""), f(".wh.gone", "")})
	for _, format := range []tar.Format{tar.FormatPAX, tar.FormatGNU} {
		files := sample()
		for i := range files {
			files[i].Format = format
		}
		same(format.String(), "", files)
	}
}

// TestContentDiffers changes one thing at a time that must matter.
func TestContentDiffers(t *testing.T) {
	seen := make(map[string]string)
	note := func(name string, files []file) {
		t.Helper()
		got, err := text(t, imageOf(t, "", files))
		if err != nil {
			t.Fatal(err)
		}
		if old, ok := seen[got]; ok {
			t.Errorf("%s and %s have the same content", old, name)
		}
		seen[got] = name
	}
	note("unchanged", sample())
	for name, change := range map[string]func(*file){
		"a byte":       func(e *file) { e.body = "cCc" },
		"size":         func(e *file) { e.body, e.Size = "cccc", 4 },
		"mode":         func(e *file) { e.Mode = 0o600 },
		"suid":         func(e *file) { e.Mode |= 0o4000 },
		"sgid":         func(e *file) { e.Mode |= 0o2000 },
		"sticky":       func(e *file) { e.Mode |= 0o1000 },
		"uid":          func(e *file) { e.Uid = 3000000 },
		"gid":          func(e *file) { e.Gid = 3000000 },
		"name":         func(e *file) { e.Name = "bin/C" },
		"escaped name": func(e *file) { e.Name = "bin/\n" },
		"its escape":   func(e *file) { e.Name = `bin/\x0a` },
		"directory":    func(e *file) { *e = of(tar.TypeDir, "bin/c", "") },
		"link":         func(e *file) { *e = of(tar.TypeSymlink, "bin/c", "x") },
		"link target":  func(e *file) { *e = of(tar.TypeSymlink, "bin/c", "y") },
		"device":       func(e *file) { *e = of(tar.TypeChar, "bin/c", "") },
		"block device": func(e *file) { *e = of(tar.TypeBlock, "bin/c", "") },
		"minor":        func(e *file) { *e = of(tar.TypeBlock, "bin/c", ""); e.Devminor = 1 },
		"major":        func(e *file) { *e = of(tar.TypeBlock, "bin/c", ""); e.Devmajor = 1 },
		"fifo":         func(e *file) { *e = of(tar.TypeFifo, "bin/c", "") },
		"attribute":    func(e *file) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b=c"} },
		"its name":     func(e *file) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.A": "b=c"} },
		"its value":    func(e *file) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b c=d"} },
		"two of them":  func(e *file) { e.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b", "SCHILY.xattr.c": "d"} },
	} {
		files := sample()
		change(&files[2])
		note(name, files)
	}
	note("one less", sample()[:8])
	note("the root's mode", append(sample(), with(of(tar.TypeDir, "./", ""), func(h *tar.Header) { h.Mode = 0o700 })))
}

func BenchmarkContent(b *testing.B) {
	const megabytes = 64
	body := string(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	for _, compression := range []string{"", "gzip", "zstd"} {
		b.Run("compression="+compression, func(b *testing.B) {
			var files []file
			for i := range megabytes {
				files = append(files, f(fmt.Sprint("dir/", i), body))
			}
			img := imageOf(b, compression, files)
			b.SetBytes(megabytes << 20)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := img.Content(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkContentEntries(b *testing.B) {
	var files []file
	for i := range 20000 {
		files = append(files, f(fmt.Sprintf("usr/share/%d/%d", i%100, i), "x"))
	}
	img := imageOf(b, "gzip", files)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := img.Content(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func TestReadFiles(t *testing.T) {
	perm := func(h *tar.Header) { h.Mode = 0o644 }
	img := imageOf(t, "gzip", []file{f("a", "old"), f("c", "see"), of(tar.TypeDir, "d", "")}, []file{f("a", "new"), with(of(tar.TypeLink, "b", "c"), perm)})
	c, err := img.Content(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var files []*image.Entry
	for i := range c.Entries {
		if c.Entries[i].Type == image.File {
			files = append(files, &c.Entries[i])
		}
	}
	got := make(map[string]string)
	err = img.ReadFiles(t.Context(), files, func(same []*image.Entry, r io.Reader) error {
		b, err := io.ReadAll(r)
		for _, e := range same {
			got[e.Path] += string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"/a": "new", "/b": "see", "/c": "see"}, got); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	stop := errors.New("stop")
	if err := img.ReadFiles(t.Context(), files, func([]*image.Entry, io.Reader) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
	nothing := func([]*image.Entry, io.Reader) error { return nil }
	if err := img.ReadFiles(t.Context(), []*image.Entry{&c.Entries[0]}, nothing); err == nil {
		t.Error("the root directory is read as a file")
	}
	other := imageOf(t, "", []file{f("x", "")}, []file{})
	if err := other.ReadFiles(t.Context(), files, nothing); err == nil {
		t.Error("entries of another image are read")
	}
	// What follows the archive says nothing of the files, and belongs to the layer.
	l := newLayout(t)
	plain, err := image.Open(l.index(l.image("amd64", "", append(makeTar(t, f("a", "x")), make([]byte, 1<<20)...))), "")
	if err != nil {
		t.Fatal(err)
	}
	if c, err = plain.Content(t.Context()); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(plain.Dir, "blobs", "sha256", plain.Layers[0].Digest.Encoded())
	b := readFile(t, blob)
	b[len(b)-1] = 1
	if err := os.WriteFile(blob, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := plain.ReadFiles(t.Context(), []*image.Entry{&c.Entries[1]}, nothing); err == nil {
		t.Error("a layer that has changed is read")
	}
}
