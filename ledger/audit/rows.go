package audit

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

const (
	indexName = "index.db"
	// bucketEntries is how many entries share a sum of their terms.
	bucketEntries = 4096
	// maxBuckets bounds how many buckets of damaged terms are looked into.
	maxBuckets = 8
	// maxLost bounds how many lost entries are remembered.
	maxLost = 1 << 16
)

// rows compares the query index with what the leaves give.
//
// The table of terms is in the order of their hashes, not in that of the log, so
// the two cannot be compared side by side. Of each bucket of entries both sides
// are summed up, under a secret of this run: two sets of rows that differ have
// the same sum only by a chance of 2^-128. Where they differ, the bucket's rows
// are compared one by one.
type rows struct {
	a     *auditor
	db    *sql.DB
	leafs *sql.Stmt
	from  uint64 // entries before it were compared by an earlier run
	seeds [2]maphash.Seed
	want  []sum  // by bucket
	total uint64 // rows of terms of what was audited, now and before
	// lost is the entries whose leaves cannot be read, so that their terms are
	// not known.
	lost map[uint64]bool
	// broken says that a query failed, which was found: the rest is left out.
	broken bool
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

// openRows opens the index, if the copy has one.
func (a *auditor) openRows(ctx context.Context) {
	if a.Index == "" {
		return
	}
	db, err := openDatabase(a.Index)
	if isMissing(err) {
		a.find(Incomplete, "index-missing", indexName, "the query index is not there; the ledger rebuilds it when it starts")
		return
	}
	r := &rows{a: a, db: db, from: a.start(), lost: make(map[uint64]bool), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	if err == nil {
		r.leafs, err = db.PrepareContext(ctx, "SELECT idx, leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx")
	}
	if err != nil {
		a.find(Corrupt, "database-damaged", indexName, "%v", err)
		if db != nil {
			_ = db.Close()
		}
		return
	}
	a.rows = r
	a.report.Coverage.Index = true
}

func (r *rows) close() error {
	_ = r.leafs.Close()
	return r.db.Close()
}

// check compares the leaves of a batch, and sums up their terms.
func (r *rows) check(ctx context.Context, b *batch) error {
	for i, text := range b.texts {
		if index := b.start + uint64(i); text != nil {
			r.addTerms(index, text, b.leaves[i])
		} else if len(r.lost) < maxLost {
			r.lost[index] = true
		}
	}
	if r.broken {
		return nil
	}
	stored := make([][]byte, len(b.texts))
	result, err := r.leafs.QueryContext(ctx, b.start, b.start+uint64(len(b.texts)))
	if err != nil {
		return r.fail(ctx, err)
	}
	defer func() { _ = result.Close() }()
	for result.Next() {
		var idx uint64
		var text []byte
		if err := result.Scan(&idx, &text); err != nil {
			return r.fail(ctx, err)
		}
		if i := idx - b.start; i < uint64(len(stored)) {
			stored[i] = text
		}
	}
	if err := result.Err(); err != nil {
		return r.fail(ctx, err)
	}
	for i, text := range b.texts {
		where := fmt.Sprintf("%s, entries, %d", indexName, b.start+uint64(i))
		switch {
		case stored[i] == nil:
			r.a.find(Incomplete, "index-row-missing", where, "the entry is not indexed")
		case text != nil && !bytes.Equal(stored[i], text):
			r.a.find(Corrupt, "index-row-differs", where, "the leaf is another than the log's")
		}
	}
	r.a.report.Counts.IndexRows.Add(uint64(len(b.texts)))
	return nil
}

// fail takes in that the index cannot be read.
func (r *rows) fail(ctx context.Context, err error) error {
	r.broken = true
	return r.a.databaseError(ctx, indexName, err)
}

// termsOf returns the terms of an entry, each once.
func termsOf(index uint64, text []byte, l *leaf.Leaf) []store.Term {
	ts := store.Terms(&store.Entry{Index: index, Text: text, Leaf: l})
	slices.SortFunc(ts, func(x, y store.Term) int { return bytes.Compare(x[:], y[:]) })
	return slices.Compact(ts)
}

func (r *rows) addTerms(index uint64, text []byte, l *leaf.Leaf) {
	bucket := index / bucketEntries
	for uint64(len(r.want)) <= bucket-r.from/bucketEntries {
		r.want = append(r.want, sum{})
	}
	for _, t := range termsOf(index, text, l) {
		r.want[bucket-r.from/bucketEntries].add(t[:], index, &r.seeds)
	}
}

// checkRows compares what is left of the index once all entries are read.
func (a *auditor) checkRows(ctx context.Context) error {
	if a.rows == nil || a.rows.broken || a.broke {
		return nil
	}
	for _, check := range []func(context.Context) error{a.rows.checkExtra, a.rows.checkTerms, a.rows.checkKeys} {
		if err := check(ctx); err != nil {
			return err
		}
		if a.rows.broken {
			return nil
		}
	}
	return a.checkDatabase(ctx, indexName, a.rows.db)
}

// ahead reports whether a row of an index at or behind the audited size may be
// of an entry that is not published yet.
func (a *auditor) ahead(index uint64) bool {
	return a.Unpublished != nil && index >= a.end.N() && index < a.Unpublished()
}

// checkExtra finds rows of entries that the log does not have.
func (r *rows) checkExtra(ctx context.Context) error {
	var least, most sql.Null[int64]
	if err := r.db.QueryRowContext(ctx, "SELECT min(idx), max(idx) FROM entries").Scan(&least, &most); err != nil {
		return r.fail(ctx, err)
	}
	if least.Valid && least.V < 0 {
		r.a.find(Corrupt, "index-row-extra", indexName+", entries", "there is a row for %d", least.V)
	}
	if most.Valid && uint64(most.V) >= r.a.end.N() && most.V >= 0 && !r.a.ahead(uint64(most.V)) {
		r.a.find(Corrupt, "index-row-extra", indexName+", entries", "there is a row for %d, but the log has %d entries", most.V, r.a.end.N())
	}
	return nil
}

// checkTerms sums up the table of terms.
func (r *rows) checkTerms(ctx context.Context) error {
	have := make([]sum, len(r.want))
	first := r.from / bucketEntries
	var before, extra uint64
	err := r.eachTerm(ctx, func(term []byte, idx int64) {
		index := uint64(idx)
		switch {
		case idx < 0 || len(term) != store.TermSize || index >= r.a.end.N() && !r.a.ahead(index):
			if extra++; extra <= maxOfKind {
				r.a.find(Corrupt, "index-row-extra", indexName+", terms", "there is a term of entry %d", idx)
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
		r.a.find(Corrupt, "index-rows-changed", indexName+", terms", "%d rows up to entry %d, but an earlier audit saw %d", before, r.from, c.Terms)
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

// eachTerm calls f with every row of terms, in the order of the table.
func (r *rows) eachTerm(ctx context.Context, f func(term []byte, idx int64)) error {
	result, err := r.db.QueryContext(ctx, "SELECT term, idx FROM terms")
	if err != nil {
		return r.fail(ctx, err)
	}
	defer func() { _ = result.Close() }()
	var term sql.RawBytes
	var idx int64
	for result.Next() {
		if err := result.Scan(&term, &idx); err != nil {
			return r.fail(ctx, err)
		}
		f(term, idx)
	}
	if err := result.Err(); err != nil {
		return r.fail(ctx, err)
	}
	return nil
}

type termRow struct {
	term  store.Term
	index uint64
}

// nameTerms compares the rows of buckets whose sums differ, one by one.
func (r *rows) nameTerms(ctx context.Context, bad map[uint64]bool) error {
	if len(bad) == 0 {
		return nil
	}
	expected := make(map[termRow]bool)
	named := 0
	for bucket := range bad {
		if named++; named > maxBuckets {
			r.a.find(Corrupt, "index-terms-differ", fmt.Sprintf("%s, terms, entries %d to %d", indexName, bucket*bucketEntries, (bucket+1)*bucketEntries-1), "the rows are not those of the leaves")
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
			for _, t := range termsOf(i, text, l) {
				expected[termRow{t, i}] = true
			}
		}
	}
	err := r.eachTerm(ctx, func(term []byte, idx int64) {
		if idx < 0 || uint64(idx) < r.from || uint64(idx) >= r.a.end.N() || r.lost[uint64(idx)] || !bad[uint64(idx)/bucketEntries] || len(term) != store.TermSize {
			return
		}
		row := termRow{store.Term(term), uint64(idx)}
		if !expected[row] {
			r.a.find(Corrupt, "index-row-extra", fmt.Sprintf("%s, terms, entry %d", indexName, idx), "term %x does not follow from the leaf", term)
		}
		delete(expected, row)
	})
	for row := range expected {
		r.a.find(Incomplete, "index-row-missing", fmt.Sprintf("%s, terms, entry %d", indexName, row.index), "term %x is not there", row.term)
	}
	return err
}

// checkKeys compares the table of keys.
func (r *rows) checkKeys(ctx context.Context) error {
	result, err := r.db.QueryContext(ctx, "SELECT fingerprint, pem, operator, url, enrolled, revoked FROM keys")
	if err != nil {
		return r.fail(ctx, err)
	}
	defer func() { _ = result.Close() }()
	seen := make(map[leaf.Fingerprint]bool)
	for result.Next() {
		var k store.Key
		var revoked sql.Null[uint64]
		if err := result.Scan(&k.Fingerprint, &k.PEM, &k.Operator, &k.URL, &k.Enrolled, &revoked); err != nil {
			return r.fail(ctx, err)
		}
		if revoked.Valid {
			k.Revoked = &revoked.V
		}
		seen[k.Fingerprint] = true
		r.checkKey(&k)
	}
	if err := result.Err(); err != nil {
		return r.fail(ctx, err)
	}
	for fp, e := range r.a.ring.keys {
		if !e.vague && !seen[fp] {
			r.a.find(Incomplete, "index-row-missing", indexName+", keys", "key %s is not there", fp)
		}
	}
	r.a.report.Counts.IndexRows.Add(uint64(len(seen)))
	return nil
}

// checkKey compares one row of keys. What entries change that are not published
// yet is not known.
func (r *rows) checkKey(k *store.Key) {
	where := fmt.Sprintf("%s, keys, %s", indexName, k.Fingerprint)
	if r.a.ahead(k.Enrolled) {
		return
	}
	if k.Revoked != nil && r.a.ahead(*k.Revoked) {
		k.Revoked = nil
	}
	e := r.a.ring.keys[k.Fingerprint]
	if e == nil {
		if r.a.ring.lost == nil {
			r.a.find(Corrupt, "index-row-extra", where, "no entry enrols the key")
		}
		return
	}
	if e.vague || r.a.ring.lost != nil {
		return
	}
	w := e.row
	same := k.PEM == w.PEM && k.Operator == w.Operator && k.URL == w.URL && k.Enrolled == w.Enrolled &&
		(k.Revoked == nil) == (w.Revoked == nil) && (k.Revoked == nil || *k.Revoked == *w.Revoked)
	if !same {
		r.a.find(Corrupt, "index-row-differs", where, "the row is not what the log's enrolments and revocations give")
	}
}
