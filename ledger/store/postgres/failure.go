package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// isConflict reports that the server rolled a transaction back in favour of
// another: the same again may succeed.
func isConflict(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}

// transientCodes are the SQLSTATEs of failures that pass, beside those of
// transientClasses.
var transientCodes = map[string]bool{
	"25006": true, // read_only_sql_transaction: a standby, or not promoted yet
	"25P03": true, // idle_in_transaction_session_timeout: this process was paused
	"40001": true, // serialization_failure
	"40P01": true, // deadlock_detected
	"55P03": true, // lock_not_available: lock_timeout
	"57014": true, // query_canceled: statement_timeout
	"57P01": true, // admin_shutdown
	"57P02": true, // crash_shutdown
	"57P03": true, // cannot_connect_now: starting up, recovering, shutting down
	"57P05": true, // idle_session_timeout
}

// transientClasses are the classes of SQLSTATEs all of which pass.
var transientClasses = map[string]bool{
	"08": true, // connection exception
	"53": true, // insufficient resources: connections, memory, disk
	"58": true, // system error: input and output
}

// isUnavailable reports that a failure is of the server's or the network's state,
// not of what was asked.
func isUnavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return transientCodes[pg.Code] || len(pg.Code) == 5 && transientClasses[pg.Code[:2]]
	}
	for _, gone := range []error{
		pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, os.ErrDeadlineExceeded,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE, syscall.ENOENT,
	} {
		if errors.Is(err, gone) {
			return true
		}
	}
	var network net.Error
	return pgconn.Timeout(err) || pgconn.SafeToRetry(err) || errors.As(err, &network)
}
