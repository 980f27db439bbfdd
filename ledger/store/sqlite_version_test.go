package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairnlog/cairn/ledger/store"
)

// TestIndexOfAnotherVersion has an index as the first version wrote it, which is
// emptied, and one of a version to come, which is left alone.
func TestIndexOfAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	exec := func(statements ...string) {
		t.Helper()
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		for _, s := range statements {
			if _, err := db.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	exec("CREATE TABLE entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL) STRICT",
		"CREATE TABLE terms (term BLOB NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (term, idx)) STRICT, WITHOUT ROWID",
		"CREATE TABLE keys (fingerprint TEXT PRIMARY KEY, pem TEXT NOT NULL, operator TEXT NOT NULL, url TEXT NOT NULL, enrolled INTEGER NOT NULL, revoked INTEGER) STRICT",
		"CREATE TABLE endorsements (key TEXT NOT NULL, endorser TEXT NOT NULL, idx INTEGER NOT NULL, operator TEXT NOT NULL, url TEXT NOT NULL, PRIMARY KEY (key, endorser)) STRICT, WITHOUT ROWID",
		"INSERT INTO endorsements VALUES ('sha256:00', 'sha256:01', 0, 'operator', '')",
		"INSERT INTO entries VALUES (0, x'00')",
		"INSERT INTO keys VALUES ('sha256:00', 'pem', 'operator', '', 0, NULL)")
	for range 2 {
		x, err := store.OpenSQLiteIndex(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		size, err := x.Size(t.Context())
		list, standing, keysErr := x.Keys(t.Context())
		if err != nil || keysErr != nil || size != 0 || len(list)+len(standing) != 0 {
			t.Errorf("%d entries, %v, keys %v, %v, %v; want none", size, err, list, standing, keysErr)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	exec("INSERT INTO entries VALUES (0, x'00')", fmt.Sprintf("PRAGMA user_version = %d", store.IndexVersion+1))
	if x, err := store.OpenSQLiteIndex(t.Context(), path); err == nil || !strings.Contains(err.Error(), "written by a newer one") {
		t.Errorf("an index of a later version was opened: %v, %v", x, err)
	}
	exec("UPDATE entries SET leaf = x'01' WHERE idx = 0", fmt.Sprintf("PRAGMA user_version = %d", store.IndexVersion))
	x, err := store.OpenSQLiteIndex(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := x.Size(t.Context()); err != nil || size != 1 {
		t.Errorf("the refused index has %d entries, %v, want 1", size, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
