package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// load runs the statements in a file in one transaction, unless it ran a file of
// that name in this database before. A file that has changed since is an error:
// nobody knows what its new statements would do to the old ones' tables. What was
// run is recorded in the table containerkit_loaded.
func load(ctx context.Context, database, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	name, digest := filepath.Base(path), fmt.Sprintf("%x", sha256.Sum256(text))
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return fmt.Errorf("connecting to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// One at a time; the lock ends with the transaction.
		key := fnv.New64a()
		_, _ = key.Write([]byte("containerkit " + name))
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(key.Sum64())); err != nil {
			return fmt.Errorf("waiting for others that load: %w", err)
		}
		if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS containerkit_loaded (name text PRIMARY KEY, sha256 text NOT NULL)"); err != nil {
			return err
		}
		var had string
		err := tx.QueryRow(ctx, "SELECT sha256 FROM containerkit_loaded WHERE name = $1", name).Scan(&had)
		switch {
		case err == nil && had == digest:
			return nil
		case err == nil:
			return fmt.Errorf("the database was loaded from another %s: it had SHA-256 %s, this one has %s", name, had, digest)
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		// Without arguments the simple protocol takes any number of statements.
		if _, err := tx.Conn().PgConn().Exec(ctx, string(text)).ReadAll(); err != nil {
			return fmt.Errorf("running %s: %w", name, err)
		}
		_, err = tx.Exec(ctx, "INSERT INTO containerkit_loaded VALUES ($1, $2)", name, digest)
		return err
	})
}
