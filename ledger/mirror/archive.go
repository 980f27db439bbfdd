package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
)

func segmentPath(n uint64) string {
	return checkpoint.ArchiveDir + "/" + checkpoint.SegmentName(n)
}

// archive copies the archive of published checkpoints from where the copy of it
// ends. Segments only grow, and every note must be one of the copied tree.
func (c *copier) archive(ctx context.Context) error {
	n, have, err := c.lastSegment(ctx)
	if err != nil {
		return err
	}
	for ; ; n, have = n+1, nil {
		segment, err := c.src.Read(ctx, segmentPath(n), checkpoint.MaxSegment)
		if errors.Is(err, fs.ErrNotExist) {
			c.report.Unarchived = n == 0 && have == nil
			return nil
		}
		if err != nil {
			return unread("reading "+segmentPath(n), err)
		}
		if !bytes.HasPrefix(segment, have) {
			if bytes.HasPrefix(have, segment) {
				return nil // the source lags
			}
			return client.Misbehaved("%s of the source is not what it was: an archive only grows", segmentPath(n))
		}
		whole, full, err := c.notes(ctx, segment, len(have))
		if err != nil {
			return fmt.Errorf("%s: %w", segmentPath(n), err)
		}
		if len(whole) > len(have) {
			if err := c.batch.Put(segmentPath(n), whole); err != nil {
				return err
			}
			if err := c.batch.Commit(); err != nil {
				return err
			}
		}
		if !full {
			return nil
		}
	}
}

// lastSegment returns the last segment of the copy.
func (c *copier) lastSegment(ctx context.Context) (n uint64, segment []byte, err error) {
	for {
		next, err := c.local.Read(ctx, segmentPath(n), checkpoint.MaxSegment)
		if errors.Is(err, fs.ErrNotExist) {
			return n - min(n, 1), segment, nil
		}
		if err != nil {
			return 0, nil, err
		}
		n, segment = n+1, next
	}
}

// notes checks the notes of a segment, those from an offset on against the copied
// tree, and returns those that this covers, and whether the segment is full of
// them.
func (c *copier) notes(ctx context.Context, segment []byte, from int) (whole []byte, full bool, err error) {
	prover := engine.NewProver(c.local)
	count := 0
	for rest := segment; len(rest) > 0; {
		signed, after, err := checkpoint.ReadArchived(rest)
		if errors.Is(err, checkpoint.ErrTorn) {
			break
		}
		if err != nil {
			return nil, false, &client.MisbehaviourError{Message: "a note of the archive does not parse", Err: err}
		}
		if at := len(segment) - len(rest); at >= from {
			ahead, err := c.note(ctx, prover, string(signed))
			if err != nil {
				return nil, false, err
			}
			if ahead {
				break
			}
		}
		rest = after
		whole = segment[:len(segment)-len(rest)]
		count++
	}
	return whole, count == checkpoint.SegmentNotes, nil
}

// note checks one note of the archive, which the log must have signed. It is ahead
// if it was published after the checkpoint that is copied. Whether witnesses
// cosigned it is the audit's to judge: policies change.
func (c *copier) note(ctx context.Context, prover *engine.Prover, signed string) (ahead bool, err error) {
	cp, err := client.VerifyCheckpoint(signed, nil)
	n, nerr := note.Open([]byte(signed), c.policy)
	bySigner := func(s note.Signature) bool { return s.Name == c.target.Origin }
	if err != nil || nerr != nil || cp.Origin != c.target.Origin || !slices.ContainsFunc(n.Sigs, bySigner) {
		return false, client.Misbehaved("a note of the archive is no checkpoint that log %q signed", c.target.Origin)
	}
	if cp.N > c.target.N {
		return true, nil
	}
	root, err := prover.Root(ctx, uint64(cp.N), uint64(c.target.N))
	if err != nil {
		return false, err
	}
	if tlog.Hash(root) != cp.Hash {
		return false, &ForkError{Kept: c.signed, Shown: signed, KeptTree: c.target.Tree, ShownTree: cp.Tree}
	}
	return false, nil
}
