package audit

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"

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
	if err == nil && a.outdated(ctx, db) {
		_ = db.Close()
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

// outdated reports whether an index is of an earlier version, after a finding.
func (a *auditor) outdated(ctx context.Context, db *sql.DB) bool {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil || version >= store.IndexVersion {
		return false // what is wrong shows when it is read
	}
	a.find(Incomplete, "index-outdated", indexName, "the query index has version %d, not %d; the ledger rebuilds it when it starts", version, store.IndexVersion)
	return true
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

// checkKeys compares the tables of keys and endorsements.
func (r *rows) checkKeys(ctx context.Context) error {
	list, standing := r.a.ring.Snapshot()
	missing := make(map[string]func() bool) // whether that counts, by the row's name
	for _, k := range list {
		missing[rowOfKey(k.Fingerprint)] = func() bool { return !r.a.ring.isVague(k.Fingerprint, r.a.end.N()) }
	}
	logged := make(map[string]store.Endorsement)
	for _, e := range standing {
		logged[rowOfEndorsement(&e)] = e
		// An entry that is not published yet may have ended it.
		missing[rowOfEndorsement(&e)] = func() bool {
			return !r.a.ring.isVague(e.Key, r.a.end.N()) && (r.a.Unpublished == nil || r.a.Unpublished() <= r.a.end.N())
		}
	}
	seen := uint64(0)
	err := r.eachRow(ctx, store.SelectKeys, func(row store.Row) error {
		k, err := store.ScanKey(row)
		if err != nil {
			return err
		}
		seen++
		delete(missing, rowOfKey(k.Fingerprint))
		r.checkKey(k)
		return nil
	})
	if err != nil || r.broken {
		return err
	}
	err = r.eachRow(ctx, store.SelectEndorsements, func(row store.Row) error {
		e, err := store.ScanEndorsement(row)
		if err != nil {
			return err
		}
		seen++
		delete(missing, rowOfEndorsement(e))
		if !r.a.ahead(e.Index) && !r.a.ring.isVague(e.Key, r.a.end.N()) && logged[rowOfEndorsement(e)] != *e {
			r.a.find(Corrupt, "index-row-differs", indexName+", "+rowOfEndorsement(e), "no such endorsement stands by the log")
		}
		return nil
	})
	if err != nil || r.broken {
		return err
	}
	for _, row := range slices.Sorted(maps.Keys(missing)) {
		if missing[row]() {
			r.a.find(Incomplete, "index-row-missing", indexName+", "+row, "the row is not there")
		}
	}
	r.a.report.Counts.IndexRows.Add(seen)
	return nil
}

func rowOfKey(fp leaf.Fingerprint) string { return "keys, " + string(fp) }

func rowOfEndorsement(e *store.Endorsement) string {
	return fmt.Sprintf("endorsements, %s by %s", e.Key, e.Endorser)
}

// eachRow calls f with each row of an answer.
func (r *rows) eachRow(ctx context.Context, query string, f func(store.Row) error) error {
	result, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return r.fail(ctx, err)
	}
	defer func() { _ = result.Close() }()
	for result.Next() {
		if err := f(result); err != nil {
			return r.fail(ctx, err)
		}
	}
	if err := result.Err(); err != nil {
		return r.fail(ctx, err)
	}
	return nil
}

// checkKey compares one row of keys. What entries change that are not published
// yet is not known.
func (r *rows) checkKey(k *store.Key) {
	if r.a.ahead(k.Changed) || r.a.ring.isVague(k.Fingerprint, r.a.end.N()) {
		return
	}
	where := indexName + ", " + rowOfKey(k.Fingerprint)
	want, ok := r.a.ring.Key(k.Fingerprint)
	switch {
	case !ok:
		r.a.find(Corrupt, "index-row-extra", where, "no entry brings the key")
	case !want.Equal(k):
		r.a.find(Corrupt, "index-row-differs", where, "the row is not what the log's entries about the key give")
	}
}
