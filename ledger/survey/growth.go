package survey

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// maxPoints is how many points Growth returns, beside the first and the last.
const maxPoints = 298

// Growth returns how the log grew, in order, at most some hundred points.
func (s *Survey) Growth(ctx context.Context) ([]Point, error) {
	points := []Point{}
	var at int64
	var p Point
	rows, err := s.r.QueryContext(ctx, `WITH span AS (SELECT min(hour) AS first, max(hour) AS last FROM hours)
		SELECT max(at), max(size) FROM hours, span GROUP BY iif(hour = first, -1, iif(hour = last, ? + 1, (hour - first) * ? / (last - first + 1))) ORDER BY max(hour)`, maxPoints, maxPoints)
	err = eachRow(rows, err, []any{&at, &p.Size}, func() {
		p.At = unix(at)
		// Clocks of witnesses differ, but a log never shrinks.
		if n := len(points); n > 0 && (points[n-1].Size > p.Size || points[n-1].At.After(p.At)) {
			return
		}
		points = append(points, p)
	})
	return points, err
}

func unix(at int64) time.Time { return time.Unix(at, 0).UTC() }

// Cosigned returns the latest published checkpoints, the latest first.
func (s *Survey) Cosigned(ctx context.Context, limit int) ([]Cosigned, error) {
	list := []Cosigned{}
	var at int64
	var size uint64
	var times string
	var failed error
	rows, err := s.r.QueryContext(ctx, "SELECT size, at, times FROM notes ORDER BY id DESC LIMIT ?", max(0, min(limit, keptNotes)))
	err = eachRow(rows, err, []any{&size, &at, &times}, func() {
		c := Cosigned{Size: size, At: unix(at)}
		failed = errors.Join(failed, json.Unmarshal([]byte(times), &c.Times))
		list = append(list, c)
	})
	return list, errors.Join(err, failed)
}

// Logged returns when an entry is known to have been published; zero if it is not.
// Of an old one, that is known by the hour.
func (s *Survey) Logged(ctx context.Context, entry uint64) (time.Time, error) {
	var claimed int64
	err := s.r.QueryRowContext(ctx, "SELECT at FROM claims WHERE entry = ?", entry).Scan(&claimed)
	if err == nil {
		return unix(claimed), nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, err
	}
	var at, size *int64
	if err := s.r.QueryRowContext(ctx, coveredAt, entry, entry).Scan(&at, &size); err != nil || at == nil {
		return time.Time{}, err
	}
	return unix(*at), nil
}
