package client

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/policy"
	"github.com/cairnlog/cairn/ledger/tlogproof"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Limits of an ancestry. A tree from a seed of some hundred bytes to the
// programs of a distribution is about a hundred steps deep.
const (
	maxDepth   = 1000
	maxDigests = 1_000_000 // that are looked up
)

// CollectOptions are what Collect may be told beside what it collects.
type CollectOptions struct {
	// Also are further artifacts, which are collected with their ancestry in the
	// same tree.
	Also []leaf.Digest
	// Everybody is for evidence that others will judge by policies of their own:
	// what no rebuilder of pol signed is carried, too. It is not followed, or
	// whoever can log something could make an ancestry endless.
	Everybody bool
	// Progress is told from time to time how far it is; one call at a time.
	Progress func(CollectProgress)
	// Hold is given the checkpoint once pol accepted it, and before anything else
	// is asked for. Its error is Collect's.
	Hold func(ctx context.Context, signed string, c torchwood.Checkpoint) error
}

// CollectProgress says how far Collect is.
type CollectProgress struct {
	Digests int // looked up or to be looked up, as far as is known
	Entries int // read and proven
	Bytes   int // of their attestations
}

// Collect returns all that the ledger has about an artifact and its ancestry:
// the entries with it as a subject or output, then those about the materials of
// claims to have built it, and so on, and the enrolments, endorsements and revocations
// of all keys that signed these. Sources and seeds have no ancestry. Every attestation
// is opened here, and every entry proven to be in the tree of one checkpoint,
// which is held to pol as by VerifyCheckpoint.
//
// If pol names rebuilders, only what a key of theirs signed is followed and
// carried, unless the options ask for everybody. Otherwise all claims are: whom to
// believe is decided by who verifies.
// That the ledger left out none is not proven. The names are those by which the
// artifact was asked for.
func (c *Client) Collect(ctx context.Context, artifact leaf.Digest, names []string, pol *policy.Policy, opts CollectOptions) (*bundle.Bundle, error) {
	artifacts := append([]leaf.Digest{artifact}, opts.Also...)
	for _, d := range artifacts {
		if !d.Valid() {
			return nil, fmt.Errorf("collecting: invalid artifact %.160q", d)
		}
	}
	b := &bundle.Bundle{Artifact: artifact}
	for _, n := range names {
		canonical, err := attest.CanonicalPurl(n)
		if err != nil {
			return nil, err
		}
		b.Names = append(b.Names, canonical)
	}
	slices.Sort(b.Names)
	b.Names = slices.Compact(b.Names)

	var check torchwood.Policy // a nil *policy.Policy would be one
	if pol != nil {
		check = pol
	}
	r, err := c.reader(ctx, check)
	if err != nil {
		return nil, err
	}
	if opts.Hold != nil {
		if err := opts.Hold(ctx, r.signed, r.checkpoint); err != nil {
			return nil, err
		}
	}
	col := &collector{reader: r, followed: rebuilders(pol), seen: make(map[leaf.Digest]bool), first: make(map[string]int64)}
	if !opts.Everybody {
		col.trusted = col.followed
	}
	if opts.Progress != nil {
		r.progress = func(entries, bytes int) {
			opts.Progress(CollectProgress{Digests: len(col.seen), Entries: entries, Bytes: bytes})
		}
	}
	if err := col.ancestry(ctx, artifacts); err != nil {
		return nil, err
	}
	if err := r.readKeys(ctx); err != nil {
		return nil, err
	}
	b.Entries, err = r.bundled()
	return b, err
}

// rebuilders returns the keys that a policy hears, or nil for all.
func rebuilders(pol *policy.Policy) map[leaf.Fingerprint]bool {
	if pol == nil || len(pol.Rebuilders()) == 0 {
		return nil
	}
	trusted := make(map[leaf.Fingerprint]bool)
	for _, r := range pol.Rebuilders() {
		trusted[r.Key] = true
	}
	return trusted
}

// collector walks from an artifact through its ancestry.
type collector struct {
	*reader
	followed map[leaf.Fingerprint]bool // whose materials are looked up; nil for all
	trusted  map[leaf.Fingerprint]bool // whose claims are carried; nil for all
	seen     map[leaf.Digest]bool      // digests that were or are to be looked up
	first    map[string]int64          // entry of each payload and the keys that count
}

// ancestry reads the entries about artifacts and their ancestry, one generation
// after the other.
func (c *collector) ancestry(ctx context.Context, artifacts []leaf.Digest) error {
	generation := c.unseen(artifacts)
	for depth := 0; len(generation) > 0; depth++ {
		if depth == maxDepth {
			return fmt.Errorf("the ancestry of %s is more than %d steps deep", artifacts[0], maxDepth)
		}
		var err error
		if generation, err = c.step(ctx, generation); err != nil {
			return err
		}
		if len(c.seen) > maxDigests {
			return fmt.Errorf("the ancestry of %s is of more than %d artifacts", artifacts[0], maxDigests)
		}
	}
	return nil
}

// step reads the entries about some artifacts, and returns what these were built
// from.
func (c *collector) step(ctx context.Context, artifacts []leaf.Digest) ([]leaf.Digest, error) {
	lists, err := c.lists(ctx, artifacts)
	if err != nil {
		return nil, err
	}
	var all []*cairnv1.Entry
	for _, l := range lists {
		all = append(all, l.entries...)
	}
	if err := c.read(ctx, all); err != nil {
		return nil, err
	}
	var parents []leaf.Digest
	for _, list := range lists {
		logged, err := c.listed(list.entries, list.about)
		if err != nil {
			return nil, err
		}
		for _, l := range logged {
			if !c.follows(l) {
				continue
			}
			parents = append(parents, c.aliases(list.digest, l)...)
			parents = append(parents, c.parents(list.digest, l)...)
		}
	}
	return parents, nil
}

// digestList is what is logged about one digest.
type digestList struct {
	digest  leaf.Digest
	entries []*cairnv1.Entry
	about   func(*leaf.Leaf) bool
}

// lists looks digests up, and keeps the entries that are to be carried.
func (c *collector) lists(ctx context.Context, digests []leaf.Digest) ([]digestList, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	lists := make([]digestList, len(digests))
	for i, d := range digests {
		g.Go(func() error {
			query := &cairnv1.ListAttestationsRequest{Digest: string(d)}
			about, err := aboutQuery(query)
			if err != nil {
				return err
			}
			entries, err := c.list(ctx, query, c.hears)
			lists[i] = digestList{d, entries, about}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i := range lists {
		lists[i].entries = slices.DeleteFunc(lists[i].entries, c.repeats)
	}
	return lists, nil
}

// hears reports whether a key that counts signed an entry, by the leaf that the
// ledger shows. A leaf that is not the entry's leaves it out, which a ledger can
// do anyway.
func (c *collector) hears(e *cairnv1.Entry) bool {
	if c.trusted == nil {
		return true
	}
	l, err := leaf.Parse([]byte(e.GetLeaf()))
	return err == nil && len(c.heardKeys(l)) > 0
}

func (c *collector) heardKeys(l *leaf.Leaf) []leaf.Fingerprint {
	return slices.DeleteFunc(slices.Clone(l.Keys), func(k leaf.Fingerprint) bool { return !c.trusted[k] })
}

// repeats reports whether an entry says nothing new to who hears only the keys
// that count: anybody can log what these signed again, with signatures of their
// own added, as often as they have keys.
func (c *collector) repeats(e *cairnv1.Entry) bool {
	if c.trusted == nil {
		return false
	}
	l, err := leaf.Parse([]byte(e.GetLeaf()))
	if err != nil {
		return true
	}
	said := fmt.Sprint(l.Payload, c.heardKeys(l))
	if first, ok := c.first[said]; ok && first < e.GetIndex() {
		return true
	}
	c.first[said] = e.GetIndex()
	return false
}

// follows reports whether what a claim names is looked up.
func (c *collector) follows(l *Logged) bool {
	return c.followed == nil || slices.ContainsFunc(l.Leaf.Keys, func(k leaf.Fingerprint) bool { return c.followed[k] })
}

// aliases returns the other digests that a claim gives an artifact, those that
// were not seen yet: somebody may dissent about it by these alone.
func (c *collector) aliases(artifact leaf.Digest, l *Logged) []leaf.Digest {
	var aliases []leaf.Digest
	for i := range l.Claim.Subjects {
		if digests := l.Claim.Subjects[i].Strong(); slices.Contains(digests, artifact) {
			aliases = append(aliases, c.unseen(digests)...)
		}
	}
	return aliases
}

// unseen returns the digests that are to be looked up for the first time.
func (c *collector) unseen(digests []leaf.Digest) []leaf.Digest {
	var list []leaf.Digest
	for _, d := range digests {
		if !c.seen[d] {
			c.seen[d] = true
			list = append(list, d)
		}
	}
	return list
}

// parents returns the digests of what an artifact was built from by a claim,
// those that were not seen yet.
func (c *collector) parents(artifact leaf.Digest, l *Logged) []leaf.Digest {
	if !slices.Contains(l.Leaf.Subjects, artifact) || !l.Claim.Obtains(artifact) {
		return nil
	}
	var parents []leaf.Digest
	for i := range l.Claim.Materials {
		m := &l.Claim.Materials[i]
		if !m.IsBuilt() {
			continue
		}
		parents = append(parents, c.unseen(m.Strong())...)
	}
	return parents
}

// bundled returns all that was read as a bundle has it.
func (r *reader) bundled() ([]bundle.Entry, error) {
	var entries []bundle.Entry
	for _, index := range slices.Sorted(maps.Keys(r.entries)) {
		l := r.entries[index]
		p := tlogproof.Proof{Index: index, Leaf: l.Text, Path: l.path, Checkpoint: []byte(r.signed)}
		for _, k := range l.Keys {
			p.Keys = append(p.Keys, k.PEM)
		}
		proof, err := p.Marshal()
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", index, err)
		}
		entries = append(entries, bundle.Entry{Index: index, Attestation: l.Raw, Proof: proof})
	}
	return entries, nil
}
