// Package postgres opens the database that the front ends of one log share, and
// says which of its failures pass.
//
// One database, or one schema of it (search_path in the URL), is one log. Its
// tables, by what a loss of them means:
//
//   - log: which log this is. Written once, by `cairn-ledger init`.
//   - queue_head, queue_tail, queue, queue_terms: the entries that have an index
//     and are not in the log's storage yet. They must not be lost, and an older
//     copy must not be restored once a later index was given out: an
//     acknowledged entry would be gone and its index given to another. A backup
//     is therefore one of write-ahead logs, up to the last commit.
//   - marks: what the latest changes were. As above.
//   - index_head, entries, terms, keys, endorsements: the index of queries. It
//     follows from the log and may be emptied (as a whole); it is rebuilt, and
//     nothing new is placed until it has what left the queue.
//
// Invariants:
//   - A Pool is of a database whose tables are of this program's version, and
//     whose commits are durable when they are acknowledged, unless a transaction
//     asks for less. A commit that is durable makes those before it durable.
//   - No transaction outlives a process that stopped answering by more than
//     idleInTransaction, so that a paused front end does not hold up the others.
//   - A failure that may pass comes out as reason.StorageUnavailable.
//
// Connections go to the server itself or to a pooler of sessions: notifications,
// and the settings of a connection, do not pass a pooler of transactions.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cairnlog/cairn/ledger/reason"
)

// What a connection is held to, unless its URL says otherwise.
const (
	connectTimeout    = 5 * time.Second
	statementTimeout  = 30 * time.Second
	idleInTransaction = 2 * time.Second  // shorter than it takes to replace a publisher
	lockTimeout       = 10 * time.Second // longer than a paused front end can hold a lock
	maxConns          = 16
	applicationName   = "cairn-ledger"
	retries           = 5
)

// Pool is connections to the database of a log.
type Pool struct {
	*pgxpool.Pool
}

// errURL says nothing of the URL: what cannot be parsed may have its password
// anywhere.
var errURL = errors.New("the database's URL is not understood: want postgres://user@host:port/database?option=value (it is not shown, because it may have a password)")

// config parses a URL and adds the settings that the invariants need. Errors do
// not contain the password.
func config(url string) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errURL
	}
	if c.ConnConfig.ConnectTimeout == 0 || c.ConnConfig.ConnectTimeout > time.Minute {
		c.ConnConfig.ConnectTimeout = connectTimeout
	}
	// A standby takes no writes: with several hosts the one that does is looked for.
	if c.ConnConfig.ValidateConnect == nil {
		c.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// pgx has a default of its own, which a URL may not have meant.
	if c.MaxConns < maxConns {
		c.MaxConns = maxConns
	}
	for name, value := range map[string]string{
		"application_name":                    applicationName,
		"statement_timeout":                   milliseconds(statementTimeout),
		"lock_timeout":                        milliseconds(lockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleInTransaction),
		// The same for one that stopped while it was sent an answer.
		"tcp_user_timeout": milliseconds(idleInTransaction),
		// Every query goes by a key. The queue is empty most of the time, and a plan
		// made for an empty table would read all of a full one.
		"enable_seqscan": "off",
		"jit":            "off", // the cost of a plan without an alternative would turn it on
	} {
		if _, ok := c.ConnConfig.RuntimeParams[name]; !ok {
			c.ConnConfig.RuntimeParams[name] = value
		}
	}
	return c, nil
}

// CheckURL reports whether Open understands a URL, without asking the database. The
// error does not contain the password.
func CheckURL(url string) error {
	_, err := config(url)
	return err
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// Open connects to the database of a URL (or of libpq's keywords and values) and
// checks that its tables are of this program's version. Errors never contain the
// password.
func Open(ctx context.Context, url string) (*Pool, error) {
	c, err := config(url)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", Classify(ctx, err))
	}
	p := &Pool{pool}
	if err := p.check(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("opening the database %s: %w", c.ConnConfig.Database, Classify(ctx, err))
	}
	return p, nil
}

// check refuses what would break the invariants of the package.
func (p *Pool) check(ctx context.Context) error {
	if err := checkSchema(ctx, p); err != nil {
		return err
	}
	var commit, encoding string
	const settings = "SELECT current_setting('synchronous_commit'), current_setting('server_encoding')"
	if err := p.QueryRow(ctx, settings).Scan(&commit, &encoding); err != nil {
		return fmt.Errorf("reading its settings: %w", err)
	}
	// An entry with a character that the database has not could never be indexed.
	if encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s: create it with ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	if commit == "off" {
		return errors.New("its commits are acknowledged before they are durable: set synchronous_commit to on, for this database and this user, too")
	}
	return nil
}

// InTx runs f in a transaction of isolation level read committed: each statement
// sees what was committed before it began, so what follows a lock sees all that
// happened before the lock was taken.
//
// f may run several times: after a deadlock or serialization failure, and after a
// lost connection if nothing can have been committed. It must not commit, and must
// be done well within idleInTransaction between two statements. If the connection is
// lost while committing, the transaction may have been committed; the error is
// then StorageUnavailable, as for other failures that pass.
func (p *Pool) InTx(ctx context.Context, f func(pgx.Tx) error) error {
	return p.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, f)
}

// View runs f in a transaction that reads one state of the database, otherwise as
// InTx does.
func (p *Pool) View(ctx context.Context, f func(pgx.Tx) error) error {
	return p.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

// Read runs f, which reads by single statements and may run several times, on a
// connection. A connection that was lost since it was last used is not noticed.
// Failures are those of InTx.
func (p *Pool) Read(ctx context.Context, f func(*pgx.Conn) error) error {
	return p.retry(ctx, func(conn *pgx.Conn) (again bool, err error) {
		err = f(conn)
		return err != nil && conn.IsClosed() && isUnavailable(err), err
	})
}

func (p *Pool) inTx(ctx context.Context, opts pgx.TxOptions, f func(pgx.Tx) error) error {
	return p.retry(ctx, func(conn *pgx.Conn) (again bool, err error) { return tryTx(ctx, conn, opts, f) })
}

// retry runs f until it succeeds or does not ask to run again.
func (p *Pool) retry(ctx context.Context, f func(*pgx.Conn) (again bool, err error)) error {
	for try := 1; ; try++ {
		again, err := p.try(ctx, f)
		if err == nil {
			return nil
		}
		if !again || try == retries || ctx.Err() != nil {
			return Classify(ctx, err)
		}
	}
}

func (p *Pool) try(ctx context.Context, f func(*pgx.Conn) (again bool, err error)) (again bool, err error) {
	conn, err := p.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("connecting: %w", err)
	}
	defer conn.Release()
	again, err = f(conn.Conn())
	if err != nil && conn.Conn().IsClosed() && ctx.Err() == nil {
		p.Reset() // the others that idle are most likely dead, too
	}
	return again, err
}

// tryTx runs f in a transaction. After an error, again tells whether nothing was
// committed and the next try may succeed at once.
func tryTx(ctx context.Context, conn *pgx.Conn, opts pgx.TxOptions, f func(pgx.Tx) error) (again bool, err error) {
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return conn.IsClosed(), fmt.Errorf("beginning transaction: %w", err)
	}
	if err := f(tx); err != nil {
		again := isConflict(err) || conn.IsClosed() && isUnavailable(err)
		if rollback := tx.Rollback(ctx); rollback != nil && !conn.IsClosed() {
			err = errors.Join(err, fmt.Errorf("rolling back: %w", rollback))
		}
		return again, err
	}
	if err := tx.Commit(ctx); err != nil {
		return isConflict(err), fmt.Errorf("committing: %w", err)
	}
	return false, nil
}

// retryUnavailable is when to try again what failed for storage.
const retryUnavailable = time.Second

// Classify returns an error of the database as StorageUnavailable if it may pass:
// the server restarts, refuses connections, is out of connections, memory or disk,
// or does not answer in time. Other errors, and those of a ctx that is done, are
// returned as they are.
func Classify(ctx context.Context, err error) error {
	if _, ok := reason.Of(err); ok || err == nil || ctx.Err() != nil || !isUnavailable(err) {
		return err
	}
	return &reason.Error{
		Reason: reason.StorageUnavailable, Message: fmt.Sprintf("the ledger's database is not available: %v", err),
		RetryAfter: retryUnavailable, Cause: err,
	}
}
