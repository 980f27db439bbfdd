package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// SubmitAttestation logs an attestation. It may be repeated: the same payload
// by the same keys is one entry.
func (c *Client) SubmitAttestation(ctx context.Context, req *cairnv1.SubmitAttestationRequest) (*cairnv1.SubmitAttestationResponse, error) {
	q := url.Values{}
	set(q, "wait", req.GetWait())
	resp := &cairnv1.SubmitAttestationResponse{}
	return answer(resp, c.do(ctx, &call{
		method: http.MethodPost,
		path:   []string{"v1", "attestations"},
		query:  q,
		body:   req.GetAttestation(),
		media:  "application/octet-stream",
		req:    req,
	}, resp))
}

// GetAttestation gets an attestation's bytes, claim and place.
func (c *Client) GetAttestation(ctx context.Context, req *cairnv1.GetAttestationRequest) (*cairnv1.GetAttestationResponse, error) {
	env, err := element("envelope digest", req.GetEnvelope())
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.GetAttestationResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "attestations", env), resp))
}

// ListAttestations gets one page of the entries about a digest, name or key.
func (c *Client) ListAttestations(ctx context.Context, req *cairnv1.ListAttestationsRequest) (*cairnv1.ListAttestationsResponse, error) {
	q := url.Values{}
	set(q, "digest", req.GetDigest())
	set(q, "name", req.GetName())
	set(q, "key", req.GetKey())
	set(q, "page_token", req.GetPageToken())
	setInt(q, "page_size", int64(req.GetPageSize()))
	resp := &cairnv1.ListAttestationsResponse{}
	return answer(resp, c.do(ctx, get(req, q, "attestations"), resp))
}

// GetArtifact gets the claims about one artifact.
func (c *Client) GetArtifact(ctx context.Context, req *cairnv1.GetArtifactRequest) (*cairnv1.GetArtifactResponse, error) {
	digest, err := element("artifact digest", req.GetDigest())
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.GetArtifactResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "artifacts", digest), resp))
}

// GetKey gets an enrolled key.
func (c *Client) GetKey(ctx context.Context, req *cairnv1.GetKeyRequest) (*cairnv1.GetKeyResponse, error) {
	fp, err := element("key fingerprint", req.GetFingerprint())
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.GetKeyResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "keys", fp), resp))
}

// GetCheckpoint gets the latest published checkpoint.
func (c *Client) GetCheckpoint(ctx context.Context, req *cairnv1.GetCheckpointRequest) (*cairnv1.GetCheckpointResponse, error) {
	resp := &cairnv1.GetCheckpointResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "log", "checkpoint"), resp))
}

// GetEntry gets the entry at an index and its inclusion proof.
func (c *Client) GetEntry(ctx context.Context, req *cairnv1.GetEntryRequest) (*cairnv1.GetEntryResponse, error) {
	resp := &cairnv1.GetEntryResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "log", "entries", strconv.FormatInt(req.GetIndex(), 10)), resp))
}

// GetInclusionProof gets the proof that an entry is in a tree.
func (c *Client) GetInclusionProof(ctx context.Context, req *cairnv1.GetInclusionProofRequest) (*cairnv1.GetInclusionProofResponse, error) {
	q := url.Values{}
	if req.Index != nil {
		q.Set("index", strconv.FormatInt(req.GetIndex(), 10))
	}
	set(q, "leaf_hash", req.GetLeafHash())
	setInt(q, "size", req.GetSize())
	resp := &cairnv1.GetInclusionProofResponse{}
	return answer(resp, c.do(ctx, get(req, q, "log", "proofs", "inclusion"), resp))
}

// GetConsistencyProof gets the proof that a tree extends another.
func (c *Client) GetConsistencyProof(ctx context.Context, req *cairnv1.GetConsistencyProofRequest) (*cairnv1.GetConsistencyProofResponse, error) {
	q := url.Values{}
	setInt(q, "from", req.GetFrom())
	setInt(q, "to", req.GetTo())
	resp := &cairnv1.GetConsistencyProofResponse{}
	return answer(resp, c.do(ctx, get(req, q, "log", "proofs", "consistency"), resp))
}

// errEnded is the cause when a stream ends, which the ledger does when it
// shuts down.
var errEnded = errors.New("the stream ended")

// WatchCheckpoints yields each checkpoint as it is published, the latest
// first, until ctx is done or an error, which is the last thing it yields. It
// does not connect again by itself.
func (c *Client) WatchCheckpoints(ctx context.Context, req *cairnv1.WatchCheckpointsRequest) iter.Seq2[*cairnv1.WatchCheckpointsResponse, error] {
	return func(yield func(*cairnv1.WatchCheckpointsResponse, error) bool) {
		r := get(req, nil, "log", "checkpoints:watch")
		for m, err := range stream[cairnv1.WatchCheckpointsResponse](ctx, c, r) {
			if !yield(m, err) || err != nil {
				return
			}
		}
		yield(nil, &UnansweredError{URL: c.url(r), Err: errEnded})
	}
}

// message is the pointer to a message M.
type message[M any] interface {
	*M
	proto.Message
}

// stream yields what the ledger streams, until that ends or an error, which is
// the last thing it yields.
func stream[M any, P message[M]](ctx context.Context, c *Client, r *call) iter.Seq2[P, error] {
	return func(yield func(P, error) bool) {
		// A consumer that stops must not leave the connection behind.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		resp, err := c.send(ctx, r)
		if err != nil {
			yield(nil, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
			_, err := refusal(c.url(r), resp, unwrap(body))
			yield(nil, err)
			return
		}
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, MaxAnswer)
		for lines.Scan() {
			if len(lines.Bytes()) == 0 {
				continue
			}
			m := P(new(M))
			if err := streamed(c.url(r), lines.Bytes(), m); err != nil {
				yield(nil, err)
				return
			}
			if !yield(m, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, &UnansweredError{URL: c.url(r), Err: err})
		}
	}
}

// unwrap returns the status in the answer that refuses a stream, which the
// gateway wraps as it does one that ends a stream.
func unwrap(body []byte) []byte {
	var item struct {
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &item); err == nil && len(item.Error) > 0 {
		return item.Error
	}
	return body
}

// streamed decodes one line of the gateway's stream.
func streamed(url string, line []byte, m proto.Message) error {
	var item struct {
		Result json.RawMessage `json:"result"`
		Error  *rpcStatus      `json:"error"`
	}
	if err := json.Unmarshal(line, &item); err != nil {
		return &UnansweredError{URL: url, Err: fmt.Errorf("decoding the stream: %w", err)}
	}
	if item.Error != nil {
		if e := item.Error.refused(); e != nil {
			return e
		}
		return &UnansweredError{URL: url, Err: fmt.Errorf("the stream broke: %q", item.Error.Message)}
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(item.Result, m); err != nil {
		return &UnansweredError{URL: url, Err: fmt.Errorf("decoding the stream: %w", err)}
	}
	return nil
}

func get(req proto.Message, q url.Values, path ...string) *call {
	return &call{method: http.MethodGet, path: append([]string{"v1"}, path...), query: q, req: req}
}

// answer keeps a half-decoded message from being used.
func answer[M any](m *M, err error) (*M, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// setInt leaves out zero, which the API reads as absent.
func setInt(q url.Values, name string, value int64) {
	if value != 0 {
		q.Set(name, strconv.FormatInt(value, 10))
	}
}
