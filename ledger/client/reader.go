package client

import (
	"context"
	"fmt"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/bundle"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Limits of what one call of Claims or Collect reads: those of a bundle.
const (
	MaxEntries = bundle.MaxEntries
	MaxBytes   = bundle.MaxSize // of the attestations together
)

// maxPages bounds a list: at a thousand entries each, more than a log has about
// one thing.
const maxPages = 10_000

// readers is how many entries are asked for at a time.
const readers = 16

// reader gets entries of a log, and holds all of them to one checkpoint.
type reader struct {
	client     *Client
	signed     string
	checkpoint torchwood.Checkpoint
	progress   func(entries, bytes int) // may be nil; one call at a time

	mu      sync.Mutex // guards what follows
	entries map[int64]*Logged
	keys    map[leaf.Fingerprint]*signingKey
	carried []carried // to be looked at
	bytes   int
}

// reader returns a reader that is held to the latest checkpoint, and that to
// pol as by VerifyCheckpoint.
func (c *Client) reader(ctx context.Context, pol torchwood.Policy) (*reader, error) {
	resp, err := c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if err != nil {
		return nil, err
	}
	r := &reader{
		client: c, signed: resp.GetCheckpoint(),
		entries: make(map[int64]*Logged), keys: make(map[leaf.Fingerprint]*signingKey),
	}
	r.checkpoint, err = VerifyCheckpoint(r.signed, pol)
	return r, err
}

// list returns the entries for the query that are in the checkpoint's tree.
// They must ascend, as log order does: no ledger can answer without end, and no
// entry counts twice. If keep is not nil, those that it does not keep are left
// out, and do not count towards the limit: whoever fills a log with entries that
// nobody hears must not keep those from being read that somebody does.
func (r *reader) list(ctx context.Context, query *cairnv1.ListAttestationsRequest, keep func(*cairnv1.Entry) bool) ([]*cairnv1.Entry, error) {
	var entries []*cairnv1.Entry
	req := &cairnv1.ListAttestationsRequest{Digest: query.GetDigest(), Name: query.GetName(), Key: query.GetKey(), PageSize: 1000}
	last := int64(-1)
	for range maxPages {
		resp, err := r.client.ListAttestations(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, e := range resp.GetEntries() {
			if e.GetIndex() <= last {
				return nil, Misbehaved("the list is not in log order: entry %d follows entry %d", e.GetIndex(), last)
			}
			if last = e.GetIndex(); last >= r.checkpoint.N {
				return entries, nil // and so is all that follows
			}
			if keep != nil && !keep(e) {
				continue
			}
			if entries = append(entries, e); len(entries) > MaxEntries {
				return nil, Misbehaved("the answer has more than %d entries", MaxEntries)
			}
		}
		if resp.GetNextPageToken() == "" {
			return entries, nil
		}
		if len(resp.GetEntries()) == 0 {
			return nil, Misbehaved("a page of the list has no entry, and is not the last")
		}
		req.PageToken = resp.GetNextPageToken()
	}
	return nil, Misbehaved("the answer has more than %d pages", maxPages)
}

// read gets the attestations of entries that it does not have yet, and proves
// the entries.
func (r *reader) read(ctx context.Context, entries []*cairnv1.Entry) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	asked := make(map[int64]bool)
	for _, e := range entries {
		if asked[e.GetIndex()] || r.has(e.GetIndex()) || gctx.Err() != nil {
			continue
		}
		asked[e.GetIndex()] = true
		g.Go(func() error {
			l, keys, err := r.logged(gctx, e)
			if err != nil {
				return err
			}
			return r.add(l, keys)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err() // what was skipped for it was not read
}

// listed returns the entries of a list once they are read. Each must be the one
// that the list shows, and about what was asked.
func (r *reader) listed(entries []*cairnv1.Entry, about func(*leaf.Leaf) bool) ([]*Logged, error) {
	list := make([]*Logged, 0, len(entries))
	for _, e := range entries {
		l := r.entries[e.GetIndex()]
		if e.GetLeaf() != string(l.Text) {
			return nil, Misbehaved("the list and the attestation have different leaves for entry %d", l.Index)
		}
		if !about(l.Leaf) {
			return nil, Misbehaved("entry %d is not about what was asked", l.Index)
		}
		list = append(list, l)
	}
	return list, nil
}

func (r *reader) has(index int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.entries[index]
	return ok
}

func (r *reader) add(l *Logged, keys []*cairnv1.Key) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.entries[l.Index]; ok {
		return nil
	}
	if r.bytes += len(l.Raw); r.bytes > MaxBytes {
		return fmt.Errorf("the attestations together are over the limit of %d bytes", MaxBytes)
	}
	if len(r.entries) == MaxEntries {
		return fmt.Errorf("the entries are over the limit of %d", MaxEntries)
	}
	r.entries[l.Index] = l
	for _, k := range keys {
		fp := leaf.Fingerprint(k.GetFingerprint())
		if r.keys[fp] == nil {
			r.keys[fp] = &signingKey{told: k}
		}
		r.keys[fp].sign(l)
	}
	if r.progress != nil {
		r.progress(len(r.entries), r.bytes)
	}
	return nil
}

// logged gets the attestation of an entry, opens it and proves the entry.
func (r *reader) logged(ctx context.Context, e *cairnv1.Entry) (*Logged, []*cairnv1.Key, error) {
	resp, err := r.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: e.GetEnvelope()})
	if err != nil {
		return nil, nil, err
	}
	att, err := VerifyAttestation(resp)
	if err != nil {
		return nil, nil, err
	}
	index := e.GetIndex()
	proof, err := r.client.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &index, Size: r.checkpoint.N})
	if err != nil {
		return nil, nil, err
	}
	err = VerifyInclusion(leaf.Hash(att.Text), index, proof.GetInclusionProof(), r.checkpoint.Tree)
	keys := resp.GetKeys()
	if att.Leaf.BringsKeys() { // it does not rest on their enrolment
		r.carry(att, index, keys)
		keys = nil
	}
	return &Logged{Attestation: att, Index: index, path: proof.GetInclusionProof()}, keys, err
}

// at returns the entry at an index.
func (r *reader) at(ctx context.Context, index int64) (*Logged, error) {
	if !r.has(index) {
		resp, err := r.client.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: index})
		if err != nil {
			return nil, err
		}
		e := resp.GetEntry()
		if e.GetIndex() != index {
			return nil, Misbehaved("asked for entry %d, the answer is entry %d", index, e.GetIndex())
		}
		if err := r.read(ctx, []*cairnv1.Entry{e}); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries[index], nil
}
