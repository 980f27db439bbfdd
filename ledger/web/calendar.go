package web

import (
	"fmt"
	"time"

	"github.com/cairnlog/cairn/ledger/survey"
)

// calendar is a year of statements, a square for each day and a column for each week.
type calendar struct {
	Days   []square
	Names  []monthName
	Months []month // that have statements, the latest first
	Total  int
	Busy   int // days
	Width  int
	Height int
	Label  string
}

// square is a day. Its class says how many statements it has.
type square struct {
	X, Y  int
	Class string
	Title string
}

// monthName is where a month begins.
type monthName struct {
	X    int
	Name string
}

// month is how many statements were logged in a month.
type month struct {
	Name             string
	Count, Different int
	Failed           int
}

const (
	dayStep, daySize = 14, 12
	calendarTop      = 18 // below the names of months
	weeks            = 53
)

// newCalendar draws the year that ends now. Days are shaded by quarters of the busiest;
// those with a statement that something differs have a border.
func newCalendar(days []survey.Day, now time.Time) calendar {
	c := calendar{Width: weeks * dayStep, Height: calendarTop + 7*dayStep, Days: []square{}}
	counts, most := make(map[string]survey.WordCounts, len(days)), 0
	for _, d := range days {
		counts[d.Date] = d.Words
		most = max(most, total(d.Words))
	}
	now = now.UTC()
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	first := today.AddDate(0, 0, -7*(weeks-1)-weekday(today))
	for day, i := first, 0; !day.After(today); day, i = day.AddDate(0, 0, 1), i+1 {
		x, words := i/7*dayStep, counts[day.Format(time.DateOnly)]
		n := total(words)
		c.Days = append(c.Days, square{X: x, Y: calendarTop + i%7*dayStep, Class: shade(n, most, words), Title: dayTitle(day, words)})
		if day.Day() == 1 && x+2*dayStep < c.Width {
			c.Names = append(c.Names, monthName{x, day.Format("Jan")})
		}
		c.count(day, words)
	}
	c.Label = fmt.Sprintf("In the year to %s: %s on %s", today.Format(time.DateOnly),
		counted(c.Total, "statement", "statements"), counted(c.Busy, "day", "days"))
	return c
}

func (c *calendar) count(day time.Time, words survey.WordCounts) {
	n := total(words)
	if n == 0 {
		return
	}
	c.Total, c.Busy = c.Total+n, c.Busy+1
	name := day.Format("2006-01")
	if len(c.Months) == 0 || c.Months[0].Name != name {
		c.Months = append([]month{{Name: name}}, c.Months...)
	}
	m := &c.Months[0]
	m.Count, m.Different, m.Failed = m.Count+n, m.Different+words[survey.Different], m.Failed+words[survey.Failed]
}

// weekday counts from Monday.
func weekday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

func total(words survey.WordCounts) (n int) {
	for _, w := range said {
		n += words[w]
	}
	return n
}

func shade(n, most int, words survey.WordCounts) string {
	if n == 0 {
		return "l0"
	}
	class := fmt.Sprintf("l%d", 1+(n-1)*4/max(1, most))
	if words[survey.Different] > 0 {
		class += " dissent"
	}
	return class
}

func dayTitle(day time.Time, words survey.WordCounts) string {
	text := day.Format(time.DateOnly) + ": " + counted(total(words), "statement", "statements")
	for _, w := range []survey.Word{survey.Different, survey.Failed} {
		if words[w] > 0 {
			text += fmt.Sprintf(", %s: %s", wordMark(w).Word, number(words[w]))
		}
	}
	return text
}
