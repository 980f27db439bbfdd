package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// readerOf returns a reader of a ledger that answers everything with what
// answer writes.
func readerOf(t *testing.T, answer func(w http.ResponseWriter)) *reader {
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
	return &reader{client: c, entries: make(map[int64]*Logged), checkpoint: torchwood.Checkpoint{Tree: tlog.Tree{N: 1 << 40}}}
}

// TestClaimsAreBounded: the log may be large, and the ledger may say that all
// of it is about one artifact.
func TestClaimsAreBounded(t *testing.T) {
	index := 0
	r := readerOf(t, func(w http.ResponseWriter) {
		if index > 3*MaxEntries {
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
	if _, err := r.list(t.Context(), &cairnv1.ListAttestationsRequest{}, nil); err == nil || !strings.Contains(err.Error(), "more than 100000 entries") {
		t.Errorf("error %v", err)
	}
}

func TestReadBytesAreBounded(t *testing.T) {
	r := readerOf(t, func(http.ResponseWriter) {})
	r.bytes = MaxBytes
	l := &Logged{Attestation: &attest.Attestation{Raw: []byte("x")}}
	if err := r.add(l, nil); err == nil || !strings.Contains(err.Error(), "over the limit") {
		t.Errorf("error %v", err)
	}
}

func TestReadEntriesAreBounded(t *testing.T) {
	r := readerOf(t, func(http.ResponseWriter) {})
	for i := range int64(MaxEntries + 1) {
		err := r.add(&Logged{Attestation: &attest.Attestation{}, Index: i}, nil)
		if last := i == MaxEntries; (err != nil) != last {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}

// TestUnheardEntriesAreNotCounted: a stranger who logs a great deal about an
// artifact must not keep what is heard from being read.
func TestUnheardEntriesAreNotCounted(t *testing.T) {
	index := 0
	r := readerOf(t, func(w http.ResponseWriter) {
		var entries []string
		for range 50_000 {
			entries = append(entries, fmt.Sprintf(`{"index":"%d"}`, index))
			index++
		}
		next := "more"
		if index > MaxEntries+50_000 {
			next = ""
		}
		_, _ = fmt.Fprintf(w, `{"entries":[%s],"nextPageToken":%q}`, strings.Join(entries, ","), next)
	})
	keep := func(e *cairnv1.Entry) bool { return e.GetIndex()%10_000 == 0 }
	if got, err := r.list(t.Context(), &cairnv1.ListAttestationsRequest{}, keep); err != nil || len(got) != 20 {
		t.Errorf("%d entries, error %v", len(got), err)
	}
}

// TestReadWithoutTime: what was not read for want of time must not be taken for
// read.
func TestReadWithoutTime(t *testing.T) {
	r := readerOf(t, func(http.ResponseWriter) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.read(ctx, []*cairnv1.Entry{{Index: 1}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
