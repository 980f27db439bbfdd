package verify

import (
	"io"
	"time"
)

// Text writes the report for people.
func (r *Report) Text(w io.Writer, ascii bool) error { return nil }

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
