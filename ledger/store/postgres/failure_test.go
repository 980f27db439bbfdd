package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cairnlog/cairn/ledger/reason"
)

func TestClassify(t *testing.T) {
	code := func(c string) error { return fmt.Errorf("placing: %w", &pgconn.PgError{Code: c}) }
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"the server shuts down", code("57P01"), true},
		{"the server crashed", code("57P02"), true},
		{"the server starts", code("57P03"), true},
		{"too many connections", code("53300"), true},
		{"the disk is full", code("53100"), true},
		{"the connection failed", code("08006"), true},
		{"a statement took too long", code("57014"), true},
		{"a lock took too long", code("55P03"), true},
		{"this process was paused in a transaction", code("25P03"), true},
		{"a standby", code("25006"), true},
		{"an error of input or output", code("58030"), true},
		{"the host is unreachable", fmt.Errorf("connecting: %w", dial), true},
		{"the connection ended", fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), true},
		{"no socket", syscall.ENOENT, true},
		{"a duplicate key", code("23505"), false},
		{"a wrong password", code("28P01"), false},
		{"no such database", code("3D000"), false},
		{"no such table", code("42P01"), false},
		{"data corrupted", code("XX001"), false},
		{"no code", code(""), false},
		{"anything else", errors.New("out of order"), false},
		{"nothing", nil, false},
	} {
		err := Classify(t.Context(), test.err)
		r, ok := reason.Of(err)
		if ok != test.want || !errors.Is(err, test.err) || ok && (r.Reason != reason.StorageUnavailable || r.RetryAfter <= 0) {
			t.Errorf("%s: Classify = %v, want unavailable: %v", test.name, err, test.want)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Classify(done, dial); err != error(dial) {
		t.Errorf("of a context that is done: %v", err)
	}
	other := &reason.Error{Reason: reason.KeyRevoked, Cause: io.EOF}
	if err := Classify(t.Context(), other); err != error(other) {
		t.Errorf("what has a reason already: %v", err)
	}
}
