package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/reason"
)

// What storage says of itself is for the operator: whoever asked learns that it is
// away, and the id by which the log is searched.
func TestStorageIsNotToldOf(t *testing.T) {
	const secret = "s3://cairn-log/attestations: dial tcp 10.0.0.7:5432: user cairn"
	trillian := status.Error(codes.Unavailable, secret)
	for _, test := range []struct {
		name string
		err  error
		want reason.Reason
	}{
		{"storage", &reason.Error{Reason: reason.StorageUnavailable, Message: secret, RetryAfter: time.Second}, reason.StorageUnavailable},
		{"storage that is Trillian", &reason.Error{Reason: reason.StorageUnavailable, Message: secret, RetryAfter: time.Second, Cause: trillian}, reason.StorageUnavailable},
		{"wrapped", fmt.Errorf("reading %s: %w", secret, reason.Errorf(reason.StorageUnavailable, "%w", trillian)), reason.StorageUnavailable},
		{"a status of Trillian", fmt.Errorf("reading leaves of %s: %w", secret, trillian), reason.InternalError},
		{"any other error", errors.New(secret), reason.InternalError},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := observe.WithID(t.Context(), "the-id")
			row, err := toStatus(ctx, test.err)
			if row.Reason != test.want {
				t.Errorf("the reason is %s, want %s", row.Reason, test.want)
			}
			st, _ := status.FromError(err)
			if text := fmt.Sprint(st.Proto()); strings.Contains(text, "cairn-log") || strings.Contains(text, "10.0.0.7") {
				t.Errorf("the answer tells of storage: %s", text)
			}
			wait := test.want == reason.StorageUnavailable && test.name != "wrapped"
			id := ""
			for _, d := range st.Details() {
				switch d := d.(type) {
				case *errdetails.ErrorInfo:
					id = d.GetMetadata()["requestId"]
				case *errdetails.RetryInfo:
					wait = wait && d.GetRetryDelay().AsDuration() != time.Second
				}
			}
			if id != "the-id" || wait {
				t.Errorf("the answer has no id, or not when to try again: %v", st.Proto())
			}
		})
	}
}

// Of many requests that fail because storage is away, the operator sees one a while,
// with its id and the details.
func TestStorageIsLogged(t *testing.T) {
	const secret = "dial tcp 10.0.0.7:5432"
	var out bytes.Buffer
	in := &interceptors{
		log:  slog.New(observe.LogHandler(slog.NewTextHandler(&out, nil))),
		away: rate.Sometimes{Interval: time.Hour},
	}
	ctx := observe.WithID(t.Context(), "the-id")
	row, _ := toStatus(ctx, reason.Errorf(reason.StorageUnavailable, secret))
	for range 3 {
		in.logFailure(ctx, "Submit", row, reason.Errorf(reason.StorageUnavailable, secret))
	}
	in.logFailure(ctx, "Submit", reason.Lookup(reason.Overloaded), reason.Errorf(reason.Overloaded, "full"))
	got := out.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, secret) || !strings.Contains(got, "requestId=the-id") || !strings.Contains(got, "level=WARN") {
		t.Errorf("logged\n%s\nwant one warning with the details and the id", got)
	}
}
