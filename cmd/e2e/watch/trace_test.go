package watch

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// receiver takes spans by OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	raw   []byte // all that was sent
	spans []span
}

type span struct {
	service string
	*tracev1.Span
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var export collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &export)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw = append(r.raw, body...)
		for _, rs := range export.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					r.spans = append(r.spans, span{rs.Resource.Attributes[0].Value.GetStringValue(), s})
				}
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// tree returns the spans of a trace below a span, in the order of their starts, each
// with its service and name, indented.
func (r *receiver) tree(trace, parent []byte, depth int) []string {
	var children []span
	for _, s := range r.spans {
		if bytes.Equal(s.TraceId, trace) && bytes.Equal(s.ParentSpanId, parent) {
			children = append(children, s)
		}
	}
	slices.SortFunc(children, func(a, b span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	var lines []string
	for _, s := range children {
		lines = append(lines, strings.Repeat("  ", depth)+s.service+" "+s.Name)
		lines = append(lines, r.tree(trace, s.SpanId, depth+1)...)
	}
	return lines
}

// TestTrace: one submission is one trace, from the client's span through the ledger
// to the witness's disk.
func TestTrace(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, "tracing: {endpoint: "+r.URL+", sample: 1}\n", "OTEL_EXPORTER_OTLP_ENDPOINT="+r.URL)
	trace := []byte("\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c")
	parent := []byte("\xb7\xad\x6b\x71\x69\x20\x33\x31")
	w.post(t, w.attestation(t), http.Header{"Traceparent": {fmt.Sprintf("00-%x-%x-01", trace, parent)}}, http.StatusCreated)
	w.post(t, w.attestation(t), http.Header{"Traceparent": {"00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}}, http.StatusCreated)
	if metrics := get(t, w.ledger.HTTP+"/metrics"); !strings.Contains(metrics, `cairn_trace_spans_total{result="dropped"} 0`) {
		t.Error("the ledger does not count spans")
	}
	w.ledger.Stop(t) // which sends what it has
	w.witness.Stop(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	want := []string{
		"cairn-ledger POST /v1/",
		"  cairn-ledger SubmitAttestation",
		"    cairn-ledger submit.verify",
		"    cairn-ledger intake.batch",
		"      cairn-ledger index.lookup",
		"      cairn-ledger blobs.put",
		"      cairn-ledger log.append",
		"      cairn-ledger publish",
		"        cairn-ledger publish.index",
		"        cairn-ledger publish.sign",
		"        cairn-ledger publish.cosign",
		"          cairn-ledger cosign.ask",
		"            cairn-witness POST /add-checkpoint",
		"              cairn-witness witness.commit",
		"              cairn-witness witness.sign",
		"        cairn-ledger publish.archive",
		"        cairn-ledger publish.store",
	}
	if diff := cmp.Diff(want, r.tree(trace, parent, 0)); diff != "" {
		t.Errorf("the trace of a submission (-want +got):\n%s", diff)
	}
	inTrace := 0
	for _, s := range r.spans {
		if bytes.Equal(s.TraceId, trace) {
			inTrace++
		}
		if s.TraceId[0] == 0x1a {
			t.Errorf("%s is of a trace that its client does not keep", s.Name)
		}
	}
	if inTrace != len(want) {
		t.Errorf("the trace has %d spans, of which %d belong to the tree", inTrace, len(want))
	}
	for _, secret := range []string{subject, "operator.example", string(w.author.Public.Fingerprint), w.ledger.VKey, w.witness.VKey, "127.0.0.1", w.dir} {
		if bytes.Contains(r.raw, []byte(secret)) {
			t.Errorf("the spans hold %q", secret)
		}
	}
}

// TestRequestIDs: each request has an id, in the answer, in errors and in the log.
func TestRequestIDs(t *testing.T) {
	w := newWorld(t, "logLevel: debug\n")
	header, body := w.post(t, []byte("{"), http.Header{"X-Request-Id": {"mine.1"}}, http.StatusBadRequest)
	reason, id := reasonOf(t, body)
	if header.Get("X-Request-Id") != "mine.1" || id != "mine.1" {
		t.Errorf("%s: the answer has the id %q, and %q in its body", reason, header.Get("X-Request-Id"), id)
	}
	w.ledger.Stderr.Await(t, "reason="+reason)
	w.ledger.Stderr.Await(t, "requestId=mine.1")
	header, body = w.post(t, []byte("{"), http.Header{"X-Request-Id": {"not well-formed"}}, http.StatusBadRequest)
	if _, id := reasonOf(t, body); len(id) != 16 || header.Get("X-Request-Id") != id {
		t.Errorf("an id that is not well-formed became %q, and %q in the body", header.Get("X-Request-Id"), id)
	}

	conn, err := grpc.NewClient(w.ledger.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	var md metadata.MD
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine.2")
	_, err = cairnv1.NewLedgerServiceClient(conn).SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{}, grpc.Header(&md))
	if status.Code(err) != codes.InvalidArgument || len(md.Get("x-request-id")) != 1 || md.Get("x-request-id")[0] != "mine.2" {
		t.Errorf("over gRPC: %v, with metadata %v", err, md)
	}
	w.ledger.Stderr.Await(t, "requestId=mine.2")
	streamID(t, conn)

	req, err := http.NewRequestWithContext(t.Context(), "POST", w.witness.HTTP+"/add-checkpoint", strings.NewReader("old"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "mine.3")
	if header, _ := do(t, req, http.StatusBadRequest); header.Get("X-Request-Id") != "mine.3" {
		t.Errorf("the witness answers with the id %q", header.Get("X-Request-Id"))
	}
}

// streamID wants a stream to have an id, too.
func streamID(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "mine.4"))
	defer cancel()
	stream, err := cairnv1.NewLedgerServiceClient(conn).WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	if md, err := stream.Header(); err != nil || len(md.Get("x-request-id")) != 1 || md.Get("x-request-id")[0] != "mine.4" {
		t.Errorf("a stream has metadata %v, %v", md, err)
	}
}
