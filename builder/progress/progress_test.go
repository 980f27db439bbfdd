package progress_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairnlog/cairn/builder/engine"
	"github.com/cairnlog/cairn/builder/progress"
	"github.com/google/go-cmp/cmp"
)

func event(kind engine.EventKind, step int, log string) engine.Event {
	return engine.Event{ID: "core-x", Step: step, Name: fmt.Sprintf("[build %d/2] RUN make", step+1), Kind: kind, Log: []byte(log)}
}

// show returns what a printer writes while a story happens.
func show(t *testing.T, o progress.Options, story func(*progress.Printer)) string {
	t.Helper()
	var b bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		o.W = &b
		p := progress.New(o)
		story(p)
		p.Close()
	})
	return b.String()
}

func TestPlain(t *testing.T) {
	got := show(t, progress.Options{}, func(p *progress.Printer) {
		p.Event(event(engine.StepCached, 0, ""))
		p.Event(event(engine.StepStarted, 1, ""))
		time.Sleep(25 * time.Second)
		p.Event(event(engine.StepDone, 1, ""))
		p.Println("core-x: built")
		time.Sleep(time.Minute)
	})
	const want = `core-x: [build 1/2] RUN make: known
core-x: [build 2/2] RUN make: running for 10s
core-x: [build 2/2] RUN make: running for 20s
core-x: [build 2/2] RUN make: done in 25s
core-x: built
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFailureShowsTheEndOfItsLog(t *testing.T) {
	got := show(t, progress.Options{}, func(p *progress.Printer) {
		p.Event(event(engine.StepStarted, 0, ""))
		for i := range 30 {
			p.Event(event(engine.StepLog, 0, fmt.Sprintf("line %d\r\nbeginning of ", i)))
		}
		time.Sleep(1234 * time.Millisecond)
		p.Event(event(engine.StepFailed, 0, ""))
	})
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != 21 || lines[0] != "core-x: [build 1/2] RUN make: failed in 1.2s" || lines[20] != "  | beginning of " || lines[19] != "  | beginning of line 29" {
		t.Errorf("got:\n%s", got)
	}
}

func TestLogs(t *testing.T) {
	got := show(t, progress.Options{Logs: true}, func(p *progress.Printer) {
		p.Event(event(engine.StepStarted, 0, ""))
		p.Event(event(engine.StepLog, 0, "one\ntw"))
		p.Event(event(engine.StepLog, 0, "o\n"+strings.Repeat("x", 5000)))
		p.Event(event(engine.StepFailed, 0, ""))
	})
	want := "core-x: one\ncore-x: two\ncore-x: " + strings.Repeat("x", 5000) + "\ncore-x: [build 1/2] RUN make: failed in 0s\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nothing that a package writes reaches the terminal as a command.
func TestClean(t *testing.T) {
	for _, width := range []int{0, 200} {
		got := show(t, progress.Options{Width: width, Logs: true}, func(p *progress.Printer) {
			e := event(engine.StepStarted, 0, "")
			e.Name = "RUN \x1b[2Jevil\rname\u202e\n"
			p.Event(e)
			p.Event(event(engine.StepLog, 0, "\x1b]0;title\x07\x9b1A\xff\n"))
			e.Kind = engine.StepFailed
			p.Event(e)
		})
		rest := strings.NewReplacer("\x1b[1A\x1b[J", "").Replace(got)
		if strings.ContainsAny(rest, "\x1b\r\x07\u009b\u202e") || !strings.Contains(rest, "evil") {
			t.Errorf("with width %d: %q", width, got)
		}
	}
}

// screen is what a terminal shows of what is written to it: the printer uses
// two commands, up and erase to the end.
func screen(t *testing.T, written string) []string {
	t.Helper()
	var lines []string
	for _, part := range strings.Split(written, "\n") {
		for {
			i := strings.Index(part, "\x1b[")
			if i < 0 {
				break
			}
			var up int
			if _, err := fmt.Sscanf(part[i:], "\x1b[%dA\x1b[J", &up); err != nil || up > len(lines) {
				t.Fatalf("cannot go up from line %d: %q", len(lines), part)
			}
			lines = lines[:len(lines)-up]
			part = part[i+len(fmt.Sprintf("\x1b[%dA\x1b[J", up)):]
		}
		lines = append(lines, part)
	}
	return lines
}

func TestTerminal(t *testing.T) {
	got := show(t, progress.Options{Width: 40}, func(p *progress.Printer) {
		for i := range 10 {
			p.Event(event(engine.StepStarted, i, ""))
		}
		time.Sleep(3 * time.Second)
		p.Event(event(engine.StepDone, 0, ""))
		p.Println("kept")
		p.Event(event(engine.StepFailed, 1, ""))
		p.Ended("core-y")
	})
	// Before it is closed, it shows the first eight of eight.
	before := screen(t, got[:strings.LastIndex(got, "\x1b[8A")])
	want := []string{"kept", "core-x: [build 2/2] RUN make: failed in 3s"}
	for i := 3; i <= 10; i++ {
		want = append(want, fmt.Sprintf("    3s  core-x  [build %d/2] RUN make", i))
	}
	want = append(want, "")
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("before the end (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(append(want[:2:2], ""), screen(t, got)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func TestTerminalIsNotTooSmall(t *testing.T) {
	got := show(t, progress.Options{Width: 20}, func(p *progress.Printer) {
		for i := range 12 {
			p.Event(event(engine.StepStarted, i, ""))
		}
		time.Sleep(time.Second)
		p.Ended("core-x")
	})
	for _, line := range strings.Split(got, "\n") {
		if i := strings.LastIndex(line, "\x1b[J"); i >= 0 {
			line = line[i+3:]
		}
		if n := len([]rune(line)); n >= 20 {
			t.Errorf("a line of %d columns: %q", n, line)
		}
	}
	if !strings.Contains(got, "and 4 more") {
		t.Errorf("steps are left out in silence: %q", got)
	}
	if diff := cmp.Diff([]string{""}, screen(t, got)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func BenchmarkLog(b *testing.B) {
	var sink bytes.Buffer
	p := progress.New(progress.Options{W: &sink, Width: 80})
	defer p.Close()
	p.Event(event(engine.StepStarted, 0, ""))
	e := event(engine.StepLog, 0, strings.Repeat("a line of the log\n", 10))
	for b.Loop() {
		p.Event(e)
		sink.Reset()
	}
}
