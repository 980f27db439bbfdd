package checkpoint_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// archiveOf opens an archive and returns how to read its first segment.
func archiveOf(t *testing.T) (*checkpoint.Archive, func() []string) {
	t.Helper()
	a, err := checkpoint.OpenArchive(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, func() (notes []string) {
		f, err := a.Segment(t.Context(), 0)
		if err != nil {
			return nil
		}
		defer func() { _ = f.Close() }()
		data, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		for len(data) > 0 {
			var signed []byte
			if signed, data, err = checkpoint.ReadArchived(data); err != nil {
				t.Fatal(err)
			}
			notes = append(notes, string(signed))
		}
		return notes
	}
}

// archiving is a press that sees what is archived when something is published.
type archiving struct {
	*press
	notes  func() []string
	missed int
}

func (a *archiving) Publish(ctx context.Context, signed []byte) error {
	if notes := a.notes(); len(notes) == 0 || notes[len(notes)-1] != string(signed) {
		a.missed++
	}
	return a.press.Publish(ctx, signed)
}

func TestPublisherArchivesBeforeItPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		archive, notes := archiveOf(t)
		log := &archiving{press: p, notes: notes}
		cfg := p.config()
		cfg.Archive, cfg.Log = archive, log
		pub, stop := run(t, cfg)
		for size := range uint64(4) {
			if _, err := pub.Wait(t.Context(), size); err != nil {
				t.Fatal(err)
			}
			p.append(1)
			pub.Grew()
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := len(notes()); log.missed > 0 || got != len(p.sizes) || got < 4 {
			t.Errorf("%d notes archived, %d published, %d of them before they were archived", got, len(p.sizes), log.missed)
		}
	})
}

func TestPublisherPublishesNothingThatItCannotArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPress(t)
		cfg := p.config()
		cfg.Archive, _ = archiveOf(t)
		_ = cfg.Archive.Add(t.Context(), []byte("not a note")) // fails, and so does what follows
		_, stop := run(t, cfg)
		synctest.Wait()
		if err := stop(); err == nil {
			t.Error("Run() = nil, want the archive's failure")
		}
		p.wantSizes()
	})
}

func TestPublisherArchivesWhatWasPublishedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := signedBefore(t)
		archive, notes := archiveOf(t)
		cfg := p.config()
		cfg.Archive, cfg.Restored = archive, p.note(p.log, 5)
		pub, stop := run(t, cfg)
		if _, err := pub.Wait(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := notes(); len(got) != 2 || got[0] != string(cfg.Restored) {
			t.Errorf("archived %q, want what was public at the start, and then the larger", got)
		}
	})
}
