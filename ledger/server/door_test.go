package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/server"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// guarded is a ledger on loopback whose doors can be filled.
type guarded struct {
	*testing.T
	*server.Server
	served
	client cairnv1.LedgerServiceClient
	ahead  atomic.Int64 // of its clock, in nanoseconds
	env    []byte       // the enrolment that it holds
}

func newGuarded(t *testing.T, capacity server.Capacity) *guarded {
	t.Helper()
	g := &guarded{T: t}
	cfg, in, pub := benchParts(t)
	cfg.Capacity = capacity
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }
	g.Server, g.served = benchServeAs(t, cfg, in, pub)
	conn, err := grpc.NewClient("passthrough:///"+g.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	g.client = cairnv1.NewLedgerServiceClient(conn)
	s, _, err := attest.GenerateEd25519()
	if err != nil {
		t.Fatal(err)
	}
	if g.env, err = attest.Enrol(s, "https://operator.example/", ""); err != nil {
		t.Fatal(err)
	}
	if err := g.submitGRPC(); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *guarded) submitGRPC() error {
	_, err := g.client.SubmitAttestation(g.Context(), &cairnv1.SubmitAttestationRequest{Attestation: g.env})
	return err
}

// ask sends a request and returns the status and the body of the answer.
func (g *guarded) ask(method, path string, body io.Reader) (*http.Response, string) {
	g.Helper()
	req, err := http.NewRequestWithContext(g.Context(), method, "http://"+g.http+path, body)
	if err != nil {
		g.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil && resp.StatusCode == http.StatusOK {
		g.Fatal(err)
	}
	return resp, string(b)
}

func (g *guarded) wantShed(what string, resp *http.Response, body string) {
	g.Helper()
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusServiceUnavailable || err != nil || seconds < 1 || seconds > 30 ||
		!strings.Contains(body, `"OVERLOADED"`) || !strings.Contains(body, "RetryInfo") {
		g.Errorf("%s: %s, Retry-After %q: %s", what, resp.Status, resp.Header.Get("Retry-After"), body)
	}
}

func (g *guarded) wantShedGRPC(what string, err error) {
	g.Helper()
	st := status.Convert(err)
	var why string
	var retry time.Duration
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			why = d.Reason
		case *errdetails.RetryInfo:
			retry = d.RetryDelay.AsDuration()
		}
	}
	if st.Code() != codes.Unavailable || why != "OVERLOADED" || retry < time.Second {
		g.Errorf("%s: %v, reason %q, to come back after %v", what, err, why, retry)
	}
}

// request is one over REST.
type request struct{ method, path string }

// kindOfRequest is some requests that go through one door.
type kindOfRequest struct {
	rest []request
	grpc func() error
}

// kinds returns requests through each of the doors.
func (g *guarded) kinds() map[string]kindOfRequest {
	envelope := leaf.SHA256(g.env).Hex()
	watch := func() error {
		ctx, cancel := context.WithCancel(g.Context())
		defer cancel()
		s, err := g.client.WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	return map[string]kindOfRequest{
		"submissions": {[]request{
			{"POST", "/v1/attestations"}, {"POST", "/api/v2/log/entries"}, {"PUT", "/certifications/pkg:deb/debian/x"}, {"POST", "/certifications/pkg:deb/debian/x"},
		}, g.submitGRPC},
		"reads": {[]request{
			{"GET", "/v1/attestations"}, {"GET", "/v1/attestations/" + envelope}, {"GET", "/v1/artifacts/sha256:" + envelope},
			{"GET", "/tile/entries/000.p/1"}, {"GET", "/certifications/pkg:deb/debian/x"},
		}, func() error {
			_, err := g.client.GetAttestation(g.Context(), &cairnv1.GetAttestationRequest{Envelope: envelope})
			return err
		}},
		"calls": {[]request{{"POST", "/v1/builds:lease"}}, func() error {
			_, err := g.client.GetCheckpoint(g.Context(), &cairnv1.GetCheckpointRequest{})
			return err
		}},
		"streams": {[]request{{"GET", "/v1/builds/none/log"}}, watch},
	}
}

// Who finds no room is refused, whatever the way; all others are served.
func TestFullDoors(t *testing.T) {
	g := newGuarded(t, server.Capacity{})
	g.ReadsWait(time.Millisecond)
	all := g.kinds()
	for kind := range all {
		t.Run(kind, func(t *testing.T) {
			g.wantEmpty()
			empty := g.Fill(t, kind)
			for other, c := range all {
				if kind == "calls" && other == "reads" {
					c.grpc = func() error { return nil } // a call before it is a read
				}
				g.wantShedOnly(other, c, other == kind)
			}
			for _, path := range []string{"/checkpoint", "/tile/0/000.p/1", "/v1/log/proofs/inclusion?index=0&size=1", "/healthz"} {
				if resp, body := g.ask("GET", path, nil); resp.StatusCode != http.StatusOK {
					t.Errorf("GET %s: %s %s", path, resp.Status, body)
				}
			}
			empty()
			for other, c := range all {
				if err := c.grpc(); err != nil {
					t.Errorf("%s, once there is room: %v", other, err)
				}
			}
		})
	}
	g.wantEmpty()
}

// A read waits for its turn.
func TestReadsWait(t *testing.T) {
	g := newGuarded(t, server.Capacity{})
	g.wantEmpty()
	for kind, read := range map[string]func() error{
		"over gRPC": g.kinds()["reads"].grpc,
		"over REST": func() error {
			if resp, body := g.ask("GET", "/v1/attestations", nil); resp.StatusCode != http.StatusOK {
				return fmt.Errorf("%s %s", resp.Status, body)
			}
			return nil
		},
	} {
		empty := g.Fill(t, "reads")
		answered := make(chan error, 1)
		go func() { answered <- read() }()
		for g.Waiting() == 0 {
			runtime.Gosched()
		}
		empty()
		if err := <-answered; err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// wantShedOnly sends requests of a kind, which must be refused or must not.
func (g *guarded) wantShedOnly(kind string, c kindOfRequest, shed bool) {
	g.Helper()
	for _, r := range c.rest {
		resp, body := g.ask(r.method, r.path, strings.NewReader(string(g.env)))
		if shed {
			g.wantShed(r.method+" "+r.path, resp, body)
		} else if resp.StatusCode == http.StatusServiceUnavailable {
			g.Errorf("%s %s: %s %s", r.method, r.path, resp.Status, body)
		}
	}
	if err := c.grpc(); shed {
		g.wantShedGRPC(kind, err)
	} else if err != nil {
		g.Errorf("%s over gRPC: %v", kind, err)
	}
}

// wantEmpty waits until nothing is reserved any more.
func (g *guarded) wantEmpty() {
	g.Helper()
	for range 1000 {
		if g.Held() == 0 {
			return
		}
		// A call has left some moment after its answer was read.
		if _, body := g.ask("GET", "/healthz", nil); body == "" {
			g.Fatal("the ledger does not answer")
		}
	}
	g.Errorf("%d bytes are reserved by nobody", g.Held())
}

// slowBody begins a submission of the largest size and sends nothing of it.
func (g *guarded) slowBody() *bufio.Reader {
	g.Helper()
	nc, err := net.Dial("tcp", g.http)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		g.Fatal(err)
	}
	if _, err := fmt.Fprintf(nc, "POST /v1/attestations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", attest.MaxEnvelope); err != nil {
		g.Fatal(err)
	}
	return bufio.NewReader(nc)
}

// A few who send nothing cannot keep everybody out.
func TestSlowBodiesAreCutOff(t *testing.T) {
	c := server.CapacityOf(server.DefaultMemory)
	c.Submissions = 8 << 20 // room for one body that is not there
	g := newGuarded(t, c)
	g.wantEmpty()
	slow := g.slowBody()
	for g.Held() == 0 {
		g.ask("GET", "/healthz", nil)
	}
	big := strings.Repeat("x", 512<<10)
	resp, body := g.ask("POST", "/v1/attestations", strings.NewReader(big))
	g.wantShed("beside one that is not slow yet", resp, body)
	if err := g.submitGRPC(); err != nil {
		t.Errorf("there is room for a small one: %v", err)
	}
	g.ahead.Store(int64(time.Minute))
	resp, body = g.ask("POST", "/v1/attestations", strings.NewReader(big))
	g.wantShed("beside one that is slow", resp, body)
	cut, err := http.ReadResponse(slow, nil)
	if err != nil {
		t.Fatalf("who was cut off is told nothing: %v", err)
	}
	text, _ := io.ReadAll(cut.Body)
	_ = cut.Body.Close()
	g.wantShed("who was cut off", cut, string(text))
	resp, body = g.ask("POST", "/v1/attestations", strings.NewReader(big))
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("once the slow one is gone: %s %s", resp.Status, body)
	}
	g.wantEmpty()
}

func TestCapacityIsChecked(t *testing.T) {
	for _, memory := range []int64{server.LeastMemory, server.DefaultMemory, 64 << 30} {
		if err := server.CapacityOf(memory).Check(); err != nil {
			t.Errorf("the capacity of %d bytes: %v", memory, err)
		}
	}
	c := server.CapacityOf(server.DefaultMemory)
	if least := 4096 * 64 << 10; c.Submissions < int64(least) || c.HTTPConnections < 4096+512 {
		t.Errorf("%+v does not admit 4096 submitters", c)
	}
	for name, change := range map[string]func(*server.Capacity){
		"submissions":     func(c *server.Capacity) { c.Submissions = 1 << 20 },
		"reads":           func(c *server.Capacity) { c.Reads = 1 << 20 },
		"calls":           func(c *server.Capacity) { c.Calls = 1 << 20 },
		"streams":         func(c *server.Capacity) { c.Streams = 0 },
		"httpConnections": func(c *server.Capacity) { c.HTTPConnections = 1 },
		"grpcConnections": func(c *server.Capacity) { c.GRPCConnections = 1 },
	} {
		c := server.CapacityOf(server.DefaultMemory)
		change(&c)
		if err := c.Check(); err == nil || !strings.HasPrefix(err.Error(), name+" is ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
