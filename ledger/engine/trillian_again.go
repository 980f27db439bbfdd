package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/google/trillian"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// A log server that hangs keeps its connections: nothing tells it from one that is
// slow, but the time that it takes. patience is how much of that each call has
// before another server is asked too, up to maxAsked in all. Only these calls may be
// made twice at once.
var patience = map[string]time.Duration{
	trillian.TrillianLog_GetLatestSignedLogRoot_FullMethodName: time.Second,
	trillian.TrillianLog_GetConsistencyProof_FullMethodName:    time.Second,
	trillian.TrillianLog_GetLeavesByRange_FullMethodName:       time.Second,
	trillian.TrillianLog_AddSequencedLeaves_FullMethodName:     2 * time.Second,
}

const (
	maxAsked = 3
	// Once a server was found to hang, patience is divided by impatience for a while.
	impatience = 10
	remembered = 10 * time.Second
)

// again makes calls again that are not answered in time.
type again struct{ hung atomic.Pointer[time.Time] } // when a server was found to hang

func (a *again) patience(method string) (time.Duration, bool) {
	wait, ok := patience[method]
	if hung := a.hung.Load(); hung != nil && time.Since(*hung) < remembered {
		wait /= impatience
	}
	return wait, ok
}

// call is a grpc.UnaryClientInterceptor. The first answer to a call counts.
func (a *again) call(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	wait, repeats := a.patience(method)
	result, isProto := reply.(proto.Message)
	if !repeats || !isProto {
		return call(ctx, method, req, reply, conn, opts...)
	}
	type answer struct {
		to    int // which of the times that it was asked
		reply proto.Message
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, maxAsked)
	ask := func(n int) {
		own := result.ProtoReflect().New().Interface()
		answers <- answer{n, own, call(ctx, method, req, own, conn, opts...)}
	}
	tick := time.NewTicker(wait)
	defer tick.Stop()
	go ask(1)
	for asked := 1; ; {
		select {
		case got := <-answers:
			if got.err == nil {
				proto.Merge(result, got.reply)
			}
			if now := time.Now(); got.to > 1 {
				a.hung.Store(&now)
			}
			return got.err
		case <-tick.C:
			if asked < maxAsked {
				asked++
				go ask(asked)
			}
		}
	}
}
