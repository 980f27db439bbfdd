package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
)

// TestLoadOnce has several load the same file at once, as pods that start together.
func TestLoadOnce(t *testing.T) {
	db := pgtest.Database(t)
	file := filepath.Join(t.TempDir(), "schema.sql")
	write(t, file, "CREATE TABLE a(n int);\n\nINSERT INTO a VALUES (1);\n", 0o644)
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return load(t.Context(), db, file) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "a"); n != 1 {
		t.Errorf("it was run %d times, want once", n)
	}

	write(t, file, "CREATE TABLE b(n int);\n", 0o644)
	if err := load(t.Context(), db, file); err == nil || !strings.Contains(err.Error(), "loaded from another schema.sql") {
		t.Errorf("a file that changed: got %v", err)
	}
}

// TestLoadFails: what fails leaves nothing, and can be done again.
func TestLoadFails(t *testing.T) {
	db := pgtest.Database(t)
	file := filepath.Join(t.TempDir(), "schema.sql")
	write(t, file, "CREATE TABLE a(n int);\nINSERT INTO nothing VALUES (1);\n", 0o644)
	if err := load(t.Context(), db, file); err == nil {
		t.Fatal("a wrong statement is no error")
	}
	write(t, file, "CREATE TABLE a(n int);\n", 0o644)
	if err := load(t.Context(), db, file); err != nil {
		t.Error(err)
	}
	if err := load(t.Context(), "postgres://127.0.0.1:1/nothing", file); err == nil {
		t.Error("no database is no error")
	}
}

// TestLoadTrillian loads the very file that the image trillian-schema has.
func TestLoadTrillian(t *testing.T) {
	e2etest.Interop(t)
	db := pgtest.Database(t)
	for range 2 {
		if err := load(t.Context(), db, e2etest.Tool(t, "trillian-postgresql.sql")); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, db, "trees"); n != 0 {
		t.Errorf("%d trees, want none", n)
	}
}

func count(t *testing.T, db, table string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
