package store_test

import (
	"context"
	"testing"

	"github.com/cairnlog/cairn/ledger/store"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
	"github.com/cairnlog/cairn/ledger/store/storetest"
)

// openPool returns a pool of the database at a URL, whose tables it makes if they
// are missing: what one front end has.
func openPool(tb testing.TB, url string) *postgres.Pool {
	tb.Helper()
	if err := postgres.Migrate(context.Background(), url); err != nil {
		tb.Fatal(err)
	}
	pool, err := postgres.Open(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func openPostgresIndex(tb testing.TB, pool *postgres.Pool) *store.PostgresIndex {
	tb.Helper()
	x, err := store.OpenPostgresIndex(context.Background(), pool)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestPostgresIndex(t *testing.T) {
	storetest.Index(t, func(t *testing.T) func() store.Index {
		url := pgtest.Database(t)
		return func() store.Index { return openPostgresIndex(t, openPool(t, url)) }
	})
}
