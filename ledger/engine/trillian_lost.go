package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/rfc6962"
)

// remake returns a full bundle, or tile of level 0, that the bucket has lost, from
// Trillian's leaves: if it is of the published tree, and the tile above confirms it.
func (t *Trillian) remake(ctx context.Context, level int, index uint64) ([]byte, error) {
	public, err := t.publishedTree(ctx)
	if err != nil {
		return nil, err
	}
	from := index * TileWidth
	if from+TileWidth > uint64(public.N) {
		return nil, ErrNotFound
	}
	leaves, err := t.logs.leaves(ctx, from, from+TileWidth, maxBundle)
	if err == nil && len(leaves) < TileWidth {
		err = unavailable(fmt.Sprintf("reading the leaves from %d on from Trillian", from), errMissingLeaf)
	}
	if err != nil {
		return nil, err
	}
	var hashes, bundle []byte
	for i, leaf := range leaves {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(leaf)...)
		if bundle, err = torchwood.AppendTileEntry(bundle, leaf); err != nil {
			return nil, fmt.Errorf("leaf %d of Trillian's: %w", from+uint64(i), err)
		}
	}
	above := index / TileWidth
	parents, err := loadTile(ctx, t, 1, above, TileWidthAt(1, above, uint64(public.N)))
	if err != nil {
		return nil, err
	}
	if at := index % TileWidth * hashSize; !bytes.Equal(parents[at:at+hashSize], perfect(hashes)) {
		return nil, fmt.Errorf("%w: Trillian's leaves from %d on are not those of tile 1/%d", ErrContradiction, from, above)
	}
	if level == bundleLevel {
		return bundle, nil
	}
	return hashes, nil
}

// Rewrite writes all tiles and bundles again, from Trillian's leaves, after the
// bucket lost some. It is not for a log that is being run.
func (t *Trillian) Rewrite(ctx context.Context) error {
	if t.started.Load() {
		return errors.New("writing the tiles again: the log is being run")
	}
	for again := t.retrier("writing the tiles again"); ; {
		err := t.rewrite(ctx)
		if err == nil {
			return nil
		}
		if err := again.wait(ctx, err); err != nil {
			return fmt.Errorf("writing the tiles again: %w", err)
		}
	}
}

func (t *Trillian) rewrite(ctx context.Context) error {
	public, err := t.publishedTree(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := t.lock(ctx); err != nil {
		return err
	}
	t.state = state{loaded: true, public: public}
	t.unlock()
	_, err = t.advance(ctx)
	return err
}
