package engine_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/trillian"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/engine"
)

// logServer serves Trillian's methods, before which every call passes intercept.
func logServer(t *testing.T, intercept grpc.UnaryServerInterceptor) (addr string) {
	t.Helper()
	server := grpc.NewServer(grpc.UnaryInterceptor(intercept))
	trillian.RegisterTrillianLogServer(server, trillian.UnimplementedTrillianLogServer{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String()
}

// TestALogServerThatHangs has one of two log servers take calls and not answer.
func TestALogServerThatHangs(t *testing.T) {
	hung := logServer(t, func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	well := logServer(t, func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if _, ok := req.(*trillian.GetLatestSignedLogRootRequest); ok {
			return &trillian.GetLatestSignedLogRootResponse{SignedLogRoot: &trillian.SignedLogRoot{LogRoot: []byte("root")}}, nil
		}
		return next(ctx, req)
	})
	conn, err := engine.DialTrillian(hung+","+well, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := trillian.NewTrillianLogClient(conn)
	for range 2 {
		root, err := log.GetLatestSignedLogRoot(ctx, &trillian.GetLatestSignedLogRootRequest{})
		if err != nil || string(root.GetSignedLogRoot().GetLogRoot()) != "root" {
			t.Fatalf("the server that answers was not asked: %v, %v", root, err)
		}
		_, leaves := log.GetLeavesByRange(ctx, &trillian.GetLeavesByRangeRequest{})
		_, add := log.AddSequencedLeaves(ctx, &trillian.AddSequencedLeavesRequest{})
		_, proof := log.GetConsistencyProof(ctx, &trillian.GetConsistencyProofRequest{})
		for _, err := range []error{leaves, add, proof} {
			if status.Code(err) != codes.Unimplemented {
				t.Fatalf("the server that answers was not asked: %v", err)
			}
		}
	}
}

// TestMadeOnce has the only log server not answer a call that must not be repeated
// until the next one comes.
func TestMadeOnce(t *testing.T) {
	calls := make(chan string, 10)
	addr := logServer(t, func(ctx context.Context, _ any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		calls <- info.FullMethod
		<-ctx.Done()
		return nil, ctx.Err()
	})
	conn, err := engine.DialTrillian(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	log := trillian.NewTrillianLogClient(conn)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { _, err := log.InitLog(ctx, &trillian.InitLogRequest{}); ended <- err }()
	if first := <-calls; first != trillian.TrillianLog_InitLog_FullMethodName {
		t.Fatalf("%s was called", first)
	}
	// This one is repeated, and takes longer than it would for the other to be.
	go func() { _, err := log.AddSequencedLeaves(ctx, &trillian.AddSequencedLeavesRequest{}); ended <- err }()
	for range 2 {
		if next := <-calls; next != trillian.TrillianLog_AddSequencedLeaves_FullMethodName {
			t.Errorf("%s was called, want that of what may be repeated", next)
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; status.Code(err) != codes.Canceled {
			t.Errorf("a call that was cancelled ended with %v", err)
		}
	}
}
