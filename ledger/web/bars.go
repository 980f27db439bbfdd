package web

import (
	"fmt"
	"strings"

	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// splitWidth is how wide a bar is in the units of its drawing.
const splitWidth = 1000

// segment is a part of a bar.
type segment struct {
	X, Width float64
	Class    string // of style.css
}

// segments places parts beside each other. What is not nothing is wide enough to be
// seen.
func segments(parts []int, classes []string) []segment {
	const least = 4.0
	total := 0
	for _, n := range parts {
		total += n
	}
	if total == 0 {
		return []segment{}
	}
	widths, sum := make([]float64, len(parts)), 0.0
	for i, n := range parts {
		if n > 0 {
			widths[i] = max(least, float64(n)*splitWidth/float64(total))
		}
		sum += widths[i]
	}
	list, x := []segment{}, 0.0
	for i, w := range widths {
		if w > 0 {
			list = append(list, segment{X: round(x * splitWidth / sum), Width: round(w * splitWidth / sum), Class: classes[i]})
		}
		x += w
	}
	return list
}

// round leaves coordinates a tenth: more is not seen, and makes pages long.
func round(x float64) float64 { return float64(int(x*10+0.5)) / 10 }

// verdictShare is how many packages have a verdict.
type verdictShare struct {
	Verdict verify.Verdict `json:"verdict"`
	Count   int            `json:"count"`
	Share   string         `json:"share"` // of all, in per cent
}

// verdictSplit says how packages divide into verdicts, and draws it.
type verdictSplit struct {
	Shares   []verdictShare `json:"verdicts"` // in the order of verdictOrder
	Total    int            `json:"total"`
	Segments []segment      `json:"-"`
	Label    string         `json:"-"` // the same as a sentence
}

func newVerdictSplit(counts survey.Counts) verdictSplit {
	b := verdictSplit{Shares: []verdictShare{}}
	for _, n := range counts {
		b.Total += n
	}
	var parts []int
	var classes, words []string
	for _, v := range verdictOrder {
		n := counts[v]
		b.Shares = append(b.Shares, verdictShare{v, n, share(n, b.Total)})
		parts, classes = append(parts, n), append(classes, verdictMark(v).Class)
		if n > 0 {
			words = append(words, fmt.Sprintf("%s %s", number(n), verdictMark(v).Word))
		}
	}
	b.Segments = segments(parts, classes)
	b.Label = "No packages"
	if b.Total > 0 {
		b.Label = fmt.Sprintf("Of %s: %s", packagesText(b.Total), strings.Join(words, ", "))
	}
	return b
}

// counted returns a number and its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func packagesText(n int) string { return counted(n, "package", "packages") }
