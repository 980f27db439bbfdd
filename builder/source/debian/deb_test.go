package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cairnlog/cairn/builder/source/debian/debiantest"
	"github.com/google/go-cmp/cmp"
)

func readArchive(r io.Reader) (members []debiantest.Member, err error) {
	a, err := newArchive(r)
	if err != nil {
		return nil, err
	}
	for {
		name, size, err := a.next()
		if errors.Is(err, io.EOF) {
			return members, nil
		}
		if err != nil {
			return members, err
		}
		data, err := io.ReadAll(a)
		if err != nil {
			return members, err
		}
		if int64(len(data)) != size {
			return members, errors.New("a member has another size than its header says")
		}
		members = append(members, debiantest.Member{Name: name, Data: data})
	}
}

func TestArchive(t *testing.T) {
	want := []debiantest.Member{{Name: "odd", Data: []byte("123")}, {Name: "empty", Data: []byte{}}, {Name: "even", Data: []byte("1234")}}
	text := debiantest.Ar(want...)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(text), "by bytes": iotest.OneByteReader(bytes.NewReader(text)),
		"with the end": iotest.DataErrReader(bytes.NewReader(text))} {
		got, err := readArchive(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	// Members that nobody reads are passed over; a last one may lack its padding.
	a, err := newArchive(bytes.NewReader(bytes.TrimSuffix(debiantest.Ar(want[2], want[0]), []byte("\n"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"even", "odd", ""} {
		name, _, err := a.next()
		if name != want || (want == "") != errors.Is(err, io.EOF) {
			t.Errorf("member %q, %v; want %q", name, err, want)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	whole := debiantest.Ar(debiantest.Member{Name: "a", Data: []byte("12345678")})
	for name, text := range map[string][]byte{
		"nothing":            nil,
		"something else":     []byte("!<thin>\n"),
		"half a header":      whole[:40],
		"half a member":      whole[:len(whole)-4],
		"a header's end":     bytes.Replace(whole, []byte("`\n"), []byte("xx"), 1),
		"a negative size":    bytes.Replace(whole, []byte("8         `"), []byte("-8        `"), 1),
		"no size":            bytes.Replace(whole, []byte("8         `"), []byte("          `"), 1),
		"a size that is hex": bytes.Replace(whole, []byte("8         `"), []byte("0x8       `"), 1),
	} {
		if got, err := readArchive(bytes.NewReader(text)); err == nil {
			t.Errorf("%s: read as %v", name, got)
		}
	}
	a, err := newArchive(bytes.NewReader(whole[:len(whole)-4]))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.next(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a member was passed over: %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(debiantest.Ar(debiantest.Member{Name: "a", Data: []byte("123")}, debiantest.Member{Name: "b"}))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readArchive(bytes.NewReader(text))
		if err != nil {
			return
		}
		size := len(arMagic)
		for _, m := range got {
			size += arHeader + len(m.Data) + len(m.Data)%2
		}
		if size != len(text) && size != len(text)+1 {
			t.Fatalf("%d bytes are read as %d", len(text), size)
		}
	})
}

// What dpkg builds is read as dpkg reads it.
func TestDataTarOfDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skipf("dpkg-deb is needed to make packages: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "p")
	for name, text := range map[string]string{
		"DEBIAN/control":  "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n",
		"usr/bin/p":       strings.Repeat("p", 100_000),
		"etc/p/config":    "x",
		"usr/share/p/doc": "",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, compression := range []string{"none", "gzip", "xz", "zstd"} {
		deb := filepath.Join(t.TempDir(), "p.deb")
		if out, err := exec.Command("dpkg-deb", "-Z"+compression, "--root-owner-group", "--build", dir, deb).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", compression, err, out)
		}
		want, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(deb)
		if err != nil {
			t.Fatal(err)
		}
		r, err := dataTar(f)
		if err != nil {
			t.Fatalf("%s: %v", compression, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d (%v)", compression, len(got), len(want), err)
		}
		if err := errors.Join(r.Close(), f.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestDataTarRefuses(t *testing.T) {
	magic := debiantest.Member{Name: "debian-binary", Data: []byte("2.0\n")}
	for _, c := range []struct {
		name string
		deb  []byte
		want string
	}{
		{"nothing", nil, "unexpected EOF"},
		{"an empty archive", debiantest.Ar(), "unexpected EOF"},
		{"another archive", debiantest.Ar(debiantest.Member{Name: "x"}), "not debian-binary"},
		{"another version", debiantest.Ar(debiantest.Member{Name: "debian-binary", Data: []byte("3.0\n")}), "not 2.x"},
		{"no files", debiantest.Ar(magic, debiantest.Member{Name: "control.tar"}), "no member is data.tar"},
		{"another compression", debiantest.Ar(magic, debiantest.Member{Name: "data.tar.lzma"}), "data.tar.lzma: compression"},
		{"no gzip", debiantest.Ar(magic, debiantest.Member{Name: "data.tar.gz", Data: []byte("x")}), "EOF"},
		{"no xz", debiantest.Ar(magic, debiantest.Member{Name: "data.tar.xz", Data: []byte("x")}), "data.tar.xz"},
	} {
		if _, err := dataTar(bytes.NewReader(c.deb)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEntriesRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		h    tar.Header
		want string
	}{
		{"a path upwards", debiantest.File("./a/../../b", ""), "leads upwards"},
		{"a device", tar.Header{Name: "./dev/null", Typeflag: tar.TypeChar}, "only files"},
		{"a pipe", tar.Header{Name: "./p", Typeflag: tar.TypeFifo}, "only files"},
		{"a link to nothing", tar.Header{Name: "./l", Typeflag: tar.TypeSymlink}, "symlink to nothing"},
		{"a hard link upwards", tar.Header{Name: "./l", Typeflag: tar.TypeLink, Linkname: "../x"}, "leads upwards"},
		{"an attribute", tar.Header{Name: "./f", PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}, "SCHILY.xattr"},
	} {
		r := bytes.NewReader(debiantest.Tar(t, c.h))
		if list, err := entries("p", r, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", c.name, list, err, c.want)
		}
	}
	whole := debiantest.Tar(t, debiantest.File("./f", "content"))
	discard := func(r io.Reader, _ int64) (int64, [32]byte, error) {
		_, err := io.Copy(io.Discard, r)
		return 0, [32]byte{}, err
	}
	if list, err := entries("p", bytes.NewReader(whole[:515]), discard); err == nil {
		t.Errorf("half a tar is read as %v", list)
	}
}
