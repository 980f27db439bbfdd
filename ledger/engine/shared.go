package engine

import (
	"context"
	"crypto/sha256"
)

// Shared is a Log that several processes append to at once. What one process
// knows by itself about the entries before, here the log must be told: which
// entries are the same, and which must not follow each other.
type Shared interface {
	Log
	// Place appends entries in their order, and returns what became of each, at its
	// place. An index that it returns is durable with its leaf, though not yet part
	// of the tree: Size exceeds it later. After an error, some of the entries may
	// have been placed, or none; placing them again finds out.
	Place(ctx context.Context, entries []Entry) ([]Placed, error)
}

// Entry is a leaf to be placed.
type Entry struct {
	Leaf []byte
	// Terms are hashes of which no two entries of the log have one in common. An
	// entry with one that the log has is not placed again.
	Terms [][sha256.Size]byte
	// Marks are hashes of what the entry changes.
	Marks [][sha256.Size]byte
	// Follows are hashes of what the entry rests on, as it is known from the entries
	// below Seen. If a later one marked any of them, the entry is not placed.
	Follows [][sha256.Size]byte
	Seen    uint64
}

// Placed is what became of an Entry.
type Placed struct {
	// Index is that of the entry, or of the one that the log already had, or, if
	// Stale, of the latest that it did not know of.
	Index uint64
	// Leaf is the leaf at Index; of an entry that is Stale there is none.
	Leaf    []byte
	Created bool // whether this very call placed it
	Stale   bool // it was not placed: see Entry.Follows
}

// Sequence gives out the indexes of a log that several processes append to, and
// keeps the leaves until the log has taken them in.
//
// Invariants, which enginetest checks for every driver:
//   - Indexes are dense; an index that Place returned is durable with its leaf.
//   - What Place promises for the log holds between all processes that share the
//     sequence, also for entries that Trim removed.
type Sequence interface {
	// Place is as in Shared.
	Place(ctx context.Context, entries []Entry) ([]Placed, error)
	// Next returns the index of the entry that will be placed next.
	Next(ctx context.Context) (uint64, error)
	// Read returns leaves from an index on, in order: at least one if there is one,
	// and otherwise at most limit, or fewer. It fails with ErrNotFound if the leaf
	// at from was trimmed.
	Read(ctx context.Context, from uint64, limit int) ([][]byte, error)
	// Trim removes the leaves below an index. They must be in the log, and in the
	// index that answers which entries it has.
	Trim(ctx context.Context, below uint64) error
	// Placements is signalled when entries are placed, by whatever process; a
	// signal may be lost, so it is not all that a reader waits for.
	Placements() <-chan struct{}
}
