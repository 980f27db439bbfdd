package stagex

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/cairnlog/cairn/cmd/cairn/internal/importer"
	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Source is the signatures of a store, for an import. It implements
// importer.Source.
type Source struct {
	Store  Store
	Images []Image // to get the signatures of; all that the store lists if empty
	Keys   importer.Keys
}

// String implements importer.Source.
func (s *Source) String() string { return "stagex " + s.Store.String() }

// Items implements importer.Source. Items are grouped by what was signed and by
// whose key, as far as that is to be read without keys.
func (s *Source) Items(ctx context.Context, done func(string) bool) iter.Seq2[importer.Item, error] {
	return func(yield func(importer.Item, error) bool) {
		for _, k := range s.Keys {
			if !yield(k, nil) {
				return
			}
		}
		for f, err := range s.Store.Files(ctx, s.Images, done) {
			if err != nil {
				yield(importer.Item{}, err)
				return
			}
			item := importer.Item{Name: f.Path, Raw: f.Raw, Err: f.Err}
			if !done(f.Path) && f.Err == nil {
				item.Group, item.Err = inspect(&f)
			}
			if errors.Is(item.Err, importer.ErrTooLarge) {
				item.Err = reason.Errorf(reason.EnvelopeTooLarge, "%w", item.Err)
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// inspect reads a signature without verifying it. It refuses one whose path says
// something else; what is wrong with it otherwise is for who verifies it.
func inspect(f *File) (group string, err error) {
	misplaced := func(format string, args ...any) error {
		return &reason.Error{Reason: cmdline.SignatureMisplaced, Message: fmt.Sprintf(format, args...)}
	}
	if f.Image == (Image{}) {
		return "", misplaced("the path is not of the form REGISTRY/NAME@sha256=HEX/signature-N")
	}
	document, issuers, err := attest.PeekSigned(f.Raw)
	if err != nil {
		return "unreadable", nil
	}
	s, digest, err := readSigned(document)
	if err != nil {
		return "unreadable", nil
	}
	group = fmt.Sprintf("%s by %s", s.Critical.Type, strings.Join(issuers, " "))
	if digest != f.Image.Digest {
		return group, misplaced("it is over %s, and its path says %s", digest, f.Image.Digest)
	}
	return group, nil
}
