package debian

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// usrLinks are the directories of / that are links into /usr, in Debian since
// bookworm: packages that ship a file in /bin own one of /usr/bin.
var usrLinks = []string{"bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"}

func isUsrLink(name string) bool { return slices.Contains(usrLinks, name) }

// usrMerged says where a path of a package really is.
func usrMerged(name string) string {
	top, rest, below := strings.Cut(name, "/")
	if isUsrLink(top) && below {
		return "usr/" + top + "/" + rest
	}
	return name
}

// Rootfs makes a root file system of packages.
type Rootfs struct {
	Arch string // of Debian, such as amd64
	// Scratch is a directory with room for the content of all packages.
	Scratch string
	// MaxSize bounds the content of all packages together, in bytes.
	MaxSize int64

	spool *os.File
	used  atomic.Int64
	tree  map[string]*entry
}

// Write writes the packages' files to w as one tar: in the order of their
// paths, with time 0, numeric owners, GNU headers. open gives the bytes of a
// .deb, which the caller has checked against its hash.
func (fs *Rootfs) Write(ctx context.Context, w io.Writer, debs []Deb, open func(Deb) (io.ReadCloser, error)) (err error) {
	if len(debs) == 0 {
		return errors.New("no packages to make a root file system of")
	}
	if fs.spool, err = os.CreateTemp(fs.Scratch, "rootfs-*"); err != nil {
		return fmt.Errorf("making a scratch file: %w", err)
	}
	defer func() { err = errors.Join(err, fs.spool.Close()) }()
	// It has no name while it is used, and so never outlives the process.
	if err := os.Remove(fs.spool.Name()); err != nil {
		return fmt.Errorf("removing the scratch file's name: %w", err)
	}
	fs.used.Store(0)

	lists := make([][]*entry, len(debs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, d := range debs {
		g.Go(func() error {
			var err error
			if lists[i], err = fs.unpack(gctx, d, open); err != nil {
				return fmt.Errorf("unpacking %s %s: %w", d.Name, d.Version, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := fs.merge(lists); err != nil {
		return err
	}
	return fs.write(ctx, w)
}

// unpack spools the content of one package.
func (fs *Rootfs) unpack(ctx context.Context, d Deb, open func(Deb) (io.ReadCloser, error)) (_ []*entry, err error) {
	f, err := open(d)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := dataTar(f)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	return entries(d.Name, data, func(r io.Reader, size int64) (int64, [32]byte, error) {
		if err := ctx.Err(); err != nil {
			return 0, [32]byte{}, err
		}
		return fs.put(r, size)
	})
}

// put copies the content of one file to a place of its own in the spool.
func (fs *Rootfs) put(r io.Reader, size int64) (off int64, sum [32]byte, err error) {
	if size > fs.MaxSize {
		return 0, sum, fmt.Errorf("file of %d bytes: packages may hold %d together", size, fs.MaxSize)
	}
	end := fs.used.Add(size)
	if end > fs.MaxSize {
		return 0, sum, fmt.Errorf("packages hold more than %d bytes together, which is the limit", fs.MaxSize)
	}
	off = end - size
	h := sha256.New()
	n, err := io.Copy(io.NewOffsetWriter(fs.spool, off), io.TeeReader(r, h))
	if err != nil {
		return 0, sum, fmt.Errorf("unpacking a file: %w", err)
	}
	if n != size {
		return 0, sum, fmt.Errorf("unpacking a file: %d of %d bytes", n, size)
	}
	return off, [32]byte(h.Sum(nil)), nil
}

// merge joins the packages' entries into one tree.
func (fs *Rootfs) merge(lists [][]*entry) error {
	fs.tree = make(map[string]*entry)
	for _, list := range lists {
		for _, e := range list {
			if err := fs.add(e); err != nil {
				return err
			}
		}
	}
	for _, name := range usrLinks {
		if name == "bin" || name == "lib" || name == "sbin" || name == "lib64" && fs.Arch == "amd64" {
			if err := fs.addUsrLink(name); err != nil {
				return err
			}
		}
	}
	if err := fs.addParents(); err != nil {
		return err
	}
	for _, name := range usrLinks {
		if fs.tree["usr/"+name] != nil {
			if err := fs.addUsrLink(name); err != nil {
				return err
			}
		}
	}
	return fs.checkLinks()
}

// add puts an entry into the tree, unless the very same is there already.
func (fs *Rootfs) add(e *entry) error {
	old := fs.tree[e.path]
	if old == nil {
		fs.tree[e.path] = e
		return nil
	}
	same := old.typ == e.typ && old.mode == e.mode && old.uid == e.uid && old.gid == e.gid &&
		old.link == e.link && old.size == e.size && old.sum == e.sum
	if !same {
		return fmt.Errorf("packages conflict: /%s is %s in %s, and %s in %s",
			e.path, old.describe(), old.from, e.describe(), e.from)
	}
	return nil
}

func (e *entry) describe() string {
	owner := fmt.Sprintf("mode %04o, owner %d:%d", e.mode, e.uid, e.gid)
	switch e.typ {
	case tar.TypeDir:
		return "a directory of " + owner
	case tar.TypeSymlink:
		return fmt.Sprintf("a link to %q", e.link)
	case tar.TypeLink:
		return fmt.Sprintf("the same file as %q", "/"+e.link)
	}
	return fmt.Sprintf("a file of %d bytes, %s, sha256 %x", e.size, owner, e.sum)
}

// addUsrLink makes /bin or the like a link into /usr.
func (fs *Rootfs) addUsrLink(name string) error {
	to := "usr/" + name
	if err := fs.add(&entry{path: name, typ: tar.TypeSymlink, mode: 0o777, link: to, from: "the merged /usr"}); err != nil {
		return err
	}
	if fs.tree[to] == nil {
		fs.tree[to] = newDir(to)
	}
	return nil
}

func newDir(path string) *entry {
	return &entry{path: path, typ: tar.TypeDir, mode: 0o755, from: "its content"}
}

// addParents sees that each entry lies in a directory, and makes those that no
// package ships.
func (fs *Rootfs) addParents() error {
	for _, name := range slices.Sorted(maps.Keys(fs.tree)) {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			parent := fs.tree[dir]
			if parent == nil {
				fs.tree[dir] = newDir(dir)
				continue
			}
			if parent.typ != tar.TypeDir {
				return fmt.Errorf("packages conflict: /%s of %s lies below /%s, which is %s in %s",
					name, fs.tree[name].from, dir, parent.describe(), parent.from)
			}
			break
		}
	}
	return nil
}

// checkLinks sees that each hard link is one to a file of its own package.
func (fs *Rootfs) checkLinks() error {
	for _, name := range slices.Sorted(maps.Keys(fs.tree)) {
		e := fs.tree[name]
		if e.typ != tar.TypeLink {
			continue
		}
		target := fs.tree[e.link]
		if target == nil || target.typ != tar.TypeReg || target.from != e.from {
			return fmt.Errorf("%s: /%s is a hard link to /%s, which is no file of the package", e.from, name, e.link)
		}
	}
	return nil
}

// write emits the tree. Of the names of one file the first is the file, and the
// others are links to it.
func (fs *Rootfs) write(ctx context.Context, w io.Writer) error {
	buf := bufio.NewWriterSize(w, 1<<18)
	tw := tar.NewWriter(buf)
	names := make(map[string]string) // the path that was the file's, to its first
	for _, e := range fs.tree {
		if e.typ == tar.TypeLink {
			first := min(cmp.Or(names[e.link], e.link), e.path)
			names[e.link] = first
		}
	}
	for _, name := range slices.Sorted(maps.Keys(fs.tree)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := fs.tree[name]
		file := e.path // the package's name for the file
		if e.typ == tar.TypeLink {
			file = e.link
		}
		if first, ok := names[file]; ok && first != name {
			e = &entry{path: name, typ: tar.TypeLink, mode: fs.tree[file].mode, link: first,
				uid: fs.tree[file].uid, gid: fs.tree[file].gid}
		} else {
			e = fs.tree[file]
		}
		if err := fs.writeEntry(tw, name, e); err != nil {
			return fmt.Errorf("writing /%s: %w", name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("ending the tar: %w", err)
	}
	return buf.Flush()
}

func (fs *Rootfs) writeEntry(tw *tar.Writer, name string, e *entry) error {
	h := &tar.Header{
		Format: tar.FormatGNU, Typeflag: e.typ, Name: name, Linkname: e.link,
		Mode: e.mode, Uid: e.uid, Gid: e.gid, ModTime: time.Unix(0, 0),
	}
	if e.typ == tar.TypeDir {
		h.Name += "/"
	}
	if e.typ == tar.TypeReg {
		h.Size = e.size
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if e.typ != tar.TypeReg {
		return nil
	}
	_, err := io.Copy(tw, io.NewSectionReader(fs.spool, e.off, e.size))
	return err
}
