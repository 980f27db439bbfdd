package main

import (
	"context"
	"fmt"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// A connection is one goroutine that writes frames: a few hundred submitters
// keep it busy without waiting for it.
const (
	submittersPerConn = 256
	maxConns          = 16
)

// bytesCodec passes messages through that are marshalled already. It calls
// itself proto, since that is what the bytes are.
type bytesCodec struct{}

// Name implements encoding.CodecV2.
func (bytesCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("message of type %T is not marshalled", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*grpcReply)
	if !ok {
		return fmt.Errorf("message of type %T cannot be left as it is", v)
	}
	r.size = data.Len()
	if r.keep {
		r.body = data.Materialize()
	}
	return nil
}

type grpcReply struct {
	keep bool
	size int
	body []byte
}

// dialGRPC opens n connections to each of a ledger's front ends, by turns.
func dialGRPC(n int, addrs ...string) ([]*grpc.ClientConn, func(), error) {
	var conns []*grpc.ClientConn
	closeAll := func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	for i := range n * len(addrs) {
		addr := addrs[i%len(addrs)]
		c, err := grpc.NewClient("passthrough:///"+addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
			grpc.WithReadBufferSize(128<<10), grpc.WithWriteBufferSize(128<<10),
			// Fixed windows, far above what is in flight: no estimator, no stalls.
			grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(16<<20))
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("connecting to %s: %w", addr, err)
		}
		conns = append(conns, c)
	}
	return conns, closeAll, nil
}

// grpcSender submits over a connection that it shares.
type grpcSender struct {
	conn  *grpc.ClientConn
	reply grpcReply
}

var grpcCallOptions = []grpc.CallOption{grpc.ForceCodecV2(bytesCodec{}), grpc.StaticMethod()}

// send implements sender.
func (s *grpcSender) send(ctx context.Context, wire []byte, keep bool) ([]byte, error) {
	s.reply = grpcReply{keep: keep}
	if err := s.conn.Invoke(ctx, cairnv1.LedgerService_SubmitAttestation_FullMethodName, wire, &s.reply, grpcCallOptions...); err != nil {
		return nil, fmt.Errorf("%s", grpcReason(err))
	}
	if s.reply.size == 0 {
		return nil, fmt.Errorf("empty answer")
	}
	return s.reply.body, nil
}

// close implements sender; the load's context ends what is under way.
func (s *grpcSender) close() {}

// grpcReason names a failure: the code, and the ledger's reason or else the
// message.
func grpcReason(err error) string {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code().String() + " " + info.Reason
		}
	}
	return fmt.Sprintf("%s %.80s", st.Code(), st.Message())
}

// frameGRPC is the request message, which has the envelope as its field 1.
func frameGRPC(envelope []byte) request {
	wire := make([]byte, 0, len(envelope)+protowire.SizeTag(1)+protowire.SizeVarint(uint64(len(envelope))))
	wire = protowire.AppendTag(wire, 1, protowire.BytesType)
	wire = protowire.AppendVarint(wire, uint64(len(envelope)))
	body := len(wire)
	return request{wire: append(wire, envelope...), body: body}
}

func decodeGRPC(reply []byte) (*cairnv1.SubmitAttestationResponse, error) {
	m := &cairnv1.SubmitAttestationResponse{}
	if err := proto.Unmarshal(reply, m); err != nil {
		return nil, fmt.Errorf("parsing an answer: %w", err)
	}
	return m, nil
}
