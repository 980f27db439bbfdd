package queue

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairnlog/cairn/builder/queue/bearer"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	defaultPageSize = 100
	maxPageSize     = 1000
	// maxWaiters bounds the workers that wait for a job, and maxFollowers the
	// readers that follow a log.
	maxWaiters   = 1024
	maxFollowers = 256
)

// Service serves a Queue as cairn.v1.BuildService.
type Service struct {
	cairnv1.UnimplementedBuildServiceServer
	queue   *Queue
	tokens  *bearer.Set
	entries store.Index
	desc    *prometheus.Desc

	waiters, followers chan struct{} // semaphores
	drain              sync.Once
	closing            chan struct{}
}

// NewService returns the service of a queue. entries is the index of the log, in
// which results must be.
func NewService(q *Queue, tokens *bearer.Set, entries store.Index) *Service {
	return &Service{
		queue: q, tokens: tokens, entries: entries, desc: newBuildsDesc(),
		waiters: make(chan struct{}, maxWaiters), followers: make(chan struct{}, maxFollowers),
		closing: make(chan struct{}),
	}
}

// Drain ends the calls that wait for something to happen.
func (s *Service) Drain() { s.drain.Do(func() { close(s.closing) }) }

// bearer returns who sent a request that changes the queue.
func (s *Service) bearer(ctx context.Context) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	name, err := s.tokens.Bearer(strings.Join(md.Get("authorization"), ""))
	if err != nil {
		return "", reason.Errorf(reason.TokenRefused, "%w", err)
	}
	return name, nil
}

// QueueBuild implements cairnv1.BuildServiceServer.
func (s *Service) QueueBuild(ctx context.Context, req *cairnv1.QueueBuildRequest) (*cairnv1.QueueBuildResponse, error) {
	by, err := s.bearer(ctx)
	if err != nil {
		return nil, err
	}
	b, created, err := s.queue.Add(ctx, req, by)
	return &cairnv1.QueueBuildResponse{Build: b, Created: created}, err
}

// GetBuild implements cairnv1.BuildServiceServer.
func (s *Service) GetBuild(ctx context.Context, req *cairnv1.GetBuildRequest) (*cairnv1.GetBuildResponse, error) {
	b, err := s.queue.Get(ctx, req.GetId())
	return &cairnv1.GetBuildResponse{Build: b}, err
}

// ListBuilds implements cairnv1.BuildServiceServer.
func (s *Service) ListBuilds(ctx context.Context, req *cairnv1.ListBuildsRequest) (*cairnv1.ListBuildsResponse, error) {
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPageSize
	}
	before, err := parsePageToken(req.GetPageToken())
	err = first(err,
		between("page_size", int64(limit), 1, maxPageSize),
		s.queue.forms.state.optional("state", req.GetState()),
		s.queue.forms.pkg.optional("package", req.GetPackage()),
	)
	if err != nil {
		return nil, err
	}
	list, more, err := s.queue.List(ctx, req.GetState(), req.GetPackage(), before, limit)
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.ListBuildsResponse{Builds: list}
	if more {
		resp.NextPageToken = formatPageToken(list[len(list)-1].GetId())
	}
	return resp, nil
}

// Counts returns the number of jobs in each state.
func (s *Service) Counts(ctx context.Context) (map[string]int, error) { return s.queue.Counts(ctx) }

// A page token is the number of the last job of the page before.
func formatPageToken(id int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("below " + strconv.FormatInt(id, 10)))
}

func parsePageToken(token string) (int64, error) {
	if token == "" {
		return 0, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		if digits, ok := strings.CutPrefix(string(b), "below "); ok {
			if id, err := strconv.ParseInt(digits, 10, 64); err == nil && id > 0 {
				return id, nil
			}
		}
	}
	return 0, reason.Errorf(reason.ArgumentInvalid, "page_token %.40q is not one that this ledger gave", token)
}

// CancelBuild implements cairnv1.BuildServiceServer.
func (s *Service) CancelBuild(ctx context.Context, req *cairnv1.CancelBuildRequest) (*cairnv1.CancelBuildResponse, error) {
	if _, err := s.bearer(ctx); err != nil {
		return nil, err
	}
	b, err := s.queue.Cancel(ctx, req.GetId())
	return &cairnv1.CancelBuildResponse{Build: b}, err
}

// enter takes a place among those who wait, and returns what gives it back.
func enter(places chan struct{}, what string) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	default:
		return nil, &reason.Error{
			Reason:     reason.Overloaded,
			Message:    strconv.Itoa(cap(places)) + " " + what + ", as many as the ledger lets",
			RetryAfter: 5 * time.Second,
		}
	}
}

// StreamBuildLog implements cairnv1.BuildServiceServer.
func (s *Service) StreamBuildLog(req *cairnv1.StreamBuildLogRequest, stream cairnv1.BuildService_StreamBuildLogServer) error {
	leave, err := enter(s.followers, "readers follow a log")
	if err != nil {
		return err
	}
	defer leave()
	if err := between("offset", req.GetOffset(), 0, 1<<62); err != nil {
		return err
	}
	offset := req.GetOffset()
	for {
		ended, err := s.followLog(req, stream, &offset)
		if ended || err != nil {
			return err
		}
	}
}

// followLog sends what there is of a log from an offset on, and moves that on.
// Unless the log has ended, or is not to be followed, it waits for a change.
func (s *Service) followLog(req *cairnv1.StreamBuildLogRequest, stream cairnv1.BuildService_StreamBuildLogServer, offset *int64) (ended bool, err error) {
	// In this order: what happens after the watch wakes it, and a job that has
	// ended writes no more.
	ctx := stream.Context()
	changed, stop := s.queue.watch(req.GetId())
	defer stop()
	b, err := s.queue.Get(ctx, req.GetId())
	if err != nil {
		return false, err
	}
	if *offset, err = s.sendLog(ctx, req.GetId(), *offset, stream); err != nil {
		return false, err
	}
	if Ended(b.GetState()) || !req.GetFollow() {
		return true, nil
	}
	select {
	case <-changed:
		return false, nil
	case <-s.closing:
		return false, reason.Errorf(reason.ShuttingDown, "the ledger is shutting down")
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// sendLog sends what is there of a log, and returns where it ends.
func (s *Service) sendLog(ctx context.Context, id, offset int64, stream cairnv1.BuildService_StreamBuildLogServer) (int64, error) {
	for {
		start, data, err := s.queue.ReadLog(ctx, id, offset)
		if err != nil || data == nil {
			return offset, err
		}
		if err := stream.Send(&cairnv1.StreamBuildLogResponse{Offset: start, Data: data}); err != nil {
			return offset, err
		}
		offset = start + int64(len(data))
	}
}

// LeaseBuild implements cairnv1.BuildServiceServer.
func (s *Service) LeaseBuild(ctx context.Context, req *cairnv1.LeaseBuildRequest) (*cairnv1.LeaseBuildResponse, error) {
	if _, err := s.bearer(ctx); err != nil {
		return nil, err
	}
	leave, err := enter(s.waiters, "workers wait for a build")
	if err != nil {
		return nil, err
	}
	defer leave()
	patience := time.NewTimer(time.Duration(req.GetWaitSeconds()) * time.Second)
	defer patience.Stop()
	for {
		resp, err := s.leaseOnce(ctx, req, patience.C)
		if resp != nil || err != nil {
			return resp, err
		}
	}
}

// leaseOnce looks for a job once, and if there is none waits until there may be
// one: nil then.
func (s *Service) leaseOnce(ctx context.Context, req *cairnv1.LeaseBuildRequest, patience <-chan time.Time) (*cairnv1.LeaseBuildResponse, error) {
	ready, stop := s.queue.watch(anyJob)
	defer stop()
	b, token, err := s.queue.Lease(ctx, req)
	if err != nil {
		return nil, err
	}
	if b != nil {
		return &cairnv1.LeaseBuildResponse{
			Build: b, LeaseToken: token, LeaseSeconds: int32(s.queue.cfg.Lease / time.Second),
		}, s.orGiveBack(ctx, b.GetId(), token)
	}
	if req.GetWaitSeconds() == 0 {
		return &cairnv1.LeaseBuildResponse{}, nil
	}
	select {
	case <-ready:
		return nil, nil
	case <-patience:
		return &cairnv1.LeaseBuildResponse{}, nil
	case <-s.closing:
		return nil, &reason.Error{Reason: reason.ShuttingDown, Message: "the ledger is shutting down", RetryAfter: time.Second}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// orGiveBack gives a job back if the worker that it was given to hung up.
func (s *Service) orGiveBack(ctx context.Context, id int64, token string) error {
	err := context.Cause(ctx)
	if err == nil {
		return nil
	}
	_, back := s.queue.Complete(context.WithoutCancel(ctx), &cairnv1.CompleteBuildRequest{
		Id: id, LeaseToken: token, Outcome: &cairnv1.CompleteBuildRequest_Returned{Returned: true},
	})
	return errors.Join(err, back)
}

// RenewLease implements cairnv1.BuildServiceServer.
func (s *Service) RenewLease(ctx context.Context, req *cairnv1.RenewLeaseRequest) (*cairnv1.RenewLeaseResponse, error) {
	if _, err := s.bearer(ctx); err != nil {
		return nil, err
	}
	status, end, err := s.queue.Renew(ctx, req.GetId(), req.GetLeaseToken())
	resp := &cairnv1.RenewLeaseResponse{Status: status}
	if status == LeaseHeld {
		resp.LeaseEndTime = timestamppb.New(end)
	}
	return resp, err
}

// AppendBuildLog implements cairnv1.BuildServiceServer.
func (s *Service) AppendBuildLog(ctx context.Context, req *cairnv1.AppendBuildLogRequest) (*cairnv1.AppendBuildLogResponse, error) {
	if _, err := s.bearer(ctx); err != nil {
		return nil, err
	}
	size, err := s.queue.AppendLog(ctx, req.GetId(), req.GetLeaseToken(), req.GetOffset(), req.GetData())
	return &cairnv1.AppendBuildLogResponse{Size: size}, err
}

// CompleteBuild implements cairnv1.BuildServiceServer.
func (s *Service) CompleteBuild(ctx context.Context, req *cairnv1.CompleteBuildRequest) (*cairnv1.CompleteBuildResponse, error) {
	if _, err := s.bearer(ctx); err != nil {
		return nil, err
	}
	if err := s.queue.forms.checkComplete(req); err != nil {
		return nil, err
	}
	if req.GetResult() != nil {
		b, err := s.queue.Get(ctx, req.GetId())
		if err != nil {
			return nil, err
		}
		result, err := s.logged(ctx, b.GetSpec(), leaf.Digest(req.GetResult().GetEnvelope()))
		if err != nil {
			return nil, err
		}
		req = proto.CloneOf(req)
		req.Outcome = &cairnv1.CompleteBuildRequest_Result{Result: result}
	}
	b, err := s.queue.Complete(ctx, req)
	return &cairnv1.CompleteBuildResponse{Build: b}, err
}

// logged returns what the log holds under an attestation's digest, which must be
// a claim of the job's kind, and about what the job is about.
func (s *Service) logged(ctx context.Context, spec *cairnv1.BuildSpec, envelope leaf.Digest) (*cairnv1.BuildResult, error) {
	found, err := s.entries.Find(ctx, store.EnvelopeTerm(envelope), 0, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, reason.Errorf(reason.AttestationNotFound, "attestation %s is not logged: submit it before the build is completed with it", envelope)
	}
	entries, err := s.entries.Entries(ctx, found)
	if err != nil {
		return nil, err
	}
	l, err := leaf.Parse(entries[0].Text)
	if err != nil {
		return nil, err
	}
	if string(l.Claim) != spec.GetKind() {
		return nil, reason.Errorf(reason.ArgumentInvalid, "entry %d claims a %s, the job is a %s", found[0], l.Claim, spec.GetKind())
	}
	if want := leaf.Digest(spec.GetExpectedDigest()); want != "" && !slices.Contains(l.Subjects, want) {
		return nil, reason.Errorf(reason.ArgumentInvalid, "entry %d is not about %s, which the job expects", found[0], want)
	}
	result := &cairnv1.BuildResult{Envelope: string(envelope), Index: int64(found[0])}
	if l.Result != leaf.NoResult {
		result.Result = string(l.Result)
	}
	return result, nil
}
