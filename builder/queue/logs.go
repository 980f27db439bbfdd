package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxPiece is the most bytes that one call adds to a log.
	MaxPiece = 256 << 10
	// mergeUnder is the size up to which a piece is added to the one before it,
	// so that a worker that writes byte by byte does not make a row of each.
	mergeUnder = 32 << 10
	// evictMost bounds how many logs one call deletes to make room.
	evictMost = 16
)

// AppendLog adds data to the log of a job, at an offset, under the lease that
// holds it, and returns the log's size. What is there already is not added
// again, and nothing is added beyond the end.
func (q *Queue) AppendLog(ctx context.Context, id int64, token string, offset int64, data []byte) (size int64, err error) {
	if err := checkPiece(offset, data); err != nil {
		return 0, err
	}
	err = q.write(ctx, func(t *tx) error {
		ctx := context.WithoutCancel(ctx)
		j, err := t.load(ctx, id)
		if err != nil {
			return err
		}
		if err := j.holds(token); err != nil {
			return err
		}
		size = j.LogSize
		if offset > size || size-offset >= int64(len(data)) {
			return nil
		}
		data = data[size-offset:]
		size += int64(len(data))
		t.woken = append(t.woken, id)
		return t.appendLog(ctx, j, data)
	})
	return size, err
}

func (t *tx) appendLog(ctx context.Context, j *job, data []byte) error {
	room, err := t.makeRoom(ctx, int64(len(data)))
	if err != nil {
		return err
	}
	if !room { // the bytes count, and are not kept
		return t.saveLog(ctx, j, int64(len(data)), 0)
	}
	start, kept := j.LogSize, int64(len(data))
	last, bytes, err := t.lastPiece(ctx, j.Id)
	if err != nil {
		return err
	}
	if bytes != nil && last+int64(len(bytes)) == start && len(bytes)+len(data) <= mergeUnder {
		start, data = last, slices.Concat(bytes, data)
	}
	if _, err := t.ExecContext(ctx, "INSERT OR REPLACE INTO logs (job, start, bytes) VALUES (?, ?, ?)", j.Id, start, data); err != nil {
		return fmt.Errorf("writing the log of build %d: %w", j.Id, err)
	}
	cut, err := t.cutLog(ctx, j.Id, j.kept+kept)
	if err != nil {
		return err
	}
	return t.saveLog(ctx, j, kept, kept-cut)
}

// lastPiece returns the last piece of a log; nil if there is none.
func (t *tx) lastPiece(ctx context.Context, id int64) (start int64, bytes []byte, err error) {
	err = t.QueryRowContext(ctx, "SELECT start, bytes FROM logs WHERE job = ? ORDER BY start DESC LIMIT 1", id).Scan(&start, &bytes)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, nil, fmt.Errorf("reading the log of build %d: %w", id, err)
	}
	return start, bytes, nil
}

// cutLog deletes pieces behind the head of a log, the oldest first, until what
// is kept is within bounds. It returns the number of bytes deleted.
func (t *tx) cutLog(ctx context.Context, id, kept int64) (cut int64, err error) {
	for kept-cut > t.q.cfg.MaxLog {
		var start, n int64
		err := t.QueryRowContext(ctx, "SELECT start, length(bytes) FROM logs WHERE job = ? AND start >= ? ORDER BY start LIMIT 1",
			id, t.q.cfg.MaxLog/4).Scan(&start, &n)
		if errors.Is(err, sql.ErrNoRows) {
			return cut, nil
		}
		if err != nil {
			return 0, fmt.Errorf("reading the log of build %d: %w", id, err)
		}
		if _, err := t.ExecContext(ctx, "DELETE FROM logs WHERE job = ? AND start = ?", id, start); err != nil {
			return 0, fmt.Errorf("cutting the log of build %d: %w", id, err)
		}
		cut += n
	}
	return cut, nil
}

// saveLog accounts for a log that grew, and for what is kept of it.
func (t *tx) saveLog(ctx context.Context, j *job, grown, kept int64) error {
	_, err := t.ExecContext(ctx, "UPDATE jobs SET log_size = log_size + ?, log_kept = log_kept + ? WHERE id = ?", grown, kept, j.Id)
	if err == nil {
		_, err = t.ExecContext(ctx, "UPDATE meta SET log_bytes = log_bytes + ?", kept)
	}
	if err != nil {
		return fmt.Errorf("writing the log of build %d: %w", j.Id, err)
	}
	return nil
}

// makeRoom deletes the oldest logs of jobs that have ended until n more bytes
// are within bounds, and reports whether they are.
func (t *tx) makeRoom(ctx context.Context, n int64) (bool, error) {
	within := func() (ok bool, err error) {
		err = t.QueryRowContext(ctx, "SELECT log_bytes + ? <= ? FROM meta", n, t.q.cfg.MaxLogs).Scan(&ok)
		return ok, err
	}
	for range evictMost {
		if ok, err := within(); ok || err != nil {
			return ok, err
		}
		err := t.forEach(ctx, "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND log_kept > 0 ORDER BY id LIMIT 1", nil,
			func(j *job) error { return t.dropLog(ctx, j) })
		if err != nil {
			return false, err
		}
	}
	return within()
}

// dropLog deletes what is kept of a log.
func (t *tx) dropLog(ctx context.Context, j *job) error {
	if _, err := t.ExecContext(ctx, "DELETE FROM logs WHERE job = ?", j.Id); err != nil {
		return fmt.Errorf("deleting the log of build %d: %w", j.Id, err)
	}
	return t.saveLog(ctx, j, 0, -j.kept)
}

// ReadLog returns the first bytes of a job's log that are kept at or after an
// offset, and where they begin; none if there are none.
func (q *Queue) ReadLog(ctx context.Context, id, offset int64) (start int64, data []byte, err error) {
	// The piece that holds the offset begins at or before it; if that is cut, or
	// ends before the offset, the next one is the first.
	rows, err := q.r.QueryContext(ctx, `SELECT start, bytes FROM logs WHERE job = ?1 AND start >=
		(SELECT coalesce(max(start), 0) FROM logs WHERE job = ?1 AND start <= ?2) ORDER BY start LIMIT 2`, id, offset)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the log of build %d: %w", id, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&start, &data); err != nil {
			return 0, nil, fmt.Errorf("reading the log of build %d: %w", id, err)
		}
		if start >= offset {
			return start, data, nil
		}
		if skip := offset - start; skip < int64(len(data)) {
			return offset, data[skip:], nil
		}
	}
	return 0, nil, rows.Err()
}
