package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/google/go-cmp/cmp"
	"github.com/google/trillian"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/engine/enginetest"
	"github.com/cairnlog/cairn/ledger/engine/enginetest/trilliantest"
)

// patience bounds how long a test waits for what must come.
const patience = 20 * time.Second

// world is what several processes share.
type world struct {
	server   *trilliantest.Server
	conn     *grpc.ClientConn
	sequence enginetest.Sequence
	bucket   enginetest.Bucket
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{}
	w.server, w.conn = trilliantest.Start(t)
	return w
}

// config is for a test: nothing waits long.
func (w *world) config() engine.TrillianConfig {
	return engine.TrillianConfig{
		Conn: w.conn, Tree: trilliantest.Tree, Sequence: &w.sequence, Bucket: &w.bucket,
		Poll: time.Millisecond, Idle: 5 * time.Millisecond, Stall: time.Hour, Collect: time.Hour,
	}
}

func (w *world) open() *engine.Trillian { return engine.OpenTrillian(w.config()) }

// process is one that runs a log.
type process struct {
	*engine.Trillian
	cancel context.CancelFunc
	ended  chan error
}

// run opens a log and runs it.
func (w *world) run(t testing.TB) *process { return start(t, w.open()) }

func start(t testing.TB, log *engine.Trillian) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{Trillian: log, cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- p.Run(ctx) }()
	t.Cleanup(cancel)
	return p
}

// Close ends the process in good order.
func (p *process) Close() error {
	if err := p.Trillian.Close(); err != nil {
		return err
	}
	p.cancel()
	if err := <-p.ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Run ended with %w", err)
	}
	return nil
}

// kill ends the process without anything of good order.
func (p *process) kill() {
	p.cancel()
	<-p.ended
}

// place places n entries, each with a leaf of its own, and returns the leaves.
func place(t testing.TB, log engine.Shared, name string, n int) [][]byte {
	t.Helper()
	entries := make([]engine.Entry, n)
	leaves := make([][]byte, n)
	for i := range entries {
		leaves[i] = fmt.Appendf(nil, "%s %d", name, i)
		entries[i].Leaf = leaves[i]
	}
	placed, err := log.Place(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range placed {
		if !p.Created || !bytes.Equal(p.Leaf, leaves[i]) {
			t.Fatalf("entry %d was answered with %+v", i, p)
		}
	}
	return leaves
}

// awaitSize waits until the tree has a size.
func awaitSize(t testing.TB, log engine.Log, size uint64) {
	t.Helper()
	await(t, fmt.Sprintf("the tree has size %d", size), func() bool {
		got, err := log.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got >= size
	})
}

func await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// leaves returns all leaves of the tree of a size, from the bucket's bundles.
func leaves(t testing.TB, log engine.TileReader, size uint64) [][]byte {
	t.Helper()
	var leaves [][]byte
	for uint64(len(leaves)) < size {
		index := uint64(len(leaves)) / engine.TileWidth
		width := engine.TileWidthAt(0, index, size)
		rest, err := log.Entries(t.Context(), index, width)
		if err != nil {
			t.Fatal(err)
		}
		for range width {
			var leaf []byte
			if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
				t.Fatal(err)
			}
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// checkTree compares the tree in the bucket with the one that leaves are of.
func checkTree(t testing.TB, log engine.Log, want [][]byte) tlog.Tree {
	t.Helper()
	size := uint64(len(want))
	if diff := cmp.Diff(want, leaves(t, log, size)); diff != "" {
		t.Fatalf("the entries differ:\n%s", diff)
	}
	tree := treeOf(t, want)
	got, err := engine.NewProver(log).Root(t.Context(), size, size)
	if err != nil || tlog.Hash(got) != tree.Hash {
		t.Fatalf("the root is %x, %v, want %s", got, err, tree.Hash)
	}
	return tree
}

// treeOf returns the tree of leaves.
func treeOf(t testing.TB, leaves [][]byte) tlog.Tree {
	t.Helper()
	m := &memory{}
	for _, leaf := range leaves {
		m.add(t, leaf)
	}
	root, err := tlog.TreeHash(m.leaves, m)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: m.leaves, Hash: root}
}

// publish publishes a tree, unsigned.
func publish(t testing.TB, log engine.Log, tree tlog.Tree) {
	t.Helper()
	text := torchwood.Checkpoint{Origin: enginetest.Origin, Tree: tree}.String()
	if err := log.Publish(t.Context(), []byte(text+"\n— "+enginetest.Origin+" AAAAAAAA\n")); err != nil {
		t.Fatal(err)
	}
}

func TestTrillian(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) func() engine.Log {
		w := newWorld(t)
		cfg := w.config()
		cfg.Collect = 5 * time.Millisecond
		return func() engine.Log { return start(t, engine.OpenTrillian(cfg)) }
	})
}

// TestTrillianSizeWithoutRun has a process that does not run the log ask for its
// size, as one does that has just become the publisher.
func TestTrillianSizeWithoutRun(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 700)
	awaitSize(t, p, 700)
	p.kill()
	fresh := w.open()
	if size, err := fresh.Size(t.Context()); err != nil || size != 700 {
		t.Fatalf("Size() = %d, %v", size, err)
	}
	checkTree(t, fresh, want)
}

func TestTrillianRefusesLeaves(t *testing.T) {
	p := newWorld(t).run(t)
	for _, size := range []int{0, 1 << 16} {
		_, err := p.Place(t.Context(), []engine.Entry{{Leaf: []byte("good")}, {Leaf: make([]byte, size)}})
		if err == nil || !strings.Contains(err.Error(), "leaf 1 has") {
			t.Errorf("a leaf of %d bytes: %v", size, err)
		}
	}
	if want := [][]byte{make([]byte, 1<<16-1)}; place(t, p, "x", 1) != nil {
		if _, err := p.Place(t.Context(), []engine.Entry{{Leaf: want[0]}}); err != nil {
			t.Errorf("the largest leaf: %v", err)
		}
		awaitSize(t, p, 2)
	}
}

// TestTrillianFeedsLargeLeaves has more bytes than a log server takes in one call.
func TestTrillianFeedsLargeLeaves(t *testing.T) {
	p := newWorld(t).run(t)
	entries := make([]engine.Entry, 200)
	for i := range entries {
		entries[i].Leaf = bytes.Repeat([]byte{byte(i)}, 65_000)
	}
	if _, err := p.Place(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	awaitSize(t, p, 200)
}

// TestTrillianTwoAtOnce runs the log in two processes, with entries from both.
func TestTrillianTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.run(t), w.run(t)
	for i := range 20 {
		place(t, a, fmt.Sprint("a", i), 37)
		place(t, b, fmt.Sprint("b", i), 41)
	}
	for _, p := range []*process{a, b} {
		awaitSize(t, p, 20*(37+41))
		checkTree(t, p, w.server.Leaves())
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTrillianRunsOnce(t *testing.T) {
	p := newWorld(t).run(t)
	place(t, p, "leaf", 1)
	awaitSize(t, p, 1)
	if err := p.Run(t.Context()); err == nil {
		t.Error("Run was begun twice")
	}
}

// TestTrillianTermsOfOneProcess has a process run the log again after another did.
func TestTrillianTermsOfOneProcess(t *testing.T) {
	w := newWorld(t)
	first := w.run(t)
	place(t, first, "a", 300)
	awaitSize(t, first, 300)
	first.kill()
	second := w.run(t)
	place(t, second, "b", 400)
	awaitSize(t, second, 700)
	publish(t, second, checkTree(t, second, w.server.Leaves()))
	second.kill()
	if size, err := first.Size(t.Context()); err != nil || size != 700 {
		t.Errorf("the first process answers with size %d, %v", size, err)
	}
	again := start(t, first.Trillian)
	place(t, again, "c", 10)
	awaitSize(t, again, 710)
	checkTree(t, again, w.server.Leaves())
}

func TestTrillianSaysThatItGrew(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	grew := make(chan uint64, 100)
	cfg.Grew = func(size uint64) { grew <- size }
	p := start(t, engine.OpenTrillian(cfg))
	place(t, p, "leaf", 5)
	for last := uint64(0); last < 5; {
		size := <-grew
		if size <= last {
			t.Fatalf("it grew to %d after %d", size, last)
		}
		last = size
	}
}

func TestTrillianTrims(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	place(t, p, "leaf", 10)
	awaitSize(t, p, 10)
	tree := checkTree(t, p, w.server.Leaves())
	p.Indexed(8)
	place(t, p, "more", 1)
	awaitSize(t, p, 11)
	if n := w.sequence.Trimmed(); n != 0 {
		t.Errorf("%d leaves were trimmed before they were published", n)
	}
	publish(t, p, tree)
	await(t, "the leaves are trimmed", func() bool { return w.sequence.Trimmed() > 0 })
	if n := w.sequence.Trimmed(); n != 8 {
		t.Errorf("%d leaves were trimmed, 8 are indexed", n)
	}
}

func TestTrillianKeepsTheNewerCheckpoint(t *testing.T) {
	w := newWorld(t)
	p := w.run(t)
	want := place(t, p, "leaf", 10)
	awaitSize(t, p, 10)
	small := treeOf(t, want[:4])
	publish(t, p, checkTree(t, p, want))
	newer, err := p.Published(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	publish(t, p, small)
	if got, err := p.Published(t.Context()); err != nil || !bytes.Equal(got, newer) {
		t.Errorf("the checkpoint is %q, %v", got, err)
	}
	if err := p.Publish(t.Context(), []byte("no checkpoint")); err == nil {
		t.Error("what is no checkpoint was published")
	}
}

// TestTrillianCollects has partial tiles deleted, and no full one, and none that the
// published tree needs.
func TestTrillianCollects(t *testing.T) {
	w := newWorld(t)
	cfg := w.config()
	p := start(t, engine.OpenTrillian(cfg))
	var want [][]byte
	for i := range 30 {
		want = append(want, place(t, p, fmt.Sprint("leaf", i), 20)...)
		awaitSize(t, p, uint64(len(want)))
	}
	publish(t, p, checkTree(t, p, want))
	before := w.bucket.Keys()
	p.kill()
	cfg.Collect = time.Millisecond
	collector := start(t, engine.OpenTrillian(cfg))
	stale := func(key string) bool { return strings.Contains(key, "/000.p/") || strings.Contains(key, "/001.p/") }
	keep := slices.DeleteFunc(slices.Clone(before), func(key string) bool {
		return stale(key) && !strings.HasPrefix(key, "tile/1/")
	})
	if len(keep) == len(before) {
		t.Fatal("there were no partial tiles to delete")
	}
	await(t, "the partial tiles are deleted", func() bool { return slices.Contains(w.bucket.Keys(), "collected") })
	if diff := cmp.Diff(keep, slices.DeleteFunc(w.bucket.Keys(), func(key string) bool { return key == "collected" })); diff != "" {
		t.Errorf("what is left differs:\n%s", diff)
	}
	checkTree(t, collector, want)
	checkTree(t, collector, want[:250]) // whose partial tiles are gone
}

func TestTrillianCreateTree(t *testing.T) {
	w := newWorld(t)
	id, err := engine.CreateTree(t.Context(), w.conn, strings.Repeat("name of the log ", 100))
	if err != nil || id != trilliantest.Tree {
		t.Errorf("CreateTree() = %d, %v", id, err)
	}
}

// TestDialTrillianList has the first of two log servers not answer.
func TestDialTrillianList(t *testing.T) {
	server := grpc.NewServer()
	trillian.RegisterTrillianLogServer(server, trillian.UnimplementedTrillianLogServer{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	go func() { _ = server.Serve(listener) }()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := engine.DialTrillian(gone.Addr().String()+","+listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for range 5 {
		_, err := trillian.NewTrillianLogClient(conn).InitLog(t.Context(), &trillian.InitLogRequest{})
		if status.Code(err) != codes.Unimplemented {
			t.Fatalf("the server that is there was not asked: %v", err)
		}
	}
}
