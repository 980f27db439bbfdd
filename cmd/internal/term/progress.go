package term

import (
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
)

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// How often Progress shows how far it is.
const (
	onTerminal = 200 * time.Millisecond
	elsewhere  = 10 * time.Second
)

// Progress shows how far one long piece of work is: on a terminal on one line
// that is written over, elsewhere as lines that a log can keep. Nothing is shown
// of work that is over sooner. It is for one goroutine.
type Progress struct {
	p        Printer
	terminal bool
	now      func() time.Time
	last     time.Time
	drawn    bool
}

// NewProgress returns a Progress on w, or one that shows nothing if w is nil.
func NewProgress(w io.Writer) *Progress {
	return &Progress{p: Printer{W: w}, terminal: IsTerminal(w), now: time.Now, last: time.Now()}
}

// Showf tells how far the work is; the arguments are cleaned as by Printf.
func (g *Progress) Showf(format string, args ...any) {
	every := elsewhere
	if g.terminal {
		every = onTerminal
	}
	now := g.now()
	if g.p.W == nil || now.Sub(g.last) < every {
		return
	}
	g.last = now
	if !g.terminal {
		g.p.Printf(format+"\n", args...)
		return
	}
	g.drawn = true
	g.p.Printf("\r\x1b[K"+format, args...)
}

// Done takes away the line that is written over.
func (g *Progress) Done() {
	if g.drawn {
		g.p.Printf("\r\x1b[K")
	}
	g.drawn = false
}
