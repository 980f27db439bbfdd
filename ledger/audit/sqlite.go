package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// openDatabase opens a SQLite database for reading, without writing beside it.
// A ledger that runs keeps a write-ahead log there, which is read too; without
// one the file is all there is, and cannot change.
func openDatabase(path string) (*sql.DB, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &Damage{"it is no regular file"}
	}
	q := url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "busy_timeout(10000)", "cache_size(-8192)", "cell_size_check(1)"}}
	if _, err := os.Lstat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		q.Set("immutable", "1")
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	return db, nil
}

// checkDatabase runs SQLite's own check of its trees, which finds what the
// rows alone do not show: an index that has lost one.
func (a *auditor) checkDatabase(ctx context.Context, what string, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "PRAGMA integrity_check(10)")
	if err != nil {
		return a.databaseError(ctx, what, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var says string
		if err := rows.Scan(&says); err != nil {
			return a.databaseError(ctx, what, err)
		}
		if says != "ok" {
			a.find(Corrupt, "database-damaged", what, "%s", says)
		}
	}
	return a.databaseError(ctx, what, rows.Err())
}

// checkBlobs checks the database of the attestations, whose rows were read.
func (a *auditor) checkBlobs(ctx context.Context) error {
	if a.Blobs == "" || a.o.NoSignatures || a.unreadable.Load() {
		return nil
	}
	db, err := openDatabase(a.Blobs)
	if err != nil {
		return a.databaseError(ctx, ledgerBlobs, err)
	}
	return errors.Join(a.checkDatabase(ctx, ledgerBlobs, db), db.Close())
}

// databaseError takes an error of a database as a finding, unless the audit was
// stopped.
func (a *auditor) databaseError(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.find(Corrupt, "database-damaged", what, "%v", err)
	return nil
}

// damagedDatabase makes an error of a database one of a Source.
func damagedDatabase(ctx context.Context, path string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return &Damage{fmt.Sprintf("database %s: %v", path, err)}
}
