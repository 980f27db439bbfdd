package observe

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracer is nil while nothing is traced.
var tracer atomic.Pointer[trace.Tracer]

// SetTracer has spans made from now on; nil ends that. It is for the start of a
// process, and for tests.
func SetTracer(t trace.Tracer) {
	if t == nil {
		tracer.Store(nil)
		return
	}
	tracer.Store(&t)
}

// Tracing reports whether spans are made.
func Tracing() bool { return tracer.Load() != nil }

// Span is a step under way. The zero Span is one that is not traced; its methods do
// nothing.
type Span struct{ span trace.Span }

// Start begins a step of what ctx is about.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// StartClient begins a request to another process.
func StartClient(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindClient)
}

func start(ctx context.Context, name string, kind trace.SpanKind, links ...trace.Link) (context.Context, Span) {
	t := tracer.Load()
	if t == nil {
		return ctx, Span{}
	}
	ctx, s := (*t).Start(ctx, name, trace.WithSpanKind(kind), trace.WithLinks(links...))
	return ctx, Span{s}
}

// StartServer begins to serve a request of another process, as part of the trace
// that the carrier names, if it names one.
func StartServer(ctx context.Context, name string, from propagation.TextMapCarrier) (context.Context, Span) {
	if !Tracing() {
		return ctx, Span{}
	}
	remote := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), from))
	if remote.IsValid() {
		// What vendors add for themselves is nobody's business here.
		ctx = trace.ContextWithRemoteSpanContext(ctx, remote.WithTraceState(trace.TraceState{}))
	}
	return start(ctx, name, trace.SpanKindServer)
}

// StartFor begins a step that is done for several at once, each of which is the
// place where it asked for it. The step is part of the first of their traces that is
// sampled, and linked to the others.
func StartFor(ctx context.Context, name string, askers []trace.SpanContext) (context.Context, Span) {
	if !Tracing() {
		return ctx, Span{}
	}
	var links []trace.Link
	var first trace.SpanContext
	for _, a := range askers {
		switch {
		case !a.IsSampled():
		case !first.IsValid():
			first = a
		default:
			links = append(links, trace.Link{SpanContext: a})
		}
	}
	if first.IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, first)
	}
	return start(ctx, name, trace.SpanKindInternal, links...)
}

// Here returns the place in a trace that ctx is at; the zero one if there is none.
func Here(ctx context.Context) trace.SpanContext {
	if !Tracing() {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(ctx)
}

// At returns a context at a place that Here returned.
func At(ctx context.Context, place trace.SpanContext) context.Context {
	if !place.IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, place)
}

// Inject tells the process that is asked which trace the request is part of.
func Inject(ctx context.Context, h http.Header) { InjectInto(ctx, propagation.HeaderCarrier(h)) }

// InjectInto is Inject for what is not HTTP.
func InjectInto(ctx context.Context, to propagation.TextMapCarrier) {
	if Tracing() {
		propagation.TraceContext{}.Inject(ctx, to)
	}
}

// End ends a step. Whether it failed is recorded, and not how.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// Int says how many of something a step is about.
func (s Span) Int(key string, n int64) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int64(key, n))
	}
}

// Text says something of a step. The value must be one of a few that are chosen
// here or in the configuration: see the package's invariants.
func (s Span) Text(key, value string) {
	if s.span != nil {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Rename gives a step the name that is known only at its end.
func (s Span) Rename(name string) {
	if s.span != nil {
		s.span.SetName(name)
	}
}

// maxPlaces bounds what a Handover holds, as the number of links of a span is.
const maxPlaces = 128

// Handover hands the places of those who ask for something from the goroutine that
// takes them in to the one that does it for all of them. The zero one is ready to use.
type Handover struct {
	mu     sync.Mutex
	places []trace.SpanContext
}

// Put adds the place that ctx is at. Of very many, the last are kept.
func (h *Handover) Put(ctx context.Context) {
	place := Here(ctx)
	if !place.IsSampled() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.places) == maxPlaces {
		h.places = slices.Delete(h.places, 0, 1)
	}
	h.places = append(h.places, place)
}

// Take returns what was put since it was called last.
func (h *Handover) Take() []trace.SpanContext {
	if !Tracing() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	taken := slices.Clone(h.places)
	h.places = h.places[:0]
	return taken
}
