package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/google/trillian"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
)

// weighed is a bucket that knows how many bytes it was given at once, at most.
type weighed struct {
	*enginetest.Bucket
	most atomic.Int64
}

// Put implements engine.Bucket.
func (b *weighed) Put(ctx context.Context, objects []engine.Object) error {
	n := 0
	for _, o := range objects {
		n += len(o.Bytes)
	}
	for most := b.most.Load(); int64(n) > most && !b.most.CompareAndSwap(most, int64(n)); most = b.most.Load() {
	}
	return b.Bucket.Put(ctx, objects)
}

// slow is a connection to a Trillian that answers nobody in time who asks for more
// than some leaves.
type slow struct {
	grpc.ClientConnInterface
	asked atomic.Int64 // the most
	most  int64        // that is answered; 0 for any
}

// Invoke implements grpc.ClientConnInterface.
func (c *slow) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if req, ok := args.(*trillian.GetLeavesByRangeRequest); ok {
		for asked := c.asked.Load(); req.Count > asked && !c.asked.CompareAndSwap(asked, req.Count); asked = c.asked.Load() {
		}
		if c.most > 0 && req.Count > c.most {
			return status.Error(codes.DeadlineExceeded, "too much")
		}
	}
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// TestTrillianLargeLeaves has as many large leaves come at once as nobody should hold
// in memory.
func TestTrillianLargeLeaves(t *testing.T) {
	const size, leaves = 40 << 10, 1200
	w := newWorld(t)
	cfg := w.config()
	bucket := &weighed{Bucket: &w.bucket}
	conn := &slow{ClientConnInterface: w.conn}
	cfg.Bucket, cfg.Conn = bucket, conn
	p := start(t, engine.OpenTrillian(cfg))
	w.server.Hold(true)
	for i := range leaves {
		leaf := binary.BigEndian.AppendUint64(bytes.Repeat([]byte{'x'}, size), uint64(i))
		if _, err := p.Place(t.Context(), []engine.Entry{{Leaf: leaf}}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the leaves are fed", func() bool { return w.server.Fed() == leaves })
	w.server.Hold(false)
	awaitSize(t, p, leaves)
	if got, err := engine.NewProver(p).Root(t.Context(), leaves, leaves); err != nil || tlog.Hash(got) != treeOf(t, w.server.Leaves()).Hash {
		t.Errorf("the root is %x, %v", got, err)
	}
	if most := bucket.most.Load(); most > 32<<20 {
		t.Errorf("tiles of %d bytes were written at once", most)
	}
	if asked := conn.asked.Load(); asked > 256 {
		t.Errorf("%d leaves of %d bytes were asked for at once", asked, size)
	}
}

// TestTrillianSlowLeaves has Trillian be too slow for many leaves at once: what it
// answered before is not asked for again.
func TestTrillianSlowLeaves(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	cfg.Conn = &slow{ClientConnInterface: w.conn, most: 256}
	p := start(t, engine.OpenTrillian(cfg))
	w.server.Hold(true)
	want := place(t, p, "leaf", 1500)
	await(t, "the leaves are fed", func() bool { return w.server.Fed() == 1500 })
	w.server.Hold(false)
	awaitSize(t, p, 1500)
	checkTree(t, p, want)
}

// TestTrillianIntegrated looks at the tree from a process that does not run the log.
func TestTrillianIntegrated(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	w.server.Hold(true)
	place(t, p, "leaf", 10)
	await(t, "the leaves are fed", func() bool { return w.server.Fed() == 10 })
	p.kill()
	w.server.Hold(false)
	if n, err := w.open().Integrated(t.Context()); err != nil || n != 10 {
		t.Errorf("Integrated() = %d, %v, want 10", n, err)
	}
	if keys := w.bucket.Keys(); len(keys) > 0 {
		t.Errorf("it wrote %q", keys)
	}
	next := w.run(t)
	awaitSize(t, next, 10)
	if n, err := next.Integrated(t.Context()); err != nil || n != 10 {
		t.Errorf("Integrated() = %d, %v, while the log is run; want 10", n, err)
	}
}
