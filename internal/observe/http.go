package observe

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
)

// Handler gives each request an id, which it returns to the client, and a span. Each
// answer is logged at debug. next is an *http.ServeMux, or leads to one behind Routes:
// spans are named by the pattern that matched, never by the path, which anybody may
// choose.
func Handler(next http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := ChooseID(r.Header.Get(RequestIDHeader))
		w.Header().Set(RequestIDHeader, id)
		ctx := WithID(r.Context(), id)
		debug := logger.Enabled(ctx, slog.LevelDebug)
		if !debug && !Tracing() {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		start, method := time.Now(), knownMethod(r.Method)
		ctx, span := StartServer(ctx, method, propagation.HeaderCarrier(r.Header))
		var behind string
		ctx = context.WithValue(ctx, routeKey{}, &behind)
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(ctx)
		defer func() {
			route := routeOf(cmp.Or(behind, r.Pattern))
			span.Rename(method + " " + route)
			span.Text("http.request.method", method)
			span.Text("http.route", route)
			span.Int("http.response.status_code", int64(rec.status))
			span.End(failed(rec.status))
			if debug {
				logger.DebugContext(ctx, "answered", slog.String("method", method), slog.String("route", route),
					slog.Int("status", rec.status), slog.Duration("took", time.Since(start)))
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

type routeKey struct{}

// Routes tells Handler which pattern of a mux matched, where what is between the two
// hands on another request than it got.
func Routes(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if route, ok := r.Context().Value(routeKey{}).(*string); ok {
				*route = r.Pattern
			}
		}()
		mux.ServeHTTP(w, r)
	})
}

// routeOf returns the pattern that a mux matched, without the method.
func routeOf(pattern string) string {
	if _, path, found := strings.Cut(pattern, " "); found {
		return path
	}
	return cmp.Or(pattern, "none")
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "OTHER"
}

type statusError int

func (s statusError) Error() string { return http.StatusText(int(s)) }

// failed returns an error for an answer that says that the server failed.
func failed(status int) error {
	if status >= http.StatusInternalServerError {
		return statusError(status)
	}
	return nil
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if !r.begun && status >= http.StatusOK {
		r.status, r.begun = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.begun = true
	return r.ResponseWriter.Write(p)
}

// FlushError is what http.ResponseController calls.
func (r *recorder) FlushError() error {
	r.begun = true
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController find what the writer can do besides.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
