package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed migrations/*.sql
var embedded embed.FS

// versionTable is tern's, in the schema that the others are in.
const versionTable = "cairn_schema_version"

// undefinedTable is the SQLSTATE of a table that does not exist.
const undefinedTable = "42P01"

// Migrate brings the tables of the database to this program's version. It leaves
// alone what is of that version, and refuses what is of a newer one. Several may
// run at once.
func Migrate(ctx context.Context, url string) error {
	c, err := config(url)
	if err != nil {
		return err
	}
	// Tables may be large: no statement of a migration is cut short.
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		c.ConnConfig.RuntimeParams[name] = "0"
	}
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return fmt.Errorf("opening the database: %w", Classify(ctx, err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := migrateTables(ctx, conn); err != nil {
		return fmt.Errorf("migrating the database %s: %w", c.ConnConfig.Database, Classify(ctx, err))
	}
	return nil
}

func migrateTables(ctx context.Context, conn *pgx.Conn) error {
	want, err := schemaVersion()
	if err != nil {
		return err
	}
	m, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return err
	}
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(sub); err != nil {
		return err
	}
	version, err := m.GetCurrentVersion(ctx)
	if err != nil {
		return err
	}
	if version > want {
		return errNewer(version, want)
	}
	return m.Migrate(ctx)
}

// schemaVersion returns the version of the tables that this program knows: the
// number of migrations, which are numbered from 1 without gaps.
func schemaVersion() (int32, error) {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return 0, err
	}
	files, err := migrate.FindMigrations(sub)
	return int32(len(files)), err
}

func errNewer(version, want int32) error {
	return fmt.Errorf("its tables have version %d, and this program knows %d: they were written by a newer one; upgrade this one", version, want)
}

// checkSchema refuses tables of another version than this program's.
func checkSchema(ctx context.Context, p *Pool) error {
	want, err := schemaVersion()
	if err != nil {
		return err
	}
	var version int32
	err = p.QueryRow(ctx, "SELECT version FROM "+versionTable).Scan(&version)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == undefinedTable {
		return errors.New("it has no tables of a log yet: run `cairn-ledger init -config FILE`")
	}
	if err != nil {
		return fmt.Errorf("reading the version of its tables: %w", err)
	}
	if version < want {
		return fmt.Errorf("its tables have version %d, and this program needs %d: run `cairn-ledger init -config FILE`, which migrates them", version, want)
	}
	if version > want {
		return errNewer(version, want)
	}
	return nil
}
