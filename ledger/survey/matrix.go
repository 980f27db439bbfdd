package survey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/verify"
)

// Packages returns a page of the matrix.
func (s *Survey) Packages(ctx context.Context, f Filter) (*Page, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case f.Limit <= 0:
		f.Limit = DefaultRows
	case f.Limit > MaxRows:
		f.Limit = MaxRows
	}
	after, err := parseFrom(f.From)
	if err != nil {
		return nil, err
	}
	asked := f
	nothing := false // has the verdict that is asked for
	if told.nothing {
		nothing = f.Verdict != nil && *f.Verdict != verify.VerdictUnproven
		f.Verdict = nil
	}
	ctx, done, err := s.searching(ctx, f.Text)
	if err != nil {
		return nil, err
	}
	defer done()
	p := &Page{}
	return p, s.inGlance(ctx, func(tx *sql.Tx, g *glance) error {
		p.Rebuilders = slices.Concat([]Rebuilder{}, g.columns)
		t, err := s.tally(ctx, tx, g, &f)
		if err != nil {
			return err
		}
		p.Counts, p.Columns = told.counts(t.counts), t.columns
		p.Distributions, p.Archs = g.places(f.Everyone)
		for v, n := range p.Counts {
			if asked.Verdict == nil || verify.Verdict(v) == *asked.Verdict {
				p.Total += n
			}
		}
		p.Rows = []Row{}
		if nothing {
			return nil
		}
		rows, err := s.page(ctx, tx, &f, after)
		if err != nil {
			return err
		}
		if len(rows) > f.Limit {
			rows = rows[:f.Limit]
			last := &rows[f.Limit-1]
			p.Next = position{rankOf(last.verdict), last.name}.String()
		}
		for i := range rows {
			p.Rows = append(p.Rows, s.rowOf(&rows[i], told, g))
		}
		return nil
	})
}

// position is where a page begins: behind a row.
type position struct {
	rank int
	name string
}

// String returns what parseFrom reads.
func (p position) String() string { return strconv.Itoa(p.rank) + " " + p.name }

// parseFrom reads a Page.Next, or nothing, which is before the first row.
func parseFrom(from string) (position, error) {
	if from == "" {
		return position{rank: -1}, nil
	}
	rank, name, ok := strings.Cut(from, " ")
	n, err := strconv.Atoi(rank)
	if !ok || err != nil || n < 0 || n >= len(ranks) || name == "" || strconv.Itoa(n) != rank {
		return position{}, reason.Errorf(reason.ArgumentInvalid, "from %.80q is not where a page of packages ends", from)
	}
	return position{n, name}, nil
}

// conditions returns those of a filter, but for the order and whether a package is
// listed by default.
func (f *Filter) conditions() (text string, args []any) {
	and := func(cond string, arg any) { text, args = text+" AND "+cond, append(args, arg) }
	if f.Verdict != nil {
		and("rank = ?", rankOf(*f.Verdict))
	}
	if f.Distribution != "" {
		and("distribution = ?", f.Distribution)
	}
	if f.Arch != "" {
		and("arch = ?", f.Arch)
	}
	if f.Text != "" {
		and("holds(name, ?)", sought(f.Text))
	}
	return text, args
}

// scopes returns the values of listed that a filter is about.
func (f *Filter) scopes() []int {
	if f.Everyone {
		return []int{1, 0}
	}
	return []int{1}
}

const rowColumns = "id, name, listed, verdict, artifact, artifacts, last, stage0, others, cells"

// page returns the rows of a page, and one more if there is one.
func (s *Survey) page(ctx context.Context, tx *sql.Tx, f *Filter, after position) ([]row, error) {
	where, args := f.conditions()
	order := "rank, name"
	compare := func(a, b row) int { return strings.Compare(a.name, b.name) }
	switch {
	case f.ByName:
		where, args, order = where+" AND name > ?", append(args, after.name), "name"
	case f.Verdict != nil:
		where, args, order = where+" AND name > ?", append(args, after.name), "name"
	default:
		where, args = where+" AND (rank, name) > (?, ?)", append(args, after.rank, after.name)
		compare = func(a, b row) int {
			if a.verdict != b.verdict {
				return rankOf(a.verdict) - rankOf(b.verdict)
			}
			return strings.Compare(a.name, b.name)
		}
	}
	index := "packages_by_rank"
	if f.ByName && f.Verdict == nil {
		index = "packages_by_name"
	}
	var list []row
	for _, listed := range f.scopes() {
		query := "SELECT " + rowColumns + " FROM packages INDEXED BY " + index + " WHERE listed = ?" + where + " ORDER BY " + order + " LIMIT ?"
		rows, err := readRows(ctx, tx, query, slices.Concat([]any{listed}, args, []any{f.Limit + 1})...)
		if err != nil {
			return nil, fmt.Errorf("reading packages: %w", err)
		}
		list = append(list, rows...)
	}
	slices.SortFunc(list, compare)
	return list[:min(len(list), f.Limit+1)], nil
}

// readRows reads rows with rowColumns.
func readRows(ctx context.Context, tx *sql.Tx, query string, args ...any) (list []row, err error) {
	var r row
	var failed error
	rows, err := tx.QueryContext(ctx, query, args...)
	err = eachRow(rows, err, []any{&r.id, &r.name, &r.listed, &r.verdict, &r.artifact, &r.artifacts, &r.last, &r.stage0, &r.others, &r.encoded}, func() {
		one := r
		var bad error
		one.cells, bad = decodeCells(r.encoded)
		failed = errors.Join(failed, bad)
		list = append(list, one)
	})
	return list, errors.Join(err, failed)
}

// rowOf returns a row as it is told.
func (s *Survey) rowOf(r *row, told told, g *glance) Row {
	row := Row{
		Package: r.name, Artifact: leaf.Digest(r.artifact), Verdict: told.verdict(r.verdict), Heard: r.listed == 1 && len(s.heard) > 0,
		Artifacts: int(r.artifacts), Last: uint64(max(0, r.last-1)), Stage0: r.stage0 == 1, Cells: []Cell{}, Others: int(r.others),
	}
	for column, id := range g.ids {
		for _, c := range r.cells {
			if c.key == id {
				row.Cells = append(row.Cells, Cell{Key: g.columns[column].Key, Word: c.word, Entry: c.entry})
			}
		}
	}
	row.Others += len(r.cells) - len(row.Cells)
	return row
}

// maxTallies is how many filters by text are counted for one state of the table, and
// remembered.
const maxTallies = 64

// tally counts what a filter has. Without a text, that is known.
func (s *Survey) tally(ctx context.Context, tx *sql.Tx, g *glance, f *Filter) (*tally, error) {
	if f.Text == "" {
		return g.tally(f), nil
	}
	key := fmt.Sprintf("%d %t %q %q %q", g.changes, f.Everyone, f.Distribution, f.Arch, f.Text)
	s.mu.Lock()
	t := s.counted[key]
	s.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t = &tally{columns: make([]WordCounts, len(g.columns))}
	all := *f
	all.Verdict = nil
	where, args := all.conditions()
	for _, listed := range f.scopes() {
		var verdict verify.Verdict
		var encoded sql.RawBytes
		var failed error
		rows, err := tx.QueryContext(ctx, "SELECT verdict, cells FROM packages INDEXED BY packages_by_name WHERE listed = ?"+where, slices.Concat([]any{listed}, args)...)
		err = eachRow(rows, err, []any{&verdict, &encoded}, func() {
			cells, bad := decodeCells(encoded)
			failed = errors.Join(failed, bad)
			t.counts[verdict]++
			for _, c := range cells {
				if column := slices.Index(g.ids, c.key); column >= 0 {
					t.columns[column][c.word]++
				}
			}
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, fmt.Errorf("counting packages: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.counted) < maxTallies {
		s.counted[key] = t
	}
	return t, nil
}

// MaxFound is how many packages Find returns.
const MaxFound = 100

// Find returns packages whose names contain a text; those that begin with it first: as
// a whole, or from the name within the package URL on.
func (s *Survey) Find(ctx context.Context, text string, limit int) ([]Row, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	found := []Row{}
	limit = max(0, min(limit, MaxFound))
	if text == "" {
		return found, nil
	}
	ctx, done, err := s.searching(ctx, text)
	if err != nil {
		return nil, err
	}
	defer done()
	part := sought(text)
	err = s.inGlance(ctx, func(tx *sql.Tx, g *glance) error {
		known := make(map[int64]bool)
		for _, q := range []struct {
			query string
			args  []any
		}{
			{"INDEXED BY packages_by_short WHERE short >= ? AND short < ? AND listed = 1 ORDER BY short, name", []any{text, text + "\U0010ffff"}},
			{"INDEXED BY packages_by_name WHERE listed = 1 AND name >= ? AND name < ? ORDER BY name", []any{text, text + "\U0010ffff"}},
			{"INDEXED BY packages_by_name WHERE listed = 1 AND holds(name, ?) ORDER BY name", []any{part}},
			{"INDEXED BY packages_by_name WHERE listed = 0 AND holds(name, ?) ORDER BY name", []any{part}},
		} {
			if len(found) >= limit {
				break
			}
			rows, err := readRows(ctx, tx, "SELECT "+rowColumns+" FROM packages "+q.query+" LIMIT ?", append(q.args, limit)...)
			if err != nil {
				return fmt.Errorf("finding packages: %w", err)
			}
			for i := range rows {
				if !known[rows[i].id] && len(found) < limit {
					known[rows[i].id] = true
					found = append(found, s.rowOf(&rows[i], told, g))
				}
			}
		}
		return nil
	})
	return found, err
}
