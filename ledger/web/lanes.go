package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/survey"
)

// lanes are cosignatures over time: a lane for each witness, and one of the quorum.
type lanes struct {
	From, To      time.Time
	Width, Height int
	Words         string
	Lanes         []lane
	Band          lane
	Days          []laneTime // along the bottom
}

type lane struct {
	Y, Text int // of its top, and of its text's foot
	Label   string
	Ticks   []laneTicks
}

// laneTicks are the ticks of one kind on a lane, as one path.
type laneTicks struct {
	Class string
	Path  string
}

type laneTime struct {
	X     int
	Label string
}

const laneWidth, laneLeft, laneHeight, laneGap = 1000, 130, 18, 8

// Who cosigns within promptLag of the first is prompt, and within lateLag late.
const promptLag, lateLag = 10 * time.Second, time.Minute

// laneKinds are the classes of ticks, and how much of the lane's height they have: what
// is later is lower, too, and what is missing is but a dot.
var laneKinds = []struct {
	class string
	high  int
}{{"prompt", laneHeight}, {"late", laneHeight * 2 / 3}, {"later", laneHeight / 3}, {"missing", 2}, {"met", laneHeight}, {"unmet", laneHeight / 3}}

func newLanes(witnesses []witnessView, list []survey.Cosigned, met []bool, now time.Time) *lanes {
	l := &lanes{Width: laneWidth, Height: (len(witnesses)+1)*(laneHeight+laneGap) + 40}
	// A clock that is ahead does not stretch the time that is drawn.
	at := func(i int) time.Time {
		if t := list[i].At.UTC(); t.Before(now) {
			return t
		}
		return now
	}
	l.From, l.To = at(0), at(0)
	for i := range list {
		if at(i).Before(l.From) {
			l.From = at(i)
		}
		if at(i).After(l.To) {
			l.To = at(i)
		}
	}
	x := func(t time.Time) int {
		span := l.To.Sub(l.From).Seconds()
		return laneLeft + int(t.Sub(l.From).Seconds()/max(1, span)*(laneWidth-laneLeft-10))
	}
	for k, w := range witnesses {
		ln := newLane(k, fit(16, w.Name))
		ln.draw(len(list), func(i int) (int, string) {
			t, ok := list[i].Times[w.Key]
			return x(at(i)), lagClass(t.Sub(firstTime(list[i])), ok)
		})
		l.Lanes = append(l.Lanes, ln)
	}
	l.Band = newLane(len(witnesses), "quorum")
	l.Band.draw(len(list), func(i int) (int, string) {
		if met[i] {
			return x(at(i)), "met"
		}
		return x(at(i)), "unmet"
	})
	l.Days = []laneTime{{laneLeft, l.From.Format("2006-01-02 15:04")}, {laneWidth - 10, l.To.Format("2006-01-02 15:04")}}
	l.Words = "Cosignatures of the latest " + number(len(list)) + " checkpoints, a lane for each witness; the table below counts them"
	return l
}

func newLane(k int, label string) lane {
	y := k*(laneHeight+laneGap) + laneGap
	return lane{Y: y, Text: y + laneHeight - 4, Label: label}
}

// draw draws n ticks. of returns where one is, and of what class.
func (l *lane) draw(n int, of func(i int) (x int, class string)) {
	paths := make(map[string]*strings.Builder)
	for i := range n {
		x, class := of(i)
		if paths[class] == nil {
			paths[class] = new(strings.Builder)
		}
		for _, kind := range laneKinds {
			if kind.class == class {
				fmt.Fprintf(paths[class], "M%d %dv-%d", x, l.Y+laneHeight, kind.high)
			}
		}
	}
	for _, kind := range laneKinds {
		if b := paths[kind.class]; b != nil {
			l.Ticks = append(l.Ticks, laneTicks{kind.class, b.String()})
		}
	}
}

func lagClass(lag time.Duration, cosigned bool) string {
	switch {
	case !cosigned:
		return "missing"
	case lag <= promptLag:
		return "prompt"
	case lag <= lateLag:
		return "late"
	}
	return "later"
}
