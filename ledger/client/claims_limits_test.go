package client

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// reader returns a claimReader of a ledger that answers everything with what
// answer writes.
func reader(t *testing.T, answer func(w http.ResponseWriter)) *claimReader {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w)
	}))
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &claimReader{client: c, checkpoint: torchwood.Checkpoint{Tree: tlog.Tree{N: 1 << 40}}}
}

// TestClaimsAreBounded: the log may be large, and the ledger may say that all
// of it is about one artifact.
func TestClaimsAreBounded(t *testing.T) {
	index := 0
	r := reader(t, func(w http.ResponseWriter) {
		if index > 3*MaxClaims {
			_, _ = fmt.Fprint(w, "{}")
			return
		}
		var entries []string
		for range 1000 {
			entries = append(entries, fmt.Sprintf(`{"index":"%d"}`, index))
			index++
		}
		_, _ = fmt.Fprintf(w, `{"entries":[%s],"nextPageToken":"%d"}`, strings.Join(entries, ","), index)
	})
	if _, err := r.list(t.Context(), &cairnv1.ListAttestationsRequest{}); err == nil || !strings.Contains(err.Error(), "more than 10000 entries") {
		t.Errorf("error %v", err)
	}
}

func TestClaimBytesAreBounded(t *testing.T) {
	r := reader(t, func(w http.ResponseWriter) { _, _ = fmt.Fprint(w, `{"attestation":"AA=="}`) })
	r.bytes = MaxClaimBytes
	if _, err := r.logged(t.Context(), &cairnv1.Entry{Envelope: "sha256:" + strings.Repeat("ab", 32)}); err == nil || !strings.Contains(err.Error(), "over the limit") {
		t.Errorf("error %v", err)
	}
}
