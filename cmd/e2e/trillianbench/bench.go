package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/client"
	"github.com/google/trillian/types"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"k8s.io/klog/v2"

	"github.com/cairnlog/cairn/ledger/engine"
)

// leafSize is that of a usual leaf of Cairn's.
const leafSize = 600

type bench struct {
	out    io.Writer
	target string
	leaves int
	format string

	conn *grpc.ClientConn
	log  trillian.TrillianLogClient
}

// Figure is one measurement.
type Figure struct {
	Call    string  `json:"call"`    // AddSequencedLeaves or QueueLeaf
	Batch   int     `json:"batch"`   // leaves a call
	Callers int     `json:"callers"` // at once
	Leaves  int     `json:"leaves"`
	Rate    float64 `json:"rate"` // leaves sequenced a second
}

func (b *bench) run(ctx context.Context) (err error) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // Trillian's client logs what it does
	if b.conn, err = engine.DialTrillian(b.target, nil); err != nil {
		return err
	}
	defer func() { _ = b.conn.Close() }()
	b.log = trillian.NewTrillianLogClient(b.conn)
	for _, f := range []Figure{
		{Call: "AddSequencedLeaves", Batch: 256, Callers: 1},
		{Call: "AddSequencedLeaves", Batch: 1000, Callers: 1},
		{Call: "QueueLeaf", Batch: 1, Callers: 64},
		{Call: "QueueLeaf", Batch: 1, Callers: 256},
	} {
		f.Leaves = b.leaves
		if err := b.measure(ctx, &f); err != nil {
			return fmt.Errorf("measuring %s: %w", f.Call, err)
		}
		if err := b.print(&f); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) print(f *Figure) error {
	if b.format == "json" {
		return json.NewEncoder(b.out).Encode(f)
	}
	_, err := fmt.Fprintf(b.out, "%-18s  %4d a call, %3d callers: %7.0f leaves/s\n", f.Call, f.Batch, f.Callers, f.Rate)
	return err
}

func (b *bench) measure(ctx context.Context, f *Figure) error {
	kind, call := trillian.TreeType_LOG, b.queue
	if f.Call == "AddSequencedLeaves" {
		kind, call = trillian.TreeType_PREORDERED_LOG, b.addSequenced
	}
	tree, err := client.CreateAndInitTree(ctx, &trillian.CreateTreeRequest{Tree: &trillian.Tree{
		TreeState: trillian.TreeState_ACTIVE, TreeType: kind, MaxRootDuration: durationpb.New(0),
	}}, trillian.NewTrillianAdminClient(b.conn), b.log)
	if err != nil {
		return err
	}
	start := time.Now()
	var next atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	for range f.Callers {
		g.Go(func() error {
			for {
				end := next.Add(int64(f.Batch))
				from := end - int64(f.Batch)
				if from >= int64(f.Leaves) {
					return nil
				}
				if err := call(gctx, tree.TreeId, from, min(end, int64(f.Leaves))); err != nil {
					return err
				}
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := b.await(ctx, tree.TreeId, uint64(f.Leaves)); err != nil {
		return err
	}
	f.Rate = float64(f.Leaves) / time.Since(start).Seconds()
	return nil
}

func (b *bench) addSequenced(ctx context.Context, tree, from, end int64) error {
	req := &trillian.AddSequencedLeavesRequest{LogId: tree}
	for i := from; i < end; i++ {
		req.Leaves = append(req.Leaves, &trillian.LogLeaf{LeafIndex: i, LeafValue: leaf(i)})
	}
	_, err := b.log.AddSequencedLeaves(ctx, req)
	return err
}

func (b *bench) queue(ctx context.Context, tree, from, end int64) error {
	for i := from; i < end; i++ {
		if _, err := b.log.QueueLeaf(ctx, &trillian.QueueLeafRequest{LogId: tree, Leaf: &trillian.LogLeaf{LeafValue: leaf(i)}}); err != nil {
			return err
		}
	}
	return nil
}

func leaf(i int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, leafSize-8), uint64(i))
}

// await waits until the tree has a size.
func (b *bench) await(ctx context.Context, tree int64, size uint64) error {
	for {
		resp, err := b.log.GetLatestSignedLogRoot(ctx, &trillian.GetLatestSignedLogRootRequest{LogId: tree})
		if err != nil {
			return err
		}
		var root types.LogRootV1
		if err := root.UnmarshalBinary(resp.GetSignedLogRoot().GetLogRoot()); err != nil {
			return err
		}
		if root.TreeSize >= size {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
