package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/grpc"
)

// Limits of an entry: that of a bundle's encoding, and Trillian's, which takes no
// empty leaf.
const maxLeaf = 1<<16 - 1

// checkpointPath is where the bucket has the published checkpoint.
const checkpointPath = "checkpoint"

// Limits of the objects that are read.
const (
	maxTile       = TileWidth * hashSize
	maxBundle     = TileWidth * (2 + maxLeaf)
	maxCheckpoint = 1 << 20
)

// ErrContradiction is wrapped by errors that say that what a log is made of does
// not fit together: Trillian's tree, the sequence, the bucket's tiles. Nothing is
// published after one, and no retry mends it.
var ErrContradiction = errors.New("the log contradicts itself")

// Bucket is the object store that a log's tiles are in. An error that a retry may
// mend is a *reason.Error with StorageUnavailable.
type Bucket interface {
	// Get returns an object of at most limit bytes. The error wraps fs.ErrNotExist
	// if there is none.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// Put durably stores objects, each as a whole.
	Put(ctx context.Context, objects []Object) error
	// Delete removes objects, those that are there.
	Delete(ctx context.Context, keys []string) error
	// List calls each with every object below a prefix, which ends with a slash.
	List(ctx context.Context, prefix string, each func(key string, size int64) error) error
}

// Object is what is stored in a Bucket.
type Object struct {
	Key   string
	Bytes []byte
	// Once says that the object never changes: if one is there, it is left as it is.
	Once bool
	// What an object store says of the object to those that read it over HTTP. The
	// type is application/octet-stream if it is empty.
	ContentType, CacheControl string
}

// TrillianConfig is what a Trillian is made of. A duration that is zero has the
// default of DefaultTrillianConfig.
type TrillianConfig struct {
	Conn     grpc.ClientConnInterface // to the log servers, as DialTrillian makes it; it stays the caller's
	Tree     int64                    // the id that CreateTree returned
	Sequence Sequence
	Bucket   Bucket
	// Grew is called with the new size when the log has grown. It must not block.
	Grew func(size uint64) // may be nil
	Log  *slog.Logger      // may be nil

	// Poll is how often Trillian's tree is looked at while it lacks leaves that were
	// placed, and Idle how often otherwise, and how often the sequence is.
	Poll, Idle time.Duration
	// Stall is after how long without growth the leaves that Trillian's tree lacks
	// are fed to it again.
	Stall time.Duration
	// Collect is how long a partial tile stays after its full one was published, at
	// least; it stays twice as long at most.
	Collect time.Duration
}

func (c *TrillianConfig) setDefaults() {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{{&c.Poll, 20 * time.Millisecond}, {&c.Idle, time.Second}, {&c.Stall, 10 * time.Second}, {&c.Collect, 10 * time.Minute}} {
		if *d.of == 0 {
			*d.of = d.is
		}
	}
	if c.Grew == nil {
		c.Grew = func(uint64) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Trillian is a Shared log whose tree is one of Trillian's, of the kind
// PREORDERED_LOG. The Sequence gives out the indexes; whichever process runs Run
// feeds the leaves to Trillian, waits for Trillian's signer to integrate them,
// reads them back, and writes them to the bucket as tiles, which all processes
// read.
//
// Invariants:
//   - Nothing is written to the bucket as a tile that is not of the tree whose root
//     Trillian answered with, and that has at every index the leaf of the sequence.
//   - Size counts leaves whose tiles are in the bucket.
//   - What is written is a function of the leaves, so that two processes which run
//     Run at once do no harm.
//   - A leaf leaves the sequence only once it is in Trillian's tree, in the bucket,
//     indexed, and published.
//
// A failure of a storage that may pass is a *reason.Error with StorageUnavailable.
type Trillian struct {
	cfg  TrillianConfig
	logs logClient

	size      atomic.Uint64 // of the tree that is tiled
	published atomic.Uint64 // size of the newest checkpoint that this process knows
	indexed   atomic.Uint64

	work    chan struct{} // held by whoever changes state
	state   state
	running atomic.Bool // Run is under way, and has caught up once

	mu     sync.Mutex
	grown  chan struct{} // closed, and replaced, when size grows or err is set
	err    error         // the contradiction that was found
	feeder feeder

	batch   batcher
	started atomic.Bool // Run is under way
}

// OpenTrillian opens the log. It asks nothing of Trillian yet.
func OpenTrillian(cfg TrillianConfig) *Trillian {
	cfg.setDefaults()
	t := &Trillian{
		cfg:    cfg,
		logs:   newLogClient(cfg.Conn, cfg.Tree),
		work:   make(chan struct{}, 1),
		grown:  make(chan struct{}),
		feeder: feeder{wake: make(chan struct{}, 1), fed: make(chan struct{}, 1)},
	}
	t.batch.start(t)
	return t
}

// Place implements Shared.
func (t *Trillian) Place(ctx context.Context, entries []Entry) ([]Placed, error) {
	for i, e := range entries {
		if len(e.Leaf) == 0 || len(e.Leaf) > maxLeaf {
			return nil, fmt.Errorf("placing entries: leaf %d has %d bytes, want 1 to %d", i, len(e.Leaf), maxLeaf)
		}
	}
	if err := t.failure(); err != nil {
		return nil, err
	}
	placed, err := t.cfg.Sequence.Place(ctx, entries)
	if err != nil {
		return nil, fmt.Errorf("placing entries: %w", err)
	}
	signal(t.feeder.wake)
	return placed, nil
}

// Size implements Log. While Run is under way, it is what Run has written the tiles
// of; otherwise, and until Run has caught up, Size itself writes those of what
// Trillian has integrated.
func (t *Trillian) Size(ctx context.Context) (uint64, error) {
	if t.running.Load() {
		return t.size.Load(), t.failure()
	}
	return t.advance(ctx)
}

// Integrated returns how many leaves Trillian's tree has, or, while Run is under way,
// how many are tiled. Unlike Size, it writes nothing.
func (t *Trillian) Integrated(ctx context.Context) (uint64, error) {
	if t.running.Load() {
		return t.Size(ctx)
	}
	root, err := t.logs.root(ctx)
	return uint64(root.N), err
}

// Indexed says that the index has all entries below size: these leave the sequence,
// once they are published.
func (t *Trillian) Indexed(size uint64) { raise(&t.indexed, size) }

// Tile implements TileReader.
func (t *Trillian) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	if level >= maxLevels || index >= 1<<55 {
		return nil, fmt.Errorf("reading tile %d/%d: %w", level, index, ErrNotFound)
	}
	b, err := t.object(ctx, int(level), index, width, maxTile)
	if err != nil {
		return nil, fmt.Errorf("reading tile %d/%d of width %d: %w", level, index, width, err)
	}
	return b, nil
}

// Entries implements TileReader.
func (t *Trillian) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	if index >= 1<<55 {
		return nil, fmt.Errorf("reading entry bundle %d: %w", index, ErrNotFound)
	}
	b, err := t.object(ctx, bundleLevel, index, width, maxBundle)
	if err != nil {
		return nil, fmt.Errorf("reading entry bundle %d of width %d: %w", index, width, err)
	}
	return b, nil
}

// object reads a tile or bundle, at a width or full: when a full one is there, the
// partial ones may be gone.
func (t *Trillian) object(ctx context.Context, level int, index uint64, width int, limit int64) ([]byte, error) {
	if width < 1 || width > TileWidth {
		return nil, fmt.Errorf("width %d is not within 1 and %d", width, TileWidth)
	}
	b, err := t.cfg.Bucket.Get(ctx, tilePath(level, index, width), limit)
	if width < TileWidth && errors.Is(err, fs.ErrNotExist) {
		b, err = t.cfg.Bucket.Get(ctx, tilePath(level, index, TileWidth), limit)
	}
	if errors.Is(err, fs.ErrNotExist) && level <= 0 {
		return t.remake(ctx, level, index)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return b, err
}

// Publish implements Log. A checkpoint that is older than the one in the bucket
// does not replace it: a publisher that was paused must not take readers back.
func (t *Trillian) Publish(ctx context.Context, signed []byte) error {
	tree, err := parseCheckpoint(signed)
	if err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	old, err := t.publishedTree(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("publishing: %w", err)
	}
	if err == nil && old.N > tree.N {
		return nil
	}
	checkpoint := Object{Key: checkpointPath, Bytes: signed, ContentType: "text/plain; charset=utf-8", CacheControl: "no-cache"}
	if err := t.cfg.Bucket.Put(ctx, []Object{checkpoint}); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	raise(&t.published, uint64(tree.N))
	return nil
}

// Published implements Log.
func (t *Trillian) Published(ctx context.Context) ([]byte, error) {
	b, err := t.cfg.Bucket.Get(ctx, checkpointPath, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading the published checkpoint: %w", err)
	}
	return b, nil
}

// publishedTree returns the tree of the published checkpoint, whose signature is
// not looked at: what is believed is decided above the engine.
func (t *Trillian) publishedTree(ctx context.Context) (tlog.Tree, error) {
	signed, err := t.Published(ctx)
	if err != nil {
		return tlog.Tree{}, err
	}
	return parseCheckpoint(signed)
}

func parseCheckpoint(signed []byte) (tlog.Tree, error) {
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	c, err := torchwood.ParseCheckpoint(string(text) + "\n")
	return c.Tree, err
}

// Close implements Log: it waits until the leaves that Append was given are placed.
func (t *Trillian) Close() error {
	t.batch.stop()
	return nil
}

// failure returns the contradiction that was found, if one was.
func (t *Trillian) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// settle remembers err if it is a contradiction, and returns it.
func (t *Trillian) settle(err error) error {
	if !errors.Is(err, ErrContradiction) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
		t.broadcast()
	}
	return err
}

// broadcast wakes who waits for the log to grow. The caller holds mu.
func (t *Trillian) broadcast() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// raise makes a value at least as large as n.
func raise(v *atomic.Uint64, n uint64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// signal wakes one reader of a channel with room for one signal.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
