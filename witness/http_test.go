package witness

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cairnlog/cairn/ledger/door"
)

// Whoever finds no room is told when to come back, and its body is not read.
func TestTooManyRequests(t *testing.T) {
	w := &Witness{requests: door.New(door.Config{Limit: maxRequests * MaxRequest, Patience: time.Hour, Now: time.Now})}
	for range maxRequests {
		if p, _ := w.requests.Enter(MaxRequest, func() {}); p == nil {
			t.Fatal("there is less room than said")
		}
	}
	body := strings.NewReader("body")
	rec := httptest.NewRecorder()
	w.serveAdd(rec, httptest.NewRequest(http.MethodPost, "/add-checkpoint", body))
	if seconds, err := strconv.Atoi(rec.Header().Get("Retry-After")); rec.Code != http.StatusServiceUnavailable || err != nil || seconds < 1 || body.Len() != 4 {
		t.Errorf("status %d, Retry-After %q, %d bytes left to read", rec.Code, rec.Header().Get("Retry-After"), body.Len())
	}
}
