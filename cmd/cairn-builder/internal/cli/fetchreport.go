package cli

import (
	"sync"
	"time"

	"github.com/cairnlog/cairn/builder/source"
	"github.com/cairnlog/cairn/cmd/internal/term"
)

// fetchReport tells people how far fetching is: what was got at once, and what
// is under way now and then. On a terminal that is every half second, on one
// line; elsewhere every 10 s.
type fetchReport struct {
	quiet bool
	tty   bool
	every time.Duration
	p     term.Printer
	now   func() time.Time

	mu   sync.Mutex
	last time.Time
	open bool // a line that is to be overwritten
}

func newFetchReport(a *app) *fetchReport {
	r := &fetchReport{quiet: a.Quiet, every: 10 * time.Second, p: a.Printer(a.Err), now: time.Now}
	if width(a.Err) > 0 {
		r.tty, r.every = true, time.Second/2
	}
	r.last = r.now()
	return r
}

func (r *fetchReport) progress(p source.Progress) {
	if r.quiet {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case p.Err != nil:
		r.line("cairn-builder: note: %s: %s: %s\n", p.Package, p.Mirror, p.Err)
	case p.Kept:
		r.line("%s: %s: %s\n", p.Package, p.File, size(p.Done))
	case r.now().Sub(r.last) >= r.every:
		r.last = r.now()
		r.underWay(p)
	}
}

func (r *fetchReport) underWay(p source.Progress) {
	of := ""
	if p.Total > 0 {
		of = " of " + size(p.Total)
	}
	r.line("%s: %s: %s%s from %s", p.Package, p.File, size(p.Done), of, p.Mirror)
	if r.tty {
		r.open = true
		return
	}
	r.p.Printf("\n")
}

// line writes over what was under way.
func (r *fetchReport) line(format string, args ...any) {
	if r.open {
		r.p.Printf("%s", term.Painted("\r\x1b[K"))
		r.open = false
	}
	r.p.Printf(format, args...)
}

// Close ends the report.
func (r *fetchReport) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line("")
}
