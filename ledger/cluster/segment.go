package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// cachedSegments bounds the memory of full segments, which never change: each is
// some hundred KiB, or MaxSegment at most.
const cachedSegments = 8

// readingSegments bounds how many are read at once: anybody may ask for them, and
// they must not take the connections that the lease is renewed on.
const readingSegments = 4

const selectSegment = "SELECT note FROM checkpoints WHERE seq >= $1 AND seq < $2 ORDER BY seq"

// Segment opens a segment of the archive for reading, with the bytes that it has in
// a checkpoint.Archive. It wraps fs.ErrNotExist if there is none of that number.
func (c *Cluster) Segment(ctx context.Context, n uint64) (io.ReadSeekCloser, error) {
	data, ok := c.full.Get(n)
	if !ok {
		var err error
		if data, err = c.readSegment(ctx, n); err != nil {
			return nil, fmt.Errorf("segment %s: %w", checkpoint.SegmentName(n), err)
		}
	}
	return segment{bytes.NewReader(data)}, nil
}

func (c *Cluster) readSegment(ctx context.Context, n uint64) ([]byte, error) {
	if n >= math.MaxInt64/checkpoint.SegmentNotes {
		return nil, fs.ErrNotExist
	}
	from := int64(n) * checkpoint.SegmentNotes
	asking, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	select {
	case c.reading <- struct{}{}:
		defer func() { <-c.reading }()
	case <-asking.Done():
		return nil, postgres.Classify(ctx, context.Cause(asking))
	}
	rows, err := c.pool.Query(asking, selectSegment, from, from+checkpoint.SegmentNotes)
	if err != nil {
		return nil, postgres.Classify(ctx, err)
	}
	var data, signed []byte
	done, err := pgx.ForEachRow(rows, []any{&signed}, func() error {
		data = checkpoint.AppendArchived(data, signed)
		return nil
	})
	if err != nil {
		return nil, postgres.Classify(ctx, err)
	}
	switch done.RowsAffected() {
	case 0:
		return nil, fs.ErrNotExist
	case checkpoint.SegmentNotes:
		c.full.Add(n, data)
	}
	return data, nil
}

type segment struct{ *bytes.Reader }

func (segment) Close() error { return nil }
