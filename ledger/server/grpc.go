package server

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
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

	"github.com/cairnlog/cairn/internal/observe"
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

// mdRemote is metadata that the gateway sets on the in-process connection.
const mdRemote = "cairn-remote-address"

// mdRequestID is the metadata of the request's id, as clients and the gateway set it.
var mdRequestID = strings.ToLower(observe.RequestIDHeader)

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
	ctx, span := begin(ctx, info.FullMethod)
	ctx, cancel := context.WithTimeout(ctx, requestDeadline)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = in.recovered(ctx, v)
		}
		err = in.done(ctx, info.FullMethod, start, span, err)
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
	ctx, span := begin(ss.Context(), info.FullMethod)
	defer func() {
		if v := recover(); v != nil {
			err = in.recovered(ctx, v)
		}
		err = in.done(ctx, info.FullMethod, start, span, err)
	}()
	if e := entryOf(ss.Context()); e != nil && e.timer != nil {
		e.here()
		e.Arrived(costStream)
	}
	return handle(srv, stream{ss, ctx})
}

// stream is a stream with the context of its request.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s stream) Context() context.Context { return s.ctx }

// begin gives a request its id and its span. One that came by HTTP has an id, which
// the gateway hands on, and a span, which this one becomes a part of.
func begin(ctx context.Context, method string) (context.Context, observe.Span) {
	if observe.ID(ctx) != "" {
		return observe.Start(ctx, methodName(method))
	}
	md, _ := metadata.FromIncomingContext(ctx)
	var client string
	if v := md.Get(mdRequestID); len(v) > 0 {
		client = v[len(v)-1]
	}
	id := observe.ChooseID(client)
	ctx = observe.WithID(ctx, id)
	// What fails is a stream that has ended.
	_ = grpc.SetHeader(ctx, metadata.Pairs(mdRequestID, id))
	return observe.StartServer(ctx, methodName(method), mdCarrier(md))
}

// mdCarrier reads the trace of a request from its metadata, and writes it there.
type mdCarrier metadata.MD

var _ propagation.TextMapCarrier = mdCarrier{}

// Get implements propagation.TextMapCarrier.
func (c mdCarrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c mdCarrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c mdCarrier) Keys() []string { return slices.Collect(maps.Keys(c)) }

func (in *interceptors) recovered(ctx context.Context, v any) error {
	in.log.ErrorContext(ctx, "panic in a request", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	return errors.New("panic in a request")
}

// done converts a request's error to its status, and accounts for the request.
func (in *interceptors) done(ctx context.Context, method string, start time.Time, span observe.Span, err error) error {
	row, converted := toStatus(ctx, err)
	in.metrics.request(method, row, time.Since(start))
	if err == nil {
		span.End(nil)
		return nil
	}
	span.Text("cairn.reason", string(row.Reason))
	if row.HTTP >= http.StatusInternalServerError {
		span.End(err)
	} else {
		span.End(nil)
	}
	// What is worth a line once, such as that storage is gone or that witnesses are
	// missing, is said by the part that knows; not again for each who waits for it.
	level, what := slog.LevelDebug, "request refused"
	if row.Reason == reason.InternalError {
		level, what = slog.LevelError, "request failed"
	}
	in.log.LogAttrs(ctx, level, what, slog.String("method", method), slog.String("reason", string(row.Reason)), slog.Any("err", err))
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
	return reason.Lookup(e.Reason), statusOf(ctx, e).Err()
}

// errorInfo returns the detail that every error has: its reason, and the id of the
// request.
func errorInfo(ctx context.Context, r reason.Reason) *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Reason: string(r), Domain: reason.Domain}
	if id := observe.ID(ctx); id != "" {
		info.Metadata = map[string]string{"requestId": id}
	}
	return info
}

// statusOf returns the status of a refusal. What a storage that failed says of itself,
// such as where it is and as whom it is asked, is nobody's business.
func statusOf(ctx context.Context, e *reason.Error) *status.Status {
	row := reason.Lookup(e.Reason)
	message := e.Message
	if e.Reason == reason.StorageUnavailable && e.Cause != nil {
		message = "the ledger's storage is not available at present"
	}
	st := status.New(codes.Code(row.Code), message)
	detailed, err := st.WithDetails(errorInfo(ctx, row.Reason))
	if err != nil {
		return st
	}
	if e.RetryAfter > 0 {
		if retry, err := detailed.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)}); err == nil {
			detailed = retry
		}
	}
	return detailed
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
