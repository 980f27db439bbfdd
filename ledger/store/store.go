// Package store keeps what the log only hashes: the attestations' bytes, and
// the index that answers queries.
//
// The two are apart because they are worth differently. Bytes are kept by
// Blobs, and are durable before their leaf is appended. The Index follows the
// log and can be rebuilt from leaves and bytes, so it may lose its tail in a
// crash and is caught up at the next start.
//
// Invariants, which the contract test checks for every driver:
//   - Bytes given to a Put that returned nil are there after a crash.
//   - An Index holds the entries 0 to Size-1, all of them; Add is atomic.
//   - An answer never mixes two states of the index.
package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// ErrNotFound is returned for bytes, entries and keys that are not stored.
var ErrNotFound = errors.New("not found in the store")

// ErrOutOfOrder is returned by Index.Add for entries that do not begin at Size. An
// index that several processes add to may have grown, and one whose storage crashed
// may have lost its tail: Size says from where to go on.
var ErrOutOfOrder = errors.New("entries out of order")

// Blobs keeps bytes under their SHA-256.
type Blobs interface {
	// Put durably stores all of blobs, or fails. Bytes that are already stored
	// are left as they are.
	Put(ctx context.Context, blobs []Blob) error
	// Get returns the bytes with a sha256 digest.
	Get(ctx context.Context, digest leaf.Digest) ([]byte, error)
	Close() error
}

// Blob is bytes with their digest.
type Blob struct {
	Digest leaf.Digest // sha256
	Bytes  []byte
}

// Index answers queries from what the log's leaves say.
type Index interface {
	// Size returns the number of entries indexed.
	Size(ctx context.Context) (uint64, error)
	// Add indexes the next entries, the first of which must have index Size (or it
	// fails with ErrOutOfOrder), together with what they change about keys.
	Add(ctx context.Context, entries []Entry) error
	// Find returns the indexes of entries that have a term, in log order,
	// starting at from, at most limit.
	Find(ctx context.Context, term Term, from uint64, limit int) ([]uint64, error)
	// First returns, for each term, the index of the first entry that has it, or
	// NoEntry.
	First(ctx context.Context, terms []Term) ([]uint64, error)
	// Entries returns the leaves at the given indexes, in their order.
	Entries(ctx context.Context, indexes []uint64) ([]Entry, error)
	// Key returns a key that an entry brought.
	Key(ctx context.Context, fp leaf.Fingerprint) (*Key, error)
	// Keys returns all keys in the order of their enrolment, and the endorsements
	// that stand in their order: what keys.Restore takes.
	Keys(ctx context.Context) ([]Key, []Endorsement, error)
	Close() error
}

// NoEntry stands where there is no entry.
const NoEntry = math.MaxUint64

// Entry is one entry of the log with its leaf's text.
type Entry struct {
	Index uint64
	Text  []byte
	Leaf  *leaf.Leaf // set for Add; nil in answers
	// Keys is what an enrol, endorse or revoke entry does, if it does anything.
	Keys *keys.Change
}

// KeyChanges is which entries changed keys, of one state of an index.
type KeyChanges struct {
	Size    uint64 // of the index
	Last    *Entry // its last entry; nil if it is empty
	Entries []Entry
}

// Key is a key as the entries of the index have it.
type Key = keys.Key

// Endorsement is an endorsement of a key that stands.
type Endorsement = keys.Endorsement

// Term is what an entry can be found by. Each is derived from the leaf alone.
type Term [TermSize]byte

// TermSize is the number of bytes of a Term.
const TermSize = sha256.Size

// The terms. The word keeps the kinds apart.
func term(word, value string) Term { return sha256.Sum256([]byte(word + " " + value)) }

// DigestTerm finds entries with a subject or an output.
func DigestTerm(d leaf.Digest) Term { return term("digest", string(d)) }

// NameTerm finds entries with a name, given by its hash.
func NameTerm(d leaf.Digest) Term { return term("name", string(d)) }

// KeyTerm finds entries signed by a key.
func KeyTerm(f leaf.Fingerprint) Term { return term("key", string(f)) }

// EnvelopeTerm finds the entry of an attestation by its bytes.
func EnvelopeTerm(d leaf.Digest) Term { return term("envelope", string(d)) }

// LeafTerm finds the entry with an RFC 6962 leaf hash.
func LeafTerm(hash []byte) Term { return term("leaf", string(hash)) }

// IdentityTerm finds the entry that a submission would repeat.
func IdentityTerm(id [sha256.Size]byte) Term { return term("identity", string(id[:])) }

// Terms returns all terms of an entry. Some may be equal.
func Terms(e *Entry) []Term {
	l := e.Leaf
	ts := make([]Term, 0, 8)
	ts = append(ts, IdentityTerm(l.Identity()), LeafTerm(leaf.Hash(e.Text)), EnvelopeTerm(l.Envelope))
	for _, k := range l.Keys {
		ts = append(ts, KeyTerm(k))
	}
	for _, n := range l.Names {
		ts = append(ts, NameTerm(n))
	}
	for _, d := range l.Subjects {
		ts = append(ts, DigestTerm(d))
	}
	for _, d := range l.Outputs {
		ts = append(ts, DigestTerm(d))
	}
	return ts
}

// termRow is a row of the table of terms.
type termRow struct {
	term Term
	idx  uint64
}

// termRows returns the rows of all terms of entries, each once, in the order of
// the table's key: neighbours then share pages of the tree.
func termRows(entries []Entry) []termRow {
	rows := make([]termRow, 0, 8*len(entries))
	for i := range entries {
		for _, t := range Terms(&entries[i]) {
			rows = append(rows, termRow{t, entries[i].Index})
		}
	}
	slices.SortFunc(rows, func(a, b termRow) int {
		return cmp.Or(bytes.Compare(a.term[:], b.term[:]), cmp.Compare(a.idx, b.idx))
	})
	return slices.Compact(rows)
}

// inOrder checks that entries are the next of an index of a size.
func inOrder(entries []Entry, size uint64) error {
	for i := range entries {
		if want := size + uint64(i); entries[i].Index != want {
			return fmt.Errorf("%w: entry %d, want %d", ErrOutOfOrder, entries[i].Index, want)
		}
	}
	return nil
}

// keyRow returns the columns of SelectKeys for a key.
func keyRow(k *Key) []any {
	return []any{string(k.Fingerprint), k.PEM, k.Operator, k.URL, k.Enrolled, string(k.Endorser), k.Revoked, k.Withdrawn, k.Changed}
}

// endorsementRow returns the columns of SelectEndorsements for an endorsement.
func endorsementRow(e *Endorsement) []any {
	return []any{string(e.Key), string(e.Endorser), e.Index, e.Operator, e.URL}
}
