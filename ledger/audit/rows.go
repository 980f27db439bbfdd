package audit

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

const indexName = "index.db"

// rows compares the query index of a ledger with what the leaves give.
type rows struct {
	*terms
	db    *sql.DB
	leafs *sql.Stmt
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
	r := &rows{terms: newTerms(a, indexName+", terms", store.Terms), db: db}
	r.each = r.eachTerm
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
	a.rows, a.terms = r, r.terms
	a.report.Coverage.Index = true
}

func (r *rows) close() error {
	_ = r.leafs.Close()
	return r.db.Close()
}

// check compares the leaves of a batch.
func (r *rows) check(ctx context.Context, b *batch) error {
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

// checkRows compares what is left of the index once all entries are read.
func (a *auditor) checkRows(ctx context.Context) error {
	switch {
	case a.terms == nil || a.terms.broken || a.broke:
		return nil
	case a.rows == nil:
		return a.terms.checkSums(ctx)
	}
	for _, check := range []func(context.Context) error{a.rows.checkExtra, a.rows.checkSums, a.rows.checkKeys} {
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
