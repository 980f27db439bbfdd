package survey

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// maxDisagreements is how many disagreements are told at once.
const maxDisagreements = 500

// Disagreements returns the latest before an entry, 0 for the latest of all.
func (s *Survey) Disagreements(ctx context.Context, before uint64, limit int) ([]Disagreement, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	list := []Disagreement{}
	last := never
	if before > 0 {
		last = int64(min(before, uint64(never)))
	}
	err = s.inGlance(ctx, func(tx *sql.Tx, _ *glance) error {
		q := &question{Survey: s, ctx: ctx, tx: tx, told: told}
		statements, err := q.scanStatements("SELECT "+statementColumns+" FROM statements s INDEXED BY statements_that_differ"+statementJoins+
			" WHERE s.word = 5 AND s.apart = 0 AND s.entry < ? ORDER BY s.entry DESC LIMIT ?", last, max(0, min(limit, maxDisagreements)))
		if err != nil {
			return fmt.Errorf("reading disagreements: %w", err)
		}
		for _, st := range statements {
			d := Disagreement{Package: string(st.Artifact), Statement: st}
			n, err := q.node(made{Digest: st.Artifact})
			if err != nil {
				return err
			}
			if n.Package != "" {
				d.Package = n.Package
			}
			d.Verdict = n.Verdict
			list = append(list, d)
		}
		return nil
	})
	return list, err
}

// Distributions compares the distributions that packages are of, those with most
// packages first.
func (s *Survey) Distributions(ctx context.Context) ([]Distribution, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	list := []Distribution{}
	err = s.inGlance(ctx, func(tx *sql.Tx, g *glance) error {
		names, _ := g.places(false)
		for _, name := range names {
			d := g.compare(name)
			d.Counts = told.counts(d.Counts)
			q := &question{Survey: s, ctx: ctx, tx: tx}
			into := map[int]*int{traitOperator: &d.Operators, traitEngine: &d.Engines, traitVendor: &d.CPUVendors, traitCountry: &d.Countries}
			var kind, n int
			if err := q.each("SELECT kind, count(*) FROM traits WHERE distribution = ? GROUP BY kind", []any{name}, []any{&kind, &n}, func() { *into[kind] = n }); err != nil {
				return fmt.Errorf("comparing distributions: %w", err)
			}
			if told.nothing {
				d.Stage0 = 0
			}
			list = append(list, d)
		}
		slices.SortFunc(list, func(a, b Distribution) int { return cmp.Or(b.Packages-a.Packages, strings.Compare(a.Name, b.Name)) })
		return nil
	})
	return list, err
}

// compare counts the packages of a distribution.
func (g *glance) compare(name string) Distribution {
	d := Distribution{Name: name}
	for i := range g.groups {
		one := &g.groups[i]
		if !one.listed || one.distribution != name {
			continue
		}
		d.Packages += one.n
		d.Counts[one.verdict] += one.n
		switch one.signed {
		case 1:
			d.Single += one.n
		case 2:
			d.Multi += one.n
		}
		if one.stage0 {
			d.Stage0 += one.n
		}
	}
	return d
}
