package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/builder/queue"
	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/query"
)

// gatewayTo returns the gateway to a service of builds.
func gatewayTo(t *testing.T, builds Builds) http.Handler {
	t.Helper()
	board := checkpoint.NewBoard()
	m := newMetrics(prometheus.NewRegistry(), board, time.Now, func() float64 { return 0 })
	in := &interceptors{metrics: m, log: slog.New(slog.DiscardHandler)}
	g, err := newGateway(context.Background(), &service{Service: &query.Service{Latest: query.LatestOf(board)}, board: board}, builds, noRekor{}, in)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// ask returns the answer to a request, and the reason in it.
func ask(t *testing.T, h http.Handler, method, path, token string) (answer *http.Response, reason string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader("{}"))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var status struct {
		Details []struct{ Reason string }
		Error   struct {
			Details []struct{ Reason string }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	for _, d := range append(status.Details, status.Error.Details...) {
		reason = d.Reason
	}
	return w.Result(), reason
}

// TestWithoutBuilds: a ledger without a queue says so, whatever is asked of it.
func TestWithoutBuilds(t *testing.T) {
	h := gatewayTo(t, noBuilds{})
	for _, call := range []string{
		"POST /v1/builds", "GET /v1/builds/7", "GET /v1/builds", "POST /v1/builds/7:cancel", "GET /v1/builds/7/log", "POST /v1/builds:lease",
		"POST /v1/builds/7:renew", "POST /v1/builds/7:appendLog", "POST /v1/builds/7:complete",
	} {
		method, path, _ := strings.Cut(call, " ")
		if got, reason := ask(t, h, method, path, ""); got.StatusCode != http.StatusNotImplemented || reason != "BUILDS_ABSENT" {
			t.Errorf("%s: %s, %s", call, got.Status, reason)
		}
	}
}

// TestTokenOverREST: the gateway hands the token on, and says what is wanted.
func TestTokenOverREST(t *testing.T) {
	q, err := queue.Open(t.Context(), queue.Config{Path: filepath.Join(t.TempDir(), "builds.db"), Origin: "server.example/log"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	secret := bearer.Generate()
	h := gatewayTo(t, queue.NewService(q, bearer.NewSet([]bearer.Token{{Secret: secret, Name: "tester"}}), nil))
	for _, token := range []string{"", "another"} {
		got, reason := ask(t, h, "POST", "/v1/builds/7:cancel", token)
		if got.StatusCode != http.StatusUnauthorized || reason != "TOKEN_REFUSED" || got.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("with token %q: %s, %s, %v", token, got.Status, reason, got.Header)
		}
	}
	if got, reason := ask(t, h, "POST", "/v1/builds/7:cancel", secret); got.StatusCode != http.StatusNotFound || reason != "BUILD_NOT_FOUND" {
		t.Errorf("with the token: %s, %s", got.Status, reason)
	}
}
