package mirror

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// indexWindow is how many entries are indexed together, in memory.
const indexWindow = 1 << 16

// shardPath returns the file in which a term stands. It has lines of the term in
// hex and an index, sorted by term and then by index.
func shardPath(t store.Term) string {
	return indexDir + "/terms/" + hex.EncodeToString(t[:2])[:3]
}

// posting says that an entry has a term.
type posting struct {
	term  store.Term
	index uint64
}

// indexEntries writes the terms of the entries that are not in the index yet.
func (c *copier) indexEntries(ctx context.Context) error {
	x := newIndex(c.local, uint64(c.target.N))
	for from := c.progress.indexed; from < x.size; from = c.progress.indexed {
		to := min(x.size, from+indexWindow)
		shards := make(map[string][]posting)
		for i := from; i < to; i++ {
			if err := addPostings(ctx, x, i, shards); err != nil {
				return fmt.Errorf("indexing entry %d: %w", i, err)
			}
		}
		for _, path := range slices.Sorted(maps.Keys(shards)) {
			if err := c.mergeShard(ctx, path, shards[path], from); err != nil {
				return fmt.Errorf("indexing in %s: %w", path, err)
			}
		}
		if err := c.batch.commit(); err != nil {
			return err
		}
		c.progress.indexed = to
		if err := c.batch.replace(progressPath, c.progress.marshal()); err != nil {
			return err
		}
	}
	return nil
}

func addPostings(ctx context.Context, x *index, i uint64, shards map[string][]posting) error {
	entries, err := x.Entries(ctx, []uint64{i})
	if err != nil {
		return err
	}
	e := entries[0]
	if e.Leaf, err = leaf.Parse(e.Text); err != nil {
		return &client.MisbehaviourError{Message: "the leaf does not parse", Err: err}
	}
	terms := store.Terms(&e)
	switch e.Leaf.Kind {
	case leaf.KindEnrol: // the subject is the key
		terms = append(terms, enrolTerm(leaf.Fingerprint(e.Leaf.Subjects[0])))
	case leaf.KindRevoke:
		terms = append(terms, revokeTerm(leaf.Fingerprint(e.Leaf.Subjects[0])))
	}
	seen := make(map[store.Term]bool, len(terms))
	for _, t := range terms {
		if !seen[t] {
			seen[t] = true
			shards[shardPath(t)] = append(shards[shardPath(t)], posting{t, i})
		}
	}
	return nil
}

// mergeShard adds postings to a shard. What it has from the index on is of a run
// that was cut short, and replaced.
func (c *copier) mergeShard(ctx context.Context, path string, add []posting, from uint64) error {
	old, err := c.local.Read(ctx, path, maxShard)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := make([]posting, 0, len(add)+bytes.Count(old, []byte("\n")))
	for line := range bytes.Lines(old) {
		p, err := parsePosting(line)
		if err != nil {
			return err
		}
		if p.index < from {
			all = append(all, p)
		}
	}
	all = append(all, add...)
	slices.SortFunc(all, func(a, b posting) int {
		if n := bytes.Compare(a.term[:], b.term[:]); n != 0 || a.index == b.index {
			return n
		}
		if a.index < b.index {
			return -1
		}
		return 1
	})
	var b []byte
	for _, p := range all {
		b = hex.AppendEncode(b, p.term[:])
		b = append(b, ' ')
		b = strconv.AppendUint(b, p.index, 10)
		b = append(b, '\n')
	}
	return c.batch.put(path, b)
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
