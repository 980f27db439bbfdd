package web

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/cairnlog/cairn/ledger/survey"
	"github.com/cairnlog/cairn/ledger/verify"
)

// compareView compares distributions by what this ledger has about them.
type compareView struct {
	Distributions []distributionRow `json:"distributions"`
	Columns       []column          `json:"columns"` // what is compared, and how
}

// column says how a column is computed, and from what.
type column struct {
	Name string `json:"name"`
	How  string `json:"how"`
}

// distributionRow is a distribution as it is shown.
type distributionRow struct {
	survey.Distribution
	Reproduced int          `json:"reproduced"`
	Path       string       `json:"path"` // of its packages
	Verdicts   verdictSplit `json:"-"`
	Measures   []measure    `json:"-"`
}

// measure is a number of packages and its share of all of the distribution's.
type measure struct {
	Count int
	Share string
	Width float64 // of its bar
	Class string  // of style.css
}

// compareColumns are in the order of the table.
var compareColumns = []column{
	{"packages", "Look-up names of this type and namespace that somebody whom the policy hears names in a logged statement; without a policy, that anybody names."},
	{"single-sig", "Packages for whose artifact exactly one operator signed, in whatever way: as who built it, as who rebuilt it, or by vouching for it."},
	{"multi-sig", "Packages for whose artifact two operators signed, or more. One operator with several keys counts once."},
	{"diversity", "How many different operators, engines, CPU vendors and countries there are among those who obtained an artifact by building it, by the policy's word or else by their own."},
	{"stage0", "Packages whose ancestry is stated without a gap, and ends in pinned sources and the policy's seeds alone: no other binary is taken on trust."},
	{"reproduced", "Packages whose verdict by this ledger's policy is reproduced: enough independent operators obtained the artifact, and all that it is made from."},
}

// compare makes the comparison of distributions.
func (s *Site) compare(r *http.Request) (*page, error) {
	if s.cfg.Survey == nil {
		return noTable(), nil
	}
	distributions, err := s.cfg.Survey.Distributions(r.Context())
	if err != nil {
		return nil, fmt.Errorf("asking for distributions: %w", err)
	}
	v := &compareView{Distributions: []distributionRow{}, Columns: compareColumns}
	for _, d := range distributions {
		row := distributionRow{
			Distribution: d, Reproduced: d.Counts[verify.VerdictReproduced], Verdicts: newVerdictSplit(d.Counts),
			Path: "/packages?distribution=" + url.QueryEscape(d.Name),
		}
		for _, m := range []measure{{Count: d.Single}, {Count: d.Multi}, {Count: d.Stage0}, {Count: row.Reproduced, Class: "reproduced"}} {
			m.Share = share(m.Count, d.Packages)
			if m.Count > 0 && d.Packages > 0 {
				m.Width = max(2, round(float64(min(m.Count, d.Packages))*100/float64(d.Packages)))
			}
			row.Measures = append(row.Measures, m)
		}
		v.Distributions = append(v.Distributions, row)
	}
	return &page{name: "compare", title: "Compare distributions", view: v}, nil
}
