package survey

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/verify"
)

// maxPlaces is how many distributions and architectures a filter can name.
const maxPlaces = 256

// glance is what every page shows of one state of the table.
type glance struct {
	changes    uint64
	groups     []group
	columns    []Rebuilder // of the matrix
	ids        []int64     // of columns
	tallies    []columnTally
	rebuilders int
	operators  int
	strip      []verify.Verdict // nil until it is asked for
}

// group is how many packages are alike.
type group struct {
	listed             bool
	distribution, arch string
	verdict            verify.Verdict
	signed             int
	stage0             bool
	n                  int
}

// columnTally is how often a column says a word of packages that are alike.
type columnTally struct {
	column             int
	listed             bool
	distribution, arch string
	word               Word
	n                  int
}

// glance returns the glance of the state that a transaction reads.
func (s *Survey) glance(ctx context.Context, tx *sql.Tx) (*glance, error) {
	var changes uint64
	if err := tx.QueryRowContext(ctx, "SELECT changes FROM meta").Scan(&changes); err != nil {
		return nil, err
	}
	s.mu.Lock()
	g := s.glanced
	s.mu.Unlock()
	if g != nil && g.changes == changes {
		return g, nil
	}
	g = &glance{changes: changes}
	for _, load := range []func(context.Context, *sql.Tx, *glance) error{s.loadGroups, s.loadColumns, s.loadTallies} {
		if err := load(ctx, tx, g); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.glanced == nil || s.glanced.changes < changes {
		s.glanced, s.counted = g, make(map[string]*tally)
	}
	return g, nil
}

// inGlance runs f in a transaction that only reads, with the glance of its state.
func (s *Survey) inGlance(ctx context.Context, f func(*sql.Tx, *glance) error) error {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing is written
	g, err := s.glance(ctx, tx)
	if err != nil {
		return err
	}
	return f(tx, g)
}

func (s *Survey) loadGroups(ctx context.Context, tx *sql.Tx, g *glance) error {
	var one group
	rows, err := tx.QueryContext(ctx, "SELECT listed, distribution, arch, verdict, signed, stage0, n FROM groups WHERE n > 0")
	return eachRow(rows, err, []any{&one.listed, &one.distribution, &one.arch, &one.verdict, &one.signed, &one.stage0, &one.n},
		func() { g.groups = append(g.groups, one) })
}

// loadColumns loads who has a column, and how many there are.
func (s *Survey) loadColumns(ctx context.Context, tx *sql.Tx, g *glance) error {
	heard := len(s.heard) > 0
	if err := tx.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT operator) FROM keys WHERE heard = ? AND said > 0", heard).Scan(&g.rebuilders, &g.operators); err != nil {
		return err
	}
	order := "said DESC, id"
	if heard {
		order = "id"
	}
	var id int64
	var key leaf.Fingerprint
	var operator string
	rows, err := tx.QueryContext(ctx, "SELECT id, key, operator FROM keys WHERE heard = ? AND (heard = 1 OR said > 0) ORDER BY "+order+" LIMIT ?", heard, MaxColumns)
	return eachRow(rows, err, []any{&id, &key, &operator}, func() {
		g.ids = append(g.ids, id)
		g.columns = append(g.columns, s.named(key, operator))
	})
}

// named returns a key as it is shown.
func (s *Survey) named(key leaf.Fingerprint, operator string) Rebuilder {
	r := Rebuilder{Key: key, Operator: operator}
	if b, ok := s.rebuilder(key); ok {
		r.Name, r.Operator, r.Heard = b.Name, b.Operator, true
	}
	return r
}

func (s *Survey) loadTallies(ctx context.Context, tx *sql.Tx, g *glance) error {
	for column, id := range g.ids {
		one := columnTally{column: column}
		rows, err := tx.QueryContext(ctx, "SELECT listed, distribution, arch, word, n FROM tallies WHERE key = ? AND n > 0", id)
		if err := eachRow(rows, err, []any{&one.listed, &one.distribution, &one.arch, &one.word, &one.n},
			func() { g.tallies = append(g.tallies, one) }); err != nil {
			return err
		}
	}
	return nil
}

// within reports whether packages that are alike are among those of a filter, its
// verdict and text left out.
func (f *Filter) within(listed bool, distribution, arch string) bool {
	return (listed || f.Everyone) && (f.Distribution == "" || f.Distribution == distribution) && (f.Arch == "" || f.Arch == arch)
}

// tally is what a filter has on all pages, its verdict left out.
type tally struct {
	counts  Counts
	columns []WordCounts
}

// tally counts what a filter without text has.
func (g *glance) tally(f *Filter) *tally {
	t := &tally{columns: make([]WordCounts, len(g.columns))}
	for i := range g.groups {
		if one := &g.groups[i]; f.within(one.listed, one.distribution, one.arch) {
			t.counts[one.verdict] += one.n
		}
	}
	for i := range g.tallies {
		if one := &g.tallies[i]; f.within(one.listed, one.distribution, one.arch) {
			t.columns[one.column][one.word] += one.n
		}
	}
	return t
}

// places returns the distributions and the architectures of packages that are listed.
func (g *glance) places(everyone bool) (distributions, archs []string) {
	byDistribution, byArch := make(map[string]int), make(map[string]int)
	for i := range g.groups {
		if one := &g.groups[i]; one.listed || everyone {
			byDistribution[one.distribution] += one.n
			byArch[one.arch] += one.n
		}
	}
	return most(byDistribution), most(byArch)
}

// most returns those that most are counted of, sorted. What has no name is left out.
func most(counts map[string]int) []string {
	delete(counts, "")
	list := slices.AppendSeq([]string{}, maps.Keys(counts))
	slices.SortFunc(list, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	list = list[:min(len(list), maxPlaces)]
	slices.Sort(list)
	return list
}

// Summary returns the ledger at a glance.
func (s *Survey) Summary(ctx context.Context) (*Summary, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	sum := &Summary{}
	return sum, s.inGlance(ctx, func(_ *sql.Tx, g *glance) error {
		for i := range g.groups {
			one := &g.groups[i]
			if !one.listed {
				sum.Unheard += one.n
				continue
			}
			sum.Packages += one.n
			sum.Counts[one.verdict] += one.n
		}
		sum.Counts, sum.Rebuilders, sum.Operators = told.counts(sum.Counts), g.rebuilders, g.operators
		return nil
	})
}

// Strip returns the verdicts of all packages that are listed by default, by name.
func (s *Survey) Strip(ctx context.Context) ([]verify.Verdict, error) {
	told, err := s.told(ctx)
	if err != nil {
		return nil, err
	}
	var strip []verify.Verdict
	err = s.inGlance(ctx, func(tx *sql.Tx, g *glance) error {
		s.mu.Lock()
		known := g.strip
		s.mu.Unlock()
		if known == nil {
			var text string
			// In one row: reading rows costs more than joining them.
			if err := tx.QueryRowContext(ctx, `SELECT coalesce(group_concat(verdict, ''), '') FROM
				(SELECT verdict FROM packages INDEXED BY packages_by_name WHERE listed = 1 ORDER BY name)`).Scan(&text); err != nil {
				return err
			}
			known = make([]verify.Verdict, len(text))
			for i := range text {
				known[i] = verify.Verdict(text[i] - '0')
			}
			s.mu.Lock()
			g.strip = known
			s.mu.Unlock()
		}
		strip = slices.Clone(known)
		return nil
	})
	for i := range strip {
		strip[i] = told.verdict(strip[i])
	}
	return strip, err
}
