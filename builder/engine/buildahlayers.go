package engine

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cairnlog/cairn/builder/image"
)

// The name of a file in a layer that deletes the file named after the prefix,
// and of one that empties its directory.
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// Extended attributes in a layer, and the one that BuildKit writes.
const (
	attributePrefix     = "SCHILY.xattr."
	attributeCapability = "SCHILY.xattr.security.capability"
)

// layerFiles is what the layers so far have put at each path, to tell what a
// layer of buildah's repeats.
//
// Both engines make a layer from the upper directory of an overlay, and differ in
// what they make of three things there. BuildKit leaves out what is the same
// below, which buildah repeats. BuildKit gives deletions the time 0, buildah that
// of the build, as hard links of each other. And of extended attributes, BuildKit
// writes none but capabilities.
//
// Only files with times up to the epoch, which come out of other images, are
// taken for the same: times in layers are cut to seconds, so a file that was
// written again may seem to have its old time.
type layerFiles struct {
	epoch time.Time
	files map[string]layerFile
}

// layerFile is all that BuildKit compares.
type layerFile struct {
	kind         byte
	mode         int64
	uid, gid     int
	size         int64
	seconds      int64 // zero for directories
	link         string
	major, minor int64
	capabilities string
	sum          [sha256.Size]byte
}

// layerEntry is one entry of a layer.
type layerEntry struct {
	path string
	file layerFile
	same bool // it repeats what is below
}

// add reads layer n of img, on top of those that were added before.
func (l *layerFiles) add(ctx context.Context, img *image.Image, n int) ([]layerEntry, error) {
	r, err := img.OpenLayer(ctx, n)
	if err != nil {
		return nil, err
	}
	entries, err := readEntries(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("reading layer %d: %w", n, err)
	}
	l.compare(entries)
	l.apply(entries)
	return entries, nil
}

func readEntries(r io.Reader) ([]layerEntry, error) {
	var entries []layerEntry
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r) // its digest is checked at its end
			return entries, err
		}
		if err != nil {
			return nil, err
		}
		f := layerFile{
			kind: h.Typeflag, mode: h.Mode, uid: h.Uid, gid: h.Gid, size: h.Size, seconds: h.ModTime.Unix(),
			link: h.Linkname, major: h.Devmajor, minor: h.Devminor,
			capabilities: h.PAXRecords[attributeCapability],
		}
		if f.kind == tar.TypeDir {
			f.seconds = 0
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		sum.Sum(f.sum[:0])
		entries = append(entries, layerEntry{path: path.Clean("/" + h.Name), file: f})
	}
}

// compare finds the entries that repeat what is below. A directory does so if it
// has no other entry in it. What has further names in the layer stays, as do
// these: BuildKit would write it under one of them.
func (l *layerFiles) compare(entries []layerEntry) {
	needed := make(map[string]bool)
	for _, e := range entries {
		if e.file.kind == tar.TypeLink {
			needed[path.Clean("/"+e.file.link)] = true
		}
	}
	for i, e := range slices.Backward(entries) {
		below, ok := l.files[e.path]
		entries[i].same = ok && below == e.file && !needed[e.path] && e.file.kind != tar.TypeLink &&
			e.file.seconds <= l.epoch.Unix()
		if !entries[i].same {
			needed[path.Dir(e.path)] = true
		}
	}
}

// apply notes what a layer leaves.
func (l *layerFiles) apply(entries []layerEntry) {
	var gone []string
	for i := range entries {
		dir, base := path.Split(entries[i].path)
		switch {
		case base == whiteoutOpaque:
			gone = append(gone, path.Clean(dir))
		case strings.HasPrefix(base, whiteoutPrefix):
			gone = append(gone, path.Join(dir, strings.TrimPrefix(base, whiteoutPrefix)))
		case entries[i].file.kind != tar.TypeDir && l.files[entries[i].path].kind == tar.TypeDir:
			gone = append(gone, entries[i].path)
		}
	}
	for _, p := range gone {
		for name := range l.files {
			if name == p || strings.HasPrefix(name, p+"/") {
				delete(l.files, name)
			}
		}
	}
	for i := range entries {
		switch e := &entries[i]; {
		case strings.HasPrefix(path.Base(e.path), whiteoutPrefix):
		case e.file.kind == tar.TypeLink:
			l.files[e.path] = l.files[path.Clean("/"+e.file.link)]
		default:
			l.files[e.path] = e.file
		}
	}
}

// trimmed is a layer as BuildKit would have written it.
type trimmed struct {
	*io.PipeReader
	layer io.Closer
}

// trim returns the layer that was read as entries, without what it repeats.
func trim(layer io.ReadCloser, entries []layerEntry) io.ReadCloser {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(copyTrimmed(w, layer, entries)) }()
	return &trimmed{r, layer}
}

func (t *trimmed) Close() error { return errors.Join(t.PipeReader.Close(), t.layer.Close()) }

func copyTrimmed(w io.Writer, r io.Reader, entries []layerEntry) error {
	in, out := tar.NewReader(r), tar.NewWriter(w)
	for i := range entries {
		h, err := in.Next()
		if err != nil {
			return fmt.Errorf("reading a layer again: %w", err)
		}
		if entries[i].same {
			continue
		}
		if strings.HasPrefix(path.Base(h.Name), whiteoutPrefix) {
			h.ModTime, h.AccessTime, h.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
			h.Typeflag, h.Linkname = tar.TypeReg, ""
		}
		maps.DeleteFunc(h.PAXRecords, func(name, _ string) bool {
			return strings.HasPrefix(name, attributePrefix) && name != attributeCapability
		})
		//lint:ignore SA1019 it holds the same again, and would be written
		h.Xattrs = nil
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("rewriting %s of a layer: %w", h.Name, err)
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
