// Package debiantest makes Debian packages and repositories for tests, without
// the tools that usually do.
//
// Invariant: what it makes depends on its arguments alone.
package debiantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Member is one member of an ar archive.
type Member struct {
	Name string
	Data []byte
}

// Ar returns an archive.
func Ar(members ...Member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, 1_000_000_000, 0, 0, "100644", len(m.Data))
		b.Write(m.Data)
		if len(m.Data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar returns a tar of what the headers say; Size is that of the content, which
// is the header's Uname.
func Tar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		data := h.Uname
		h.Uname, h.Format = "root", tar.FormatGNU
		if len(h.PAXRecords) > 0 {
			h.Format = tar.FormatPAX
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(data)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// File is the header of a file, for Tar.
func File(name, content string) tar.Header {
	return tar.Header{Name: name, Mode: 0o644, Uname: content}
}

// Compress compresses as the end of a file name says: "", ".gz", ".xz" or ".zst".
func Compress(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	var err error
	switch ext {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	default:
		t.Fatalf("compression %q", ext)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Deb returns a package that holds a tar, compressed as ext says.
func Deb(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	return Ar(Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar.gz", Compress(t, ".gz", Tar(t, File("./control", "Package: none\n")))},
		Member{"data.tar" + ext, Compress(t, ext, data)})
}

// Package is a binary package of a repository.
type Package struct {
	Name    string
	Version string // 1.0 if it is empty
	Arch    string // amd64 if it is empty
	Depends string
	Deb     []byte
}

// Source is a source package of a repository.
type Source struct {
	Name, Version string
	Files         map[string][]byte
}

// Repository is a Debian archive in a directory, and a configuration of apt that
// names it.
type Repository struct {
	Etc       string // instead of /etc/apt
	OSRelease string // instead of /etc/os-release
	Pool      string // where the files are
	t         testing.TB
	root      string
}

// NewRepository makes an archive without suites, on a machine that runs the given
// release. Options are those of one-line sources, such as trusted=yes.
func NewRepository(t testing.TB, release, options string) *Repository {
	t.Helper()
	root := t.TempDir()
	// apt reads as a user of its own.
	for dir := root; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &Repository{t: t, root: root, Etc: filepath.Join(root, "etc"), OSRelease: filepath.Join(root, "os-release"), Pool: filepath.Join(root, "archive", "pool")}
	r.write(r.OSRelease, fmt.Appendf(nil, "ID=debian\nVERSION_CODENAME=%s\n", release))
	r.write(filepath.Join(r.Etc, "sources.list"), fmt.Appendf(nil, "deb [%s] file:%s %s main\n", options, filepath.Join(root, "archive"), release))
	return r
}

func (r *Repository) write(path string, data []byte) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// AddSuite writes a suite of the given packages.
func (r *Repository) AddSuite(suite string, packages []Package, sources []Source) {
	r.t.Helper()
	var bin, src bytes.Buffer
	for _, p := range packages {
		r.binary(&bin, p)
	}
	for _, s := range sources {
		r.source(&src, s)
	}
	dists := filepath.Join(r.root, "archive", "dists", suite)
	release := fmt.Sprintf("Origin: Debian\nSuite: %s\nCodename: %s\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n", suite, suite)
	for name, data := range map[string][]byte{"main/binary-amd64/Packages": bin.Bytes(), "main/source/Sources": src.Bytes()} {
		r.write(filepath.Join(dists, name), data)
		release += fmt.Sprintf(" %x %d %s\n", sha256.Sum256(data), len(data), name)
	}
	r.write(filepath.Join(dists, "Release"), []byte(release))
}

func (r *Repository) binary(b *bytes.Buffer, p Package) {
	if p.Version == "" {
		p.Version = "1.0"
	}
	if p.Arch == "" {
		p.Arch = "amd64"
	}
	file := fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Arch)
	r.write(filepath.Join(r.Pool, file), p.Deb)
	fmt.Fprintf(b, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: none\nDescription: none\n", p.Name, p.Version, p.Arch)
	if p.Depends != "" {
		fmt.Fprintf(b, "Depends: %s\n", p.Depends)
	}
	fmt.Fprintf(b, "Filename: pool/%s\nSize: %d\nSHA256: %x\n\n", file, len(p.Deb), sha256.Sum256(p.Deb))
}

func (r *Repository) source(b *bytes.Buffer, s Source) {
	fmt.Fprintf(b, "Package: %s\nBinary: %s\nVersion: %s\nFormat: 3.0 (quilt)\nMaintainer: none\nDirectory: pool\nFiles:\n", s.Name, s.Name, s.Version)
	var sums strings.Builder
	for name, data := range s.Files {
		r.write(filepath.Join(r.Pool, name), data)
		fmt.Fprintf(b, " 00000000000000000000000000000000 %d %s\n", len(data), name)
		fmt.Fprintf(&sums, " %x %d %s\n", sha256.Sum256(data), len(data), name)
	}
	fmt.Fprintf(b, "Checksums-Sha256:\n%s\n", sums.String())
}
