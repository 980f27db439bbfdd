package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// writtenAtOnce bounds the entries whose tiles and bundles a ledger writes to its
// bucket at once, in no order: a crash takes any of them and leaves the others.
const writtenAtOnce = 256 * engine.TileWidth

// Objects is a bucket, as package bucket has it.
type Objects interface {
	// Get returns an object of at most limit bytes, or an error that wraps
	// fs.ErrNotExist.
	Get(ctx context.Context, key string, limit int64) ([]byte, error)
	// List calls each with every object below a prefix.
	List(ctx context.Context, prefix string, each func(key string, size int64) error) error
}

// OpenBucket opens the bucket of a log, wherever it is, whose storage has at least
// size entries. The bucket stays the caller's to close.
func OpenBucket(place string, objects Objects, size uint64) Copy {
	return Copy{
		Source: bucketSource{objects}, Place: place, Kind: Mirror,
		Unpublished: func() uint64 { return size + writtenAtOnce },
	}
}

type bucketSource struct{ objects Objects }

// Read implements Source. An object that cannot be read, also for its size, ends the
// audit: it is not known to be damaged.
func (b bucketSource) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	return b.objects.Get(ctx, path, limit)
}

// Attestations implements Source.
func (b bucketSource) Attestations(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error) {
	raws := make([][]byte, len(envelopes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readAtOnce)
	for i, e := range envelopes {
		g.Go(func() error {
			var err error
			if raws[i], err = b.Read(ctx, store.AttestationPath(e), attest.MaxEnvelope); isMissing(err) {
				return nil
			}
			return err
		})
	}
	return raws, g.Wait()
}

// readAtOnce is how many attestations are read from a bucket at a time.
const readAtOnce = 16

// Files implements Source, in the bucket's order. Only what stands where a log's
// objects do is listed.
func (b bucketSource) Files(ctx context.Context, visit func(File) error) error {
	for _, prefix := range []string{checkpoint.ArchiveDir + "/", "tile/", store.AttestationsDir + "/"} {
		err := b.objects.List(ctx, prefix, func(key string, size int64) error { return visit(File{Path: key, Size: size}) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Close implements Source.
func (b bucketSource) Close() error { return nil }

// bucketAhead returns what Copy.Unpublished is of a directory that does not say how
// far it is written, as a mirror's does: a ledger's bucket. What stands behind the
// published tree there is believed to be of the log if it follows closely.
func (d dir) bucketAhead() func() uint64 {
	var size, next uint64 // of the entries in bundles without a gap; the first bundle that was not full
	return func() uint64 {
		if size == 0 {
			signed, err := d.Read(context.Background(), "checkpoint", checkpoint.MaxNote)
			if err != nil {
				return 0
			}
			c, err := client.VerifyCheckpoint(string(signed), nil)
			if err != nil {
				return 0
			}
			size = uint64(c.N)
			next = size / engine.TileWidth
		}
		width := d.bundleWidth(next)
		for ; width == engine.TileWidth; width = d.bundleWidth(next) {
			next++
		}
		size = max(size, next*engine.TileWidth+width)
		return size + writtenAtOnce
	}
}

// bundleWidth returns how many entries the widest bundle of an index has, 0 if there
// is none.
func (d dir) bundleWidth(index uint64) (width uint64) {
	path := filepath.Join(d.root, filepath.FromSlash(torchwood.TilePath(
		tlog.Tile{H: torchwood.TileHeight, L: -1, N: int64(index), W: engine.TileWidth})))
	if _, err := os.Lstat(path); err == nil {
		return engine.TileWidth
	}
	partial, err := os.ReadDir(path + ".p")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0 // it is listed with the other files
	}
	for _, e := range partial {
		if w, err := strconv.ParseUint(e.Name(), 10, 8); err == nil {
			width = max(width, w)
		}
	}
	return width
}
