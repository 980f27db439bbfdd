package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cairnlog/cairn/cmd/cairn/internal/oci"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
)

// settled reads an argument and turns what names an image into a digest or
// package URL, as far as that takes no network: a reference that has only a tag
// is left as it is. The note says what was taken, where that is not plain.
func settled(arg string) (n name, note string, err error) {
	if n, err = parseName(arg); err != nil {
		return n, "", err
	}
	if err := ambiguous(arg, n.kind); err != nil {
		return n, "", err
	}
	switch n.kind {
	case byReference:
		if _, err := os.Lstat(n.path); err == nil {
			n, note, err := settledFile(n.path)
			return n, strings.TrimPrefix(note+"; ", "; ") + fmt.Sprintf("%s is taken as the file, not as an image at a registry", arg), err
		}
		if n.image.Digest == "" {
			return n, "", nil
		}
		purl, err := n.image.Purl(n.image.Digest)
		if err == nil && n.image.Tag != "" {
			note = fmt.Sprintf("%s is taken by its digest; the tag %s is not looked at", arg, n.image.Tag)
		}
		return name{kind: byPurl, purl: purl}, note, err
	case byFile:
		return settledFile(n.path)
	case byLayout:
		c, err := oci.ReadLayout(n.path)
		if err != nil {
			return n, "", unreadableLayout(n.path, err)
		}
		return name{kind: byDigest, digest: c.Digest}, choiceNote(arg, c), nil
	}
	return n, "", nil
}

// ambiguous refuses what names something else and is a file too: whoever names a
// file sha256:… must not choose what is judged in its place.
func ambiguous(arg string, k nameKind) error {
	if k == byFile || k == byReference {
		return nil
	}
	if _, err := os.Lstat(arg); err != nil {
		return nil
	}
	return cmdline.Usagef("write ./"+arg+" for the file; for what it names otherwise, ask where no such file is", "%q is a file here too", arg)
}

// settledFile tells the directory of an OCI layout from other files.
func settledFile(path string) (name, string, error) {
	n := name{kind: byFile, path: path}
	info, err := os.Stat(path)
	if err != nil {
		return n, "", missingFile(path, err)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return n, "", nil
	}
	if !info.IsDir() {
		// Never the image in an archive, unless it is asked for: a file may be an
		// archive of an honest image and something else as well.
		if _, err := oci.ReadLayout(path); err == nil {
			return n, fmt.Sprintf("%s is taken as a file; oci:%s is the image in it", path, path), nil
		}
		return n, "", nil
	}
	c, err := oci.ReadLayout(path)
	switch {
	case err == nil:
		return name{kind: byDigest, digest: c.Digest}, choiceNote(path, c), nil
	case oci.IsNotLayout(err):
		return n, "", &cmdline.Problem{
			Reason: cmdline.FileUnreadable, Err: fmt.Errorf("%s is a directory, and no OCI layout: it has no file oci-layout", path),
			Hint: "name a file in it",
		}
	}
	return n, "", unreadableLayout(path, err)
}

func unreadableLayout(path string, err error) error {
	p := &cmdline.Problem{Reason: cmdline.FileUnreadable, Err: fmt.Errorf("reading the OCI layout %s: %w", path, cmdline.PathCause(err))}
	if !oci.IsNotLayout(err) && !errors.Is(err, os.ErrNotExist) {
		p.Hint = "write the layout again; to name the file itself, give its sha256:<hex>"
	}
	return p
}

// choiceNote says which digest stands for an image.
func choiceNote(arg string, c *oci.Choice) string {
	if !c.Index {
		return fmt.Sprintf("%s is the image %s", arg, c.Digest)
	}
	images := make([]string, len(c.Images))
	for i, img := range c.Images {
		images[i] = string(img.Digest)
		if img.Platform != "" {
			images[i] += " for " + img.Platform
		}
	}
	return fmt.Sprintf("%s is the index %s of %d images; each is an artifact of its own: %s", arg, c.Digest, len(images), strings.Join(images, ", "))
}

// name reads an argument, and says what was taken where that is not plain. A tag
// is looked up at its registry.
func (a *app) name(ctx context.Context, arg string) (name, error) {
	n, note, err := settled(arg)
	if err != nil {
		return n, err
	}
	if n.kind == byReference {
		if n, note, err = a.tagged(ctx, arg, n.image); err != nil {
			return n, err
		}
	}
	if note != "" {
		a.Note("%s", note)
	}
	return n, nil
}

// tagged asks the registry which image a tag names.
func (a *app) tagged(ctx context.Context, arg string, ref oci.Reference) (name, string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	c, err := oci.Resolve(ctx, ref, a.userAgent())
	switch {
	case errors.Is(err, oci.ErrNotThere):
		return name{}, "", &cmdline.Problem{
			Reason: cmdline.NothingFound, Err: fmt.Errorf("asking the registry for %s: %w", arg, err),
			Hint: "check the repository and tag, or name the image by digest",
		}
	case err != nil:
		return name{}, "", &cmdline.Problem{
			Reason: cmdline.LedgerUnreachable, Err: fmt.Errorf("asking the registry for %s: %w", arg, err),
			Hint: "check the reference and the registry, or name the image by digest: HOST/PATH@sha256:<hex>",
		}
	}
	purl, err := ref.Purl(c.Digest)
	return name{kind: byPurl, purl: purl}, choiceNote(arg, c), err
}
