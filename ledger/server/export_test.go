package server

import (
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/door"
)

// Fill leaves no room at the door of a kind of requests until empty is called.
func (s *Server) Fill(t testing.TB, kind string) (empty func()) {
	t.Helper()
	e := map[string]*entrance{
		"submissions": s.doors.submissions, "reads": s.doors.reads, "calls": s.doors.calls, "streams": s.doors.streams,
	}[kind]
	var all []*door.Pass
	for cost := int64(1 << 30); cost > 0; cost /= 2 {
		for p, _ := e.Enter(cost, nil); p != nil; p, _ = e.Enter(cost, nil) {
			all = append(all, p)
		}
	}
	return func() {
		for _, p := range all {
			p.Leave()
		}
	}
}

// ReadsWait sets how long reads wait for their turn. It is called before any request.
func (s *Server) ReadsWait(d time.Duration) { s.doors.readWait = d }

// Held returns what is reserved by all requests.
func (s *Server) Held() int64 {
	return s.doors.submissions.Held() + s.doors.reads.Held() + s.doors.calls.Held() + s.doors.streams.Held()
}

// Waiting returns how many reads wait for their turn.
func (s *Server) Waiting() int { return s.doors.reads.Waiting() }
