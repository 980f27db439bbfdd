package compare

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cairnlog/cairn/builder/image"
)

// Change says how a name differs.
type Change string

// The changes. Added is what only the image that was got has.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
)

// File is a name whose entries in the root file systems differ.
type File struct {
	// Path is escaped, as image.Escape does.
	Path   string `json:"path"`
	Change Change `json:"change"`
	// Entry is the line of the content's text of what was added or removed, without
	// the path.
	Entry string `json:"entry,omitempty"`
	// Attributes are what differs of an entry that changed: type, mode, uid, gid,
	// size, sha256, target, device, and extended attributes as "xattr NAME".
	Attributes []Attribute `json:"attributes,omitempty"`
	// Bytes is how the bytes differ; nil if they do not, or beyond
	// Options.Contents.
	Bytes *Bytes `json:"bytes,omitempty"`
}

// Attribute is a property that differs, as the content's text has it, or "-".
type Attribute struct {
	Name string `json:"name"`
	Want string `json:"want"`
	Got  string `json:"got"`
}

// files notes the names that differ, and how their bytes do.
func (o Options) files(ctx context.Context, r *Report, images pair[*image.Image], contents pair[*image.Content]) error {
	var both []fileCompare // files of which the bytes differ
	note := func(f File, w, g *image.Entry) {
		if len(r.Files) == o.Files {
			r.MoreFiles++
			return
		}
		r.Files = append(r.Files, f)
		if w != nil && g != nil && w.Type == image.File && g.Type == image.File && w.SHA256 != g.SHA256 && len(both) < o.Contents {
			both = append(both, fileCompare{file: len(r.Files) - 1, entries: pair[*image.Entry]{w, g}})
		}
	}
	want, got := contents.want.Entries, contents.got.Entries
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0].Path < got[0].Path:
			note(whole(&want[0], Removed), nil, nil)
			want = want[1:]
		case len(want) == 0 || got[0].Path < want[0].Path:
			note(whole(&got[0], Added), nil, nil)
			got = got[1:]
		default:
			if a := attributes(&want[0], &got[0]); len(a) > 0 {
				note(File{Path: image.Escape(want[0].Path), Change: Changed, Attributes: a}, &want[0], &got[0])
			}
			want, got = want[1:], got[1:]
		}
	}
	if len(both) == 0 {
		return nil
	}
	return o.bytes(ctx, r, images, both)
}

func whole(e *image.Entry, change Change) File {
	path := image.Escape(e.Path)
	return File{Path: path, Change: change, Entry: cut(e.String()[len(path)+1:])}
}

// attributes returns what differs between two entries of one name.
func attributes(w, g *image.Entry) []Attribute {
	var list []Attribute
	add := func(name, want, got string) {
		if want != got {
			list = append(list, Attribute{name, cut(want), cut(got)})
		}
	}
	add("type", string(w.Type), string(g.Type))
	add("mode", fmt.Sprintf("%04o", w.Mode), fmt.Sprintf("%04o", g.Mode))
	add("uid", fmt.Sprint(w.UID), fmt.Sprint(g.UID))
	add("gid", fmt.Sprint(w.GID), fmt.Sprint(g.GID))
	for _, p := range []struct {
		name string
		of   func(*image.Entry) string
	}{{"size", size}, {"sha256", sum}, {"target", target}, {"device", device}} {
		add(p.name, p.of(w), p.of(g))
	}
	names := make(map[string]pair[string])
	for _, x := range w.Xattrs {
		names[x.Name] = pair[string]{image.Escape(x.Value), none}
	}
	for _, x := range g.Xattrs {
		p, ok := names[x.Name]
		if !ok {
			p.want = none
		}
		p.got = image.Escape(x.Value)
		names[x.Name] = p
	}
	first := len(list)
	for name, p := range names {
		add("xattr "+cut(image.Escape(name)), p.want, p.got)
	}
	slices.SortFunc(list[first:], func(a, b Attribute) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

func size(e *image.Entry) string   { return only(e.Type == image.File, fmt.Sprint(e.Size)) }
func sum(e *image.Entry) string    { return only(e.Type == image.File, fmt.Sprintf("%x", e.SHA256)) }
func target(e *image.Entry) string { return only(e.Type == image.Symlink, image.Escape(e.Target)) }
func device(e *image.Entry) string {
	return only(e.Type == image.Char || e.Type == image.Block, fmt.Sprintf("%d:%d", e.Major, e.Minor))
}

func only(is bool, s string) string {
	if is {
		return s
	}
	return none
}

// fileCompare is a file of which the bytes are to be compared.
type fileCompare struct {
	file    int // in Report.Files
	entries pair[*image.Entry]
	paths   pair[string] // of the bytes on disk
}

// bytes compares the bytes of files, by way of a temporary directory.
func (o Options) bytes(ctx context.Context, r *Report, images pair[*image.Image], files []fileCompare) error {
	dir, err := os.MkdirTemp("", "cairn-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	dirs := pair[string]{filepath.Join(dir, "want"), filepath.Join(dir, "got")}
	for i := range files {
		// Names are numbered: those of the images may be anything.
		name := fmt.Sprintf("%03d", i)
		files[i].paths = pair[string]{filepath.Join(dirs.want, name), filepath.Join(dirs.got, name)}
	}
	if err := o.extract(ctx, images.want, dirs.want, files, func(f *fileCompare) (*image.Entry, string) { return f.entries.want, f.paths.want }); err != nil {
		return err
	}
	if err := o.extract(ctx, images.got, dirs.got, files, func(f *fileCompare) (*image.Entry, string) { return f.entries.got, f.paths.got }); err != nil {
		return err
	}
	for i := range files {
		b, err := o.compareBytes(ctx, files[i].paths)
		if err != nil {
			return fmt.Errorf("comparing %s: %w", r.Files[files[i].file].Path, err)
		}
		e := files[i].entries
		b.Bounded = max(e.want.Size, e.got.Size) > o.FileBytes
		r.Files[files[i].file].Bytes = b
	}
	if o.Diffoscope != "" {
		r.Diffoscope = o.diffoscope(ctx, dirs)
		for i := range files {
			r.Diffoscope.Files = append(r.Diffoscope.Files, r.Files[files[i].file].Path)
		}
	}
	return nil
}

// extract writes the bytes of one image's files to a directory, of each at most
// FileBytes.
func (o Options) extract(ctx context.Context, img *image.Image, dir string, files []fileCompare, of func(*fileCompare) (*image.Entry, string)) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var entries []*image.Entry
	paths := make(map[*image.Entry]string)
	for i := range files {
		e, path := of(&files[i])
		entries = append(entries, e)
		paths[e] = path
	}
	return img.ReadFiles(ctx, entries, func(same []*image.Entry, r io.Reader) error {
		first := paths[same[0]]
		if err := writeFile(first, io.LimitReader(r, o.FileBytes)); err != nil {
			return err
		}
		for _, e := range same[1:] {
			if err := os.Link(first, paths[e]); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
