package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// page asks for a path and returns its status, headers and body.
func page(t *testing.T, p *process, method, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestPages(t *testing.T) {
	p := start(t, t.TempDir())
	enrolled(t, newREST(t, p))
	for _, test := range []struct {
		method, path string
		status       int
		kind, cache  string // Content-Type and Cache-Control; not looked at if empty
		body         string // part of it
	}{
		{"GET", "/healthz", 200, "", "", "ok"},
		{"GET", "/readyz", 200, "", "", "ready"},
		{"GET", "/metrics", 200, "text/plain", "", `cairn_ledger_requests_total{method="SubmitAttestation",reason="OK"} 1`},
		{"GET", "/metrics", 200, "", "", "cairn_ledger_published_size_entries 1"},
		{"GET", "/api/openapi.json", 200, "application/json", "", `"/v1/attestations"`},
		{"GET", "/", 200, "text/html", "no-cache", p.Origin},
		{"GET", "/checkpoint", 200, "text/plain", "no-cache", p.Origin + "\n1\n"},
		{"HEAD", "/checkpoint", 200, "text/plain", "no-cache", ""},
		{"GET", "/v1/log/checkpoint", 200, "application/json", "no-store", `"size":"1"`},
		{"GET", "/nothing", 404, "", "", ""},
		{"POST", "/checkpoint", 405, "", "", ""},
		{"DELETE", "/tile/0/000.p/1", 405, "", "", ""},
		{"GET", "/tile/0/000.p/1", 200, "application/octet-stream", "public, max-age=31536000, immutable", ""},
		{"GET", "/tile/entries/000.p/1", 200, "application/octet-stream", "public, max-age=31536000, immutable", "cairn.leaf/v1\nkind enrol"},
	} {
		resp, body := page(t, p, test.method, test.path)
		kind, cache := resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control")
		if resp.StatusCode != test.status || !strings.HasPrefix(kind, test.kind) || !strings.HasPrefix(cache, test.cache) || !strings.Contains(body, test.body) {
			t.Errorf("%s %s: %d, %q, %q, %.200q", test.method, test.path, resp.StatusCode, kind, cache, body)
		}
	}
	_, openapi := page(t, p, "GET", "/api/openapi.json")
	if !json.Valid([]byte(openapi)) {
		t.Error("openapi.json is no JSON")
	}
	var st struct{ Details []struct{ Reason string } }
	resp, body := page(t, p, "DELETE", "/v1/attestations")
	if err := json.Unmarshal([]byte(body), &st); err != nil || resp.StatusCode/100 != 4 && resp.StatusCode != 501 || len(st.Details) == 0 {
		t.Errorf("DELETE /v1/attestations: %d, %s", resp.StatusCode, body)
	}
	if resp.Header.Get("X-Request-Id") == "" {
		t.Error("a request has no id")
	}
}

// chunked hides a body's length.
type chunked struct{ io.Reader }

func TestLargeBodies(t *testing.T) {
	p := start(t, t.TempDir())
	r, g := newREST(t, p), newRPC(t, p)
	a := enrolled(t, r)
	good := a.attestation()
	padded := func(n int) []byte { return append(bytes.Repeat([]byte(" "), n-len(good)), good...) }
	for _, n := range []int{1<<20 + 1, 2 << 20, 16 << 20} {
		for name, body := range map[string]io.Reader{"with a length": bytes.NewReader(padded(n)), "chunked": chunked{bytes.NewReader(padded(n))}} {
			resp, _, err := r.do(t.Context(), http.MethodPost, r.base+"/v1/attestations", body)
			if got := wantRefusal(t, fmt.Sprintf("%d bytes, %s", n, name), err, "ENVELOPE_TOO_LARGE"); got.http != 413 {
				t.Errorf("%d bytes, %s: status %d, want 413", n, name, resp.StatusCode)
			}
		}
	}
	_, err := g.submit(t.Context(), padded(1<<20+1), "")
	if got := wantRefusal(t, "over gRPC", err, "ENVELOPE_TOO_LARGE"); got.code != int(codes.ResourceExhausted) {
		t.Errorf("code %d, want %d", got.code, codes.ResourceExhausted)
	}
	// Far over the limit, gRPC refuses by itself before it reads.
	if _, err := g.submit(t.Context(), padded(4<<20), ""); !strings.Contains(fmt.Sprint(err), "ResourceExhausted") {
		t.Errorf("4 MiB over gRPC: %v", err)
	}
	largest, err := r.submit(t.Context(), padded(1<<20), "")
	if err != nil || largest.index != 1 {
		t.Errorf("1 MiB, which is the limit: %+v, %v", largest, err)
	}
	if raw, err := r.attestation(t.Context(), envelopeOf(padded(1<<20))); err != nil || len(raw) != 1<<20 {
		t.Errorf("read back %d bytes, %v", len(raw), err)
	}
}

// TestAddressCannotBeForged pretends to be many.
func TestAddressCannotBeForged(t *testing.T) {
	for _, over := range []string{"REST", "gRPC"} {
		t.Run(over, func(t *testing.T) {
			p := startWith(t, configured(t, t.TempDir(), "limits: {perAddress: {perSecond: 0.001, burst: 3}}")...)
			r, g := newREST(t, p), newRPC(t, p)
			a := enrolled(t, r)
			var err error
			for i := range 5 {
				if err != nil {
					break
				}
				addr := fmt.Sprintf("10.0.0.%d", i)
				if over == "REST" {
					err = submitAs(t, r, a.attestation(), addr)
				} else {
					ctx := metadata.AppendToOutgoingContext(t.Context(), "cairn-remote-address", addr, "x-forwarded-for", addr)
					_, err = g.submit(ctx, a.attestation(), "sequenced")
				}
			}
			got := wantRefusal(t, "a fourth submission from 127.0.0.1", err, "RATE_LIMITED")
			if got.retry == "" || got.retry == "0" {
				t.Errorf("the refusal says to retry after %q", got.retry)
			}
			if !strings.Contains(got.message, "127.0.0.1") {
				t.Errorf("the message %q does not name the address", got.message)
			}
		})
	}
}

func submitAs(t *testing.T, r *rest, raw []byte, addr string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.base+"/v1/attestations?wait=sequenced", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"Grpc-Metadata-Cairn-Remote-Address", "Cairn-Remote-Address", "X-Forwarded-For", "Forwarded", "X-Real-Ip"} {
		req.Header.Set(h, addr)
	}
	_, _, err = r.send(req)
	return err
}

func TestGRPCServices(t *testing.T) {
	p := start(t, t.TempDir())
	g := newRPC(t, p)
	const service = "cairn.v1.LedgerService"
	for _, name := range []string{"", service} {
		got, err := healthpb.NewHealthClient(g.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: name})
		if err != nil || got.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v, want SERVING", name, got.GetStatus(), err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(g.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil || !strings.Contains(resp.String(), service) {
		t.Errorf("reflection lists %v, %v", resp, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if resp, err := g.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{}); err != nil || resp.Origin != p.Origin {
		t.Errorf("GetCheckpoint: %v, %v", resp, err)
	}
}
