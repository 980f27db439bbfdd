package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

const (
	keptNotes = 2048 // checkpoints that are kept one by one
	hour      = 60 * 60
	// sparse is which of the notes are looked at in segments that are long over:
	// every so many, and the last. None of them is kept one by one.
	sparse = 32
)

// tryArchive is followArchive, and warns of its failure: the packages do not rest on it.
func (s *Survey) tryArchive(ctx context.Context) {
	if err := s.followArchive(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Warn(fmt.Errorf("following the archive of checkpoints: %w", err))
	}
}

// followArchive looks at the published checkpoints that it did not look at yet.
func (s *Survey) followArchive(ctx context.Context) error {
	if s.cfg.Archive == nil {
		return nil
	}
	for {
		more, err := s.followSegment(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// followSegment looks at what is new in the segment where it ended, and reports whether
// there is a segment behind it.
func (s *Survey) followSegment(ctx context.Context) (more bool, err error) {
	var n uint64
	var offset int64
	if err := s.r.QueryRowContext(ctx, "SELECT segment, offset FROM meta").Scan(&n, &offset); err != nil {
		return false, err
	}
	if more, err = s.hasSegment(ctx, n+1); err != nil {
		return false, err
	}
	data, err := s.readSegment(ctx, n, offset)
	if err != nil {
		return false, err
	}
	old := false
	if more {
		if old, err = s.hasSegment(ctx, n+1+keptNotes/checkpoint.SegmentNotes); err != nil {
			return false, err
		}
	}
	notes, end, err := divide(data)
	if err != nil {
		return false, fmt.Errorf("segment %s, behind byte %d: %w", checkpoint.SegmentName(n), offset, err)
	}
	next, offset := n, offset+int64(end)
	if more {
		next, offset = n+1, 0
	}
	if len(notes) == 0 && !more {
		return false, nil
	}
	return more, s.inBatch(ctx, func(b *batch) error {
		for i, signed := range notes {
			if old && i%sparse != 0 && i != len(notes)-1 {
				continue
			}
			if err := b.takeNote(signed, !old); err != nil {
				return err
			}
		}
		return b.exec("UPDATE meta SET segment = ?, offset = ?", next, offset)
	})
}

func (s *Survey) hasSegment(ctx context.Context, n uint64) (bool, error) {
	segment, err := s.cfg.Archive.Segment(ctx, n)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, segment.Close()
}

// readSegment returns a segment from an offset on; nothing if there is none.
func (s *Survey) readSegment(ctx context.Context, n uint64, offset int64) ([]byte, error) {
	segment, err := s.cfg.Archive.Segment(ctx, n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = segment.Close() }()
	if _, err := segment.Seek(offset, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(segment, checkpoint.MaxSegment))
}

// divide returns the notes of a segment's data, and where they end.
func divide(data []byte) (notes [][]byte, end int, err error) {
	for rest := data; len(rest) > 0; {
		signed, after, err := checkpoint.ReadArchived(rest)
		if errors.Is(err, checkpoint.ErrTorn) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		notes, rest = append(notes, signed), after
		end = len(data) - len(after)
	}
	return notes, end, nil
}

// takeNote takes in a published checkpoint. One that the ledger's policy does not know
// the signature of is passed over.
func (b *batch) takeNote(signed []byte, keep bool) error {
	c, sigs, err := tlogproof.Open(signed, b.cfg.Trust)
	if err == nil && c.Origin != b.cfg.Origin {
		err = fmt.Errorf("it is of log %q", c.Origin)
	}
	if err == nil && !slices.ContainsFunc(sigs, func(s note.Signature) bool { return s.Name == c.Origin }) {
		err = errors.New("the log's key did not sign it")
	}
	if err != nil {
		b.cfg.Warn(fmt.Errorf("passing over an archived checkpoint: %w", err))
		return nil
	}
	times := make(map[string]time.Time)
	var at time.Time
	for _, s := range sigs {
		t, err := torchwood.CosignatureTimestamp(s)
		if s.Name == c.Origin || err != nil {
			continue
		}
		times[s.Name] = time.Unix(t, 0).UTC()
		if times[s.Name].After(at) {
			at = times[s.Name]
		}
	}
	if at.IsZero() {
		at = b.cfg.Now() // nothing else says when it was
	}
	if err := b.exec(`INSERT INTO hours (hour, size, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET
		at = iif(excluded.size > size, excluded.at, at), size = max(size, excluded.size)`, at.Unix()/hour, c.N, at.Unix()); err != nil || !keep {
		return err
	}
	var id int64
	if _, err := b.one([]any{&id}, "INSERT INTO notes (size, at, times) VALUES (?, ?, ?) RETURNING id", c.N, at.Unix(), string(marshal(times))); err != nil {
		return err
	}
	return b.exec("DELETE FROM notes WHERE id <= ?", id-keptNotes)
}

// coveredAt is which entries were published at a time, as far as is known: those from
// the one that was asked about up to size.
const coveredAt = `SELECT min(at), min(size) FROM (
	SELECT * FROM (SELECT at, size FROM notes WHERE size > ? ORDER BY size, at LIMIT 1) UNION ALL
	SELECT * FROM (SELECT at, size FROM hours WHERE size > ? ORDER BY size, at LIMIT 1))`

// clock tells when entries were published, which are asked for in order.
type clock struct {
	*batch
	published time.Time // when all of them were, at the latest
	size      uint64    // below which time holds
	time      int64
}

// at returns when an entry was published, at the latest.
func (c *clock) at(entry uint64) (int64, error) {
	if entry < c.size {
		return c.time, nil
	}
	var at, size *int64
	if _, err := c.one([]any{&at, &size}, coveredAt, entry, entry); err != nil {
		return 0, err
	}
	if at == nil {
		c.time, c.size = c.published.Unix(), ^uint64(0)
	} else {
		c.time, c.size = *at, uint64(*size)
	}
	return c.time, nil
}
