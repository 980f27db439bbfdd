package intake

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/store"
)

// What an intake does that appends to its log alone: it knows all entries before,
// also those that are not indexed yet.

// runAlone appends until ctx is done and the queue is empty.
func (in *Intake) runAlone(ctx context.Context) {
	resolved := make(chan struct{})
	go func() {
		defer close(resolved)
		in.resolve()
	}()
	for batch := in.collect(ctx); batch != nil && in.Err() == nil; batch = in.collect(ctx) {
		work, span := startBatch(context.WithoutCancel(ctx), batch)
		err := in.append(work, batch)
		span.End(err)
		if err != nil {
			in.Halt(err)
			break
		}
	}
	close(in.appended)
	<-resolved
}

// appended is a batch whose leaves were given to the log, which is a step that ends
// when all have their indexes.
type appended struct {
	calls []*call
	ctx   context.Context // of the batch
	span  observe.Span    // of the step
}

// append makes a batch's bytes durable and appends its leaves.
func (in *Intake) append(ctx context.Context, batch []*call) error {
	batch, err := in.answerKnown(ctx, batch)
	if err != nil {
		return err
	}
	accepted := batch[:0]
	blobs := make([]store.Blob, 0, len(batch))
	for _, c := range batch {
		err := in.limits.allowKeys(c.att)
		if err == nil {
			err = in.admit(c.att)
		}
		if err != nil {
			in.finish(c, err)
			continue
		}
		accepted = append(accepted, c)
		blobs = append(blobs, store.Blob{Digest: c.att.Leaf.Envelope, Bytes: c.att.Raw})
	}
	if len(accepted) == 0 {
		return nil
	}
	err = in.step(ctx, "blobs.put", func(ctx context.Context) error { return in.cfg.Blobs.Put(ctx, blobs) })
	if err != nil {
		return err
	}
	appending, span := observe.Start(ctx, "log.append")
	for _, c := range accepted {
		c.future = in.cfg.Log.Append(appending, c.att.Text)
	}
	in.appended <- appended{accepted, ctx, span}
	return nil
}

// resolve waits for the indexes of appended batches, in order.
func (in *Intake) resolve() {
	for batch := range in.appended {
		var failed error
		for _, c := range batch.calls {
			index, err := c.future()
			if err != nil {
				failed = err
				in.Halt(err)
				continue
			}
			c.index, c.text, c.created = index, c.att.Text, true
			in.letGo(c)
			close(c.done)
		}
		batch.span.End(failed)
		in.sawFailure("log.append", failed)
		in.unpublished.Put(batch.ctx)
		in.cfg.Grew()
	}
}

// admit refuses what may not follow the entries that were admitted before, and
// takes what it does to keys into account. It is called in the order in which
// entries are appended.
func (in *Intake) admit(att *attest.Attestation) error {
	stale, err := in.ring.Admit(att)
	if err != nil || !stale {
		return err
	}
	_, err = in.openAgain(att)
	return err
}

// openAgain opens an attestation with its keys as they are known now. Between its
// arrival and now one of them got known better: what the key signed must hold by
// that, since it will be audited so.
func (in *Intake) openAgain(att *attest.Attestation) (*attest.Attestation, error) {
	newest := make([]*attest.PublicKey, 0, len(att.Keys))
	for _, k := range att.Keys {
		if known := in.ring.Newest(k.Fingerprint); known != nil {
			newest = append(newest, known)
		}
	}
	again, err := attest.Open(att.Raw, attest.NewKeyring(newest...))
	if err == nil && !bytes.Equal(again.Text, att.Text) {
		err = fmt.Errorf("%w: an attestation opened twice yields two leaves", errContradiction)
	}
	return again, err
}

// indexed lets go of the submissions whose entries are indexed.
func (in *Intake) indexed(batch []store.Entry) {
	done := make([][2]store.Term, 0, len(batch))
	for i := range batch {
		in.ring.Settle(batch[i].Leaf.Identity())
		done = append(done, TermsOf(batch[i].Leaf))
	}
	in.forget(done...)
}
