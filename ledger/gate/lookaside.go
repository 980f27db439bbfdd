package gate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// Lookaside is a directory of signatures, as containers/image reads it:
//
//	HOST/PATH@sha256=HEX/signature-1, signature-2, …
//
// containers/image itself puts no host into the path: that is why each scope of
// a Configuration has a store of its own, below one that is named by the host.
// Signatures of others are left as they are.
type Lookaside struct {
	Dir string
	Key *Key
}

// maxSignatures is how many signatures of one image are looked at; it is what
// containers/image takes.
const maxSignatures = 128

// signaturePath is where containers/image looks for an image's signatures, in
// files and over HTTP.
func signaturePath(img Image) string {
	return img.Repository + "@sha256=" + img.Digest.Hex()
}

func (l *Lookaside) dir(img Image) string {
	return filepath.Join(l.Dir, filepath.FromSlash(signaturePath(img)))
}

func file(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("signature-%d", n)) }

// Put makes the signature the gate's only one for the image.
func (l *Lookaside) Put(img Image, signature []byte, now time.Time) error {
	dir := l.dir(img)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a directory for the signatures of %s: %w", img, err)
	}
	ours, count, err := l.find(dir, now)
	if err != nil {
		return err
	}
	n := count + 1
	if len(ours) > 0 {
		n = ours[0]
	} else if n > maxSignatures {
		return fmt.Errorf("%s has %d signatures of others, and no more are read", img, count)
	}
	if err := durable.WriteFile(file(dir, n), signature, 0o644); err != nil {
		return err
	}
	if len(ours) > 1 {
		return l.remove(dir, ours[1:], count)
	}
	return nil
}

// Remove removes the gate's signatures of the image, and reports whether there
// were any.
func (l *Lookaside) Remove(img Image, now time.Time) (bool, error) {
	dir := l.dir(img)
	ours, count, err := l.find(dir, now)
	if err != nil || len(ours) == 0 {
		return false, err
	}
	if err := l.remove(dir, ours, count); err != nil {
		return true, err
	}
	if len(ours) == count {
		err = os.Remove(dir)
	}
	return true, err
}

// find returns the numbers of the gate's signatures, and how many there are.
func (l *Lookaside) find(dir string, now time.Time) (ours []int, count int, err error) {
	for n := 1; n <= maxSignatures; n++ {
		b, err := readBounded(file(dir, n))
		if errors.Is(err, fs.ErrNotExist) {
			return ours, n - 1, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading %s: %w", file(dir, n), err)
		}
		if l.Key.Made(b, now) {
			ours = append(ours, n)
		}
	}
	return ours, maxSignatures, nil
}

// readBounded reads a file up to one byte more than a signature may have.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxSignature+1))
}

// remove removes some signatures. Numbers must stay without a gap, at which
// readers stop, so the last one takes the place of one that goes.
func (l *Lookaside) remove(dir string, numbers []int, count int) error {
	for i := len(numbers) - 1; i >= 0; i-- {
		var err error
		if numbers[i] == count {
			err = os.Remove(file(dir, count))
		} else {
			err = os.Rename(file(dir, count), file(dir, numbers[i]))
		}
		if err != nil {
			return fmt.Errorf("removing a signature: %w", err)
		}
		count--
	}
	return nil
}

// parseSignaturePath reads the path of a signature below a store.
func parseSignaturePath(p string) (img Image, n string, ok bool) {
	dir, n, ok := cutLast(p, "/signature-")
	if !ok {
		return Image{}, "", false
	}
	repository, hex, ok := cutLast(dir, "@sha256=")
	if !ok {
		return Image{}, "", false
	}
	img, _, err := ParseImage(repository + "@sha256:" + hex)
	if err != nil || img.Repository != repository {
		return Image{}, "", false // a repository has one spelling here
	}
	return img, n, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
