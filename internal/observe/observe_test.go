package observe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/cairnlog/cairn/internal/observe"
)

var madeID = regexp.MustCompile(`^[0-9a-f]{16}$`)

func TestChooseID(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, good := range []string{"a", "A-1._z", long} {
		if got := observe.ChooseID(good); got != good {
			t.Errorf("%q was replaced by %q", good, got)
		}
	}
	for _, bad := range []string{"", long + "a", "a b", "a\nb", "é", `a"`, "a/b", "a\x00"} {
		if got := observe.ChooseID(bad); !madeID.MatchString(got) {
			t.Errorf("of %q became %q", bad, got)
		}
	}
	if one, other := observe.ChooseID(""), observe.ChooseID(""); one == other {
		t.Error("one id was made twice")
	}
}

// tracing has spans recorded until the end of the test.
func tracing(t *testing.T) *tracetest.SpanRecorder {
	t.Helper()
	rec := tracetest.NewSpanRecorder()
	observe.SetTracer(sdk.NewTracerProvider(sdk.WithSpanProcessor(rec)).Tracer("test"))
	t.Cleanup(func() { observe.SetTracer(nil) })
	return rec
}

func TestHandler(t *testing.T) {
	for _, traced := range []bool{false, true} {
		var logged bytes.Buffer
		logger := slog.New(observe.LogHandler(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
		var rec *tracetest.SpanRecorder
		if traced {
			rec = tracing(t)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /things/{id}", func(w http.ResponseWriter, r *http.Request) {
			logger.InfoContext(r.Context(), "at work")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("the answer cannot be flushed: %v", err)
			}
			w.WriteHeader(http.StatusBadGateway) // too late: 200 was sent
		})
		mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusBadGateway) })
		between := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			observe.Routes(mux).ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		})
		h := observe.Handler(between, logger)
		ask := func(path, id string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("X-Request-Id", id)
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.Header.Set("Tracestate", "vendor=secret")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		if got := ask("/things/7?q=secret", "mine").Header().Get("X-Request-Id"); got != "mine" {
			t.Errorf("the answer has the id %q", got)
		}
		if got := ask("/broken", "not good").Header().Get("X-Request-Id"); !madeID.MatchString(got) {
			t.Errorf("the answer has the id %q", got)
		}
		ask("/nowhere", "")
		for _, want := range []string{"msg=\"at work\" requestId=mine", "msg=answered method=GET route=/broken status=502", "route=none status=404"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, logged.String())
			}
		}
		if has := strings.Contains(logged.String(), "traceId=0af7651916cd43dd8448eb211c80319c"); has != traced {
			t.Errorf("a trace's id is logged: %v, want %v", has, traced)
		}
		if strings.Contains(logged.String(), "secret") {
			t.Errorf("the log has a query:\n%s", logged.String())
		}
		if traced {
			wantServed(t, rec)
		}
	}
}

func wantServed(t *testing.T, rec *tracetest.SpanRecorder) {
	t.Helper()
	var got []string
	for _, s := range rec.Ended() {
		got = append(got, s.Name()+" "+s.Status().Code.String())
		if s.Parent().SpanID().String() != "b7ad6b7169203331" || s.SpanContext().TraceState().Len() != 0 {
			t.Errorf("%s is part of %v, with state %q", s.Name(), s.Parent(), s.SpanContext().TraceState())
		}
	}
	want := []string{"GET /things/{id} Unset", "GET /broken Error", "GET none Unset"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// TestBatch: what is done for several is part of one trace, and linked to the others.
func TestBatch(t *testing.T) {
	rec := tracing(t)
	var h observe.Handover
	var askers []trace.SpanContext
	for range 3 {
		ctx, span := observe.Start(t.Context(), "ask")
		askers = append(askers, observe.Here(ctx))
		h.Put(ctx)
		span.End(nil)
	}
	if diff := cmp.Diff(askers, h.Take(), cmp.Comparer(trace.SpanContext.Equal)); diff != "" {
		t.Errorf("handed over (-want +got):\n%s", diff)
	}
	if left := h.Take(); len(left) != 0 {
		t.Errorf("handed over twice: %v", left)
	}
	unsampled := askers[0].WithTraceFlags(0)
	_, span := observe.StartFor(t.Context(), "do", append([]trace.SpanContext{unsampled, {}}, askers...))
	span.End(errors.New("https://key.example said secret"))
	last := rec.Ended()[3]
	if last.Parent().SpanID() != askers[0].SpanID() || len(last.Links()) != 2 || last.Links()[1].SpanContext.SpanID() != askers[2].SpanID() {
		t.Errorf("the step is part of %v, with links %v", last.Parent(), last.Links())
	}
	if last.Status().Description != "" || len(last.Events()) != 0 {
		t.Errorf("what an error said was recorded: %v %v", last.Status(), last.Events())
	}
	for range 200 {
		ctx, span := observe.Start(t.Context(), "ask")
		h.Put(ctx)
		span.End(nil)
	}
	if n := len(h.Take()); n != 128 {
		t.Errorf("%d places were kept, want 128", n)
	}
}

var handover observe.Handover

// off does what a submission does with spans.
func off(ctx context.Context) {
	ctx, server := observe.StartServer(ctx, "server", nil)
	ctx, span := observe.Start(ctx, "step")
	span.Int("n", 1)
	span.Text("result", "ok")
	span.End(nil)
	_, batch := observe.StartFor(ctx, "batch", nil)
	batch.End(nil)
	handover.Put(observe.At(ctx, observe.Here(ctx)))
	observe.Inject(ctx, nil)
	server.End(nil)
}

func TestOffCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { off(t.Context()) }); n != 0 {
		t.Errorf("spans that are not made cost %v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		off(b.Context())
	}
}
