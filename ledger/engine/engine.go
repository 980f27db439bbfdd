// Package engine holds the Merkle log behind one small interface.
//
// A Log only sequences: it appends leaves to an RFC 6962 tree and keeps its
// tiles. It signs nothing. What is published is decided above it, by
// checkpoint.Publisher, which is the same for every engine.
//
// Invariants, which enginetest checks for every driver:
//   - An index that Append gave is durable: it survives a crash with its leaf.
//   - Indexes are dense and a leaf at an index never changes.
//   - Size never shrinks, and after Append's answer it is above the answered
//     index. What it counts is durable.
//   - Published returns what was last given to Publish, also after a crash.
package engine

import (
	"context"
	"errors"
)

// TileWidth is the number of hashes in a full tile and of entries in a full
// bundle (C2SP tlog-tiles).
const TileWidth = 256

// ErrNotFound is returned by the readers for a tile, bundle or checkpoint that
// does not exist.
var ErrNotFound = errors.New("not found in the log")

// Log is a durable Merkle log. Its methods may be called concurrently.
type Log interface {
	TileReader
	// Append adds a leaf, which is not empty, to the next batch. The future it returns answers once
	// the leaf is durable and part of the tree, with its index. An error of the
	// future does not prove that the leaf was not added: the caller must stop
	// appending and find out by reading the log when it is opened again.
	Append(ctx context.Context, leaf []byte) Future
	// Size returns the number of leaves in the tree, published or not.
	Size(ctx context.Context) (uint64, error)
	// Publish durably stores the log's signed checkpoint.
	Publish(ctx context.Context, signed []byte) error
	// Published returns the checkpoint last stored, or ErrNotFound.
	Published(ctx context.Context) ([]byte, error)
	// Close waits for appended leaves and releases the log.
	Close() error
}

// Future waits for the index of an appended leaf.
type Future func() (index uint64, err error)

// TileReader reads the log's storage in the units of C2SP tlog-tiles.
type TileReader interface {
	// Tile returns width hashes, 32 bytes each, of the tile at level and index.
	// It may return more if the tile has grown since.
	Tile(ctx context.Context, level, index uint64, width int) ([]byte, error)
	// Entries returns the entry bundle at index, encoded as in tlog-tiles, with
	// at least width entries.
	Entries(ctx context.Context, index uint64, width int) ([]byte, error)
}
