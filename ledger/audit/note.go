package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
)

// checked is a signed note with what is wrong with it by itself.
type checked struct {
	where  string
	signed []byte
	tree   tlog.Tree
	origin string
	times  []cosigned
	wrong  []Finding
	// genuine says that a log of the policy signed it: it is evidence.
	genuine bool
	last    position // of the note, in the archive
}

// cosigned is when a witness cosigned.
type cosigned struct {
	witness string
	time    int64
}

// N returns the note's size.
func (c *checked) N() uint64 { return uint64(c.tree.N) }

func (c *checked) find(class Class, kind, format string, args ...any) {
	c.wrong = append(c.wrong, Finding{Class: class, Kind: kind, Where: c.where, What: fmt.Sprintf(format, args...)})
}

// noteVerifier checks notes against the policy. It may be used concurrently.
type noteVerifier struct {
	policy    *policy.Policy
	witnesses map[string]string // the name in the policy, by that of the key
}

func newNoteVerifier(p *policy.Policy) *noteVerifier {
	v := &noteVerifier{policy: p, witnesses: make(map[string]string)}
	for _, w := range p.Witnesses() {
		v.witnesses[w.Verifier.Name()] = w.Name
	}
	return v
}

// check checks a note's form, its signatures and the quorum.
func (v *noteVerifier) check(where string, signed []byte) *checked {
	c := &checked{where: where, signed: signed}
	n, err := note.Open(signed, v.policy)
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified):
		n = unverified.Note
	case errors.As(err, &invalid):
		c.find(Corrupt, "note-signature", "the signature of %q does not verify", invalid.Name)
		return c
	case err != nil:
		c.find(Corrupt, "note-malformed", "%v", err)
		return c
	}
	cp, err := torchwood.ParseCheckpoint(n.Text)
	if err == nil && (cp.Extension != "" || cp.String() != n.Text) {
		err = errors.New("it has extension lines, or is not canonical")
	}
	if err != nil {
		c.find(Corrupt, "note-malformed", "the checkpoint: %v", err)
		return c
	}
	c.tree, c.origin = cp.Tree, cp.Origin
	e := v.policy.Explain(cp.Origin, n.Sigs)
	c.genuine = e.LogSigned
	switch {
	case len(e.Logs) == 0:
		c.find(Policy, "origin-unknown", "the policy has no log with the origin %q", cp.Origin)
	case !e.LogSigned:
		c.find(Policy, "log-unsigned", "no log of the policy signed it")
	case !e.QuorumMet && cp.N > 0:
		// An empty tree commits to nothing that a witness could vouch for, and a
		// ledger begins with one before its witnesses know of it.
		c.find(Policy, "quorum-unmet", "size %d: %s", cp.N, strings.Join(e.Missing, "; "))
	}
	v.readTimes(c, n.Sigs)
	return c
}

func (v *noteVerifier) readTimes(c *checked, sigs []note.Signature) {
	for _, s := range sigs {
		name, ok := v.witnesses[s.Name]
		if !ok {
			continue
		}
		if t, err := torchwood.CosignatureTimestamp(s); err == nil {
			c.times = append(c.times, cosigned{name, t})
		}
	}
}

// readEnd reads the latest published checkpoint. If it cannot be used, the last
// of the archive takes its place; if there is none, a.end stays nil.
func (a *auditor) readEnd(ctx context.Context) error {
	signed, err := a.Read(ctx, "checkpoint", checkpoint.MaxNote)
	what, damaged := damageOf(err)
	switch {
	case isMissing(err):
		a.find(Incomplete, "checkpoint-missing", "checkpoint", "there is no published checkpoint")
	case damaged:
		a.find(Corrupt, "file-unreadable", "checkpoint", "%s", what)
	case err != nil:
		return err
	default:
		c := a.verify.check("checkpoint", signed)
		for _, w := range c.wrong {
			a.add(w)
		}
		if c.origin != "" && len(c.wrong) == 0 || c.genuine {
			a.audit(c)
			return nil
		}
	}
	last, err := a.lastArchived(ctx)
	if err != nil || last == nil {
		return err
	}
	a.audit(last)
	return nil
}

// audit makes a checkpoint the one that is audited.
func (a *auditor) audit(c *checked) {
	a.end = c
	a.report.Checkpoint = &Checkpoint{Origin: c.origin, Size: c.N(), Root: c.tree.Hash.String(), Signed: string(c.signed)}
}

// lastArchived returns the last archived note that a log of the policy signed.
func (a *auditor) lastArchived(ctx context.Context) (*checked, error) {
	var last *checked
	for n := uint64(0); ; n++ {
		data, err := a.readSegment(ctx, n)
		if err != nil {
			return nil, err
		}
		if data == nil {
			return last, nil
		}
		for len(data) > 0 {
			signed, rest, err := checkpoint.ReadArchived(data)
			if err != nil {
				break
			}
			data = rest
			if last != nil && bytes.Equal(last.signed, signed) {
				continue
			}
			if c := a.verify.check("the last of the archive", signed); c.genuine {
				last = c
			}
		}
	}
}

// readSegment returns a segment of the archive, and nil if there is none that
// can be read.
func (a *auditor) readSegment(ctx context.Context, n uint64) ([]byte, error) {
	data, err := a.Read(ctx, segmentPath(n), checkpoint.MaxSegment)
	if _, damaged := damageOf(err); damaged || isMissing(err) {
		return nil, nil
	}
	if err == nil && data == nil {
		data = []byte{}
	}
	return data, err
}

func segmentPath(n uint64) string {
	return checkpoint.ArchiveDir + "/" + checkpoint.SegmentName(n)
}

// position is a place in the archive: so many notes of a segment are behind it.
type position struct {
	Segment uint64 `json:"segment"`
	Notes   int    `json:"notes"`
}

// noteStream is the archive's notes in their order, each checked by itself. A
// goroutine reads ahead by one segment, whose notes are checked in parallel.
type noteStream struct {
	segments chan []*checked
	now      []*checked
	ended    bool
	err      error // set before segments is closed
}

// openNotes begins to read the archive at a position.
func (a *auditor) openNotes(ctx context.Context, from position) *noteStream {
	s := &noteStream{segments: make(chan []*checked)}
	go func() {
		defer close(s.segments)
		s.err = a.readNotes(ctx, from, s.segments)
	}()
	return s
}

// peek returns the next note, or nil at the end.
func (s *noteStream) peek() *checked {
	for len(s.now) == 0 && !s.ended {
		notes, ok := <-s.segments
		s.now, s.ended = notes, !ok
	}
	if s.ended {
		return nil
	}
	return s.now[0]
}

func (s *noteStream) skip() { s.now = s.now[1:] }

func (a *auditor) readNotes(ctx context.Context, from position, out chan<- []*checked) error {
	before := checkpoint.SegmentNotes // the notes of the segment before
	for n := from.Segment; ; n++ {
		data, err := a.Read(ctx, segmentPath(n), checkpoint.MaxSegment)
		what, damaged := damageOf(err)
		switch {
		case damaged:
			a.find(Corrupt, "archive-unreadable", segmentPath(n), "%s", what)
			before = checkpoint.SegmentNotes
			continue
		case isMissing(err):
			if more, err := a.missingSegment(ctx, n, from); !more {
				return err
			}
			before = checkpoint.SegmentNotes
			continue
		case err != nil:
			return err
		}
		if before < checkpoint.SegmentNotes {
			a.find(Incomplete, "archive-missing", segmentPath(n-1), "%d notes, but there is a next segment: they have %d", before, checkpoint.SegmentNotes)
		}
		notes := a.splitSegment(n, data)
		before = len(notes)
		if n == from.Segment {
			if len(notes) < from.Notes {
				a.find(Corrupt, "archive-shrank", segmentPath(n), "%d notes, but an earlier audit saw %d", len(notes), from.Notes)
			}
			notes = notes[min(from.Notes, len(notes)):]
		}
		a.checkNotes(notes)
		select {
		case out <- notes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// missingSegment decides whether a segment that is not there should be, and
// whether the archive goes on behind it.
func (a *auditor) missingSegment(ctx context.Context, n uint64, from position) (more bool, err error) {
	next, err := a.readSegment(ctx, n+1)
	switch {
	case err != nil:
		return false, err
	case next != nil:
		a.find(Incomplete, "archive-missing", segmentPath(n), "the segment is not there, but the next one is")
	case n == 0:
		a.find(Incomplete, "archive-missing", checkpoint.ArchiveDir, "there is no archive of checkpoints")
	case n == from.Segment && from.Notes > 0:
		a.find(Incomplete, "archive-missing", segmentPath(n), "an earlier audit saw it")
	}
	return next != nil, nil
}

// splitSegment reads the frames of a segment.
func (a *auditor) splitSegment(n uint64, data []byte) []*checked {
	var notes []*checked
	at := 0
	for at < len(data) {
		where := fmt.Sprintf("%s, note %d", segmentPath(n), len(notes))
		signed, rest, err := checkpoint.ReadArchived(data[at:])
		if err != nil {
			a.find(Corrupt, "archive-malformed", where, "byte %d: %v", at, err)
			break
		}
		if len(notes) == checkpoint.SegmentNotes {
			a.find(Corrupt, "archive-malformed", where, "more than %d notes", checkpoint.SegmentNotes)
			break
		}
		at = len(data) - len(rest)
		notes = append(notes, &checked{where: where, signed: signed, last: position{n, len(notes) + 1}})
	}
	return notes
}

// checkNotes checks notes in parallel.
func (a *auditor) checkNotes(notes []*checked) {
	var wg sync.WaitGroup
	each := (len(notes) + a.o.Workers - 1) / max(a.o.Workers, 1)
	for start := 0; start < len(notes); start += each {
		part := notes[start:min(start+each, len(notes))]
		wg.Go(func() {
			for _, c := range part {
				at := c.last
				*c = *a.verify.check(c.where, c.signed)
				c.last = at
			}
		})
	}
	wg.Wait()
}
