package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
)

// Archive is the archive of published checkpoints, in the segments that package
// checkpoint describes.
type Archive interface {
	// Segment opens a segment for reading: as much of it as is durable. It wraps
	// fs.ErrNotExist if there is none of that number.
	Segment(ctx context.Context, n uint64) (io.ReadSeekCloser, error)
}

// archive serves the segments of published checkpoints. The last one grows, so
// it is asked for again, from where it ended: with a Range.
type archive struct {
	checkpoints Archive
	logger      *slog.Logger
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	name := r.PathValue("segment")
	n, err := strconv.ParseUint(name, 10, 64)
	if err != nil || checkpoint.SegmentName(n) != name {
		http.Error(w, "no such segment: they are numbered from 000000000", http.StatusNotFound)
		return
	}
	segment, err := a.checkpoints.Segment(r.Context(), n)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "there is no such segment yet", http.StatusNotFound)
		return
	}
	if err != nil {
		a.logger.ErrorContext(r.Context(), "reading the archive of checkpoints", slog.String("segment", name), slog.Any("err", err))
		http.Error(w, "the segment could not be read", http.StatusInternalServerError)
		return
	}
	defer func() { _ = segment.Close() }()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", cacheNever)
	http.ServeContent(w, r, "", time.Time{}, segment)
}
