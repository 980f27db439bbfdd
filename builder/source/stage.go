package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/builder/tree"
)

// item is one path of a build context.
type item struct {
	path string // slashes, relative
	kind byte   // d, f or l
	mode fs.FileMode
	sum  string // of a file, in hex
	link string // target of a link
	// source says that the file is one of the store.
	source bool
}

// ContextMediaType is that of the text which Context.Digest is the hash of.
const ContextMediaType = "application/vnd.cairn.context.v1"

// Context is what a build context holds.
type Context struct {
	// Digest is "sha256:" and the hash, in hex, of a text with one line for each
	// directory, file and link, in the order of their paths:
	//
	//	cairn.context/1
	//	d 0755 "<path>"
	//	f 0644 <sha256> "<path>"
	//	l "<target>" "<path>"
	//
	// Paths and targets are quoted as Go has it.
	Digest string
	// Files are the hashes of files by path, in hex.
	Files map[string]string
}

// HashContext returns the build context that Stage makes of a package's directory
// and sources, without making it. The sources need not be in the store.
func HashContext(pkgDir string, sources ...tree.Source) (*Context, error) {
	return withContext(pkgDir, sources, func(root *os.Root, items []*item) error {
		for _, it := range items {
			if it.kind != 'f' || it.source {
				continue
			}
			if err := copyItem(root, it, io.Discard); err != nil {
				return err
			}
		}
		return nil
	})
}

// Stage makes the build context of a package in dst, which must not exist: the
// files of the package's directory, without a fetch of its own, and fetch/<file>
// for each source. Modes are 0755 for directories and what their owner may
// execute, and 0644 for the rest; times are 1. Links are kept if they lead nowhere
// else. Sources are links to the store's files where that is possible, so
// contexts must not be written to; if one is, the store notices.
func Stage(store *Store, pkgDir string, sources []tree.Source, dst string) (_ *Context, err error) {
	for _, src := range sources {
		if !store.Has(src.SHA256) {
			return nil, fmt.Errorf("source %s (%s, sha256 %s) is not in the store: run cairn-builder fetch", src.Name, src.File, src.SHA256)
		}
	}
	if err := os.Mkdir(dst, 0o755); err != nil {
		return nil, fmt.Errorf("making a build context: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dst))
		}
	}()
	return withContext(pkgDir, sources, func(root *os.Root, items []*item) error {
		linked := make(map[string]bool)
		for _, it := range items {
			if err := store.stage(root, it, filepath.Join(dst, filepath.FromSlash(it.path)), linked); err != nil {
				return err
			}
		}
		// A directory's time is that of its last entry, so they come last.
		for _, it := range slices.Backward(items) {
			if it.kind == 'd' {
				if err := setTime(filepath.Join(dst, filepath.FromSlash(it.path))); err != nil {
					return err
				}
			}
		}
		return errors.Join(os.Chmod(dst, 0o755), setTime(dst))
	})
}

// withContext lists a build context, has visit fill in the files' hashes, and
// sums it up.
func withContext(pkgDir string, sources []tree.Source, visit func(*os.Root, []*item) error) (_ *Context, err error) {
	root, err := os.OpenRoot(pkgDir)
	if err != nil {
		return nil, fmt.Errorf("reading the package's directory: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	items, err := listContext(root, sources)
	if err != nil {
		return nil, fmt.Errorf("build context of %s: %w", pkgDir, err)
	}
	if err := visit(root, items); err != nil {
		return nil, fmt.Errorf("build context of %s: %w", pkgDir, err)
	}
	c := &Context{Files: make(map[string]string)}
	h := sha256.New()
	io.WriteString(h, "cairn.context/1\n")
	for _, it := range items {
		switch it.kind {
		case 'l':
			fmt.Fprintf(h, "l %s %s\n", strconv.Quote(it.link), strconv.Quote(it.path))
		case 'f':
			fmt.Fprintf(h, "f %04o %s %s\n", it.mode, it.sum, strconv.Quote(it.path))
			c.Files[it.path] = it.sum
		default:
			fmt.Fprintf(h, "%c %04o %s\n", it.kind, it.mode, strconv.Quote(it.path))
		}
	}
	c.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return c, nil
}

// listContext lists what a build context holds, by path.
func listContext(root *os.Root, sources []tree.Source) ([]*item, error) {
	var items []*item
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if name == tree.FetchContext && d.IsDir() {
			return fs.SkipDir // as builder/tree has it: nothing pins what is there
		}
		it, err := newItem(root, name, d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		items = append(items, it)
		return nil
	})
	if err != nil {
		return nil, err
	}
	fetched, err := sourceItems(sources)
	if err != nil {
		return nil, err
	}
	if len(fetched) > 0 && slices.ContainsFunc(items, func(it *item) bool { return it.path == tree.FetchContext }) {
		return nil, fmt.Errorf("%s is a file or a link, and must be the directory of the sources", tree.FetchContext)
	}
	items = append(items, fetched...)
	slices.SortFunc(items, func(a, b *item) int { return cmp.Compare(a.path, b.path) })
	return items, nil
}

func newItem(root *os.Root, name string, d fs.DirEntry) (*item, error) {
	it := &item{path: name}
	switch {
	case d.IsDir():
		it.kind, it.mode = 'd', 0o755
	case d.Type().IsRegular():
		fi, err := d.Info()
		if err != nil {
			return nil, err
		}
		it.kind, it.mode = 'f', 0o644
		if fi.Mode()&0o100 != 0 {
			it.mode = 0o755
		}
	case d.Type() == fs.ModeSymlink:
		target, err := root.Readlink(name)
		if err != nil {
			return nil, err
		}
		if !staysInside(name, target) {
			return nil, fmt.Errorf("link to %q leads out of the package's directory", target)
		}
		it.kind, it.link = 'l', target
	default:
		return nil, fmt.Errorf("is a %s: only files, directories and links can be sent to a build", d.Type())
	}
	return it, nil
}

// staysInside reports whether a link at name, wherever other links lead, points
// below the context: it may go up at its beginning only, and no further than the
// top.
func staysInside(name, target string) bool {
	if target == "" || path.IsAbs(target) {
		return false
	}
	depth, down := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "..":
			if depth--; down || depth < 0 {
				return false
			}
		case ".", "":
		default:
			down = true
		}
	}
	return true
}

// sourceItems lists the directory of sources.
func sourceItems(sources []tree.Source) ([]*item, error) {
	if len(sources) == 0 {
		return nil, nil
	}
	items := []*item{{path: tree.FetchContext, kind: 'd', mode: 0o755}}
	names := make(map[string]string)
	for _, s := range sources {
		if !hexSum.MatchString(s.SHA256) {
			return nil, fmt.Errorf("source %s: sha256 %q is not 64 lower-case hex digits", s.Name, s.SHA256)
		}
		if s.File == "." || s.File == ".." || s.File == "" || strings.ContainsAny(s.File, "/\x00") {
			return nil, fmt.Errorf("source %s: %q is not the name of a file", s.Name, s.File)
		}
		switch other := names[s.File]; other {
		case "":
			names[s.File] = s.SHA256
			items = append(items, &item{path: tree.FetchContext + "/" + s.File, kind: 'f', mode: fileMode, sum: s.SHA256, source: true})
		case s.SHA256:
		default:
			return nil, fmt.Errorf("source %s: another one has the file name %s", s.Name, s.File)
		}
	}
	return items, nil
}

// stage makes one path of a context. Linked are the hashes of sources that are
// already links: a second link to one file would show in an image as such.
func (s *Store) stage(root *os.Root, it *item, to string, linked map[string]bool) error {
	switch {
	case it.kind == 'd':
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return os.Chmod(to, 0o755) // whatever the umask is
	case it.kind == 'l':
		if err := os.Symlink(it.link, to); err != nil {
			return err
		}
	case it.source:
		return s.stageSource(it, to, linked)
	default:
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, it.mode)
		if err != nil {
			return err
		}
		if err := errors.Join(copyItem(root, it, f), f.Chmod(it.mode), f.Close()); err != nil {
			return err
		}
	}
	return setTime(to)
}

func (s *Store) stageSource(it *item, to string, linked map[string]bool) error {
	if !linked[it.sum] && os.Link(s.Path(it.sum), to) == nil {
		linked[it.sum] = true
		return nil // the store's files have the mode and time of a context
	}
	// Another file system, or another's file: a copy.
	from, err := os.Open(s.Path(it.sum))
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copying a source: %w", err)
	}
	return seal(to)
}

// copyItem copies a file of the package's directory, and notes its hash.
func copyItem(root *os.Root, it *item, w io.Writer) (err error) {
	f, err := root.Open(it.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), onlyReader{f}); err != nil {
		return fmt.Errorf("reading %s: %w", it.path, err)
	}
	it.sum = hex.EncodeToString(h.Sum(nil))
	return nil
}

// setTime sets the time of a file, directory or link.
func setTime(name string) error {
	t := unix.NsecToTimespec(epoch.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("setting the time of %s: %w", name, err)
	}
	return nil
}
