package mirror

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// indexWindow is how many entries are indexed together, in memory.
const indexWindow = 1 << 16

// Shards is how many files the index has at most.
const Shards = 1 << 12

// ShardPath returns the file of a shard. It has lines of a term in hex and an
// index, sorted by term and then by index; without lines it is absent.
func ShardPath(shard int) string { return fmt.Sprintf("%s/terms/%03x", indexDir, shard) }

// ShardOf returns the shard in which a term stands.
func ShardOf(t store.Term) int { return int(t[0])<<4 | int(t[1])>>4 }

// Terms returns the terms of an entry in the index: those of package store, and
// of the key that it enrols, endorses or revokes. Each is there once.
func Terms(e *store.Entry) []store.Term {
	terms := store.Terms(e)
	switch e.Leaf.Kind {
	case leaf.KindEnrol, leaf.KindEndorse:
		terms = append(terms, enrolTerm(keys.Concerned(e.Leaf)))
	case leaf.KindRevoke:
		terms = append(terms, revokeTerm(keys.Concerned(e.Leaf)))
	}
	slices.SortFunc(terms, func(a, b store.Term) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(terms)
}

// EachPosting calls f with what stands in a shard's file. An error says what is
// wrong with the file, after f had what comes before.
func EachPosting(shard int, b []byte, f func(store.Term, uint64)) error {
	first, last := true, posting{}
	for line := range bytes.Lines(b) {
		p, err := parsePosting(line)
		if err != nil {
			return err
		}
		if ShardOf(p.term) != shard || !bytes.Equal(p.append(nil), line) || !first && last.compare(p) >= 0 {
			return fmt.Errorf("line %.100q is misplaced, or is not written so", line)
		}
		first, last = false, p
		f(p.term, p.index)
	}
	return nil
}

// posting says that an entry has a term.
type posting struct {
	term  store.Term
	index uint64
}

func (p posting) compare(other posting) int {
	return cmp.Or(bytes.Compare(p.term[:], other.term[:]), cmp.Compare(p.index, other.index))
}

// append appends the line of a posting.
func (p posting) append(b []byte) []byte {
	b = append(hex.AppendEncode(b, p.term[:]), ' ')
	return append(strconv.AppendUint(b, p.index, 10), '\n')
}

// indexEntries writes the terms of the entries that are not in the index yet.
func (c *copier) indexEntries(ctx context.Context) error {
	x := newIndex(c.local, uint64(c.target.N))
	for from := c.progress.indexed; from < x.size; from = c.progress.indexed {
		to := min(x.size, from+indexWindow)
		shards := make(map[int][]posting)
		for i := from; i < to; i++ {
			if err := addPostings(ctx, x, i, shards); err != nil {
				return fmt.Errorf("indexing entry %d: %w", i, err)
			}
		}
		for _, n := range slices.Sorted(maps.Keys(shards)) {
			if err := c.mergeShard(ctx, n, shards[n], from); err != nil {
				return fmt.Errorf("indexing in %s: %w", ShardPath(n), err)
			}
		}
		if err := c.batch.Commit(); err != nil {
			return err
		}
		c.progress.indexed = to
		if err := c.batch.Replace(progressPath, c.progress.marshal()); err != nil {
			return err
		}
	}
	return nil
}

func addPostings(ctx context.Context, x *index, i uint64, shards map[int][]posting) error {
	entries, err := x.Entries(ctx, []uint64{i})
	if err != nil {
		return err
	}
	e := entries[0]
	if e.Leaf, err = leaf.Parse(e.Text); err != nil {
		return &client.MisbehaviourError{Message: "the leaf does not parse", Err: err}
	}
	for _, t := range Terms(&e) {
		shards[ShardOf(t)] = append(shards[ShardOf(t)], posting{t, i})
	}
	return nil
}

// mergeShard adds postings to a shard. What it has from the index on is of a run
// that was cut short, and replaced.
func (c *copier) mergeShard(ctx context.Context, shard int, add []posting, from uint64) error {
	old, err := c.local.Read(ctx, ShardPath(shard), MaxShard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := make([]posting, 0, len(add)+bytes.Count(old, []byte("\n")))
	err = EachPosting(shard, old, func(t store.Term, index uint64) {
		if index < from {
			all = append(all, posting{t, index})
		}
	})
	if err != nil {
		return err
	}
	all = append(all, add...)
	slices.SortFunc(all, posting.compare)
	var b []byte
	for _, p := range all {
		b = p.append(b)
	}
	return c.batch.Put(ShardPath(shard), b)
}

func parsePosting(line []byte) (p posting, err error) {
	word, number, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if ok && len(word) == 2*len(p.term) {
		_, err = hex.Decode(p.term[:], word)
	}
	if err == nil {
		p.index, err = strconv.ParseUint(string(number), 10, 63)
	}
	if !ok || len(word) != 2*len(p.term) || err != nil {
		return p, fmt.Errorf("invalid line %.100q", line)
	}
	return p, nil
}
