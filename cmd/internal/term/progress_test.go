package term

import (
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		after    []time.Duration
		want     string
	}{
		{"short work shows nothing", true, []time.Duration{0, 100 * time.Millisecond}, ""},
		{"a terminal has one line", true, []time.Duration{time.Second, 1100 * time.Millisecond, 2 * time.Second}, "\r\x1b[K\\u001b 0\r\x1b[K\\u001b 2\r\x1b[K"},
		{"elsewhere a line every ten seconds", false, []time.Duration{time.Second, 11 * time.Second, 12 * time.Second, 30 * time.Second}, "\\u001b 1\n\\u001b 3\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			begin := time.Unix(0, 0)
			now := begin
			g := &Progress{p: Printer{W: &b}, terminal: tt.terminal, now: func() time.Time { return now }, last: begin}
			for i, d := range tt.after {
				now = begin.Add(d)
				g.Showf("%s %d", "\x1b", i)
			}
			g.Done()
			g.Done()
			if b.String() != tt.want {
				t.Errorf("%q, want %q", b.String(), tt.want)
			}
		})
	}
	g := NewProgress(nil)
	g.now = func() time.Time { return g.last.Add(time.Hour) }
	g.Showf("nobody looks")
	g.Done()
}
