package store

import (
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"testing"
)

// TestSync checks what no crash of a process shows: whether a commit waits for
// the disk. Bytes must, before their leaf is appended; the index need not.
func TestSync(t *testing.T) {
	const normal, full = 1, 2 // SQLite's numbers
	dir := t.TempDir()
	blobs, err := OpenSQLiteBlobs(t.Context(), filepath.Join(dir, "blobs.db"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := OpenSQLiteIndex(t.Context(), filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		w    *sql.DB
		want int
	}{{"blobs", blobs.w, full}, {"index", index.w, normal}} {
		// The only connection that writes, or one that takes its place.
		for range 2 {
			var sync int
			var mode string
			conn, err := test.w.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&sync); err != nil || sync != test.want {
				t.Errorf("%s: synchronous is %d, %v, want %d", test.name, sync, err, test.want)
			}
			if err := conn.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
				t.Errorf("%s: journal_mode is %s, %v, want wal", test.name, mode, err)
			}
			// ErrBadConn makes the pool drop the connection.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
			_ = conn.Close()
		}
	}
	if err := blobs.Close(); err != nil {
		t.Error(err)
	}
	if err := index.Close(); err != nil {
		t.Error(err)
	}
}
