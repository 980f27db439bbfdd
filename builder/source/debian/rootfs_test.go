package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/builder/source/debian/debiantest"
	"github.com/google/go-cmp/cmp"
)

// makeRootfs makes the root file system of packages that hold the given tars, in
// the order of their names.
func makeRootfs(t *testing.T, fs *Rootfs, packages map[string][]byte, names ...string) ([]byte, error) {
	t.Helper()
	fs.Scratch = t.TempDir()
	if fs.MaxSize == 0 {
		fs.MaxSize = 1 << 20
	}
	var debs []Deb
	for _, name := range names {
		debs = append(debs, Deb{Name: name, Version: "1"})
	}
	var out bytes.Buffer
	err := fs.Write(t.Context(), &out, debs, func(d Deb) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(debiantest.Deb(t, ".xz", packages[d.Name]))), nil
	})
	if left, _ := os.ReadDir(fs.Scratch); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return out.Bytes(), err
}

func listTar(t *testing.T, text []byte) []string {
	t.Helper()
	var lines []string
	for tr := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uname != "" || h.Gname != "" || h.Format != tar.FormatGNU {
			t.Errorf("%s: time %v, owner %q %q, format %v", h.Name, h.ModTime, h.Uname, h.Gname, h.Format)
		}
		line := fmt.Sprintf("%c %04o %d:%d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Name)
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		if len(data) > 0 {
			line += fmt.Sprintf(" %q", data)
		}
		lines = append(lines, line)
	}
}

func dir(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
}

func link(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
}

func hardLink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, Mode: 0o644}
}

func owned(h tar.Header, mode int64, uid, gid int) tar.Header {
	h.Mode, h.Uid, h.Gid = mode, uid, gid
	return h
}

func TestRootfs(t *testing.T) {
	long := strings.Repeat("long/", 40) + "name"
	packages := map[string][]byte{
		"a": debiantest.Tar(t, dir("./", 0o755), dir("./bin/", 0o755), owned(debiantest.File("./bin/su", "su"), 0o4755, 0, 0), link("./bin/sh", "su"),
			dir("./usr/", 0o755), dir("./usr/share/", 0o755), debiantest.File("./usr/share/ünï", "u"), debiantest.File("./"+long, "l"), dir("./lib64/", 0o755)),
		"b": debiantest.Tar(t, dir("./", 0o755), dir("./usr/", 0o755), dir("./usr/bin/", 0o755), debiantest.File("./usr/bin/z", "z"),
			hardLink("./usr/bin/b", "./usr/bin/z"), hardLink("./bin/c", "./usr/bin/b-not"), owned(dir("./var/mail/", 0), 0o2775, 0, 8),
			link("./bin/sh", "su"), dir("./usr/share/", 0o755), debiantest.File("./usr/share/ünï", "u")),
	}
	// The hard link to b-not must be to a file of the package.
	if _, err := makeRootfs(t, &Rootfs{Arch: "amd64"}, packages, "a", "b"); err == nil || !strings.Contains(err.Error(), "/usr/bin/c is a hard link to /usr/bin/b-not") {
		t.Errorf("a hard link to nothing: %v", err)
	}
	packages["b"] = bytes.ReplaceAll(packages["b"], []byte("b-not"), []byte("z\x00\x00\x00\x00"))
	packages["b"] = fixSums(t, packages["b"])
	got, err := makeRootfs(t, &Rootfs{Arch: "amd64"}, packages, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`2 0777 0:0 bin -> usr/bin`, `2 0777 0:0 lib -> usr/lib`, `2 0777 0:0 lib64 -> usr/lib64`,
	}
	for i := range 40 {
		want = append(want, "5 0755 0:0 "+strings.Repeat("long/", i+1))
	}
	want = append(want, `0 0644 0:0 `+long+` "l"`, `2 0777 0:0 sbin -> usr/sbin`, `5 0755 0:0 usr/`, `5 0755 0:0 usr/bin/`,
		`0 0644 0:0 usr/bin/b "z"`, `1 0644 0:0 usr/bin/c -> usr/bin/b`, `2 0777 0:0 usr/bin/sh -> su`, `0 4755 0:0 usr/bin/su "su"`,
		`1 0644 0:0 usr/bin/z -> usr/bin/b`, `5 0755 0:0 usr/lib/`, `5 0755 0:0 usr/lib64/`, `5 0755 0:0 usr/sbin/`, `5 0755 0:0 usr/share/`,
		`0 0644 0:0 usr/share/ünï "u"`, `5 0755 0:0 var/`, `5 2775 0:8 var/mail/`)
	if diff := cmp.Diff(want, listTar(t, got)); diff != "" {
		t.Error(diff)
	}
	again, err := makeRootfs(t, &Rootfs{Arch: "amd64"}, packages, "b", "a")
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("the order of the packages changes the result (%v)", err)
	}
	other, err := makeRootfs(t, &Rootfs{Arch: "arm64"}, map[string][]byte{"c": debiantest.Tar(t, debiantest.File("./etc/c", ""))}, "c")
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(listTar(t, other), "\n"); strings.Contains(text, "lib64") {
		t.Errorf("lib64 on arm64:\n%s", text)
	}
}

// fixSums writes a tar anew, whose headers were edited.
func fixSums(t *testing.T, text []byte) []byte {
	t.Helper()
	for at := 0; at+512 <= len(text); at += 512 {
		h := text[at : at+512]
		if !bytes.Equal(h[257:262], []byte("ustar")) {
			continue
		}
		copy(h[148:156], "        ")
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return text
}

func TestRootfsConflicts(t *testing.T) {
	file := debiantest.File("./usr/bin/x", "x")
	for _, c := range []struct {
		name string
		a, b tar.Header
		want string // none if there is no conflict
	}{
		{"the same file", file, file, ""},
		{"the same file by way of /bin", file, debiantest.File("./bin/x", "x"), ""},
		{"another content", file, debiantest.File("./bin/x", "y"), "/usr/bin/x is a file of 1 bytes, mode 0644, owner 0:0, sha256 2d71"},
		{"another mode", file, owned(file, 0o755, 0, 0), "mode 0755, owner 0:0"},
		{"another owner", file, owned(file, 0o644, 1, 0), "owner 1:0"},
		{"another group", file, owned(file, 0o644, 0, 1), "owner 0:1"},
		{"a link", file, link("./usr/bin/x", "y"), `a link to "y" in b`},
		{"a link elsewhere", link("./l", "x"), link("./l", "y"), `a link to "y" in b`},
		{"the same link", link("./l", "x"), link("./l", "x"), ""},
		{"a directory", file, dir("./usr/bin/x/", 0o755), "a directory of mode 0755"},
		{"the same directory", dir("./d/", 0o700), dir("./d/", 0o700), ""},
		{"a directory of another mode", dir("./d/", 0o700), dir("./d/", 0o755), "a directory of mode 0755"},
		{"a hard link to another's file", file, hardLink("./y", "./usr/bin/x"), "b: /y is a hard link to /usr/bin/x"},
		{"below a file", file, debiantest.File("./usr/bin/x/y", ""), "/usr/bin/x/y of b lies below /usr/bin/x"},
		{"below a link", link("./d", "usr"), debiantest.File("./d/y", ""), "/d/y of b lies below /d"},
		{"/bin is a file", file, debiantest.File("./bin", "x"), "/bin is a file"},
		{"/bin is a link elsewhere", file, link("./bin", "usr/sbin"), `/bin is a link to "usr/sbin"`},
		{"/bin is the link it has to be", file, link("./bin", "usr/bin"), ""},
		{"/lib32 is used", file, debiantest.File("./lib32/x", "x"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			packages := map[string][]byte{"a": debiantest.Tar(t, c.a), "b": debiantest.Tar(t, c.b)}
			got, err := makeRootfs(t, &Rootfs{Arch: "amd64"}, packages, "a", "b")
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if text := strings.Join(listTar(t, got), "\n"); strings.Contains(text, "usr/lib32/") && !strings.Contains(text, "lib32 -> usr/lib32") {
					t.Errorf("no link to usr/lib32:\n%s", text)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestRootfsRefuses(t *testing.T) {
	one := map[string][]byte{"a": debiantest.Tar(t, debiantest.File("./x", "12345"), debiantest.File("./y", "12345"))}
	if _, err := makeRootfs(t, &Rootfs{}, nil); err == nil {
		t.Error("a root file system of nothing was made")
	}
	if _, err := makeRootfs(t, &Rootfs{MaxSize: 9}, one, "a"); err == nil || !strings.Contains(err.Error(), "more than 9 bytes together") {
		t.Errorf("too large together: %v", err)
	}
	if _, err := makeRootfs(t, &Rootfs{MaxSize: 4}, one, "a"); err == nil || !strings.Contains(err.Error(), "file of 5 bytes") {
		t.Errorf("too large: %v", err)
	}
	if _, err := makeRootfs(t, &Rootfs{MaxSize: 10}, one, "a"); err != nil {
		t.Errorf("just small enough: %v", err)
	}
	fs := &Rootfs{Scratch: t.TempDir(), MaxSize: 10}
	closed := errors.New("closed")
	if err := fs.Write(t.Context(), io.Discard, []Deb{{Name: "a"}}, func(Deb) (io.ReadCloser, error) { return nil, closed }); !errors.Is(err, closed) {
		t.Errorf("a package that cannot be read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := fs.Write(ctx, io.Discard, []Deb{{Name: "a"}}, func(Deb) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(debiantest.Deb(t, "", one["a"]))), nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkRootfs(b *testing.B) {
	data := debiantest.Tar(b, debiantest.File("./usr/bin/x", strings.Repeat("some content that compresses ", 100_000)))
	deb := debiantest.Deb(b, ".xz", data)
	fs := &Rootfs{Arch: "amd64", Scratch: b.TempDir(), MaxSize: 1 << 30}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		err := fs.Write(b.Context(), io.Discard, []Deb{{Name: "a"}}, func(Deb) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(deb)), nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
