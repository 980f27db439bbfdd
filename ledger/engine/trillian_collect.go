package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// collectedPath is where the bucket has the size up to which the partial tiles of
// full ones are deleted. It is only for going on from there.
const collectedPath = "collected"

// collectTiles is how many bundles' partial ones are deleted in one round, with the
// tiles above them.
const collectTiles = 4096

// collectLoop deletes partial tiles, of a tree that was public for a while. Readers
// of an older checkpoint who then miss one read the full tile, as C2SP tlog-tiles
// has them do.
func (t *Trillian) collectLoop(ctx context.Context) error {
	again := t.retrier("deleting partial tiles")
	due := t.published.Load()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.cfg.Collect):
		}
		public := t.published.Load()
		for {
			err := t.collect(ctx, due)
			if err == nil {
				break
			}
			if err := again.wait(ctx, err); err != nil {
				return err
			}
		}
		again.reset()
		due = public
	}
}

// collect deletes the partial tiles of those that are full in the tree of a size,
// but not more than collectTiles bundles'.
func (t *Trillian) collect(ctx context.Context, size uint64) error {
	from, err := t.collected(ctx)
	if err != nil {
		return err
	}
	from = from / TileWidth * TileWidth
	end := min(size/TileWidth, from/TileWidth+collectTiles) * TileWidth
	if from >= end {
		return nil
	}
	for level := uint64(0); level < maxLevels; level++ {
		shift := tileHeight * (level + 1)
		for index := from >> shift; index < end>>shift; index++ {
			if err := t.deletePartials(ctx, int(level), index); err != nil {
				return err
			}
			if level == 0 {
				if err := t.deletePartials(ctx, bundleLevel, index); err != nil {
					return err
				}
			}
		}
	}
	if err := t.cfg.Bucket.Put(ctx, []Object{{Key: collectedPath, Bytes: fmt.Appendln(nil, end), ContentType: "text/plain; charset=utf-8", CacheControl: "no-cache"}}); err != nil {
		return fmt.Errorf("writing how far partial tiles are deleted: %w", err)
	}
	return nil
}

// deletePartials deletes the partial ones of one tile or bundle.
func (t *Trillian) deletePartials(ctx context.Context, level int, index uint64) error {
	prefix := tilePath(level, index, TileWidth) + ".p/"
	var keys []string
	err := t.cfg.Bucket.List(ctx, prefix, func(key string, _ int64) error {
		keys = append(keys, key)
		return nil
	})
	if err == nil && len(keys) > 0 {
		err = t.cfg.Bucket.Delete(ctx, keys)
	}
	if err != nil {
		return fmt.Errorf("deleting the partial tiles below %s: %w", prefix, err)
	}
	return nil
}

// collected returns the size up to which partial tiles are deleted.
func (t *Trillian) collected(ctx context.Context) (uint64, error) {
	b, err := t.cfg.Bucket.Get(ctx, collectedPath, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading how far partial tiles are deleted: %w", err)
	}
	size, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading object %s of the bucket, which may be deleted: %w", collectedPath, err)
	}
	return size, nil
}
