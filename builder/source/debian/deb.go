package debian

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// dataTar returns the tar of the files that a binary package holds, deb(5).
// Its compression may be any that dpkg of Debian 8 to 13 writes.
func dataTar(r io.Reader) (io.ReadCloser, error) {
	a, err := newArchive(bufio.NewReaderSize(r, 1<<16))
	if err != nil {
		return nil, err
	}
	name, size, err := a.next()
	if err != nil {
		return nil, noEOF(err)
	}
	if name != "debian-binary" || size > 64 {
		return nil, fmt.Errorf("first member is %q of %d bytes, not debian-binary", name, size)
	}
	version, err := io.ReadAll(a)
	if err != nil {
		return nil, fmt.Errorf("reading debian-binary: %w", err)
	}
	if !strings.HasPrefix(string(version), "2.") {
		return nil, fmt.Errorf("package format %q is not 2.x", version)
	}
	for {
		name, _, err := a.next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("no member is data.tar")
		}
		if err != nil {
			return nil, err
		}
		if ext, ok := strings.CutPrefix(name, "data.tar"); ok {
			return decompress(a, ext)
		}
	}
}

// decompress undoes the compression that a file name ends with.
func decompress(r io.Reader, ext string) (io.ReadCloser, error) {
	switch ext {
	case "":
		return io.NopCloser(r), nil
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		x, err := xz.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("reading data.tar.xz: %w", err)
		}
		return io.NopCloser(x), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, fmt.Errorf("reading data.tar.zst: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("data.tar%s: compression is not none, gz, xz or zst", ext)
}

// entry is one path of a root file system.
type entry struct {
	path     string // slashes, relative, clean
	typ      byte   // tar.TypeReg, TypeDir, TypeSymlink or TypeLink
	mode     int64  // permissions with setuid, setgid and sticky bits
	uid, gid int
	link     string // the target of a symlink; the path of a hard link's file
	size     int64
	off      int64 // of the content in the spool
	sum      [32]byte
	from     string // the package
}

// entries reads the tar of a package; the content of files goes to put.
func entries(from string, r io.Reader, put func(r io.Reader, size int64) (int64, [32]byte, error)) ([]*entry, error) {
	var list []*entry
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the tar: %w", err)
		}
		name, err := cleanPath(h.Name)
		if err != nil {
			return nil, err
		}
		if name == "." {
			continue // what / is belongs to whoever unpacks
		}
		if h.Typeflag == tar.TypeDir {
			name = usrMerged(name + "/.")
		}
		e := &entry{path: path.Clean(usrMerged(name)), typ: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid, from: from}
		if err := e.fill(h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		if e.typ == tar.TypeReg {
			if e.off, e.sum, err = put(tr, h.Size); err != nil {
				return nil, fmt.Errorf("%s: %w", h.Name, err)
			}
			e.size = h.Size
		}
		list = append(list, e)
	}
}

// fill sets what depends on the type, and refuses what would be lost.
func (e *entry) fill(h *tar.Header) error {
	for key := range h.PAXRecords {
		switch key {
		case "path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime":
		default:
			return fmt.Errorf("pax record %q is not understood", key)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		e.link, e.mode = h.Linkname, 0o777
		if e.link == "" {
			return errors.New("symlink to nothing")
		}
	case tar.TypeLink:
		target, err := cleanPath(h.Linkname)
		if err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		e.link = usrMerged(target)
	default:
		return fmt.Errorf("type %q: only files, directories and links are understood", h.Typeflag)
	}
	return nil
}

// cleanPath checks and cleans a path of a tar: relative once "./" or "/" is
// off, and not upwards. The root is ".".
func cleanPath(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("path %q is none", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("path %q leads upwards", name)
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return ".", nil
	}
	return clean, nil
}
