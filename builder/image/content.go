package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// contentHeader is the first line of the text of a Content. The text is
// specified in docs/builder-formats.md, "The content digest".
const contentHeader = "cairn.rootfs/v1"

// Content is what the root file system of an image holds: one entry per name.
type Content struct {
	Entries []Entry // sorted bytewise by path; the first is the root directory
	// Digest is the SHA-256 of the text.
	Digest digest.Digest
}

// Entry is one name of a root file system.
type Entry struct {
	// Path is absolute and clean: "/" for the root, else "/usr/bin/cat". Its bytes
	// are as the layer had them: not always UTF-8.
	Path string
	Type Type
	// Mode is the permission bits with set-uid, set-gid and sticky; 0777 for
	// symbolic links.
	Mode     uint32
	UID, GID uint32
	Xattrs   []Xattr // sorted by name

	Size         int64             // of a file
	SHA256       [sha256.Size]byte // of a file
	Target       string            // of a symbolic link
	Major, Minor uint32            // of a device

	// layer and header say where the bytes of a file are: which layer, and which of
	// its headers, both from 0.
	layer, header int
}

// Xattr is an extended attribute.
type Xattr struct{ Name, Value string }

// Type is the type of an entry.
type Type byte

// The types. A hard link has none: it is a file like the other.
const (
	File    Type = 'f'
	Dir     Type = 'd'
	Symlink Type = 'l'
	Char    Type = 'c'
	Block   Type = 'b'
	FIFO    Type = 'p'
)

// Content reads the layers of the image and returns what they hold together.
// Memory grows with the number of entries, not with their bytes. An error says
// that a layer is not what its digests say, or that it is not clear what the
// layers hold.
func (i *Image) Content(ctx context.Context) (*Content, error) {
	fs := newRootfs(maxEntries)
	for n := range i.Layers {
		if err := i.apply(ctx, fs, n); err != nil {
			return nil, fmt.Errorf("image in %s: layer %d (%s): %w", i.Dir, n, i.Layers[n].Digest, err)
		}
	}
	c := &Content{Entries: fs.entries()}
	h := sha256.New()
	w := bufio.NewWriterSize(h, 1<<16)
	if err := c.WriteText(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	c.Digest = digest.NewDigest(digest.SHA256, h)
	return c, nil
}

func (i *Image) apply(ctx context.Context, fs *rootfs, n int) error {
	r, err := i.OpenLayer(ctx, n)
	if err != nil {
		return err
	}
	defer r.Close()
	l, err := readLayer(r, n, maxEntries)
	if err != nil {
		return err
	}
	// The tar ends before its file does: the rest is read for the digests.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return fs.apply(l)
}

// WriteText writes the text that the digest covers.
func (c *Content) WriteText(w io.Writer) error {
	b := append(make([]byte, 0, 512), contentHeader+"\n"...)
	for n := range c.Entries {
		b = c.Entries[n].append(b)
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	_, err := w.Write(b)
	return err
}

// String returns the line of the entry, without its newline.
func (e *Entry) String() string {
	b := e.append(nil)
	return string(b[:len(b)-1])
}

func (e *Entry) append(b []byte) []byte {
	b = appendEscaped(b, e.Path, false)
	b = append(b, ' ', byte(e.Type), ' ')
	b = fmt.Appendf(b, "%04o", e.Mode)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.UID), 10)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(e.GID), 10)
	switch e.Type {
	case File:
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.Size, 10)
		b = fmt.Appendf(b, " %x", e.SHA256)
	case Symlink:
		b = append(b, ' ')
		b = appendEscaped(b, e.Target, false)
	case Char, Block:
		b = fmt.Appendf(b, " %d:%d", e.Major, e.Minor)
	}
	for _, x := range e.Xattrs {
		b = append(b, ' ')
		b = appendEscaped(b, x.Name, true)
		b = append(b, '=')
		b = appendEscaped(b, x.Value, false)
	}
	return append(b, '\n')
}

// Escape returns s as the text of a Content has names: graphic ASCII alone, with
// every other byte and the backslash as \xhh. So it can neither move a cursor nor
// stand for two names.
func Escape(s string) string { return string(appendEscaped(nil, s, false)) }

// appendEscaped appends s with every byte that is not a graphic character of
// ASCII, and every backslash, as \xhh. In names of extended attributes '=' is
// escaped, too.
func appendEscaped(b []byte, s string, name bool) []byte {
	const digits = "0123456789abcdef"
	for n := range len(s) {
		if c := s[n]; c <= ' ' || c > '~' || c == '\\' || name && c == '=' {
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}
