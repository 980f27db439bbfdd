package intake

import (
	"bytes"
	"context"
	"fmt"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Follow indexes the log's entries up to size. It reads them from the log's
// storage, whoever appended them and whenever, so a crash needs no recovery of
// its own. After a failure of storage it refuses: what storage then shows may
// be lost in a crash, and must not be signed.
//
// Of several intakes, that one follows whose process publishes. Should another
// still index when this one begins, both read the same from the log, and the index
// takes each entry once.
func (in *Intake) Follow(ctx context.Context, size uint64) error {
	if err := in.Err(); err != nil {
		return fmt.Errorf("the intake was halted: %w", err)
	}
	if in.others != nil {
		return in.followBeside(ctx, size)
	}
	next, err := in.cfg.Index.Size(ctx)
	if err != nil {
		return err
	}
	if next > size {
		return fmt.Errorf("%w: the index has %d entries, the log %d", errContradiction, next, size)
	}
	if in.ring.Next() > next {
		// An earlier call could not index what it read.
		if err := loadKeys(ctx, in.ring.History, in.cfg.Index); err != nil {
			return err
		}
	}
	return in.indexUpTo(ctx, next, size, in.indexed)
}

// indexUpTo indexes the entries from next on, and says which after each
// transaction.
func (in *Intake) indexUpTo(ctx context.Context, next, size uint64, indexed func([]store.Entry)) error {
	var batch []store.Entry
	held := 0 // bytes of batch
	for next < size {
		entries, err := in.readBundle(ctx, next, size)
		if err != nil {
			return err
		}
		batch = append(batch, entries...)
		next += uint64(len(entries))
		for i := range entries {
			held += len(entries[i].Text)
		}
		if len(batch) >= followBatch || held >= followBytes || next == size {
			if err := in.cfg.Index.Add(ctx, batch); err != nil {
				return err
			}
			indexed(batch)
			clear(batch)
			batch, held = batch[:0], 0
		}
	}
	return nil
}

// readBundle returns the entries from next to the end of its bundle or of the
// tree, each compared with its leaf hash in the log.
func (in *Intake) readBundle(ctx context.Context, next, size uint64) ([]store.Entry, error) {
	bundle := next / engine.TileWidth
	start := bundle * engine.TileWidth
	width := int(min(size-start, engine.TileWidth))
	data, err := in.cfg.Log.Entries(ctx, bundle, width)
	if err != nil {
		return nil, err
	}
	entries := make([]store.Entry, 0, width)
	for i := start; i < start+uint64(width); i++ {
		text, rest, err := torchwood.ReadTileEntry(data)
		if err != nil {
			return nil, fmt.Errorf("reading entry %d from its bundle: %w", i, err)
		}
		data = rest
		if i < next {
			continue
		}
		e, err := in.readEntry(ctx, i, size, text)
		if err != nil {
			return nil, err
		}
		entries = append(entries, *e)
	}
	return entries, nil
}

func (in *Intake) readEntry(ctx context.Context, i, size uint64, text []byte) (*store.Entry, error) {
	hash, err := in.cfg.Prover.LeafHash(ctx, i, size)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(hash, leaf.Hash(text)) {
		return nil, fmt.Errorf("%w: entry %d does not hash to its leaf in the tree", errContradiction, i)
	}
	l, err := leaf.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parsing entry %d: %w", i, err)
	}
	e := &store.Entry{Index: i, Text: bytes.Clone(text), Leaf: l}
	return e, in.changeKeys(ctx, e)
}

// changeKeys takes in what an entry does to keys. That is before the index shows
// the entry: whoever finds a key there may submit with it at once.
func (in *Intake) changeKeys(ctx context.Context, e *store.Entry) error {
	event := keys.EventOfLeaf(e.Leaf, e.Index)
	if event == nil {
		return nil
	}
	if _, known := in.ring.Lookup(event.By); !known && event.By != event.Key {
		return nil // as below
	}
	// The leaf says all of a revocation, but what an OpenPGP key brings with it.
	if event.Kind != leaf.KindRevoke || event.Key.OpenPGP() {
		att, err := in.reopen(ctx, e)
		if err != nil {
			return err
		}
		event = keys.EventOf(att, e.Index)
	}
	change, err := in.ring.Apply(event)
	if _, refused := reason.Of(err); refused {
		return nil // it should not be in the log, and changes nothing
	}
	e.Keys = change
	return err
}

// reopen opens the attestation of an entry. The log decides which keys are
// enrolled, not the store.
func (in *Intake) reopen(ctx context.Context, e *store.Entry) (*attest.Attestation, error) {
	raw, err := in.cfg.Blobs.Get(ctx, e.Leaf.Envelope)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	att, err := attest.Open(raw, in.ring.Of(e.Leaf))
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	if !bytes.Equal(att.Text, e.Text) {
		return nil, fmt.Errorf("%w: the stored bytes of entry %d are not what it logs", errContradiction, e.Index)
	}
	return att, nil
}
