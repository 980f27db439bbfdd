// Package progress shows builds to people while they run: on a terminal as a few
// lines that are redrawn, elsewhere as lines that a log can keep.
//
// Invariants:
//   - What packages write is shown, not obeyed: nothing of it moves the cursor,
//     breaks the line or reorders it.
//   - Without a terminal every step that ends has its line, and a step that takes
//     long has one every ten seconds.
//   - What is drawn is erased before anything that stays is written.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/cairnlog/cairn/builder/engine"
)

// How often what runs is shown.
const (
	terminalEvery = 200 * time.Millisecond
	plainEvery    = 10 * time.Second
)

// maxShown is how many running steps a terminal shows.
const maxShown = 8

// shownLog is how many lines of the log of a step that failed are shown.
const shownLog = 20

// Options say where and how to show builds.
type Options struct {
	W io.Writer // such as standard error
	// Width is that of the terminal that W is, in columns; zero if it is none.
	Width int
	// Logs has everything shown that steps write, on lines that stay.
	Logs bool
}

// Printer shows builds. Its methods may be called concurrently.
type Printer struct {
	o       Options
	mu      sync.Mutex
	running []*running // in the order of their start
	drawn   int        // lines that are redrawn
	stop    chan struct{}
	stopped sync.WaitGroup
}

// running is a step that has begun.
type running struct {
	id, name string
	step     int
	began    time.Time
	told     time.Time // when it was last shown, in plain lines
	log      lines
}

// New returns a printer that shows what runs until it is closed.
func New(o Options) *Printer {
	p := &Printer{o: o, stop: make(chan struct{})}
	every := plainEvery
	if o.Width > 0 {
		every = terminalEvery
	}
	p.stopped.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				p.tick(now)
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Close erases what is redrawn, and ends the printer.
func (p *Printer) Close() {
	close(p.stop)
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// Event takes in what happened in a build: it is what engine.Request.Progress
// wants.
func (p *Printer) Event(e engine.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch e.Kind {
	case engine.StepStarted:
		p.running = append(p.running, &running{id: e.ID, name: e.Name, step: e.Step, began: now, told: now})
	case engine.StepLog:
		p.log(e)
	case engine.StepCached:
		p.end(e, now, "known")
	case engine.StepDone:
		p.end(e, now, "done")
	case engine.StepFailed:
		p.end(e, now, "failed")
	}
}

// Println writes a line that stays, such as that a package is built.
func (p *Printer) Println(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stay(text)
	p.draw(time.Now())
}

// Aside has f write where the printer writes, or where its lines would be in the
// way, such as to the standard output of the same terminal.
func (p *Printer) Aside(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	f()
	p.draw(time.Now())
}

// Ended forgets the steps of a build that has ended, whose ends were not told.
func (p *Printer) Ended(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(func(r *running) bool { return r.id == id })
	p.draw(time.Now())
}

// The following are called with p.mu held, but for tick.

func (p *Printer) log(e engine.Event) {
	for _, r := range p.running {
		if r.id != e.ID || r.step != e.Step {
			continue
		}
		for _, line := range r.log.add(e.Log) {
			if p.o.Logs {
				p.stay(fmt.Sprintf("%s: %s", e.ID, line))
			}
		}
	}
}

func (p *Printer) end(e engine.Event, now time.Time, how string) {
	took := ""
	var last []string
	p.remove(func(r *running) bool {
		if r.id != e.ID || r.step != e.Step {
			return false
		}
		took = " in " + duration(now.Sub(r.began))
		last = r.log.end()
		return true
	})
	if failed := e.Kind == engine.StepFailed; failed || p.o.Width == 0 {
		p.stay(fmt.Sprintf("%s: %s: %s%s", e.ID, e.Name, how, took))
		for _, line := range last {
			if failed && !p.o.Logs {
				p.stay("  | " + line)
			}
		}
	}
	p.draw(now)
}

func (p *Printer) remove(match func(*running) bool) {
	kept := p.running[:0]
	for _, r := range p.running {
		if !match(r) {
			kept = append(kept, r)
		}
	}
	p.running = kept
}

func (p *Printer) tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.o.Width > 0 {
		p.draw(now)
		return
	}
	for _, r := range p.running {
		if now.Sub(r.told) >= plainEvery {
			r.told = now
			p.stay(fmt.Sprintf("%s: %s: running for %s", r.id, r.name, duration(now.Sub(r.began))))
		}
	}
}

// stay writes a line that stays. That it cannot be written is no reason to end a
// build.
func (p *Printer) stay(text string) {
	p.erase()
	_, _ = io.WriteString(p.o.W, clean(text)+"\n")
}

// erase removes what was drawn.
func (p *Printer) erase() {
	if p.drawn > 0 {
		_, _ = fmt.Fprintf(p.o.W, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// draw shows what runs on the terminal.
func (p *Printer) draw(now time.Time) {
	if p.o.Width == 0 {
		return
	}
	p.erase()
	var b strings.Builder
	for i, r := range p.running {
		text := fmt.Sprintf("%6s  %s  %s", duration(now.Sub(r.began)), r.id, r.name)
		if i == maxShown {
			text = fmt.Sprintf("%6s  and %d more steps", "", len(p.running)-i)
		}
		b.WriteString(cut(clean(text), p.o.Width) + "\n")
		p.drawn++
		if i == maxShown {
			break
		}
	}
	_, _ = io.WriteString(p.o.W, b.String())
}

// duration rounds to what a person wants to know.
func duration(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// clean returns text on one line without anything that a terminal obeys.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsGraphic(r):
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// cut shortens text to one column less than the terminal has: at the last one
// some terminals break the line. Characters that are two columns wide may still
// break it.
func cut(text string, width int) string {
	if runes := []rune(text); len(runes) >= width {
		return string(runes[:max(0, width-2)]) + "…"
	}
	return text
}

// lines keeps the end of a text that comes in pieces.
type lines struct {
	whole   []string
	partial string
}

// maxLine bounds a line that does not end.
const maxLine = 4096

// add returns the lines that a piece completes.
func (l *lines) add(piece []byte) []string {
	all := strings.Split(l.partial+string(piece), "\n")
	l.partial = all[len(all)-1]
	all = all[:len(all)-1]
	if len(l.partial) > maxLine {
		all, l.partial = append(all, l.partial), ""
	}
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\r")
	}
	l.whole = append(l.whole, all...)
	if over := len(l.whole) - shownLog; over > 0 {
		l.whole = append([]string(nil), l.whole[over:]...)
	}
	return all
}

// end returns the last lines.
func (l *lines) end() []string {
	if l.partial != "" {
		l.add([]byte("\n"))
	}
	return l.whole
}
