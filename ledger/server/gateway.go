package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	rekorv1 "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// gateway serves the services over REST. It calls them in this process, through the
// same interceptors as the gRPC server.
type gateway struct{ mux *runtime.ServeMux }

// newGateway returns a gateway to the services.
func newGateway(ctx context.Context, svc cairnv1.LedgerServiceServer, builds cairnv1.BuildServiceServer, entries rekorpb.RekorServer, in *interceptors) (*gateway, error) {
	var channel inprocgrpc.Channel
	channel.WithServerUnaryInterceptor(in.unary).WithServerStreamInterceptor(in.stream)
	cairnv1.RegisterLedgerServiceServer(&channel, svc)
	cairnv1.RegisterBuildServiceServer(&channel, builds)
	rekorpb.RegisterRekorServer(&channel, entries)
	g := &gateway{}
	g.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, rawBody{&runtime.JSONPb{
			MarshalOptions:   protojson.MarshalOptions{EmitDefaultValues: true},
			UnmarshalOptions: protojson.UnmarshalOptions{},
		}}),
		// Nothing of a request's headers reaches the service but what is set
		// here, and Authorization, which the mux hands on by itself: so no one can
		// pretend to be the gateway.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD {
			md := metadata.Pairs(mdRemote, hostOf(r.RemoteAddr), mdRequestID, observe.ID(r.Context()))
			observe.InjectInto(r.Context(), mdCarrier(md))
			return md
		}),
		runtime.WithForwardResponseOption(setStatus),
		runtime.WithErrorHandler(writeError),
	)
	if err := cairnv1.RegisterLedgerServiceHandlerClient(ctx, g.mux, cairnv1.NewLedgerServiceClient(&channel)); err != nil {
		return nil, fmt.Errorf("registering the gateway: %w", err)
	}
	if err := cairnv1.RegisterBuildServiceHandlerClient(ctx, g.mux, cairnv1.NewBuildServiceClient(&channel)); err != nil {
		return nil, fmt.Errorf("registering the gateway: %w", err)
	}
	if err := rekorpb.RegisterRekorHandlerClient(ctx, g.mux, rekorpb.NewRekorClient(&channel)); err != nil {
		return nil, fmt.Errorf("registering the gateway: %w", err)
	}
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A body that is one byte over the limit is refused as too large; what
	// follows that byte is never read.
	if _, held := r.Body.(*heldBody); !held {
		r.Body = limitedBody{io.LimitReader(r.Body, attest.MaxEnvelope+1), r.Body}
	}
	w.Header().Set("Cache-Control", "no-store")
	g.mux.ServeHTTP(w, r)
}

type limitedBody struct {
	io.Reader
	io.Closer
}

// rawBody is JSON, but for a field of bytes that is a request's whole body: an
// attestation is submitted as it is, whatever the Content-Type.
type rawBody struct{ *runtime.JSONPb }

// NewDecoder implements runtime.Marshaler.
func (m rawBody) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		raw, ok := v.(*[]byte)
		if !ok {
			return m.JSONPb.NewDecoder(r).Decode(v)
		}
		if h, ok := r.(*heldBody); ok {
			*raw = h.raw
			return nil
		}
		b, err := io.ReadAll(r)
		*raw = b
		return err
	})
}

// setStatus answers 201 to a submission that added an entry, and to every one of
// Rekor's clients: they take nothing else for a success.
func setStatus(ctx context.Context, w http.ResponseWriter, m proto.Message) error {
	if err := holdAnswer(ctx, m); err != nil {
		return err
	}
	switch m := m.(type) {
	case *cairnv1.SubmitAttestationResponse:
		if m.Created {
			w.WriteHeader(http.StatusCreated)
		}
	case *rekorv1.TransparencyLogEntry:
		w.WriteHeader(http.StatusCreated)
	}
	return nil
}

// writeError answers with the status as JSON, and the HTTP status of its
// reason.
func writeError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	var routing *runtime.HTTPStatusError
	if errors.As(err, &routing) {
		err = routing.Err
	}
	st := status.Convert(err)
	code := runtime.HTTPStatusFromCode(st.Code())
	var known bool
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			known = true
			code = reason.Lookup(reason.Reason(d.Reason)).HTTP
		case *errdetails.RetryInfo:
			w.Header().Set("Retry-After", retrySeconds(d.RetryDelay.AsDuration()))
		}
	}
	if !known {
		st = withReason(r.Context(), st)
	}
	if routing != nil {
		code = routing.HTTPStatus
	}
	writeStatus(w, st, code)
}

// withReason gives a reason to an error of the gateway or of gRPC itself.
func withReason(ctx context.Context, st *status.Status) *status.Status {
	r := reason.InternalError
	switch st.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.Unimplemented, codes.OutOfRange:
		r = reason.ArgumentInvalid
	case codes.ResourceExhausted:
		r = reason.EnvelopeTooLarge
	case codes.DeadlineExceeded, codes.Canceled:
		r = reason.DeadlinePassed
	case codes.Unavailable:
		r = reason.ShuttingDown
	}
	detailed, err := st.WithDetails(errorInfo(ctx, r))
	if err != nil {
		return st
	}
	return detailed
}

func writeStatus(w http.ResponseWriter, st *status.Status, code int) {
	body, err := protojson.Marshal(st.Proto())
	if err != nil {
		http.Error(w, st.Message(), http.StatusInternalServerError)
		return
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

// retrySeconds rounds up: coming back early is refused again.
func retrySeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
