package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/reason"
)

// TestStatusOfStorage has a storage say, as databases do, where it is and as whom it
// is asked.
func TestStatusOfStorage(t *testing.T) {
	failed := errors.New("failed to connect to `user=cairn database=log`: 10.0.0.7:5432 (db.internal): connection refused")
	_, err := toStatus(t.Context(), fmt.Errorf("placing 3 entries: %w", &reason.Error{
		Reason: reason.StorageUnavailable, Message: "the ledger's database is not available: " + failed.Error(), Cause: failed,
	}))
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || st.Message() == "" {
		t.Errorf("the status is %v", st)
	}
	for _, secret := range []string{"cairn", "10.0.0.7", "db.internal"} {
		if strings.Contains(st.Message(), secret) {
			t.Errorf("clients are told %q", st.Message())
		}
	}
	const told = "the index is being rebuilt: it has 3 of 7 entries"
	_, err = toStatus(t.Context(), &reason.Error{Reason: reason.StorageUnavailable, Message: told})
	if got := status.Convert(err).Message(); got != told {
		t.Errorf("clients are told %q, want %q", got, told)
	}
}
