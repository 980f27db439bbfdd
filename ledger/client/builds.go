package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// post returns a call with a message as its body, and the token.
func post(m proto.Message, path ...string) (*call, error) {
	body, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	return &call{
		method: http.MethodPost, path: append([]string{"v1"}, path...),
		body: body, media: "application/json", secret: true, req: m,
	}, nil
}

// change makes a call that changes the queue.
func change[M any, P message[M]](ctx context.Context, c *Client, req proto.Message, path ...string) (P, error) {
	r, err := post(req, path...)
	if err != nil {
		return nil, err
	}
	resp := P(new(M))
	if err := c.do(ctx, r, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// verb is the last element of a path that does something to a build.
func verb(id int64, do string) string { return strconv.FormatInt(id, 10) + ":" + do }

// QueueBuild adds a job to the queue of builds. It needs a token; with a request
// id it may be repeated.
func (c *Client) QueueBuild(ctx context.Context, req *cairnv1.QueueBuildRequest) (*cairnv1.QueueBuildResponse, error) {
	return change[cairnv1.QueueBuildResponse](ctx, c, req, "builds")
}

// GetBuild gets a job.
func (c *Client) GetBuild(ctx context.Context, req *cairnv1.GetBuildRequest) (*cairnv1.GetBuildResponse, error) {
	resp := &cairnv1.GetBuildResponse{}
	return answer(resp, c.do(ctx, get(req, nil, "builds", strconv.FormatInt(req.GetId(), 10)), resp))
}

// ListBuilds gets one page of jobs, the latest first.
func (c *Client) ListBuilds(ctx context.Context, req *cairnv1.ListBuildsRequest) (*cairnv1.ListBuildsResponse, error) {
	q := url.Values{}
	set(q, "state", req.GetState())
	set(q, "package", req.GetPackage())
	set(q, "page_token", req.GetPageToken())
	setInt(q, "page_size", int64(req.GetPageSize()))
	resp := &cairnv1.ListBuildsResponse{}
	return answer(resp, c.do(ctx, get(req, q, "builds"), resp))
}

// CancelBuild cancels a job. It needs a token.
func (c *Client) CancelBuild(ctx context.Context, req *cairnv1.CancelBuildRequest) (*cairnv1.CancelBuildResponse, error) {
	return change[cairnv1.CancelBuildResponse](ctx, c, req, "builds", verb(req.GetId(), "cancel"))
}

// StreamBuildLog yields the pieces of a job's log, until its end or an error,
// which is the last thing it yields. It does not connect again by itself: the
// offset at which to go on is the end of the last piece.
func (c *Client) StreamBuildLog(ctx context.Context, req *cairnv1.StreamBuildLogRequest) iter.Seq2[*cairnv1.StreamBuildLogResponse, error] {
	q := url.Values{}
	setInt(q, "offset", req.GetOffset())
	if req.GetFollow() {
		q.Set("follow", "true")
	}
	return stream[cairnv1.StreamBuildLogResponse](ctx, c, get(req, q, "builds", strconv.FormatInt(req.GetId(), 10), "log"))
}

// LeaseBuild leases a job, and waits for one as long as req says. It needs a
// token, as do the other calls of a worker.
func (c *Client) LeaseBuild(ctx context.Context, req *cairnv1.LeaseBuildRequest) (*cairnv1.LeaseBuildResponse, error) {
	return change[cairnv1.LeaseBuildResponse](ctx, c, req, "builds:lease")
}

// RenewLease keeps a lease from ending.
func (c *Client) RenewLease(ctx context.Context, req *cairnv1.RenewLeaseRequest) (*cairnv1.RenewLeaseResponse, error) {
	return change[cairnv1.RenewLeaseResponse](ctx, c, req, "builds", verb(req.GetId(), "renew"))
}

// AppendBuildLog adds to the log of a leased job.
func (c *Client) AppendBuildLog(ctx context.Context, req *cairnv1.AppendBuildLogRequest) (*cairnv1.AppendBuildLogResponse, error) {
	return change[cairnv1.AppendBuildLogResponse](ctx, c, req, "builds", verb(req.GetId(), "appendLog"))
}

// CompleteBuild ends a lease.
func (c *Client) CompleteBuild(ctx context.Context, req *cairnv1.CompleteBuildRequest) (*cairnv1.CompleteBuildResponse, error) {
	return change[cairnv1.CompleteBuildResponse](ctx, c, req, "builds", verb(req.GetId(), "complete"))
}
