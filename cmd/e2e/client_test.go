package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/cmd/e2e/e2etest"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// ack is the ledger's acknowledgement of an attestation.
type ack struct {
	index      int64
	leaf       string
	checkpoint string // empty for wait=sequenced
	proof      [][]byte
	created    bool
}

// refusal is an error that the ledger answered with, over either transport.
type refusal struct {
	http    int // status, 0 over gRPC
	code    int // gRPC code
	reason  string
	message string
	retry   string // the Retry-After header, or RetryInfo in seconds
}

func (r *refusal) Error() string {
	return fmt.Sprintf("refused: HTTP %d, code %d, %s: %s", r.http, r.code, r.reason, r.message)
}

// transport submits attestations one way or the other.
type transport interface {
	submit(ctx context.Context, raw []byte, wait string) (*ack, error)
}

// rest speaks JSON.
type rest struct {
	base string
	http *http.Client
}

func newREST(t *testing.T, p *process) *rest {
	t.Helper()
	tr := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(tr.CloseIdleConnections)
	return &rest{base: p.HTTP, http: &http.Client{Transport: tr}}
}

// hangUp closes the connections that no request uses. A server that is stopped
// waits for those that were opened and never used.
func (c *rest) hangUp() { c.http.CloseIdleConnections() }

func (c *rest) submit(ctx context.Context, raw []byte, wait string) (*ack, error) {
	url := c.base + "/v1/attestations"
	if wait != "" {
		url += "?wait=" + wait
	}
	resp, body, err := c.do(ctx, http.MethodPost, url, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	var a struct {
		Index          int64 `json:",string"`
		Leaf           string
		Checkpoint     string
		InclusionProof [][]byte
		Created        bool
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("the answer %q: %w", body, err)
	}
	if want := map[bool]int{true: http.StatusCreated, false: http.StatusOK}[a.Created]; resp.StatusCode != want {
		return nil, fmt.Errorf("status %d with created=%v, want %d", resp.StatusCode, a.Created, want)
	}
	return &ack{index: a.Index, leaf: a.Leaf, checkpoint: a.Checkpoint, proof: a.InclusionProof, created: a.Created}, nil
}

// get asks for a path below the base and decodes its answer into v.
func (c *rest) get(ctx context.Context, path string, v any) error {
	_, body, err := c.do(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	if raw, ok := v.(*[]byte); ok {
		*raw = body
		return nil
	}
	return json.Unmarshal(body, v)
}

func (c *rest) do(ctx context.Context, method, url string, body io.Reader) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, nil, err
	}
	return c.send(req)
}

// send returns the answer to a request, and its body. An answer that is not a
// success is a *refusal.
func (c *rest) send(req *http.Request) (*http.Response, []byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode/100 != 2 {
		return resp, b, refusalOf(resp, b)
	}
	return resp, b, nil
}

func refusalOf(resp *http.Response, body []byte) error {
	r := &refusal{http: resp.StatusCode, message: string(body), retry: resp.Header.Get("Retry-After")}
	var st struct {
		Code    int
		Message string
		Details []struct {
			Reason string
			Domain string
		}
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return r
	}
	r.code, r.message = st.Code, st.Message
	for _, d := range st.Details {
		if d.Reason != "" && d.Domain == "cairnlog.github.io" {
			r.reason = d.Reason
		}
	}
	return r
}

// rpc speaks gRPC.
type rpc struct {
	cairnv1.LedgerServiceClient
	conn *grpc.ClientConn
}

func newRPC(t *testing.T, p *process) *rpc {
	t.Helper()
	conn, err := grpc.NewClient(p.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &rpc{cairnv1.NewLedgerServiceClient(conn), conn}
}

// published returns once a checkpoint of at least a size is public.
func (c *rpc) published(ctx context.Context, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, e2etest.Patience)
	defer cancel()
	stream, err := c.WatchCheckpoints(ctx, &cairnv1.WatchCheckpointsRequest{})
	for err == nil {
		var seen *cairnv1.WatchCheckpointsResponse
		if seen, err = stream.Recv(); err == nil && seen.Size >= size {
			return nil
		}
	}
	return err
}

func (c *rpc) submit(ctx context.Context, raw []byte, wait string) (*ack, error) {
	resp, err := c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw, Wait: wait})
	if err != nil {
		return nil, refusalOfStatus(err)
	}
	return &ack{
		index: resp.Index, leaf: resp.Leaf, checkpoint: resp.Checkpoint,
		proof: resp.InclusionProof, created: resp.Created,
	}, nil
}

// refusalOfStatus returns err as a *refusal if the ledger gave it a reason, and
// as it is if it came from the connection.
func refusalOfStatus(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	r := &refusal{code: int(st.Code()), message: st.Message()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			r.reason = d.Reason
		case *errdetails.RetryInfo:
			r.retry = strconv.Itoa(int(d.RetryDelay.AsDuration().Seconds()))
		}
	}
	if r.reason == "" {
		return err
	}
	return r
}

// attestation returns the bytes that GET /v1/attestations/{envelope} answers.
func (c *rest) attestation(ctx context.Context, envelope string) ([]byte, error) {
	var a struct{ Attestation string }
	if err := c.get(ctx, "/v1/attestations/"+envelope, &a); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(a.Attestation)
}

func wantRefusal(t *testing.T, what string, err error, reason string) *refusal {
	t.Helper()
	var r *refusal
	if !errors.As(err, &r) || r.reason != reason {
		t.Fatalf("%s: %v, want %s", what, err, reason)
	}
	return r
}
