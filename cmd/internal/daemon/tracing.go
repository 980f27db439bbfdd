package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"

	"github.com/cairnlog/cairn/internal/observe"
)

// Bounds of what waits to be exported.
const (
	maxSpans      = 4096            // more are dropped, and counted
	exportTimeout = 5 * time.Second // of one attempt to export
	batchTimeout  = time.Second     // how long a span waits for others
)

// Tracing is the part of a configuration that is about OpenTelemetry traces.
type Tracing struct {
	// Endpoint is where spans are sent by OTLP: the http or https URL of a
	// collector, to whose path v1/traces is added if it has none, or a grpc or
	// grpcs URL. Nothing is traced if it is empty, unless the environment has
	// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT.
	Endpoint string `yaml:"endpoint"`
	// Sample is the fraction of traces that is kept, 1 if it is left out. Daemons
	// with the same fraction keep the same traces.
	Sample *float64 `yaml:"sample"`
}

// environment has the variables that turn tracing on.
var environment = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}

// Check reports what is wrong with a configuration, or nil.
func (t *Tracing) Check() error {
	if t == nil {
		return nil
	}
	if s := t.Sample; s != nil && !(*s >= 0 && *s <= 1) {
		return fmt.Errorf("tracing.sample is %v: it is a fraction from 0 to 1", *s)
	}
	if t.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return errors.New("tracing.endpoint is not a URL") // the error quotes it, and it may have a password
	}
	switch u.Scheme {
	case "http", "https", "grpc", "grpcs":
	default:
		return fmt.Errorf("tracing.endpoint has the scheme %.20q: use http, https, grpc or grpcs", u.Scheme)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("tracing.endpoint must have a host, and neither a user nor a query: put headers into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return nil
}

// on reports whether something is to be traced.
func (t *Tracing) on() bool {
	if t != nil && t.Endpoint != "" {
		return true
	}
	for _, name := range environment {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// Traces is the export of a daemon's traces.
type Traces struct {
	provider *trace.TracerProvider
	spans    *prometheus.CounterVec
}

// StartTracing has spans made and exported for a service, if the configuration or
// the environment says where to. Export never holds up what is traced: spans that
// cannot be sent in time are dropped and counted. logger learns why, at most once a
// minute.
func StartTracing(ctx context.Context, c *Tracing, service string, logger *slog.Logger) (*Traces, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if !c.on() {
		return &Traces{}, nil
	}
	exporter, err := c.exporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("preparing the export of traces: %w", err)
	}
	t := &Traces{spans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cairn_trace_spans_total",
		Help: "Spans by what became of them: exported, failed, or dropped because too many waited.",
	}, []string{"result"})}
	counted := &countedExporter{SpanExporter: exporter, exported: t.spans.WithLabelValues("exported"), failed: t.spans.WithLabelValues("failed")}
	bounded := &boundedProcessor{
		SpanProcessor: trace.NewBatchSpanProcessor(counted, trace.WithMaxQueueSize(maxSpans), trace.WithMaxExportBatchSize(maxSpans/8),
			trace.WithBatchTimeout(batchTimeout), trace.WithExportTimeout(exportTimeout)),
		waiting: &counted.waiting, dropped: t.spans.WithLabelValues("dropped"),
	}
	kept := 1.0
	if c != nil && c.Sample != nil {
		kept = *c.Sample
	}
	t.provider = trace.NewTracerProvider(
		trace.WithSpanProcessor(bounded),
		trace.WithSampler(sampler(kept)),
		trace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))),
	)
	limit := rate.Sometimes{First: 1, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		limit.Do(func() { logger.WarnContext(ctx, "traces are not exported", slog.Any("err", err)) })
	}))
	observe.SetTracer(t.provider.Tracer("github.com/cairnlog/cairn"))
	return t, nil
}

// sampler keeps a fraction of traces, by their ids. A stranger's word that a trace is
// kept makes no difference; that it is not is believed.
func sampler(kept float64) trace.Sampler {
	byID := trace.TraceIDRatioBased(kept)
	return trace.ParentBased(byID, trace.WithRemoteParentSampled(byID))
}

func (t *Tracing) exporter(ctx context.Context) (trace.SpanExporter, error) {
	if t == nil || t.Endpoint == "" {
		if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") == "grpc" {
			return otlptracegrpc.New(ctx)
		}
		return otlptracehttp.New(ctx)
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "grpc":
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(u.Host), otlptracegrpc.WithInsecure())
	case "grpcs":
		return otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(u.Host))
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
}

// Collectors returns the metrics of the export; none if nothing is exported.
func (t *Traces) Collectors() []prometheus.Collector {
	if t.spans == nil {
		return nil
	}
	return []prometheus.Collector{t.spans}
}

// Stop sends what waits, for at most exportTimeout, and ends the export. What could
// not be sent is no error: the daemon did its work.
func (t *Traces) Stop() {
	if t.provider == nil {
		return
	}
	observe.SetTracer(nil)
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	_ = t.provider.Shutdown(ctx)
}

// boundedProcessor drops spans while too many wait. The processor behind it would
// drop them, too, but tells nobody.
type boundedProcessor struct {
	trace.SpanProcessor
	waiting *atomic.Int64
	dropped prometheus.Counter
}

// OnEnd implements trace.SpanProcessor.
func (p *boundedProcessor) OnEnd(s trace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if p.waiting.Add(1) > maxSpans {
		p.waiting.Add(-1)
		p.dropped.Inc()
		return
	}
	p.SpanProcessor.OnEnd(s)
}

// countedExporter counts what it is given to export.
type countedExporter struct {
	trace.SpanExporter
	waiting          atomic.Int64
	exported, failed prometheus.Counter
}

// ExportSpans implements trace.SpanExporter.
func (e *countedExporter) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	e.waiting.Add(-int64(len(spans)))
	if err != nil {
		e.failed.Add(float64(len(spans)))
		return err
	}
	e.exported.Add(float64(len(spans)))
	return nil
}
