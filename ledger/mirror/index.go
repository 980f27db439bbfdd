package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strconv"

	"filippo.io/torchwood"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Files that are kept in memory. A bundle has 100 KiB, a shard 100 KiB in a log
// of a million entries.
const (
	cachedBundles = 64
	cachedShards  = 64
	cachedKeys    = 1024
)

var errReadOnly = errors.New("a mirror is changed by copying alone")

// enrolTerm finds the enrolments and endorsements of a key, revokeTerm its
// revocations. They stand beside the terms of package store, which has tables for
// keys.
func enrolTerm(f leaf.Fingerprint) store.Term  { return sha256.Sum256([]byte("enrol " + f)) }
func revokeTerm(f leaf.Fingerprint) store.Term { return sha256.Sum256([]byte("revoke " + f)) }

// index implements store.Index on files.
type index struct {
	files   Files
	tiles   tiles
	size    uint64
	bundles *lru.Cache[uint64, [][]byte]
	shards  *lru.Cache[string, []byte]
	keys    *lru.Cache[leaf.Fingerprint, *store.Key]
}

var _ store.Index = (*index)(nil)

func newIndex(files Files, size uint64) *index {
	return &index{
		files: files, tiles: tiles{files}, size: size,
		bundles: cache[uint64, [][]byte](cachedBundles),
		shards:  cache[string, []byte](cachedShards),
		keys:    cache[leaf.Fingerprint, *store.Key](cachedKeys),
	}
}

func cache[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// Size implements store.Index.
func (x *index) Size(context.Context) (uint64, error) { return x.size, nil }

// Add implements store.Index.
func (x *index) Add(context.Context, []store.Entry) error { return errReadOnly }

// Close implements store.Index.
func (x *index) Close() error { return nil }

// Find implements store.Index.
func (x *index) Find(ctx context.Context, term store.Term, from uint64, limit int) ([]uint64, error) {
	all, err := x.all(ctx, term)
	if err != nil {
		return nil, err
	}
	start, _ := slices.BinarySearch(all, from)
	return all[start:min(len(all), start+limit)], nil
}

// First implements store.Index.
func (x *index) First(ctx context.Context, terms []store.Term) ([]uint64, error) {
	first := make([]uint64, len(terms))
	for i, t := range terms {
		found, err := x.Find(ctx, t, 0, 1)
		if err != nil {
			return nil, err
		}
		first[i] = store.NoEntry
		if len(found) > 0 {
			first[i] = found[0]
		}
	}
	return first, nil
}

// all returns the indexes of the entries that have a term.
func (x *index) all(ctx context.Context, term store.Term) ([]uint64, error) {
	path := ShardPath(ShardOf(term))
	shard, ok := x.shards.Get(path)
	if !ok {
		var err error
		shard, err = x.files.Read(ctx, path, MaxShard)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		x.shards.Add(path, shard)
	}
	var found []uint64
	for _, p := range postingsOf(shard, term) {
		index, err := strconv.ParseUint(string(p), 10, 63)
		if err != nil || len(found) > 0 && index <= found[len(found)-1] {
			return nil, fmt.Errorf("%s: invalid or misplaced index %.40q", path, p)
		}
		if index < x.size {
			found = append(found, index)
		}
	}
	return found, nil
}

// postingsOf returns what stands behind a term in the lines of a shard, which are
// sorted.
func postingsOf(shard []byte, term store.Term) [][]byte {
	prefix := append(hex.AppendEncode(nil, term[:]), ' ')
	// The start of the line at or after a position.
	line := func(at int) int {
		if at == 0 {
			return 0
		}
		end := bytes.IndexByte(shard[at-1:], '\n')
		if end < 0 {
			return len(shard)
		}
		return at + end
	}
	at := line(sort.Search(len(shard), func(at int) bool {
		start := line(at)
		return start == len(shard) || bytes.Compare(shard[start:], prefix) >= 0
	}))
	var found [][]byte
	for rest := shard[at:]; bytes.HasPrefix(rest, prefix); {
		var posting []byte
		posting, rest, _ = bytes.Cut(rest[len(prefix):], []byte("\n"))
		found = append(found, posting)
	}
	return found
}

// Entries implements store.Index.
func (x *index) Entries(ctx context.Context, indexes []uint64) ([]store.Entry, error) {
	entries := make([]store.Entry, 0, len(indexes))
	for _, i := range indexes {
		if i >= x.size {
			return nil, fmt.Errorf("entry %d of %d: %w", i, x.size, store.ErrNotFound)
		}
		bundle, err := x.bundle(ctx, i/engine.TileWidth)
		if err != nil {
			return nil, err
		}
		entries = append(entries, store.Entry{Index: i, Text: bundle[i%engine.TileWidth]})
	}
	return entries, nil
}

// bundle returns the entries of a bundle.
func (x *index) bundle(ctx context.Context, n uint64) ([][]byte, error) {
	if b, ok := x.bundles.Get(n); ok {
		return b, nil
	}
	width := engine.TileWidthAt(0, n, x.size)
	rest, err := x.tiles.Entries(ctx, n, width)
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, width)
	for range width {
		var e []byte
		if e, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, fmt.Errorf("entry bundle %d: %w", n, err)
		}
		entries = append(entries, e)
	}
	x.bundles.Add(n, entries)
	return entries, nil
}

// blobs implements store.Blobs on files.
type blobs struct{ files Files }

var _ store.Blobs = blobs{}

// Get implements store.Blobs.
func (b blobs) Get(ctx context.Context, digest leaf.Digest) ([]byte, error) {
	raw, err := b.files.Read(ctx, store.AttestationPath(digest), attest.MaxEnvelope)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("attestation %s: %w", digest, store.ErrNotFound)
	}
	if err == nil && leaf.SHA256(raw) != digest {
		err = fmt.Errorf("the file of attestation %s holds other bytes", digest)
	}
	return raw, err
}

// Put implements store.Blobs.
func (blobs) Put(context.Context, []store.Blob) error { return errReadOnly }

// Close implements store.Blobs.
func (blobs) Close() error { return nil }
