package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/cairnlog/cairn/internal/plain"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// packagesView is the matrix of packages and rebuilders.
type packagesView struct {
	Rebuilders []survey.Rebuilder `json:"rebuilders"`
	Rows       []packageRow       `json:"rows"`
	Next       string             `json:"next,omitempty"` // path of the next page
	// Total is how many rows there are on all pages, and Verdicts those of each verdict,
	// whichever verdict is asked for.
	Total    int          `json:"total"`
	Verdicts verdictSplit `json:"verdicts"`
	Words    []wordRow    `json:"words"` // below the columns
	// Listed are the packages that somebody who is heard names, and Unheard the others.
	Listed        int      `json:"listed"`
	Unheard       int      `json:"unheard"`
	Judged        bool     `json:"judged"` // by a policy; else nobody is heard
	Distributions []string `json:"distributions"`
	Archs         []string `json:"archs"`

	Asked       asked         `json:"-"`
	Choices     [2][]string   `json:"-"` // of Distributions and Archs, those that can be asked for
	Chips       []chip        `json:"-"`
	Legend      []survey.Word `json:"-"`
	First       string        `json:"-"` // path of the first page, if this is another
	Fits        bool          `json:"-"` // the columns fit a wide screen
	StripHeight int           `json:"-"`
}

// packageRow is a row as it is drawn.
type packageRow struct {
	survey.Row
	Path  string        `json:"path"`
	Parts nameParts     `json:"-"`
	Drawn template.HTML `json:"-"` // the cells, see drawCells
}

// cellClasses are short because a page has thousands of cells.
var cellClasses = [...]string{
	survey.Signed: "s", survey.Inconclusive: "i", survey.Failed: "f", survey.Obtained: "o", survey.Different: "d",
}

// drawCells draws a cell for each column. A template would take most of the page's time
// for it. Nothing gets into the markup but numbers and what is written here.
func drawCells(b *bytes.Buffer, cells []survey.Cell, column map[leaf.Fingerprint]int) template.HTML {
	at := make([]*survey.Cell, len(column))
	for i, c := range cells {
		if j, ok := column[c.Key]; ok && c.Word != survey.Silent {
			at[j] = &cells[i]
		}
	}
	b.Reset()
	for _, c := range at {
		if c == nil {
			b.WriteString("<td></td>")
			continue
		}
		m := wordMark(c.Word)
		fmt.Fprintf(b, `<td class="%s"><a href="/e/%d" aria-label="%s">%s</a></td>`, cellClasses[c.Word], c.Entry, m.Word, m.Glyph)
	}
	return template.HTML(b.String())
}

// wordOrder is the order in which words are shown.
var wordOrder = []survey.Word{
	survey.Obtained, survey.Different, survey.Failed, survey.Inconclusive, survey.Signed, survey.Silent,
}

// wordRow is how often each rebuilder said a word.
type wordRow struct {
	Word    survey.Word `json:"word"`
	Columns []wordShare `json:"columns"`
}

type wordShare struct {
	Count int    `json:"count"`
	Share string `json:"share"` // of the packages of the filter, in per cent
}

// chip is a link that changes one part of a filter.
type chip struct {
	Path    string
	Verdict *verify.Verdict // nil for all
	Count   int
	Chosen  bool
}

// maxFits is how many columns a wide screen shows without scrolling.
const maxFits = 12

// packages makes the matrix.
func (s *Site) packages(r *http.Request) (*page, error) {
	if s.cfg.Survey == nil {
		return noTable(), nil
	}
	a, err := parseAsked(r.URL.Query())
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Survey.Packages(r.Context(), a.Filter)
	if err != nil {
		return nil, fmt.Errorf("asking for packages: %w", err)
	}
	summary, err := s.cfg.Survey.Summary(r.Context())
	if err != nil {
		return nil, fmt.Errorf("asking for the number of packages: %w", err)
	}
	state, err := s.cfg.Survey.State(r.Context())
	if err != nil {
		return nil, fmt.Errorf("asking how the table stands: %w", err)
	}
	v := &packagesView{
		Rebuilders: list(found.Rebuilders), Rows: rowsOf(found), Total: found.Total,
		Verdicts: newVerdictSplit(found.Counts), Listed: summary.Packages, Unheard: summary.Unheard,
		Distributions: list(found.Distributions), Archs: list(found.Archs),
		Judged: state.Policy != "", Asked: a, Legend: wordOrder, Fits: len(found.Rebuilders) <= maxFits, StripHeight: stripHeight(summary.Packages),
	}
	v.Choices = [2][]string{choices(v.Distributions, maxParameter["distribution"]), choices(v.Archs, maxParameter["arch"])}
	v.Words = wordRows(found, v.Verdicts.Total)
	v.Chips = chipsOf(a, v.Verdicts)
	if found.Next != "" {
		v.Next = a.path("from", found.Next)
	}
	if a.From != "" {
		v.First = a.path("from", "")
	}
	return &page{name: "packages", title: "Packages", view: v}, nil
}

// list is never nil, which JSON would show as null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// choices are those of texts that a form can send as they are shown.
func choices(texts []string, most int) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return len(t) > most || plain.Line(t) != t })
}

// noTable is the page of a ledger that follows no packages.
func noTable() *page {
	return &page{name: "failure", title: "No table of packages", status: http.StatusNotFound, view: failureView{
		Status: http.StatusNotFound, Message: "This ledger keeps no table of packages.",
		Help: "Its operator can have one kept: verdicts.database in the ledger's configuration says where. " +
			"Until then, ask about one artifact at a time: cairn verify.",
	}}
}

func rowsOf(p *survey.Page) []packageRow {
	column := make(map[leaf.Fingerprint]int, len(p.Rebuilders))
	for i, r := range p.Rebuilders {
		column[r.Key] = i
	}
	rows := make([]packageRow, len(p.Rows))
	var b bytes.Buffer
	for i, row := range p.Rows {
		row.Cells = list(row.Cells)
		rows[i] = packageRow{Row: row, Path: pathOf("/p/", row.Package), Parts: divide(row.Package), Drawn: drawCells(&b, row.Cells, column)}
	}
	return rows
}

func wordRows(p *survey.Page, total int) []wordRow {
	rows := make([]wordRow, len(wordOrder))
	for i, word := range wordOrder {
		rows[i] = wordRow{Word: word, Columns: make([]wordShare, len(p.Columns))}
		for j, counts := range p.Columns {
			n := counts[word]
			if word == survey.Silent {
				n = total
				for _, said := range counts[survey.Silent+1:] {
					n -= said
				}
			}
			rows[i].Columns[j] = wordShare{n, share(n, total)}
		}
	}
	return rows
}

func chipsOf(a asked, b verdictSplit) []chip {
	chips := []chip{{Path: a.path("verdict", ""), Count: b.Total, Chosen: a.Verdict == nil}}
	for _, s := range b.Shares {
		chips = append(chips, chip{
			Path: a.path("verdict", s.Verdict.String()), Verdict: &s.Verdict, Count: s.Count,
			Chosen: a.Verdict != nil && *a.Verdict == s.Verdict,
		})
	}
	return chips
}

// asked is what the parameters of a request for the matrix ask for.
type asked struct {
	survey.Filter
	values url.Values
}

// The longest values of parameters, in bytes.
var maxParameter = map[string]int{
	"verdict": 20, "distribution": 300, "arch": 100, "q": 200, "everyone": 1, "order": 20, "from": 8192, "limit": 4,
}

func parseAsked(values url.Values) (asked, error) {
	a := asked{values: make(url.Values)}
	for name, given := range values {
		most, known := maxParameter[name]
		switch {
		case !known:
			return a, reason.Errorf(reason.ArgumentInvalid, "parameter %.40q is not known: want verdict, distribution, arch, q, everyone, order, from or limit", name)
		case len(given) > 1:
			return a, reason.Errorf(reason.ArgumentInvalid, "parameter %s is there %d times: want once", name, len(given))
		case len(given[0]) > most:
			return a, reason.Errorf(reason.ArgumentInvalid, "parameter %s has %d bytes: at most %d are taken", name, len(given[0]), most)
		}
		if given[0] != "" {
			a.values.Set(name, given[0])
		}
	}
	a.Distribution, a.Arch, a.Text, a.From = a.values.Get("distribution"), a.values.Get("arch"), a.values.Get("q"), a.values.Get("from")
	return a, a.parseChoices()
}

func (a *asked) parseChoices() error {
	if text := a.values.Get("verdict"); text != "" {
		a.Verdict = new(verify.Verdict)
		if err := a.Verdict.UnmarshalText([]byte(text)); err != nil {
			return reason.Errorf(reason.ArgumentInvalid, "parameter verdict: %w: want reproduced, differs, failed, unproven or untried", err)
		}
	}
	if text := a.values.Get("everyone"); text != "" {
		if a.Everyone = text == "1"; !a.Everyone {
			return reason.Errorf(reason.ArgumentInvalid, "parameter everyone is %q: want 1, or leave it out", text)
		}
	}
	if text := a.values.Get("order"); text != "" {
		if a.ByName = text == "name"; !a.ByName && text != "disagreement" {
			return reason.Errorf(reason.ArgumentInvalid, "parameter order is %q: want disagreement or name", text)
		}
	}
	if text := a.values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > survey.MaxRows {
			return reason.Errorf(reason.ArgumentInvalid, "parameter limit is %q: want 1 to %d", text, survey.MaxRows)
		}
		a.Limit = n
	}
	return nil
}

// path returns the path of the same question with another value of a parameter. It
// begins at the first page unless it says from where.
func (a *asked) path(name, value string) string {
	values := make(url.Values)
	for key, given := range a.values {
		if key != "from" {
			values[key] = slices.Clone(given)
		}
	}
	values.Del(name)
	if value != "" {
		values.Set(name, value)
	}
	if len(values) == 0 {
		return "/packages"
	}
	return "/packages?" + values.Encode()
}
