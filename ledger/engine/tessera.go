package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// stateDir is where Tessera keeps what is not of tlog-tiles.
const stateDir = ".state"

// Tessera's own checkpoint publisher is never due: it polls, it cannot be
// awaited, and it signs whatever tree it finds (with an older tree on disk it
// signs a fork). The signer it is given signs only the empty tree.
const never = time.Duration(math.MaxInt64)

// Batching is tuned for submitters that wait for their answer. Whoever calls
// Append batches already, by committing many attestations in one transaction,
// so the age only needs to outlast the loop that appends such a batch.
const (
	batchSize = 1024
	batchAge  = 2 * time.Millisecond
	// Each run collects at most 101 bundles, so this keeps up with about
	// 12,000 entries a second.
	collectInterval = 2 * time.Second
)

// Tessera is the embedded Log: Tessera's POSIX driver on a local directory,
// which at any time is a complete C2SP tlog-tiles log that a static web server
// can serve. One process may use a directory at a time.
type Tessera struct {
	tessera.LogReader
	dir      string
	state    *os.File      // the directory of the tree's state
	synced   atomic.Uint64 // a size that the disk has confirmed
	appender *tessera.Appender
	shutdown func(context.Context) error
	cancel   context.CancelFunc
}

// OpenTessera opens the log in dir, and creates an empty one if there is none.
// genesis signs the checkpoint of a new, empty log, and nothing else.
func OpenTessera(ctx context.Context, dir string, genesis note.Signer) (*Tessera, error) {
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		return nil, fmt.Errorf("opening log in %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	creator := &creator{Signer: genesis}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(creator).
		WithCheckpointInterval(never).
		WithCheckpointRepublishInterval(never).
		WithBatching(batchSize, batchAge).
		WithGarbageCollectionInterval(collectInterval).
		WithShutdownTimeout(10*time.Second))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening log in %s: %w", dir, cmp.Or(creator.err, err))
	}
	state, err := os.Open(filepath.Join(dir, stateDir))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening log in %s: %w", dir, err)
	}
	return &Tessera{LogReader: reader, dir: dir, state: state, appender: appender, shutdown: shutdown, cancel: cancel}, nil
}

// creator remembers why the checkpoint of a new log was not signed: Tessera
// reports it without wrapping it.
type creator struct {
	note.Signer
	err error
}

// Sign implements note.Signer.
func (c *creator) Sign(msg []byte) ([]byte, error) {
	sig, err := c.Signer.Sign(msg)
	c.err = err
	return sig, err
}

// Append implements Log.
func (t *Tessera) Append(ctx context.Context, leaf []byte) Future {
	// The batch is written on behalf of many submitters: one of them going
	// away must not fail it.
	future := t.appender.Add(context.WithoutCancel(ctx), tessera.NewEntry(leaf))
	return func() (uint64, error) {
		index, err := future()
		if err != nil {
			return 0, fmt.Errorf("appending to the log: %w", err)
		}
		return index.Index, nil
	}
}

// Size implements Log. Tessera replaces the state of its tree, and syncs the
// directory only then. A size that was read in between could be lost with the
// power, after it was signed; so the directory is synced here too.
func (t *Tessera) Size(ctx context.Context) (uint64, error) {
	size, err := t.IntegratedSize(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the size of the log: %w", err)
	}
	if size == t.synced.Load() {
		return size, nil
	}
	if err := t.state.Sync(); err != nil {
		return 0, fmt.Errorf("syncing the size of the log: %w", err)
	}
	t.synced.Store(size)
	return size, nil
}

// Tile implements TileReader.
func (t *Tessera) Tile(ctx context.Context, level, index uint64, width int) ([]byte, error) {
	b, err := t.ReadTile(ctx, level, index, partial(width))
	if err != nil {
		return nil, notFound(err, "reading tile %d/%d of width %d", level, index, width)
	}
	return b, nil
}

// Entries implements TileReader.
func (t *Tessera) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	b, err := t.ReadEntryBundle(ctx, index, partial(width))
	if err != nil {
		return nil, notFound(err, "reading entry bundle %d of width %d", index, width)
	}
	return b, nil
}

// partial converts a width to Tessera's, in which a full tile has width 0.
func partial(width int) uint8 { return uint8(width % TileWidth) }

func notFound(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Publish implements Log. The checkpoint stands where tlog-tiles wants it,
// beside the tiles, where Tessera's garbage collector also looks for the size
// below which partial tiles are no longer needed.
func (t *Tessera) Publish(_ context.Context, signed []byte) error {
	return durable.WriteFile(t.checkpointPath(), signed, 0o644)
}

// Published implements Log.
func (t *Tessera) Published(context.Context) ([]byte, error) {
	b, err := os.ReadFile(t.checkpointPath())
	if err != nil {
		return nil, notFound(err, "reading the published checkpoint")
	}
	return b, nil
}

func (t *Tessera) checkpointPath() string {
	return filepath.Join(t.dir, filepath.FromSlash(layout.CheckpointPath))
}

// Close implements Log. It must be called after the last answer of Append.
func (t *Tessera) Close() error {
	defer t.cancel()
	defer func() { _ = t.state.Close() }() // it was only synced
	// Tessera would wait for a checkpoint of all that was appended. With too few
	// witnesses there is none to come, and what Append answered is in the tree.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := t.shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("closing the log: %w", err)
	}
	return nil
}
