package audit

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

const (
	// bucketEntries is how many entries share a sum of their terms.
	bucketEntries = 4096
	// maxBuckets bounds how many buckets of damaged terms are looked into.
	maxBuckets = 8
	// maxLost bounds how many lost entries are remembered.
	maxLost = 1 << 16
)

// terms compares the terms of a query index with what the leaves give.
//
// An index is in the order of the terms' hashes, not in that of the log, so the
// two cannot be compared side by side. Of each bucket of entries both sides are
// summed up, under a secret of this run: two sets of rows that differ have the
// same sum only by a chance of 2^-128. Where they differ, the bucket's rows are
// compared one by one.
type terms struct {
	a    *auditor
	name string // of the index, in findings
	// of returns the terms of an entry; some may be equal.
	of func(*store.Entry) []store.Term
	// each calls f with every row of the index.
	each func(ctx context.Context, f func(term []byte, idx int64)) error
	// unread reports whether rows of a term could not be read, which was found;
	// nil if all could.
	unread func(store.Term) bool

	from  uint64 // entries before it were compared by an earlier run
	seeds [2]maphash.Seed
	want  []sum  // by bucket
	total uint64 // rows of what was audited, now and before
	// lost is the entries whose leaves cannot be read, so that their terms are
	// not known.
	lost map[uint64]bool
	// broken says that the index cannot be read, which was found: the rest is
	// left out.
	broken bool
}

func newTerms(a *auditor, name string, of func(*store.Entry) []store.Term) *terms {
	return &terms{
		a: a, name: name, of: of, from: a.start(), lost: make(map[uint64]bool),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

type sum struct {
	rows uint64
	sum  [2]uint64
}

func (s *sum) add(term []byte, index uint64, seeds *[2]maphash.Seed) {
	var row [store.TermSize + 8]byte
	copy(row[:], term)
	for i := range 8 {
		row[store.TermSize+i] = byte(index >> (8 * i))
	}
	s.rows++
	for i, seed := range seeds {
		s.sum[i] += maphash.Bytes(seed, row[:])
	}
}

// take sums up the terms of a batch's leaves.
func (r *terms) take(b *batch) {
	for i, text := range b.texts {
		if index := b.start + uint64(i); text != nil {
			r.add(index, text, b.leaves[i])
		} else if len(r.lost) < maxLost {
			r.lost[index] = true
		}
	}
}

// termsOf returns the terms of an entry, each once.
func (r *terms) termsOf(index uint64, text []byte, l *leaf.Leaf) []store.Term {
	ts := r.of(&store.Entry{Index: index, Text: text, Leaf: l})
	slices.SortFunc(ts, func(x, y store.Term) int { return bytes.Compare(x[:], y[:]) })
	return slices.Compact(ts)
}

func (r *terms) add(index uint64, text []byte, l *leaf.Leaf) {
	bucket := index/bucketEntries - r.from/bucketEntries
	for uint64(len(r.want)) <= bucket {
		r.want = append(r.want, sum{})
	}
	for _, t := range r.termsOf(index, text, l) {
		r.want[bucket].add(t[:], index, &r.seeds)
	}
}

// checkSums sums up the terms of the index.
func (r *terms) checkSums(ctx context.Context) error {
	have := make([]sum, len(r.want))
	first := r.from / bucketEntries
	var before, extra, stored uint64
	ahead := func(index uint64) bool {
		if index >= stored && r.a.Unpublished != nil {
			stored = r.a.Unpublished() // a ledger that runs grows meanwhile
		}
		return index < stored
	}
	err := r.each(ctx, func(term []byte, idx int64) {
		index := uint64(idx)
		switch {
		case idx < 0 || len(term) != store.TermSize || index >= r.a.end.N() && !ahead(index):
			if extra++; extra <= maxOfKind {
				r.a.find(Corrupt, "index-row-extra", r.name, "there is a term of entry %d", idx)
			}
		case index < r.from:
			before++
		case index < r.a.end.N() && index/bucketEntries-first < uint64(len(have)):
			have[index/bucketEntries-first].add(term, index, &r.seeds)
		}
	})
	if err != nil || r.broken {
		return err
	}
	if c := r.a.cursor; c != nil && before != c.Terms {
		r.a.find(Corrupt, "index-rows-changed", r.name, "%d rows up to entry %d, but an earlier audit saw %d", before, r.from, c.Terms)
	}
	bad := make(map[uint64]bool)
	r.total = before
	for i := range have {
		r.total += have[i].rows
		r.a.report.Counts.IndexRows.Add(have[i].rows)
		if have[i] != r.want[i] {
			bad[first+uint64(i)] = true
		}
	}
	return r.nameTerms(ctx, bad)
}

type termRow struct {
	term  store.Term
	index uint64
}

// nameTerms compares the rows of buckets whose sums differ, one by one.
func (r *terms) nameTerms(ctx context.Context, bad map[uint64]bool) error {
	if len(bad) == 0 {
		return nil
	}
	expected := make(map[termRow]bool)
	named := 0
	for bucket := range bad {
		if named++; named > maxBuckets {
			r.a.find(Corrupt, "index-terms-differ", fmt.Sprintf("%s, entries %d to %d", r.name, bucket*bucketEntries, (bucket+1)*bucketEntries-1), "the rows are not those of the leaves")
			delete(bad, bucket)
			continue
		}
		for i := max(bucket*bucketEntries, r.from); i < min((bucket+1)*bucketEntries, r.a.end.N()); i++ {
			l, text, err := r.a.leafAt(ctx, i)
			if err != nil {
				return err
			}
			if l == nil || r.lost[i] {
				continue
			}
			for _, t := range r.termsOf(i, text, l) {
				expected[termRow{t, i}] = true
			}
		}
	}
	err := r.each(ctx, func(term []byte, idx int64) {
		if idx < 0 || uint64(idx) < r.from || uint64(idx) >= r.a.end.N() || r.lost[uint64(idx)] || !bad[uint64(idx)/bucketEntries] || len(term) != store.TermSize {
			return
		}
		row := termRow{store.Term(term), uint64(idx)}
		if !expected[row] {
			r.a.find(Corrupt, "index-row-extra", fmt.Sprintf("%s, entry %d", r.name, idx), "term %x does not follow from the leaf", term)
		}
		delete(expected, row)
	})
	for row := range expected {
		if r.unread != nil && r.unread(row.term) {
			continue
		}
		r.a.find(Incomplete, "index-row-missing", fmt.Sprintf("%s, entry %d", r.name, row.index), "term %x is not there", row.term)
	}
	return err
}
