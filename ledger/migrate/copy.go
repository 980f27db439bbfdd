package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Bounds of what is copied at once: the entries of so many bundles, unless their
// bytes are more.
const (
	bundlesAtOnce = 4
	bytesAtOnce   = 16 << 20
	// growthPoll is how often the tree that Trillian grows is looked at.
	growthPoll = 10 * time.Millisecond
)

// errDiffers is wrapped where the target has what the source has not.
var errDiffers = errors.New("the target holds another log than the source: give the move an empty database and an empty bucket")

// copier copies entries in their order.
type copier struct {
	*Move
	next  uint64 // the entry that is copied next
	read  uint64 // the entry that is read next: those before next were copied earlier
	keys  *keys.History
	batch batch
}

// batch is entries that are to be placed together.
type batch struct {
	blobs   []store.Blob
	entries []engine.Entry
	bytes   int
}

func (m *Move) newCopier(ctx context.Context) (*copier, error) {
	next, err := m.To.Sequence.Next(ctx)
	if err != nil {
		return nil, err
	}
	if next > m.plan.size {
		return nil, fmt.Errorf("%w: %d entries, of %d", errDiffers, next, m.plan.size)
	}
	tiled, err := m.To.Log.Size(ctx)
	if err != nil {
		return nil, err
	}
	return &copier{Move: m, next: next, keys: new(keys.History)}, m.sameRoot(ctx, tiled)
}

// sameRoot compares the trees of a size, which both have.
func (m *Move) sameRoot(ctx context.Context, size uint64) error {
	if size > m.plan.size {
		return fmt.Errorf("%w: its tree has %d entries, of %d", errDiffers, size, m.plan.size)
	}
	want, err := m.From.Prover.Root(ctx, size, m.plan.size)
	if err != nil {
		return fmt.Errorf("reading the source's tree: %w", err)
	}
	got, err := m.To.Prover.Root(ctx, size, size)
	if err != nil {
		return fmt.Errorf("reading the target's tree: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: at size %d its root is %x, and the source's %x", errDiffers, size, got, want)
	}
	return nil
}

// upTo copies the entries below an index, has the log take them in, and indexes them.
// The tiles of the tree of just that size are there afterwards.
func (c *copier) upTo(ctx context.Context, size uint64) error {
	for c.read < size {
		if err := c.bundle(ctx, size); err != nil {
			return err
		}
		if len(c.batch.entries) >= bundlesAtOnce*engine.TileWidth || c.batch.bytes >= bytesAtOnce || c.read == size {
			if err := c.flush(ctx); err != nil {
				return err
			}
			c.Progress("placing entries", c.read, c.plan.size)
		}
	}
	for {
		grown, err := c.To.Log.Size(ctx)
		if err != nil {
			return err
		}
		c.Progress("Trillian's tree", grown, size)
		if grown >= size {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(growthPoll):
		}
	}
	if err := c.sameRoot(ctx, size); err != nil {
		return err
	}
	c.Progress("indexing", 0, size)
	return c.To.Follow(ctx, size)
}

// bundle reads the entries up to the end of their bundle, or to size.
func (c *copier) bundle(ctx context.Context, size uint64) error {
	index := c.read / engine.TileWidth
	data, err := c.From.Log.Entries(ctx, index, engine.TileWidthAt(0, index, c.plan.size))
	if err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	for i := index * engine.TileWidth; i < min(size, (index+1)*engine.TileWidth); i++ {
		var text []byte
		if text, data, err = torchwood.ReadTileEntry(data); err != nil {
			return fmt.Errorf("reading entry %d from its bundle: %w", i, err)
		}
		if i < c.read {
			continue
		}
		if err := c.entry(ctx, i, bytes.Clone(text)); err != nil {
			return fmt.Errorf("entry %d of the source: %w", i, err)
		}
		c.read++
	}
	return nil
}

// entry takes in one entry, and adds it to the batch unless an earlier run placed it.
func (c *copier) entry(ctx context.Context, index uint64, text []byte) error {
	l, err := leaf.Parse(text)
	if err != nil {
		return err
	}
	placed := index < c.next
	if placed && keys.EventOfLeaf(l, index) == nil {
		return nil
	}
	raw, err := c.From.Blobs.Get(ctx, l.Envelope)
	if err != nil {
		return err
	}
	if leaf.SHA256(raw) != l.Envelope {
		return fmt.Errorf("its attestation is not the one with digest %s", l.Envelope)
	}
	marks, err := c.marks(l, index, text, raw)
	if err != nil || placed {
		return err
	}
	e := engine.Entry{Leaf: text, Marks: marks}
	for _, t := range intake.TermsOf(l) {
		e.Terms = append(e.Terms, t)
	}
	c.batch.entries = append(c.batch.entries, e)
	c.batch.blobs = append(c.batch.blobs, store.Blob{Digest: l.Envelope, Bytes: raw})
	c.batch.bytes += len(raw) + len(text)
	return nil
}

// marks returns what an entry changes about keys, as it was judged when it was logged.
func (c *copier) marks(l *leaf.Leaf, index uint64, text, raw []byte) (marks [][32]byte, err error) {
	c.keys.Pass(index)
	event := keys.EventOfLeaf(l, index)
	if event == nil {
		return nil, nil
	}
	if _, known := c.keys.Lookup(event.By); !known && event.By != event.Key {
		return nil, nil // it should not be in the log, and changes nothing
	}
	att, err := attest.Open(raw, c.keys.Of(l))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(att.Text, text) {
		return nil, errors.New("its attestation is not what it logs")
	}
	footing, _, err := c.keys.Footing(att)
	if _, refused := reason.Of(err); refused {
		return nil, nil // as above
	}
	if err != nil {
		return nil, err
	}
	if footing != nil {
		for _, m := range footing.Marks {
			marks = append(marks, m)
		}
	}
	_, err = c.keys.Apply(keys.EventOf(att, index))
	if _, refused := reason.Of(err); refused {
		err = nil
	}
	return marks, err
}

// flush stores the batch's bytes and places its entries.
func (c *copier) flush(ctx context.Context) error {
	b := c.batch
	c.batch = batch{}
	if len(b.entries) == 0 {
		return nil
	}
	if err := c.To.Blobs.Put(ctx, b.blobs); err != nil {
		return err
	}
	placed, err := c.To.Log.Place(ctx, b.entries)
	if err != nil {
		return err
	}
	for _, p := range placed {
		if !p.Created || p.Index != c.next {
			return fmt.Errorf("%w: entry %d was placed at %d, or was there before", errDiffers, c.next, p.Index)
		}
		c.next++
	}
	return nil
}
