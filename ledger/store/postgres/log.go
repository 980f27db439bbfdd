package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrNoLog is returned for a database that InitLog was not run on.
var ErrNoLog = errors.New("the database is not that of a log yet: run `cairn-ledger init -config FILE`")

// ErrMoving is returned for a database that a log is being moved into. Nobody may
// serve it: the ledger that it comes from may still sign.
var ErrMoving = errors.New("a log is being moved into the database: run `cairn-ledger migrate -from DIR -config FILE` until it is done")

// Log is which log a database is of.
type Log struct {
	Origin string
	Tree   int64 // its tree in Trillian
	Moving bool  // whether it is being moved here, and is not to be served
}

// Log returns which log the database is of, or ErrNoLog, or ErrMoving.
func (p *Pool) Log(ctx context.Context) (*Log, error) {
	l, err := p.AnyLog(ctx)
	if err == nil && l.Moving {
		return nil, ErrMoving
	}
	return l, err
}

// AnyLog returns which log the database is of, also one that is being moved there, or
// ErrNoLog.
func (p *Pool) AnyLog(ctx context.Context) (*Log, error) {
	var l *Log
	err := p.Read(ctx, func(conn *pgx.Conn) (err error) {
		l, err = readLog(conn.QueryRow(ctx, selectLog))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading which log the database is of: %w", err)
	}
	return l, nil
}

const selectLog = "SELECT origin, tree, moving FROM log"

func readLog(row pgx.Row) (*Log, error) {
	var l Log
	err := row.Scan(&l.Origin, &l.Tree, &l.Moving)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoLog
	}
	return &l, err
}

// InitLog makes the database that of the log with an origin, whose tree it has
// created by create, and returns the log. Of a database that is of a log already it
// returns that log, without a call of create, or fails if it has another origin or is
// being moved there.
// Several may run at once; create is called once at a time, and again only after an
// error.
func (p *Pool) InitLog(ctx context.Context, origin string, create func(context.Context) (tree int64, err error)) (*Log, error) {
	l, err := p.makeLog(ctx, origin, false, create)
	if err == nil && l.Moving {
		return nil, ErrMoving
	}
	return l, err
}

// BeginMove is InitLog of a log that is being moved to the database: until EndMove,
// Log and InitLog fail with ErrMoving. Of a database that has the log it returns that,
// whether it is still being moved or not.
func (p *Pool) BeginMove(ctx context.Context, origin string, create func(context.Context) (tree int64, err error)) (*Log, error) {
	return p.makeLog(ctx, origin, true, create)
}

// EndMove says that a log was moved, which is served from now on.
func (p *Pool) EndMove(ctx context.Context) error {
	if _, err := p.Exec(ctx, "UPDATE log SET moving = false WHERE moving"); err != nil {
		return fmt.Errorf("ending the move of the log: %w", Classify(ctx, err))
	}
	return nil
}

func (p *Pool) makeLog(ctx context.Context, origin string, moving bool, create func(context.Context) (int64, error)) (*Log, error) {
	l, err := p.tryMakeLog(ctx, origin, moving, create)
	if err != nil {
		return nil, fmt.Errorf("making the database that of log %s: %w", origin, Classify(ctx, err))
	}
	if l.Origin != origin {
		return nil, fmt.Errorf("the database is that of log %s, not of %s: every log needs a database or schema of its own", l.Origin, origin)
	}
	return l, nil
}

// tryMakeLog does not retry as InTx does: a tree would be created at each try.
func (p *Pool) tryMakeLog(ctx context.Context, origin string, moving bool, create func(context.Context) (int64, error)) (*Log, error) {
	tx, err := p.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	// The tree is created while the transaction waits.
	if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE log IN EXCLUSIVE MODE"); err != nil {
		return nil, err
	}
	l, err := readLog(tx.QueryRow(ctx, selectLog))
	if !errors.Is(err, ErrNoLog) {
		return l, err
	}
	tree, err := create(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO log (origin, tree, moving) VALUES ($1, $2, $3)", origin, tree, moving); err != nil {
		return nil, err
	}
	return &Log{Origin: origin, Tree: tree, Moving: moving}, tx.Commit(ctx)
}

// SetTree has the log be in another tree of Trillian's than the one it was in. Front
// ends learn it when they start.
func (p *Pool) SetTree(ctx context.Context, from, to int64) error {
	done, err := p.Exec(ctx, "UPDATE log SET tree = $2 WHERE tree = $1", from, to)
	if err != nil {
		return fmt.Errorf("recording tree %d: %w", to, Classify(ctx, err))
	}
	if done.RowsAffected() == 0 {
		return fmt.Errorf("recording tree %d: the log is not in tree %d any more", to, from)
	}
	return nil
}
