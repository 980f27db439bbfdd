package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strings"
)

// What a root file system has at most.
const (
	maxEntries   = 4 << 20 // about 1 GiB of memory
	maxPathBytes = 4096    // PATH_MAX of Linux
	maxXattr     = 64 << 10
)

// Whiteouts, as the OCI image specification has them in its section "Representing
// Changes".
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// xattrPrefix is how PAX headers name extended attributes.
const xattrPrefix = "SCHILY.xattr."

// layer is what the tar of one layer says.
type layer struct {
	number  int
	removed []string // paths that are removed with what is below them
	emptied []string // directories of which all below is removed
	entries []Entry  // in the order of the tar
	links   []link
}

// link is a hard link.
type link struct {
	path, target string
	like         Entry // with the mode and owner that the link's header says
}

// readLayer reads the tar r of layer n, of at most limit headers, up to its end.
func readLayer(r io.Reader, n, limit int) (*layer, error) {
	l := &layer{number: n}
	t := tar.NewReader(r)
	h := sha256.New()
	buf := make([]byte, 128<<10)
	for header := 0; ; header++ {
		hdr, err := t.Next()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading header %d of its tar: %w", header, err)
		}
		if header == limit {
			return nil, fmt.Errorf("its tar has more than %d headers", limit)
		}
		if err := l.add(hdr, header, t, h, buf); err != nil {
			return nil, fmt.Errorf("%q: %w", hdr.Name, err)
		}
	}
}

func (l *layer) add(hdr *tar.Header, header int, r io.Reader, h hash.Hash, buf []byte) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return checkGlobal(hdr)
	}
	if err := refuseSparse(hdr); err != nil {
		return err
	}
	p, err := cleanPath(hdr.Name)
	if err != nil {
		return err
	}
	if white, err := l.whiteout(p); white || err != nil {
		return err
	}
	e := Entry{Path: p, layer: l.number, header: header}
	if err := e.meta(hdr); err != nil {
		return err
	}
	switch hdr.Typeflag {
	case tar.TypeLink:
		target, err := cleanPath(hdr.Linkname)
		if err != nil {
			return fmt.Errorf("link to %q: %w", hdr.Linkname, err)
		}
		l.links = append(l.links, link{path: p, target: target, like: e})
		return nil
	case tar.TypeReg:
		e.Type = File
		h.Reset()
		if e.Size, err = io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{r}, buf); err != nil {
			return fmt.Errorf("reading its bytes: %w", err)
		}
		h.Sum(e.SHA256[:0])
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		if hdr.Linkname == "" || len(hdr.Linkname) > maxPathBytes {
			return fmt.Errorf("a symbolic link to a name of %d bytes", len(hdr.Linkname))
		}
		// Linux has no other mode for symbolic links, and engines write several.
		e.Type, e.Target, e.Mode = Symlink, hdr.Linkname, 0o777
	case tar.TypeChar, tar.TypeBlock:
		e.Type = Char
		if hdr.Typeflag == tar.TypeBlock {
			e.Type = Block
		}
		if !fits(hdr.Devmajor) || !fits(hdr.Devminor) {
			return fmt.Errorf("device number %d:%d", hdr.Devmajor, hdr.Devminor)
		}
		e.Major, e.Minor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
	case tar.TypeFifo:
		e.Type = FIFO
	default:
		return fmt.Errorf("type %q in a tar is not known", hdr.Typeflag)
	}
	l.entries = append(l.entries, e)
	return nil
}

// whiteout notes p if it is one.
func (l *layer) whiteout(p string) (bool, error) {
	i := strings.LastIndexByte(p, '/')
	dir, base := p[:i], p[i+1:]
	if strings.Contains(dir, "/"+whiteoutPrefix) {
		return false, errors.New("a whiteout holds no entries")
	}
	name, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return false, nil
	case base == whiteoutOpaque:
		l.emptied = append(l.emptied, dir)
	case name == "" || name == "." || name == "..":
		return false, errors.New("a whiteout of nothing")
	default:
		l.removed = append(l.removed, dir+"/"+name)
	}
	return true, nil
}

// meta takes what every type has from hdr.
func (e *Entry) meta(hdr *tar.Header) error {
	if !fits(int64(hdr.Uid)) || !fits(int64(hdr.Gid)) {
		return fmt.Errorf("owner %d:%d", hdr.Uid, hdr.Gid)
	}
	e.Mode = uint32(hdr.Mode & 0o7777)
	e.UID, e.GID = uint32(hdr.Uid), uint32(hdr.Gid)
	total := 0
	for k, v := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(k, xattrPrefix); ok {
			e.Xattrs = append(e.Xattrs, Xattr{name, v})
			total += len(name) + len(v)
		}
	}
	if total > maxXattr {
		return fmt.Errorf("extended attributes of %d bytes: at most %d are read", total, maxXattr)
	}
	slices.SortFunc(e.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// refuseSparse refuses sparse files: a few bytes of tar can stand for exabytes.
// No engine writes them.
func refuseSparse(hdr *tar.Header) error {
	sparse := hdr.Typeflag == tar.TypeGNUSparse
	for k := range hdr.PAXRecords {
		sparse = sparse || strings.HasPrefix(k, "GNU.sparse.")
	}
	if sparse {
		return errors.New("sparse files are not supported")
	}
	return nil
}

func fits(n int64) bool { return 0 <= n && n <= math.MaxUint32 }

// checkGlobal lets a global header pass that says nothing about other entries,
// such as the commit that git archive writes.
func checkGlobal(hdr *tar.Header) error {
	for k := range hdr.PAXRecords {
		if k != "comment" {
			return fmt.Errorf("a global header sets %q: what it means for a layer is not specified", k)
		}
	}
	return nil
}

// cleanPath returns the absolute form of a name in a tar: "/" for the root.
func cleanPath(name string) (string, error) {
	if name == "" || len(name) > maxPathBytes {
		return "", fmt.Errorf("a name of %d bytes: it must have 1 to %d", len(name), maxPathBytes)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("a name with a NUL byte")
	}
	var b strings.Builder
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", errors.New("a name that goes up")
		default:
			b.WriteByte('/')
			b.WriteString(part)
		}
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

// ReadFiles reads the bytes of files again: it calls fn once for each file's
// bytes, with the entries among those given that have them, which are several
// for hard links. The entries are files of a Content of this image. It reads the
// layers in order, each to its end.
func (i *Image) ReadFiles(ctx context.Context, entries []*Entry, fn func([]*Entry, io.Reader) error) error {
	byLayer := make(map[int]map[int][]*Entry)
	for _, e := range entries {
		if e.Type != File {
			return fmt.Errorf("reading files: %q is none", e.Path)
		}
		if byLayer[e.layer] == nil {
			byLayer[e.layer] = make(map[int][]*Entry)
		}
		byLayer[e.layer][e.header] = append(byLayer[e.layer][e.header], e)
	}
	for n := range i.Layers {
		if wanted := byLayer[n]; wanted != nil {
			if err := i.readFiles(ctx, n, wanted, fn); err != nil {
				return fmt.Errorf("reading files of layer %d (%s): %w", n, i.Layers[n].Digest, err)
			}
		}
	}
	return nil
}

func (i *Image) readFiles(ctx context.Context, n int, wanted map[int][]*Entry, fn func([]*Entry, io.Reader) error) error {
	r, err := i.OpenLayer(ctx, n)
	if err != nil {
		return err
	}
	defer r.Close()
	t := tar.NewReader(r)
	for header := 0; ; header++ {
		_, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entries := wanted[header]; entries != nil {
			delete(wanted, header)
			if err := fn(entries, t); err != nil {
				return err
			}
		}
	}
	if len(wanted) > 0 {
		return errors.New("the entries are not of this image")
	}
	_, err = io.Copy(io.Discard, r)
	return err
}
