package engine_test

import (
	"context"
	"errors"
	"net"
	"sync"
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

// unanswered has the first call that adds leaves do so, and not be answered until it
// is told to fail.
type unanswered struct {
	grpc.ClientConnInterface
	fail chan struct{}
	once sync.Once
}

func (u *unanswered) Invoke(ctx context.Context, method string, req, reply any, opts ...grpc.CallOption) error {
	err := u.ClientConnInterface.Invoke(ctx, method, req, reply, opts...)
	if method == trillian.TrillianLog_AddSequencedLeaves_FullMethodName {
		u.once.Do(func() {
			<-u.fail
			err = status.Error(codes.DeadlineExceeded, "no answer")
		})
	}
	return err
}

// TestFedWithoutAnswer has leaves be fed by a call that seems to fail, and leave the
// sequence before it does.
func TestFedWithoutAnswer(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	conn := &unanswered{ClientConnInterface: w.conn, fail: make(chan struct{})}
	cfg.Conn = conn
	p := start(t, engine.OpenTrillian(cfg))
	want := place(t, p, "leaf", 10)
	awaitSize(t, p, 10)
	p.Indexed(10)
	publish(t, p, checkTree(t, p, want))
	await(t, "the sequence is trimmed", func() bool {
		_, err := w.sequence.Read(t.Context(), 9, 1)
		return errors.Is(err, engine.ErrNotFound)
	})
	close(conn.fail)
	want = append(want, place(t, p, "more", 5)...)
	awaitSize(t, p, 15)
	checkTree(t, p, want)
}

// TestTrimmedButNotFed has leaves leave the sequence that Trillian does not have.
func TestTrimmedButNotFed(t *testing.T) {
	w := newWorld(t)
	place(t, w.open(), "leaf", 10)
	if err := w.sequence.Trim(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	contradicts(t, w.run(t), "Trillian's tree ends before leaf 0")
}
