package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/audit"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/cluster"
	"github.com/cairnlog/cairn/ledger/tlogproof"
)

// Archive is an archive of checkpoints by its segments, as checkpoint.Archive and
// cluster.Cluster have them.
type Archive interface {
	Segment(ctx context.Context, n uint64) (io.ReadSeekCloser, error)
}

// readSegment returns a segment, and nothing if there is none.
func readSegment(ctx context.Context, a Archive, n uint64) ([]byte, error) {
	r, err := a.Segment(ctx, n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, checkpoint.MaxSegment+1))
}

// notesOf returns the notes of a segment, or of a part of one.
func notesOf(data []byte) (notes [][]byte, err error) {
	for len(data) > 0 {
		var signed []byte
		if signed, data, err = checkpoint.ReadArchived(data); err != nil {
			return nil, err
		}
		notes = append(notes, signed)
	}
	return notes, nil
}

// lastNote returns the newest note of an archive, or nil if it has none.
func lastNote(ctx context.Context, a Archive) (last []byte, err error) {
	for n := uint64(0); ; n++ {
		data, err := readSegment(ctx, a, n)
		if err != nil || len(data) == 0 {
			return last, err
		}
		notes, err := notesOf(data)
		if err != nil {
			return nil, fmt.Errorf("segment %s of the source's archive: %w", checkpoint.SegmentName(n), err)
		}
		last = notes[len(notes)-1]
	}
}

// archive copies the archive to the database and from there to the bucket, and then
// the published checkpoint.
func (m *Move) archive(ctx context.Context, term *cluster.Term) error {
	for n := uint64(0); ; n++ {
		want, err := readSegment(ctx, m.From.Archive, n)
		if err != nil {
			return err
		}
		have, err := readSegment(ctx, m.To.Cluster, n)
		if err != nil {
			return err
		}
		rest, ok := bytes.CutPrefix(want, have)
		if !ok {
			return fmt.Errorf("%w: segment %s of the archive differs", errDiffers, checkpoint.SegmentName(n))
		}
		if len(want) == 0 {
			break
		}
		if err := adopt(ctx, term, n, have, rest); err != nil {
			return err
		}
		m.Progress("moving checkpoints", n+1, 0)
	}
	copied := m.To.Cluster.NewArchiveCopy(m.To.Objects)
	if err := copied.Copy(ctx); err != nil {
		return err
	}
	return m.To.Log.Publish(ctx, m.plan.note)
}

func adopt(ctx context.Context, term *cluster.Term, segment uint64, have, rest []byte) error {
	before, err := notesOf(have)
	if err != nil {
		return err
	}
	notes, err := notesOf(rest)
	if err != nil {
		return err
	}
	return term.Adopt(ctx, segment*checkpoint.SegmentNotes+uint64(len(before)), notes)
}

func treeOfState(text []byte) (tlog.Tree, error) {
	c, err := tlogproof.ParseCheckpoint(string(text))
	return c.Tree, err
}

// signer copies the signer's state. What an earlier run copied, the source extended.
func (m *Move) signer(ctx context.Context, term *cluster.Term) error {
	have, err := term.Load(ctx)
	if err != nil || bytes.Equal(have, m.plan.signed) {
		return err
	}
	if have != nil {
		before, err := treeOfState(have)
		if err != nil {
			return err
		}
		if before.N > m.plan.last.N {
			return fmt.Errorf("%w: size %d was signed, and size %d before: the source is an older copy", checkpoint.ErrRollback, m.plan.last.N, before.N)
		}
		root, err := m.From.Prover.Root(ctx, uint64(before.N), m.plan.size)
		if err != nil {
			return err
		}
		if tlog.Hash(root) != before.Hash {
			return fmt.Errorf("%w: size %d was signed with root %s, and the source has %x", checkpoint.ErrRollback, before.N, before.Hash, root)
		}
	}
	return term.Swap(ctx, have, m.plan.signed)
}

// audit audits a copy, which must be clean.
func (m *Move) audit(ctx context.Context, c audit.Copy, what string) (*audit.Report, error) {
	defer func() { _ = c.Close() }() // it was only read
	o := m.Audit
	o.Progress = func(p audit.Progress) { m.Progress(what+": "+p.Phase, p.Entries, p.Of) }
	report, err := audit.Run(ctx, c, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if !report.Clean {
		return nil, &UncleanError{report}
	}
	return report, nil
}

// compare compares the target with the source, and the two reports.
func (m *Move) compare(ctx context.Context, target *audit.Report) error {
	a, b := m.plan.source, target
	if *a.Checkpoint != *b.Checkpoint {
		return fmt.Errorf("%w: the checkpoint of size %d is not that of size %d", errDiffers, b.Checkpoint.Size, a.Checkpoint.Size)
	}
	for _, n := range []struct {
		what   string
		before uint64
		after  uint64
	}{
		{"entries", a.Counts.Entries.Load(), b.Counts.Entries.Load()},
		{"attestations", a.Counts.Attestations.Load(), b.Counts.Attestations.Load()},
		{"keys", a.Counts.Keys.Load(), b.Counts.Keys.Load()},
		{"certificates", a.Counts.Certificates.Load(), b.Counts.Certificates.Load()},
		{"checkpoints", a.Counts.Checkpoints.Load(), b.Counts.Checkpoints.Load()},
		{"cosignatures", a.Counts.Cosignatures.Load(), b.Counts.Cosignatures.Load()},
	} {
		if n.before != n.after {
			return fmt.Errorf("%w: %d %s, and the source has %d", errDiffers, n.after, n.what, n.before)
		}
	}
	// Each tree at its own size: what a front end asks for when it starts.
	for _, size := range []uint64{m.plan.published, uint64(m.plan.last.N), m.plan.size} {
		if err := m.sameRoot(ctx, size); err != nil {
			return err
		}
	}
	return m.compareIndexes(ctx)
}

// compareIndexes compares what the indexes know of the entries and the keys.
func (m *Move) compareIndexes(ctx context.Context) error {
	size, err := m.To.Index.Size(ctx)
	if err != nil {
		return err
	}
	if size != m.plan.size {
		return fmt.Errorf("%w: its index has %d entries of %d", errDiffers, size, m.plan.size)
	}
	before, standing, err := m.From.Index.Keys(ctx)
	if err != nil {
		return err
	}
	after, endorsed, err := m.To.Index.Keys(ctx)
	if err != nil {
		return err
	}
	if len(before) != len(after) || len(standing) != len(endorsed) {
		return fmt.Errorf("%w: its index has %d keys and %d endorsements, and the source's %d and %d",
			errDiffers, len(after), len(endorsed), len(before), len(standing))
	}
	for i := range before {
		if !before[i].Equal(&after[i]) {
			return fmt.Errorf("%w: key %s is another in its index", errDiffers, before[i].Fingerprint)
		}
	}
	for i := range standing {
		if standing[i] != endorsed[i] {
			return fmt.Errorf("%w: an endorsement of key %s is another in its index", errDiffers, standing[i].Key)
		}
	}
	return nil
}
