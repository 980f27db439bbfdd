package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// report prints results as they come, and keeps them for the summary.
type report struct {
	w        io.Writer
	results  []*result
	ceilings []*result
}

func newReport(w io.Writer) *report { return &report{w: w} }

func (r *report) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.w, format+"\n", args...)
}

// columns of the table. CPU is in percent of one core, and "each" is the
// server's CPU time for one answer, which says most on a busy machine.
const columns = "%-6s %-4s %10s %10s %9s %9s %9s %9s %8s %11s %9s %11s %10s %9s %8s"

func (r *report) header() {
	r.printf("")
	r.printf(columns, "what", "over", "submitters", "per second", "p50", "p90", "p99", "max", "failures",
		"server CPU", "each", "client CPU", "other CPU", "peak RSS", "RSS")
}

func (r *report) add(res *result) {
	r.results = append(r.results, res)
	r.printf("%s", res)
	if res.CPU.Witnesses > 0 {
		r.printf("       the witnesses used %s of a core", percent(res.CPU.Witnesses))
	}
	if len(res.Failures) > 0 {
		r.printf("       failures: %s", reasons(res.Failures))
	}
	if res.RanOut {
		r.printf("       all prepared attestations were sent after %.1fs; prepare more with -prepare", res.Seconds)
	}
}

// String is the result's line in the table.
func (r *result) String() string {
	return fmt.Sprintf(columns, r.What, r.Transport, fmt.Sprint(r.Submitters), fmt.Sprintf("%.0f", r.Rate),
		millis(r.P50), millis(r.P90), millis(r.P99), millis(r.Max), fmt.Sprint(r.Failed),
		percent(r.CPU.Server), micros(r.each()), percent(r.CPU.Client), percent(r.CPU.Other), mebibytes(r.Memory.Peak), mebibytes(r.Memory.Now))
}

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 100 {
		return fmt.Sprintf("%.2fms", ms)
	}
	return fmt.Sprintf("%.0fms", ms)
}

func micros(d time.Duration) string {
	if d == 0 {
		return "-" // not known
	}
	return fmt.Sprintf("%dµs", d.Microseconds())
}

// each is the CPU time that the server took for one answer.
func (r *result) each() time.Duration {
	if r.Rate <= 0 {
		return 0
	}
	return time.Duration(r.CPU.Server / 100 / r.Rate * float64(time.Second))
}

func percent(p float64) string { return fmt.Sprintf("%.0f%%", p) }

func mebibytes(n int64) string {
	if n == 0 {
		return "-" // not known
	}
	return fmt.Sprintf("%dMiB", n>>20)
}

// reasons lists failures, the most frequent first.
func reasons(failures map[string]int) string {
	names := slices.Sorted(maps.Keys(failures))
	slices.SortStableFunc(names, func(a, b string) int { return failures[b] - failures[a] })
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%d × %s", failures[n], n))
	}
	return strings.Join(parts, ", ")
}

// summary compares what was measured with the numbers to hold of the design's
// section 10.
func (r *report) summary() {
	lines := summaryLines(r.results)
	if len(lines) == 0 {
		return
	}
	r.printf("")
	for _, l := range lines {
		r.printf("%s", l)
	}
}

// Numbers to hold.
const (
	holdSubmitRate = 4000
	holdSubmitP50  = 120 * time.Millisecond
	holdProofRate  = 15000
	holdWitnessed  = 0.8 // of the rate without witnesses
)

// summaryLines rounds nothing up, so that no number looks held that is not.
func summaryLines(results []*result) []string {
	var lines []string
	for _, r := range results {
		over := " over " + r.Transport + busy(r)
		switch {
		case r.What == "submit" && r.Submitters == 16:
			lines = append(lines, fmt.Sprintf("§10 row 1  submit at 16: p50 %.1fms (to hold ≤ %s)  %s %s",
				float64(r.P50)/float64(time.Millisecond), millis(holdSubmitP50), verdict(r.Answered > 0 && r.P50 <= holdSubmitP50), over))
		case r.What == "submit" && r.Submitters == 1024:
			lines = append(lines, fmt.Sprintf("§10 row 1  submit at 1024: %d/s (to hold ≥ %d/s)  %s %s",
				int(r.Rate), holdSubmitRate, verdict(r.Rate >= holdSubmitRate), over))
		case r.What == "submit" && r.Submitters == 4096:
			lines = append(lines, fmt.Sprintf("§10 row 1  submit at 4096: %d failures (to hold 0)  %s %s",
				r.Failed, verdict(r.Answered > 0 && r.Failed == 0), over))
		case r.What == "proof":
			lines = append(lines, fmt.Sprintf("§10 row 3  inclusion proof over REST at %d: %d/s (to hold ≥ %d/s)  %s%s",
				r.Submitters, int(r.Rate), holdProofRate, verdict(r.Rate >= holdProofRate), busy(r)))
		}
	}
	return append(lines, witnessedLines(results)...)
}

// witnessedLines compares the runs behind a quorum with those without.
func witnessedLines(results []*result) []string {
	with, without := total(results, whatWitnessed), total(results, whatAlone)
	if with == nil || without == nil {
		return nil
	}
	ratio := 0.0
	if without.Rate > 0 {
		ratio = with.Rate / without.Rate
	}
	with.CPU.Other = max(with.CPU.Other, without.CPU.Other)
	return []string{fmt.Sprintf("§10 row 2  submit at %d behind a quorum of witnesses: %d/s, %.2f of %d/s without (to hold ≥ %.1f)  %s  over %s%s",
		with.Submitters, int(with.Rate), math.Floor(ratio*100)/100, int(without.Rate), holdWitnessed,
		verdict(ratio >= holdWitnessed), with.Transport, busy(with))}
}

// total is all runs of one kind as one; nil if there are none.
func total(results []*result, what string) *result {
	var t *result
	answered := 0
	seconds := 0.0
	for _, r := range results {
		if r.What != what {
			continue
		}
		if t == nil {
			t = &result{What: what, Transport: r.Transport, Submitters: r.Submitters}
		}
		answered += r.Answered
		seconds += r.Seconds
		t.CPU.Other = max(t.CPU.Other, r.CPU.Other)
	}
	if t != nil && seconds > 0 {
		t.Rate = float64(answered) / seconds
	}
	return t
}

// busy says that a number was measured on a machine that was not free: it then
// tells little about the ledger.
func busy(r *result) string {
	if r.CPU.Other < 20 {
		return ""
	}
	return ", while others used " + percent(r.CPU.Other) + " of a core"
}

func verdict(held bool) string {
	if held {
		return "HELD"
	}
	return "SHORT"
}

// save writes all results to a file, unless path is empty.
func (r *report) save(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(map[string]any{
		"results": r.results, "ceilings": r.ceilings, "summary": summaryLines(r.results),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("saving the results: %w", err)
	}
	return nil
}
