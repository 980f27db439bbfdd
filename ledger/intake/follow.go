package intake

import (
	"bytes"
	"context"
	"fmt"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// Follow indexes the log's entries up to size. It reads them from the log's
// storage, whoever appended them and whenever, so a crash needs no recovery of
// its own. After a failure of storage it refuses: what storage then shows may
// be lost in a crash, and must not be signed.
func (in *Intake) Follow(ctx context.Context, size uint64) error {
	if err := in.Err(); err != nil {
		return fmt.Errorf("the intake was halted: %w", err)
	}
	next, err := in.cfg.Index.Size(ctx)
	if err != nil {
		return err
	}
	if next > size {
		return fmt.Errorf("%w: the index has %d entries, the log %d", errContradiction, next, size)
	}
	var batch []store.Entry
	for next < size {
		entries, err := in.readBundle(ctx, next, size)
		if err != nil {
			return err
		}
		batch = append(batch, entries...)
		next += uint64(len(entries))
		if len(batch) >= followBatch || next == size {
			if err := in.index(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}

func (in *Intake) index(ctx context.Context, batch []store.Entry) error {
	done := make([][32]byte, 0, len(batch))
	for i := range batch {
		// Before the index shows the entry: whoever finds a key there may submit
		// with it at once.
		if err := in.ring.apply(&batch[i]); err != nil {
			return err
		}
		done = append(done, batch[i].Leaf.Identity())
	}
	if err := in.cfg.Index.Add(ctx, batch); err != nil {
		return err
	}
	in.forget(done...)
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
	switch l.Kind {
	case leaf.KindEnrol:
		return e, in.readEnrolment(ctx, e)
	case leaf.KindRevoke:
		// Signed by the key that it ends, and by no other. The leaf says all: the
		// key's enrolment may be in the same batch, and not be known yet.
		e.Revokes = l.Keys[0]
	}
	return e, nil
}

// readEnrolment fills in the key that an entry enrols, from its attestation.
func (in *Intake) readEnrolment(ctx context.Context, e *store.Entry) error {
	raw, err := in.cfg.Blobs.Get(ctx, e.Leaf.Envelope)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	att, err := attest.Open(raw, in.ring)
	if err != nil {
		return fmt.Errorf("entry %d: %w", e.Index, err)
	}
	// The log decides which keys are enrolled, not the store.
	if !bytes.Equal(att.Text, e.Text) {
		return fmt.Errorf("%w: the stored bytes of entry %d are not what it logs", errContradiction, e.Index)
	}
	k := att.Enrolment
	e.Enrols = &store.Key{Fingerprint: k.Key.Fingerprint, PEM: k.Key.PEM, Operator: k.Operator, URL: k.URL, Enrolled: e.Index}
	return nil
}
