package web

import (
	"context"
	"errors"
	"strings"

	"github.com/cairnlog/cairn/internal/plain"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// buildLog is a part of what a job's workers wrote. Anything can be in it: it is shown
// as plain.Output has it.
type buildLog struct {
	Size   int64      `json:"size"` // of the log, with what was not kept
	From   int64      `json:"from"` // the part begins here
	To     int64      `json:"to"`   // and ends here
	Pieces []logPiece `json:"pieces"`
}

// logPiece is text without a gap in it, as it is shown.
type logPiece struct {
	Missing int64  `json:"missing,omitempty"` // bytes before it that are not kept
	Text    string `json:"text"`
}

// last leaves the last lines of the last piece.
func (v *buildLog) last(lines int) {
	if len(v.Pieces) == 0 {
		return
	}
	piece := v.Pieces[len(v.Pieces)-1]
	text := strings.TrimRight(piece.Text, "\n")
	at := len(text)
	for range lines {
		if at = strings.LastIndexByte(text[:at], '\n'); at < 0 {
			break
		}
	}
	v.Pieces = []logPiece{{Text: text[at+1:]}}
}

// readLog reads the part of a job's log between two offsets. It begins with a line,
// unless the first is very long.
func (s *Site) readLog(ctx context.Context, id, from, to int64) (*buildLog, error) {
	l := &logReader{ctx: ctx, next: from, to: to}
	err := s.cfg.Builds.StreamBuildLog(&cairnv1.StreamBuildLogRequest{Id: id, Offset: from}, l)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	v := &buildLog{Size: to, From: from, To: to, Pieces: []logPiece{}}
	for i, p := range l.pieces {
		text := string(p.data)
		if i == 0 && p.missing == 0 && from > 0 {
			if line := strings.IndexByte(text, '\n') + 1; line <= maxPartLine {
				text, v.From = text[line:], from+int64(line)
			}
		}
		v.Pieces = append(v.Pieces, logPiece{Missing: p.missing, Text: plain.Output(text)})
	}
	if missing := to - l.next; missing > 0 {
		v.Pieces = append(v.Pieces, logPiece{Missing: missing})
	}
	return v, nil
}

var errEnough = errors.New("what was asked for is read")

// maxPartLine is how much of a line a part of a log may leave to the part before.
const maxPartLine = 2 << 10

// logReader is the reader's end of a log: it takes what is before an offset, and has
// the stream end there.
type logReader struct {
	cairnv1.BuildService_StreamBuildLogServer // nil: a log is written with Send alone
	ctx                                       context.Context
	next, to                                  int64
	pieces                                    []rawPiece
}

type rawPiece struct {
	missing int64
	data    []byte
}

func (l *logReader) Context() context.Context { return l.ctx }

func (l *logReader) Send(m *cairnv1.StreamBuildLogResponse) error {
	data := m.GetData()
	switch {
	case m.GetOffset() >= l.to:
		return errEnough
	case m.GetOffset() > l.next || len(l.pieces) == 0:
		l.pieces = append(l.pieces, rawPiece{missing: m.GetOffset() - l.next})
	}
	data = data[:min(int64(len(data)), l.to-m.GetOffset())]
	last := &l.pieces[len(l.pieces)-1]
	last.data = append(last.data, data...)
	if l.next = m.GetOffset() + int64(len(data)); l.next >= l.to {
		return errEnough
	}
	return nil
}
