// Package stagex reads what StageX publishes about its images: their digests, the
// maintainers' signatures of these, and who the maintainers are; and counts who
// signed what.
//
// In StageX's repository, digests/<stage>.txt has a line for each image, and
// MAINTAINERS has the maintainers' keys. The signatures are OpenPGP messages at
//
//	[signatures/]<registry>/<name>@sha256=<hex>/signature-<n>
//
// in a directory, in a git repository, or over HTTP, where n counts from 1 and
// there is no list.
//
// Invariants:
//   - A maintainer has one vote for an image, however many keys, files and
//     signatures there are.
//   - A signature counts for the name and digest that were signed, and only where
//     the path of its file says the same.
//   - Nothing is asked of a network but the files of a signature store over HTTP;
//     no clock is read.
package stagex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/builder/image"
	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Registry is the first part of the images' names, as they are signed.
const Registry = "stagex"

// maxText bounds a file of digests, or of maintainers.
const maxText = 16 << 20

// maxNumber bounds the signatures of one image over HTTP.
const maxNumber = 64

// Image is a line of digests/<stage>.txt.
type Image struct {
	Name   string // such as core-musl
	Digest leaf.Digest
}

// ReadImages reads digests/*.txt of a tree, of which there must be one. The images
// are in the order of their names.
func ReadImages(ctx context.Context, tree importer.Tree) ([]Image, error) {
	paths, err := tree.List(ctx, "digests")
	if err != nil {
		return nil, err
	}
	var images []Image
	for _, p := range paths {
		stage, ok := strings.CutSuffix(path.Base(p), ".txt")
		if !ok || path.Dir(p) != "digests" {
			continue
		}
		text, err := tree.Read(ctx, p, maxText)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", p, err)
		}
		digests, err := image.ParseDigests(stage, text)
		if err != nil {
			return nil, err
		}
		for name, d := range digests {
			images = append(images, Image{name, leaf.Digest(d)})
		}
	}
	if len(images) == 0 {
		return nil, errors.New("there is no image in digests/*.txt")
	}
	slices.SortFunc(images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return images, nil
}

// File is a file of a signature store.
type File struct {
	Path string
	// Image is what the path says that it is about. It is the zero Image if the
	// path says nothing that can be.
	Image Image
	Raw   []byte
	Err   error // why there are no bytes
}

// Store is where signatures are.
type Store interface {
	String() string
	// Files yields the signatures of images, or of all if there are none given. A
	// file for whose path skip is true is yielded without its bytes.
	Files(ctx context.Context, images []Image, skip func(path string) bool) iter.Seq2[File, error]
}

var signaturePath = regexp.MustCompile(`^(?:signatures/)?([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*)/([A-Za-z0-9._+-]+)@sha256=([0-9a-f]{64})/signature-([1-9][0-9]*)$`)

// imageOf returns what the path of a signature is about.
func imageOf(p string) (Image, bool) {
	m := signaturePath.FindStringSubmatch(p)
	if m == nil {
		return Image{}, false
	}
	return Image{m[2], leaf.Digest("sha256:" + m[3])}, true
}

// treeStore is the signatures in a tree.
type treeStore struct {
	name string
	tree importer.Tree
}

// NewTreeStore returns the signatures in a tree, which people call name.
func NewTreeStore(name string, tree importer.Tree) Store { return treeStore{name, tree} }

func (s treeStore) String() string { return s.name }

func (s treeStore) Files(ctx context.Context, images []Image, skip func(string) bool) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		paths, err := s.tree.List(ctx, ".")
		if err != nil {
			yield(File{}, fmt.Errorf("listing %s: %w", s.name, err))
			return
		}
		wanted := make(map[leaf.Digest]bool)
		for _, i := range images {
			wanted[i.Digest] = true
		}
		for _, p := range paths {
			f := File{Path: p}
			f.Image, _ = imageOf(p)
			if !strings.Contains(p, "@sha256=") || len(images) > 0 && !wanted[f.Image.Digest] {
				continue
			}
			if !skip(p) {
				f.Raw, f.Err = s.tree.Read(ctx, p, attest.MaxEnvelope)
			}
			if !yield(f, ctx.Err()) {
				return
			}
		}
	}
}

// lookaside is signatures over HTTP.
type lookaside struct {
	base string
	web  *importer.Web
}

// NewLookaside returns the signatures below a URL. It cannot be asked for all.
func NewLookaside(base string, web *importer.Web) Store {
	return lookaside{strings.TrimSuffix(base, "/"), web}
}

func (s lookaside) String() string { return s.base }

func (s lookaside) Files(ctx context.Context, images []Image, skip func(string) bool) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		of := func(ctx context.Context, i Image) []File { return s.of(ctx, i, skip) }
		for files := range importer.Parallel(ctx, slices.Values(images), importer.Fetches, of) {
			for _, f := range files {
				if !yield(f, ctx.Err()) {
					return
				}
			}
		}
	}
}

// of gets the signatures of an image, which are numbered without a gap.
func (s lookaside) of(ctx context.Context, i Image, skip func(string) bool) []File {
	var files []File
	for n := 1; n <= maxNumber; n++ {
		f := File{Path: fmt.Sprintf("%s/%s@sha256=%s/signature-%d", Registry, i.Name, i.Digest.Hex(), n), Image: i}
		if !skip(f.Path) {
			f.Raw, f.Err = s.web.Get(ctx, s.base+"/"+f.Path, attest.MaxEnvelope)
		}
		if errors.Is(f.Err, fs.ErrNotExist) {
			return files
		}
		files = append(files, f)
		if f.Err != nil && !errors.Is(f.Err, importer.ErrTooLarge) {
			return files // what follows is not known to be there
		}
	}
	return files
}

// signed is the part of a signed document that says what it is about, in the form
// that containers-signature(5) has and in that which StageX wrote before.
type signed struct {
	Critical struct {
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
}

// readSigned returns what a signed document is about.
func readSigned(document []byte) (signed, leaf.Digest, error) {
	var list [1]signed
	var into any = &list[0]
	if strings.HasPrefix(strings.TrimLeft(string(document), " \t\r\n"), "[") {
		into = &list
	}
	if err := json.Unmarshal(document, into); err != nil {
		return signed{}, "", fmt.Errorf("the signed document does not parse: %w", err)
	}
	d := leaf.Digest("sha256:" + strings.TrimPrefix(list[0].Critical.Image.Digest, "sha256:"))
	if !d.Valid() {
		return signed{}, "", fmt.Errorf("the signed document is about no sha256 digest, but %.140q", list[0].Critical.Image.Digest)
	}
	return list[0], d, nil
}
