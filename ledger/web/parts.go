package web

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	"github.com/cairnlog/cairn/ledger/verify"
)

// ring shows how many witnesses cosigned a checkpoint, and how many the quorum needs.
type ring struct {
	Cosigned  int `json:"cosigned"`
	Witnesses int `json:"witnesses"` // that the quorum can draw on
	// Least is how many must cosign at least for the quorum to be met. Which ones may
	// matter, too: Met is what the policy decides.
	Least int  `json:"least"`
	Met   bool `json:"met"`
	// Words say all of it.
	Words    string        `json:"words"`
	Segments []ringSegment `json:"-"`
	Mark     string        `json:"-"` // path of the mark where the quorum is
	Size     int           `json:"-"`
}

type ringSegment struct {
	Path  string
	Class string
}

const ringSize, ringOuter, ringInner = 120, 52.0, 40.0

// newRing returns the ring of a published checkpoint by a policy. A checkpoint that is
// nil, or does not verify, has no cosignatures.
func newRing(p *policy.Policy, latest *checkpoint.Published, at time.Time) ring {
	var e policy.Explanation
	if latest != nil {
		c, sigs, err := tlogproof.Open(latest.Signed, p)
		if err != nil {
			sigs = nil
		}
		e = p.ExplainAt(c.Origin, sigs, at)
	} else {
		e = p.ExplainAt("", nil, at)
	}
	r := ring{Met: e.QuorumMet, Size: ringSize}
	r.Cosigned, r.Witnesses = e.Witnesses()
	lacking, asked := p.Margin(nil)
	r.Least = max(0, -lacking)
	switch {
	case !asked:
		r.Met, r.Words = false, "no witnesses are asked for"
	case r.Met:
		r.Words = fmt.Sprintf("%d of %d witnesses, quorum met", r.Cosigned, r.Witnesses)
	default:
		r.Words = fmt.Sprintf("%d of %d witnesses, quorum not met", r.Cosigned, r.Witnesses)
	}
	r.draw()
	return r
}

func (r *ring) draw() {
	n := max(1, r.Witnesses)
	gap := min(0.06, math.Pi/float64(2*n))
	for i := range n {
		from, to := turn(i, n)+gap/2, turn(i+1, n)-gap/2
		class := "untried"
		switch {
		case i < r.Cosigned && r.Met:
			class = "reproduced"
		case i < r.Cosigned:
			class = "unproven"
		}
		r.Segments = append(r.Segments, ringSegment{arc(from, to), class})
	}
	if r.Least > 0 {
		at := turn(r.Least, n)
		x0, y0 := polar(ringInner-3, at)
		x1, y1 := polar(ringOuter+6, at)
		r.Mark = fmt.Sprintf("M%.1f %.1fL%.1f %.1f", x0, y0, x1, y1)
	}
}

// turn is the angle of i of n, clockwise from the top.
func turn(i, n int) float64 { return 2 * math.Pi * float64(i) / float64(n) }

func polar(radius, angle float64) (x, y float64) {
	return ringSize/2 + radius*math.Sin(angle), ringSize/2 - radius*math.Cos(angle)
}

// arc returns the path of a segment of the ring. A whole turn is drawn just short of
// itself: an arc that ends where it begins is none.
func arc(from, to float64) string {
	large := 0
	if to-from > math.Pi {
		large = 1
	}
	x0, y0 := polar(ringOuter, from)
	x1, y1 := polar(ringOuter, to)
	x2, y2 := polar(ringInner, to)
	x3, y3 := polar(ringInner, from)
	return fmt.Sprintf("M%.1f %.1fA%g %g 0 %d 1 %.1f %.1fL%.1f %.1fA%g %g 0 %d 0 %.1f %.1fZ",
		x0, y0, ringOuter, ringOuter, large, x1, y1, x2, y2, ringInner, ringInner, large, x3, y3)
}

// spark is a line of how the log grew.
type spark struct {
	First survey.Point `json:"first"`
	Last  survey.Point `json:"last"`
	Words string       `json:"words"`
	Line  string       `json:"-"` // paths; empty for fewer than two points
	Area  string       `json:"-"`
}

const sparkWidth, sparkHeight = 240.0, 48.0

// newSpark returns the line through points that are in order. Time goes to the right;
// the bottom is the size of the first.
func newSpark(points []survey.Point) spark {
	if len(points) == 0 {
		return spark{Words: "not known yet"}
	}
	first, last := points[0], points[len(points)-1]
	s := spark{First: first, Last: last}
	span, growth := last.At.Sub(first.At).Seconds(), float64(last.Size)-float64(first.Size)
	if span <= 0 {
		s.Words = number(last.Size) + " entries"
		return s
	}
	s.Words = fmt.Sprintf("from %s to %s entries in %s", number(first.Size), number(last.Size), ago(last.At.Sub(first.At)))
	var line strings.Builder
	for i, p := range points {
		x := p.At.Sub(first.At).Seconds() / span * sparkWidth
		y := sparkHeight - 2
		if growth > 0 {
			y -= (float64(p.Size) - float64(first.Size)) / growth * (sparkHeight - 4)
		}
		fmt.Fprintf(&line, "%c%.1f %.1f", "ML"[min(i, 1)], x, y)
	}
	s.Line = line.String()
	s.Area = fmt.Sprintf("%sL%g %gL0 %gZ", s.Line, sparkWidth, sparkHeight, sparkHeight)
	return s
}

// verdictBar is a bar that is divided by verdicts.
type verdictBar struct {
	Total int           `json:"total"`
	Parts []verdictPart `json:"parts"` // in the order of verdicts
	Words string        `json:"words"`
}

type verdictPart struct {
	Verdict verify.Verdict `json:"verdict"`
	Count   int            `json:"count"`
	X       float64        `json:"-"`
	Width   float64        `json:"-"`
}

// barWidth is the bar's, and barLeast that of the smallest part that is not nothing.
const barWidth, barLeast = 1000.0, 6.0

// newVerdictBar returns the bar of counts. A verdict that something has is seen,
// however little it is.
func newVerdictBar(counts survey.Counts) verdictBar {
	b := verdictBar{}
	seen := 0
	for _, v := range verdictOrder {
		b.Total += counts[v]
		if counts[v] > 0 {
			seen++
		}
	}
	x := 0.0
	var words []string
	for _, v := range verdictOrder {
		p := verdictPart{Verdict: v, Count: counts[v], X: x}
		if p.Count > 0 {
			p.Width = barLeast + (barWidth-barLeast*float64(seen))*float64(p.Count)/float64(b.Total)
			words = append(words, number(p.Count)+" "+verdictMark(v).Word)
		}
		x += p.Width
		b.Parts = append(b.Parts, p)
	}
	b.Words = "nothing"
	if b.Total > 0 {
		b.Words = strings.Join(words, ", ")
	}
	return b
}
