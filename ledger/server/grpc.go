package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

const (
	// requestDeadline bounds every unary request that does not set its own.
	requestDeadline = 30 * time.Second
	// maxMessage leaves room for an attestation of the largest size, so that
	// one that is larger is refused with a reason.
	maxMessage = attest.MaxEnvelope + 64<<10
	// maxStreams is per connection; doors bound what all of them have.
	maxStreams = 1024
)

// Metadata that the gateway sets on the in-process connection.
const (
	mdRemote    = "cairn-remote-address"
	mdRequestID = "x-request-id"
)

func newGRPCServer(svc cairnv1.LedgerServiceServer, builds cairnv1.BuildServiceServer, in *interceptors, d *doors) (*grpc.Server, *health.Server) {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		// As they are given, they do not grow with a fast peer.
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(1<<20),
		grpc.ConnectionTimeout(headerDeadline),
		// A peer that is gone, or reads nothing, does not answer.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 5 * time.Minute, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.InTapHandle(d.tap),
		grpc.UnaryInterceptor(in.unary),
		grpc.StreamInterceptor(in.stream),
	)
	s.RegisterService(d.ledgerService(in), svc)
	cairnv1.RegisterBuildServiceServer(s, builds)
	h := health.NewServer()
	h.SetServingStatus(cairnv1.LedgerService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(s, h)
	reflection.Register(s)
	return s, h
}

// interceptors are what every request goes through.
type interceptors struct {
	metrics *metrics
	log     *slog.Logger
	doors   *doors
}

func (in *interceptors) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	start := time.Now()
	id := requestID(ctx)
	ctx, cancel := context.WithTimeout(ctx, requestDeadline)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = in.recovered(ctx, v)
		}
		err = in.done(ctx, info.FullMethod, id, start, err)
	}()
	if err := arrived(ctx, req); err != nil {
		return nil, err
	}
	if ctx, err = in.doors.reading(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	resp, err = handle(ctx, req)
	if m, ok := resp.(proto.Message); ok && err == nil {
		err = holdAnswer(ctx, m)
	}
	return resp, err
}

func (in *interceptors) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if info.FullMethod == cairnv1.LedgerService_SubmitAttestation_FullMethodName {
		return handle(srv, ss) // no stream to anybody else
	}
	start := time.Now()
	id := requestID(ss.Context())
	defer func() {
		if v := recover(); v != nil {
			err = in.recovered(ss.Context(), v)
		}
		err = in.done(ss.Context(), info.FullMethod, id, start, err)
	}()
	if e := entryOf(ss.Context()); e != nil && e.timer != nil {
		e.here()
		e.Arrived(costStream)
	}
	return handle(srv, ss)
}

func (in *interceptors) recovered(ctx context.Context, v any) error {
	in.log.ErrorContext(ctx, "panic in a request", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	return errors.New("panic in a request")
}

// done converts a request's error to its status, and accounts for the request.
func (in *interceptors) done(ctx context.Context, method, id string, start time.Time, err error) error {
	row, converted := toStatus(ctx, err)
	in.metrics.request(method, row, time.Since(start))
	if row.Reason == reason.InternalError {
		in.log.ErrorContext(ctx, "request failed", slog.String("method", method), slog.String("requestId", id), slog.Any("err", err))
	} else if err != nil {
		in.log.DebugContext(ctx, "request refused", slog.String("method", method), slog.String("requestId", id), slog.Any("err", err))
	}
	return converted
}

// toStatus returns err as a gRPC status with its ErrorInfo, after the row of its
// reason; the zero row for nil. What went wrong inside is logged, not told.
func toStatus(ctx context.Context, err error) (reason.Row, error) {
	if err == nil {
		return reason.Row{}, nil
	}
	if _, isStatus := status.FromError(err); isStatus {
		// From gRPC itself, such as a message over the limit.
		return reason.Row{Reason: "GRPC"}, err
	}
	e, ok := reason.Of(err)
	switch {
	case ok:
	case ctx.Err() != nil:
		e = &reason.Error{Reason: reason.DeadlinePassed, Message: "the request was not done in time"}
	default:
		e = &reason.Error{Reason: reason.InternalError, Message: "the ledger failed; its log has the details"}
	}
	return reason.Lookup(e.Reason), statusOf(e)
}

// statusOf returns the status of a refusal.
func statusOf(e *reason.Error) error {
	row := reason.Lookup(e.Reason)
	st := status.New(codes.Code(row.Code), e.Message)
	detailed, err := st.WithDetails(&errdetails.ErrorInfo{Reason: string(row.Reason), Domain: reason.Domain})
	if err != nil {
		return st.Err()
	}
	if e.RetryAfter > 0 {
		if retry, err := detailed.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}); err == nil {
			detailed = retry
		}
	}
	return detailed.Err()
}

// requestID returns the request's id, which the gateway chose, or a new one.
func requestID(ctx context.Context) string {
	if id := fromGateway(ctx, mdRequestID); id != "" {
		return id
	}
	return newRequestID()
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x", b)
}

// remoteAddress returns the address of whoever sent the request, without port.
func remoteAddress(ctx context.Context) string {
	if a := fromGateway(ctx, mdRemote); a != "" {
		return a
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return hostOf(p.Addr.String())
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// inProcessNetwork is the network of the gateway's address: no request from
// outside the process has it.
const inProcessNetwork = "inproc"

// fromGateway returns metadata that the gateway set. A request from elsewhere
// may carry the same key; it is not believed.
func fromGateway(ctx context.Context, key string) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr.Network() != inProcessNetwork {
		return ""
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if v := md.Get(key); len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}
