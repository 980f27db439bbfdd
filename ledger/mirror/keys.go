package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Key implements store.Index: it replays what the log's entries did to the key,
// and to those that endorsed it.
func (x *index) Key(ctx context.Context, fp leaf.Fingerprint) (*store.Key, error) {
	if k, ok := x.keys.Get(fp); ok {
		return k, nil
	}
	history, err := x.history(ctx, fp)
	if err != nil {
		return nil, fmt.Errorf("reading the entries about key %s: %w", fp, err)
	}
	k, ok := history.Key(fp)
	if !ok {
		return nil, fmt.Errorf("key %s: %w", fp, store.ErrNotFound)
	}
	x.keys.Add(fp, k)
	return k, nil
}

// Keys implements store.Index.
func (x *index) Keys(context.Context) ([]store.Key, []store.Endorsement, error) {
	return nil, nil, errors.New("a mirror does not list its keys")
}

// about is an entry about a key.
type about struct {
	index uint64
	text  []byte
	leaf  *leaf.Leaf
}

// history returns what the log did to a key.
func (x *index) history(ctx context.Context, fp leaf.Fingerprint) (*keys.History, error) {
	entries, err := x.about(ctx, fp)
	if err != nil {
		return nil, err
	}
	known := map[leaf.Fingerprint]bool{fp: true}
	for _, e := range slices.Clone(entries) {
		by := e.leaf.Keys[0]
		if known[by] {
			continue
		}
		known[by] = true
		of, err := x.about(ctx, by)
		if err != nil {
			return nil, err
		}
		// Only who enrolled itself endorses, so that who endorsed it does not matter.
		entries = append(entries, slices.DeleteFunc(of, func(e about) bool { return e.leaf.Keys[0] != by })...)
	}
	slices.SortFunc(entries, func(a, b about) int { return int(int64(a.index) - int64(b.index)) })
	history := new(keys.History)
	for _, e := range entries {
		if err := x.replay(ctx, history, &e); err != nil {
			return nil, err
		}
	}
	return history, nil
}

// about returns the entries about a key, in any order.
func (x *index) about(ctx context.Context, fp leaf.Fingerprint) ([]about, error) {
	brought, err := x.all(ctx, enrolTerm(fp))
	if err != nil {
		return nil, err
	}
	revoked, err := x.all(ctx, revokeTerm(fp))
	if err != nil {
		return nil, err
	}
	list := make([]about, 0, len(brought)+len(revoked))
	for _, i := range slices.Concat(brought, revoked) {
		entries, err := x.Entries(ctx, []uint64{i})
		if err != nil {
			return nil, err
		}
		l, err := leaf.Parse(entries[0].Text)
		if err != nil {
			return nil, err
		}
		if keys.EventOfLeaf(l, i) == nil || keys.Concerned(l) != fp {
			return nil, fmt.Errorf("entry %d is not about key %s", i, fp)
		}
		list = append(list, about{i, entries[0].Text, l})
	}
	return list, nil
}

// replay applies an entry to a history.
func (x *index) replay(ctx context.Context, history *keys.History, e *about) error {
	raw, err := blobs{x.files}.Get(ctx, e.leaf.Envelope)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.index, err)
	}
	att, err := attest.Open(raw, history.Of(e.leaf))
	if err == nil && string(att.Text) != string(e.text) {
		return fmt.Errorf("the attestation of entry %d is not what it logs", e.index)
	}
	if err == nil {
		_, err = history.Apply(keys.EventOf(att, e.index))
	}
	if r, ok := reason.Of(err); ok && (r.Reason == reason.KeyNotEnrolled || r.Reason == reason.KeyRevoked || r.Reason == reason.RevokerNotAuthorised) {
		return nil // it should not be in the log, and changes nothing
	}
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.index, err)
	}
	return nil
}
