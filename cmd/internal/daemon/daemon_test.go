package daemon_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/cmd/internal/daemon"
	"github.com/cairnlog/cairn/internal/observe"
)

func TestServeDebug(t *testing.T) {
	for _, bad := range []string{"", "8080", "0.0.0.0:0", ":0", "localhost:0", "192.0.2.1:0", "[::]:0"} {
		if _, stop, err := daemon.ServeDebug(bad); err == nil {
			stop()
			t.Errorf("profiles are served on %q", bad)
		}
	}
	addr, stop, err := daemon.ServeDebug("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	get := func(path, host string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for _, c := range []struct{ path, want string }{
		{"/debug/pprof/", "heap"}, {"/debug/pprof/heap?debug=1", "heap profile"}, {"/debug/pprof/goroutine?debug=1", "goroutine profile"},
		{"/debug/pprof/cmdline", "daemon.test"}, {"/debug/pprof/symbol", "num_symbols"}, {"/debug/pprof/trace?seconds=0.01", "go 1."},
	} {
		if code, body := get(c.path, addr.String()); code != 200 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d, %.80q, want %q in it", c.path, code, body, c.want)
		}
	}
	if code, _ := get("/debug/pprof/heap", "rebound.example"); code != http.StatusForbidden {
		t.Errorf("a page of another host got %d", code)
	}
}

func TestCheckTracing(t *testing.T) {
	half, two := 0.5, 2.0
	for _, good := range []*daemon.Tracing{
		nil, {}, {Endpoint: "http://127.0.0.1:4318", Sample: &half}, {Endpoint: "https://c.example/otlp/v1/traces"}, {Endpoint: "grpc://c.example:4317"},
	} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for want, bad := range map[string]*daemon.Tracing{
		"scheme":   {Endpoint: "c.example:4318"},
		"fraction": {Sample: &two},
		"host":     {Endpoint: "http:///v1"},
		"user":     {Endpoint: "https://u:secret@c.example"},
		"not a":    {Endpoint: "http://u:secret@%zz"},
	} {
		if err := bad.Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v, want %q", bad, err, want)
		}
	}
}

// TestTracingOff: without a word of it in configuration or environment, there is no
// tracing.
func TestTracingOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	for _, c := range []*daemon.Tracing{nil, {}} {
		traces, err := daemon.StartTracing(t.Context(), c, "test", slog.New(slog.DiscardHandler))
		if err != nil || observe.Tracing() || len(traces.Collectors()) != 0 {
			t.Errorf("%+v: tracing: %v, %v", c, observe.Tracing(), err)
		}
		traces.Stop()
	}
}

// TestStuckCollector: a collector that does not answer holds up nothing, and what it
// does not get is counted.
func TestStuckCollector(t *testing.T) {
	const spans = 10000
	release := make(chan struct{})
	var once sync.Once
	answer := func() { once.Do(func() { close(release) }) }
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer collector.Close()
	defer answer()
	var logged bytes.Buffer
	traces, err := daemon.StartTracing(t.Context(), &daemon.Tracing{Endpoint: collector.URL}, "test", slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range spans {
		_, span := observe.Start(t.Context(), "step")
		span.End(nil)
	}
	got := results(t, traces)
	if got["dropped"] < spans/2 || got["exported"]+got["failed"] != 0 {
		t.Errorf("while the collector is stuck: %v", got)
	}
	answer()
	traces.Stop()
	got = results(t, traces)
	if got["failed"] == 0 || got["exported"] != 0 || got["dropped"]+got["failed"] != spans {
		t.Errorf("after the collector refused what waited: %v of %d", got, spans)
	}
	if observe.Tracing() || strings.Count(logged.String(), "traces are not exported") != 1 {
		t.Errorf("tracing goes on: %v; the log:\n%s", observe.Tracing(), logged.String())
	}
}

// results returns what became of spans.
func results(t *testing.T, traces *daemon.Traces) map[string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(traces.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.Metric {
			got[label(m)] = m.GetCounter().GetValue()
		}
	}
	return got
}

func label(m *dto.Metric) string { return m.Label[0].GetValue() }
