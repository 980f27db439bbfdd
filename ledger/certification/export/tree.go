package export

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/certification"
	"github.com/cairnlog/cairn/ledger/internal/durable"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
)

// tree is the directory that is exported to.
type tree struct {
	dir   string
	batch *durable.Batch
	news  map[string][]certification.Entry // of the batch, by directory
}

// add has the batch write an attestation and its proof under its names, and
// returns whether any of it was missing.
func (t *tree) add(f *found) (written bool, err error) {
	for _, name := range f.names {
		dir := certification.Dir(name)
		path := certification.Path(dir, f.Name())
		held, err := t.read(path, attest.MaxEnvelope)
		if err != nil {
			return false, err
		}
		if leaf.SHA256(held) != f.Envelope {
			written = true
			if err := t.batch.Put(path, f.raw); err != nil {
				return false, err
			}
		}
		// An older proof is as good: it is of an older checkpoint.
		if held, err = t.read(path+certification.ProofSuffix, maxNote); err != nil {
			return false, err
		}
		if held == nil {
			written = true
			if err := t.batch.Put(path+certification.ProofSuffix, f.proof); err != nil {
				return false, err
			}
		}
		if t.news == nil {
			t.news = make(map[string][]certification.Entry)
		}
		t.news[dir] = append(t.news[dir], f.Entry)
	}
	return written, nil
}

// read returns a file, or nil if there is none.
func (t *tree) read(path string, limit int64) ([]byte, error) {
	b, err := mirror.Dir(t.dir).Read(context.Background(), path, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, mirror.ErrTooLong):
		return []byte{}, nil // what is there is not it
	}
	return b, err
}

// commit makes the batch durable: files first, then the lists that name them.
func (t *tree) commit() error {
	if err := t.batch.Commit(); err != nil {
		return err
	}
	for dir, entries := range t.news {
		if err := t.list(dir, entries); err != nil {
			return err
		}
	}
	t.news = nil
	return t.batch.Commit()
}

// list has the batch write the pages of a directory that change with new entries.
// An entry may belong before those that are listed: its attestation may have been
// withheld.
func (t *tree) list(dir string, entries []certification.Entry) error {
	all, err := t.listed(dir)
	if err != nil {
		return err
	}
	all = append(all, entries...)
	slices.SortFunc(all, func(a, b certification.Entry) int { return cmp.Compare(a.Index, b.Index) })
	all = slices.Compact(all)
	names, pages := certification.Pages(all)
	// The last first: no page points to one that is not there.
	for i, name := range slices.Backward(names) {
		text, err := pages[i].Marshal(dir)
		if err != nil {
			return err
		}
		held, err := t.read(certification.Path(dir, name), certification.MaxPage)
		if err != nil {
			return err
		}
		if bytes.Equal(held, text) {
			continue
		}
		if err := t.batch.Put(certification.Path(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// listed returns what the pages of a directory list.
func (t *tree) listed(dir string) ([]certification.Entry, error) {
	var all []certification.Entry
	for name := certification.Index; name != ""; {
		path := certification.Path(dir, name)
		text, err := t.read(path, certification.MaxPage)
		if err != nil {
			return nil, err
		}
		if text == nil {
			return all, nil
		}
		p, err := certification.UnmarshalPage(dir, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; delete certifications/checkpoint and the list, and export again", path, err)
		}
		if n := len(all); n > 0 && len(p.Entries) > 0 && p.Entries[0].Index <= all[n-1].Index || p.Next > 0 && len(p.Entries) == 0 {
			return nil, fmt.Errorf("%s: the page is not in order; delete certifications/checkpoint and the lists, and export again", path)
		}
		all = append(all, p.Entries...)
		name = p.NextPage()
	}
	return all, nil
}
