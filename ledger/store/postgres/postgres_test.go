package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store/pgtest"
	"github.com/cairnlog/cairn/ledger/store/postgres"
)

// open returns a pool of the database at a URL, which is migrated.
func open(t *testing.T, url string) *postgres.Pool {
	t.Helper()
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func exec(t *testing.T, pool *postgres.Pool, statement string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func wantError(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: error %v, want one with %q", what, err, want)
	}
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if r, ok := reason.Of(err); !ok || r.Reason != reason.StorageUnavailable || r.RetryAfter == 0 {
		t.Errorf("%s: error %v, want %s with a time to try again", what, err, reason.StorageUnavailable)
	}
}

func TestSchemaVersion(t *testing.T) {
	url := pgtest.Database(t)
	_, err := postgres.Open(t.Context(), url)
	wantError(t, "an empty database", err, "cairn-ledger init -config FILE")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Errorf("migrating four times at once: %v", err)
			}
		})
	}
	wg.Wait()
	pool := open(t, url)

	exec(t, pool, "UPDATE cairn_schema_version SET version = version - 1")
	_, err = postgres.Open(t.Context(), url)
	wantError(t, "tables of an earlier version", err, "cairn-ledger init -config FILE")
	exec(t, pool, "UPDATE cairn_schema_version SET version = version + 2")
	_, err = postgres.Open(t.Context(), url)
	wantError(t, "tables of a later version", err, "written by a newer one")
	wantError(t, "migrating tables of a later version", postgres.Migrate(t.Context(), url), "written by a newer one")
}

// TestSchemas has two logs in two schemas of one database.
func TestSchemas(t *testing.T) {
	url := pgtest.Database(t)
	admin := open(t, url)
	for _, schema := range []string{"one", "two"} {
		exec(t, admin, "CREATE SCHEMA "+schema)
		pool := open(t, url+"&search_path="+schema)
		if _, err := pool.InitLog(t.Context(), schema+".example", func(context.Context) (int64, error) { return 1, nil }); err != nil {
			t.Error(err)
		}
	}
	if l, err := admin.Log(t.Context()); !errors.Is(err, postgres.ErrNoLog) {
		t.Errorf("the schema beside them is of log %v, %v", l, err)
	}
}

func TestSynchronousCommitOff(t *testing.T) {
	url := pgtest.Database(t)
	pool := open(t, url)
	exec(t, pool, "ALTER DATABASE "+pool.Config().ConnConfig.Database+" SET synchronous_commit = off")
	_, err := postgres.Open(t.Context(), url)
	wantError(t, "a database that acknowledges early", err, "synchronous_commit")
}

// TestEncoding has a database that cannot hold every text of an entry.
func TestEncoding(t *testing.T) {
	url := pgtest.Database(t)
	pool := open(t, url)
	name := pool.Config().ConnConfig.Database
	exec(t, pool, "CREATE DATABASE "+name+"latin ENCODING 'LATIN1' TEMPLATE template0")
	defer func() { exec(t, pool, "DROP DATABASE "+name+"latin WITH (FORCE)") }()
	latin := strings.Replace(url, "/"+name, "/"+name+"latin", 1)
	if err := postgres.Migrate(t.Context(), latin); err != nil {
		t.Fatal(err)
	}
	_, err := postgres.Open(t.Context(), latin)
	wantError(t, "a database of another encoding", err, "LATIN1")
}

func TestInitLog(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	if l, err := pool.Log(t.Context()); !errors.Is(err, postgres.ErrNoLog) {
		t.Errorf("Log of a new database = %v, %v, want ErrNoLog", l, err)
	}
	broken := errors.New("no tree today")
	if _, err := pool.InitLog(t.Context(), "log.example", func(context.Context) (int64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("InitLog without a tree: %v, want %v", err, broken)
	}
	created := make(chan int64, 4)
	var wg sync.WaitGroup
	for i := range int64(4) {
		wg.Go(func() {
			l, err := pool.InitLog(t.Context(), "log.example", func(context.Context) (int64, error) { created <- i + 7; return i + 7, nil })
			if err != nil || l.Origin != "log.example" || l.Tree < 7 {
				t.Errorf("InitLog = %v, %v", l, err)
			}
		})
	}
	wg.Wait()
	l, err := pool.Log(t.Context())
	if err != nil || len(created) != 1 || l.Tree != <-created || l.Origin != "log.example" {
		t.Errorf("Log = %v, %v, with %d further trees created", l, err, len(created))
	}
	_, err = pool.InitLog(t.Context(), "other.example", func(context.Context) (int64, error) { return 1, nil })
	wantError(t, "another origin", err, "is that of log log.example, not of other.example")
}

// TestSetTree has the log be in another tree, once.
func TestSetTree(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	if err := pool.SetTree(t.Context(), 1, 2); err == nil {
		t.Error("a database without a log is given a tree")
	}
	if _, err := pool.InitLog(t.Context(), "log.example", func(context.Context) (int64, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	if err := pool.SetTree(t.Context(), 1, 2); err != nil {
		t.Error(err)
	}
	if err := pool.SetTree(t.Context(), 1, 3); err == nil || !strings.Contains(err.Error(), "not in tree 1 any more") {
		t.Errorf("SetTree = %v, of a tree that the log left", err)
	}
	if l, err := pool.Log(t.Context()); err != nil || l.Tree != 2 || l.Origin != "log.example" {
		t.Errorf("Log = %+v, %v, want tree 2", l, err)
	}
}

// TestInTxRetries has two transactions that deadlock: both succeed.
func TestInTxRetries(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	exec(t, pool, "CREATE TABLE counters (id int PRIMARY KEY, n int); INSERT INTO counters VALUES (0, 0), (1, 0)")
	var met sync.WaitGroup // both hold a lock
	met.Add(2)
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			tries := 0
			err := pool.InTx(t.Context(), func(tx pgx.Tx) error {
				tries++
				for i := range 2 {
					if _, err := tx.Exec(t.Context(), "UPDATE counters SET n = n + 1 WHERE id = $1", (g+i)%2); err != nil {
						return fmt.Errorf("counting: %w", err)
					}
					if i == 0 && tries == 1 {
						met.Done()
						met.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("after %d tries: %v", tries, err)
			}
		})
	}
	wg.Wait()
	var low, high int
	if err := pool.QueryRow(t.Context(), "SELECT min(n), max(n) FROM counters").Scan(&low, &high); err != nil || low != 2 || high != 2 {
		t.Errorf("counters are %d and %d, %v, want 2", low, high, err)
	}
	broken := errors.New("broken")
	if err := pool.InTx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE counters SET n = 9")
		return errors.Join(broken, err)
	}); !errors.Is(err, broken) {
		t.Errorf("InTx = %v, want %v", err, broken)
	}
	if err := pool.View(t.Context(), func(tx pgx.Tx) error { return tx.QueryRow(t.Context(), "SELECT max(n) FROM counters").Scan(&high) }); err != nil || high != 2 {
		t.Errorf("after a rollback a counter is %d, %v, want 2", high, err)
	}
	err := pool.View(t.Context(), func(tx pgx.Tx) error { _, err := tx.Exec(t.Context(), "UPDATE counters SET n = 9"); return err })
	if err == nil {
		t.Error("a View wrote")
	}
}

// TestRestart has a pool whose server goes away and comes back.
func TestRestart(t *testing.T) {
	s := pgtest.Start(t, "fsync=off")
	pool := open(t, s.Database(t))
	read := func() error {
		return pool.View(t.Context(), func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "SELECT 1")
			return err
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	signals := pool.Listen(ctx, "cairn test")
	<-signals
	for _, end := range []func() error{s.Stop, s.Kill} {
		// A transaction whose connection is lost before it commits.
		again := 0
		err := pool.InTx(t.Context(), func(tx pgx.Tx) error {
			again++
			if again == 1 {
				if err := end(); err != nil {
					t.Fatal(err)
				}
			}
			_, err := tx.Exec(t.Context(), "SELECT 1")
			return err
		})
		wantUnavailable(t, "a transaction across the end of the server", err)
		wantUnavailable(t, "reading without a server", read())
		_, err = postgres.Open(t.Context(), s.URL("test1"))
		wantUnavailable(t, "opening without a server", err)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := pool.InTx(canceled, func(pgx.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("InTx of a canceled context: %v, want that it is canceled", err)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		// Every connection of the pool is dead; none of them is seen.
		if err := read(); err != nil {
			t.Errorf("reading after a restart: %v", err)
		}
		<-signals // it listens again
		exec(t, pool, `NOTIFY "cairn test"`)
		<-signals
	}
}

// TestRetryAfterLostConnection cuts the connection of a transaction while the server
// stays: the transaction runs again.
func TestRetryAfterLostConnection(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	tries := 0
	err := pool.InTx(t.Context(), func(tx pgx.Tx) error {
		tries++
		if tries == 1 {
			exec(t, pool, fmt.Sprintf("SELECT pg_terminate_backend(%d)", tx.Conn().PgConn().PID()))
		}
		_, err := tx.Exec(t.Context(), "SELECT 1")
		return err
	})
	if err != nil || tries != 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	// While committing, nothing is repeated: it may be committed.
	tries = 0
	err = pool.InTx(t.Context(), func(tx pgx.Tx) error {
		tries++
		exec(t, pool, fmt.Sprintf("SELECT pg_terminate_backend(%d)", tx.Conn().PgConn().PID()))
		return nil
	})
	wantUnavailable(t, "a commit that was cut", err)
	if tries != 1 {
		t.Errorf("a commit of unknown outcome was tried %d times", tries)
	}
}

func TestBeginMove(t *testing.T) {
	pool := open(t, pgtest.Database(t))
	create := func(context.Context) (int64, error) { return 7, nil }
	want := postgres.Log{Origin: "log.example", Tree: 7, Moving: true}
	for range 2 {
		if l, err := pool.BeginMove(t.Context(), "log.example", create); err != nil || *l != want {
			t.Errorf("BeginMove = %v, %v, want %v", l, err, want)
		}
	}
	_, err := pool.BeginMove(t.Context(), "other.example", create)
	wantError(t, "another origin", err, "is that of log log.example, not of other.example")
	if l, err := pool.Log(t.Context()); !errors.Is(err, postgres.ErrMoving) {
		t.Errorf("Log = %v, %v, want ErrMoving", l, err)
	}
	if l, err := pool.InitLog(t.Context(), "log.example", create); !errors.Is(err, postgres.ErrMoving) {
		t.Errorf("InitLog = %v, %v, want ErrMoving", l, err)
	}
	if l, err := pool.AnyLog(t.Context()); err != nil || *l != want {
		t.Errorf("AnyLog = %v, %v, want %v", l, err, want)
	}
	want.Moving = false
	for range 2 {
		if err := pool.EndMove(t.Context()); err != nil {
			t.Error(err)
		}
		if l, err := pool.Log(t.Context()); err != nil || *l != want {
			t.Errorf("after the move Log = %v, %v, want %v", l, err, want)
		}
	}
	if l, err := pool.BeginMove(t.Context(), "log.example", create); err != nil || *l != want {
		t.Errorf("BeginMove after the move = %v, %v, want %v", l, err, want)
	}
}
