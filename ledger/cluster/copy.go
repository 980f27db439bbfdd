package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
)

// copyEvery is how far the archive in the bucket may be behind: a segment is written
// as a whole, so not after each publication.
const copyEvery = time.Second

// Objects is a bucket that the archive is copied to.
type Objects interface {
	Exists(ctx context.Context, key string) (bool, error)
	Put(ctx context.Context, objects []engine.Object) error
}

// ArchiveCopy keeps a copy of the archive's segments in a bucket, beside the log's
// tiles: an audit of the bucket alone then has the checkpoints, too. It belongs to a
// Term. Nothing but such an audit reads the copy, so that its failures are told and
// tried again, and that a process whose time is over may write an older last
// segment, which the next publication mends.
type ArchiveCopy struct {
	c     *Cluster
	to    Objects
	found bool
	last  uint64 // the segment that was written last
	size  int    // and how many bytes of it
}

// NewArchiveCopy returns the copy in a bucket.
func (c *Cluster) NewArchiveCopy(to Objects) *ArchiveCopy { return &ArchiveCopy{c: c, to: to} }

// Run keeps the copy up with the Board until ctx ends.
func (a *ArchiveCopy) Run(ctx context.Context) {
	var copied *checkpoint.Published
	for {
		latest, err := a.c.cfg.Board.After(ctx, copied)
		if err == nil {
			if err = a.Copy(ctx); err == nil {
				copied = latest
			}
		}
		if err != nil && ctx.Err() == nil {
			a.c.cfg.Logger.WarnContext(ctx, "copying the archive of checkpoints, and copying again", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(copyEvery):
		}
	}
}

// Copy writes what the copy lacks: all full segments, and the last as it is.
func (a *ArchiveCopy) Copy(ctx context.Context) error {
	if err := a.find(ctx); err != nil {
		return err
	}
	for n := a.last; ; n++ {
		data, err := a.read(ctx, n)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == a.last && len(data) == a.size {
			continue
		}
		segment := engine.Object{Key: segmentKey(n), Bytes: data, ContentType: "text/plain; charset=utf-8", CacheControl: "no-cache"}
		if err := a.to.Put(ctx, []engine.Object{segment}); err != nil {
			return fmt.Errorf("writing segment %s: %w", checkpoint.SegmentName(n), err)
		}
		a.last, a.size = n, len(data)
	}
}

func segmentKey(n uint64) string { return checkpoint.ArchiveDir + "/" + checkpoint.SegmentName(n) }

func (a *ArchiveCopy) read(ctx context.Context, n uint64) ([]byte, error) {
	r, err := a.c.Segment(ctx, n)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// find finds the last segment of the copy, which may be of any length: there are all
// before it.
func (a *ArchiveCopy) find(ctx context.Context) error {
	if a.found {
		return nil
	}
	low, high := uint64(0), uint64(1) // there is one at low, or none at all; is there one at high?
	for grow := true; grow || high-low > 1; {
		n := high
		if !grow {
			n = low + (high-low)/2
		}
		there, err := a.to.Exists(ctx, segmentKey(n))
		switch {
		case err != nil:
			return fmt.Errorf("looking for segment %s: %w", checkpoint.SegmentName(n), err)
		case there && grow:
			low, high = n, 2*n
		case there:
			low = n
		default:
			grow, high = false, n
		}
	}
	a.found, a.last = true, low
	return nil
}
