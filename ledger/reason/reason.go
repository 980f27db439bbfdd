// Package reason is the one table of why Cairn refuses.
//
// A refusal is named by a Reason: a constant of upper-case words that clients
// may branch on. The table gives each its gRPC code, HTTP status and the exit
// code of the command line, so that the three interfaces cannot disagree;
// docs/errors.md is generated from it.
//
// Invariants: every Reason has exactly one row; a Reason, once released, keeps
// its name and its codes.
package reason

import (
	"errors"
	"fmt"
	"time"
)

// Domain is the ErrorInfo.domain of every Reason.
const Domain = "cairnlog.github.io"

// Exit codes of the command line.
const (
	ExitYes       = 0 // yes, by policy
	ExitNo        = 1 // definite no
	ExitUsage     = 2 // usage or configuration
	ExitUnproven  = 3 // not enough evidence
	ExitNotAsked  = 4 // could not ask
	ExitMisbehave = 5 // the log misbehaved

	// Of an audit alone.
	ExitCorrupt     = 10 // what is there is not what was logged
	ExitPolicy      = 11 // a checkpoint that the policy does not accept
	ExitAttestation = 12 // an entry that does not follow from a valid attestation
)

// Reason names why something was refused.
type Reason string

// Row is one line of the table.
type Row struct {
	Reason  Reason
	Code    Code   // gRPC status code
	HTTP    int    // HTTP status
	Exit    int    // exit code of the command line
	Meaning string // what is wrong
	Advice  string // what to do next
}

// Code is a gRPC status code (google.rpc.Code); the numbers are gRPC's. It is
// declared here so that the verifier does not depend on gRPC.
type Code uint32

// The codes that the table uses.
const (
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	Unauthenticated    Code = 16
)

// String returns the name as google.rpc.Code spells it.
func (c Code) String() string {
	switch c {
	case InvalidArgument:
		return "INVALID_ARGUMENT"
	case DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case NotFound:
		return "NOT_FOUND"
	case PermissionDenied:
		return "PERMISSION_DENIED"
	case ResourceExhausted:
		return "RESOURCE_EXHAUSTED"
	case FailedPrecondition:
		return "FAILED_PRECONDITION"
	case Unimplemented:
		return "UNIMPLEMENTED"
	case Internal:
		return "INTERNAL"
	case Unavailable:
		return "UNAVAILABLE"
	case Unauthenticated:
		return "UNAUTHENTICATED"
	}
	return fmt.Sprintf("CODE_%d", uint32(c))
}

// Error is a refusal. Its message names the offending thing and the limit.
type Error struct {
	Reason     Reason
	Message    string
	RetryAfter time.Duration // when to try again, 0 if retrying as is cannot help
	Cause      error         // may be nil
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an *Error for r. A %w verb sets its cause.
func Errorf(r Reason, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Reason: r, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Of returns the refusal in err's chain, if any.
func Of(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

// Is reports whether err is a refusal for a reason, as Of finds it.
func Is(err error, r Reason) bool {
	e, ok := Of(err)
	return ok && e.Reason == r
}

// Lookup returns the row of r. An unknown reason has the row of InternalError.
func Lookup(r Reason) Row {
	for _, row := range table {
		if row.Reason == r {
			return row
		}
	}
	return Lookup(InternalError)
}

// Table returns all rows in the order of the documentation.
func Table() []Row { return append([]Row(nil), table...) }
