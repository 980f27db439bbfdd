// Package observe lets an operator follow one request through the daemons: by an
// id in every log line and answer, and by the spans of OpenTelemetry traces.
//
// Invariants:
//   - Nothing is traced until SetTracer is called. Until then Start, End and what
//     else is about spans allocate nothing, and start no goroutine.
//   - A span holds the names of steps, sizes and results. It never holds what is
//     submitted, keys, addresses, or the text of an error, which may quote them.
//   - What a stranger sends as an id or a trace is used only if it is well-formed,
//     and is bounded.
package observe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"strings"
)

// RequestIDHeader is the header, and in lower case the gRPC metadata, in which a
// request's id comes and is returned.
const RequestIDHeader = "X-Request-Id"

// maxID is the most bytes of a request's id.
const maxID = 64

type idKey struct{}

// WithID returns a context of the request with an id.
func WithID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, idKey{}, id)
}

// ID returns the id of the request that a context is of; empty if it is of none.
func ID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

// ChooseID returns what the client calls its request, if that is 1 to 64 letters,
// digits, dots, underscores and hyphens, and otherwise a new id.
func ChooseID(client string) string {
	if len(client) > 0 && len(client) <= maxID && !strings.ContainsFunc(client, notInID) {
		return client
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func notInID(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		return false
	}
	return true
}

// LogHandler adds the request's id, and the trace's if it is sampled, to each
// record that is logged with the context of a request.
func LogHandler(h slog.Handler) slog.Handler { return logHandler{h} }

type logHandler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if id := ID(ctx); id != "" {
		r.AddAttrs(slog.String("requestId", id))
	}
	if sc := Here(ctx); sc.IsSampled() {
		r.AddAttrs(slog.String("traceId", sc.TraceID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
