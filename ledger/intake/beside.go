package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// Bounds of an intake beside others.
const (
	maxPlacing    = 2                // batches that are being placed at once: one stores bytes, one places
	maxUnsettled  = 64               // batches that wait for the index
	placePatience = 20 * time.Second // for the storage, of one batch
	// Entries about a key settle once they are published. A submission waits for
	// that so often, and so long: longer than it takes to replace who publishes.
	maxTries       = 6
	settlePatience = 10 * time.Second
	retryUnsettled = time.Second // advice to a refused submitter
)

// others is what an intake does that is not the only one of its log. What other
// intakes append it learns from the index, as far as that got; the log itself
// refuses what rests on less than it has.
type others struct {
	log      engine.Shared
	keys     *follower
	indexed  uint64        // entries of the index that were compared with the log; guarded by keys.turn
	placing  chan struct{} // holds one element for each batch being placed
	settling chan struct{} // and for each that waits for the index
}

func newOthers(log engine.Shared, f *follower) *others {
	return &others{
		log: log, keys: f,
		placing: make(chan struct{}, maxPlacing), settling: make(chan struct{}, maxUnsettled),
	}
}

// CatchUp makes the keys of an intake beside others those of the index, as of some
// time after the call. An intake that is alone has them.
func (in *Intake) CatchUp(ctx context.Context) error {
	if in.others == nil {
		return nil
	}
	return in.others.keys.catchUp(ctx)
}

// open opens an attestation. Of one that is refused because of its keys, it first
// asks whether there is more to know of them: what another intake acknowledged
// before must count here.
func (in *Intake) open(ctx context.Context, raw []byte) (*attest.Attestation, error) {
	att, err := in.openInTurn(ctx, raw)
	if in.others == nil || !aboutKeys(err) {
		return att, err
	}
	if err := in.CatchUp(ctx); err != nil {
		return nil, err
	}
	return in.openInTurn(ctx, raw)
}

// aboutKeys reports whether a refusal may be none by what later entries say.
func aboutKeys(err error) bool {
	r, ok := reason.Of(err)
	if !ok {
		return false
	}
	switch r.Reason {
	case reason.KeyNotEnrolled, reason.KeyNotValid, reason.KeyRevoked, reason.RevokerNotAuthorised:
		return true
	}
	return false
}

// runBeside places batches, some at once, until ctx is done, the queue is empty
// and nothing waits any more. Which of two entries comes first is the log's to say.
func (in *Intake) runBeside(ctx context.Context) {
	var batches sync.WaitGroup
	defer batches.Wait()
	work := context.WithoutCancel(ctx)
	for {
		// Before it is collected: what comes while others are being placed makes the
		// next batch larger, and not one more.
		in.others.placing <- struct{}{}
		batch := in.collect(ctx)
		if batch == nil || in.Err() != nil {
			<-in.others.placing
			return
		}
		batches.Go(func() { in.settle(work, batch) })
	}
}

// settle places a batch, and again what of it was not placed because the keys had
// changed. It is called, as place is, with a place taken in others.placing.
func (in *Intake) settle(ctx context.Context, batch []*call) {
	ctx, span := startBatch(ctx, batch)
	defer span.End(nil)
	again, behind := in.place(ctx, batch, true)
	<-in.others.placing
	if len(again) == 0 {
		return
	}
	select {
	case in.others.settling <- struct{}{}:
		defer func() { <-in.others.settling }()
	default:
		in.finishAll(again, unsettled())
		return
	}
	patience, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for tries := 1; len(again) > 0; tries++ {
		err := in.others.keys.catchUpTo(patience, behind)
		switch {
		case patience.Err() != nil || tries == maxTries:
			in.finishAll(again, unsettled())
			return
		case err != nil:
			in.failed(again, err)
			return
		}
		in.others.placing <- struct{}{}
		again, behind = in.place(ctx, again, false)
		<-in.others.placing
	}
}

func unsettled() error {
	return &reason.Error{
		Reason:     reason.KeyUnsettled,
		Message:    "other entries say something about a key of this one, and were not published in time",
		RetryAfter: retryUnsettled,
	}
}

// place makes the bytes of a batch durable and places its entries. It returns the
// calls that the log refused to place, or that may be refused in error, which is
// asked once: they are to be placed again once the entries below an index are
// known.
func (in *Intake) place(ctx context.Context, batch []*call, first bool) (again []*call, behind uint64) {
	if in.Err() != nil {
		return nil, 0 // who submitted was told
	}
	ctx, cancel := context.WithTimeout(ctx, placePatience)
	defer cancel()
	batch, err := in.answerKnown(ctx, batch)
	if err != nil {
		in.failed(batch, err)
		return nil, 0
	}
	accepted := batch[:0]
	entries := make([]engine.Entry, 0, len(batch))
	blobs := make([]store.Blob, 0, len(batch))
	for _, c := range batch {
		var footing *keys.Footing
		if first {
			err = in.limits.allowKeys(c.att)
		}
		if err == nil {
			footing, err = in.footing(c)
		}
		switch {
		case err == nil:
			accepted = append(accepted, c)
			entries = append(entries, entryOn(c, footing))
			blobs = append(blobs, store.Blob{Digest: c.att.Leaf.Envelope, Bytes: c.att.Raw})
		case first && aboutKeys(err):
			again = append(again, c)
		default:
			in.finish(c, err)
		}
		err = nil
	}
	if len(accepted) == 0 {
		return again, 0
	}
	placed, err := in.putAndPlace(ctx, blobs, entries)
	if err != nil {
		in.failed(accepted, err)
		return again, 0
	}
	return in.placed(accepted, placed, again)
}

func (in *Intake) putAndPlace(ctx context.Context, blobs []store.Blob, entries []engine.Entry) (placed []engine.Placed, err error) {
	err = in.step(ctx, "blobs.put", func(ctx context.Context) error { return in.cfg.Blobs.Put(ctx, blobs) })
	if err != nil {
		return nil, err
	}
	err = in.step(ctx, "log.place", func(ctx context.Context) (err error) {
		placed, err = in.others.log.Place(ctx, entries)
		return err
	})
	if err == nil && len(placed) != len(entries) {
		err = fmt.Errorf("%w: the log placed %d of %d entries", errContradiction, len(placed), len(entries))
	}
	in.unpublished.Put(ctx)
	return placed, err
}

// placed answers the calls of which an entry is in the log, and adds the others to
// those that are to be placed again.
func (in *Intake) placed(batch []*call, placed []engine.Placed, again []*call) ([]*call, uint64) {
	behind := uint64(0)
	for i, p := range placed {
		c := batch[i]
		if p.Stale {
			behind = max(behind, p.Index+1)
			again = append(again, c)
			continue
		}
		c.index, c.text, c.created = p.Index, p.Leaf, p.Created
		in.finish(c, nil)
	}
	in.cfg.Grew()
	return again, behind
}

// footing judges an attestation by the entries that are known here.
func (in *Intake) footing(c *call) (*keys.Footing, error) {
	for range maxTries {
		f, stale, err := in.ring.Footing(c.att)
		if err != nil || !stale {
			return f, err
		}
		again, err := in.openAgain(c.att)
		if err != nil {
			return nil, err
		}
		c.att = again
	}
	return nil, unsettled()
}

func entryOn(c *call, f *keys.Footing) engine.Entry {
	e := engine.Entry{Leaf: c.att.Text, Seen: f.Seen}
	for _, t := range c.terms {
		e.Terms = append(e.Terms, t)
	}
	for _, m := range f.Marks {
		e.Marks = append(e.Marks, m)
	}
	for _, m := range f.Follows {
		e.Follows = append(e.Follows, m)
	}
	return e
}

// failed answers the calls of a batch whose storage failed. What is over in a
// moment is for the submitters to try again: a retry finds what was placed. All
// else halts the intake.
func (in *Intake) failed(batch []*call, err error) {
	err = unavailable(err)
	if !reason.Is(err, reason.StorageUnavailable) {
		in.Halt(err)
		return
	}
	in.finishAll(batch, err)
}

// unavailable makes a time that ran out what it is to a submitter.
func unavailable(err error) error {
	if _, refused := reason.Of(err); refused || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &reason.Error{
		Reason: reason.StorageUnavailable, Message: "the ledger's storage did not answer in time",
		RetryAfter: retryUnsettled, Cause: err,
	}
}

func (in *Intake) finishAll(batch []*call, err error) {
	for _, c := range batch {
		in.finish(c, err)
	}
}

// followBeside is Follow where others may index, too.
func (in *Intake) followBeside(ctx context.Context, size uint64) error {
	in.others.keys.turn.Lock()
	defer in.others.keys.turn.Unlock()
	for {
		last, err := in.others.keys.follow(ctx)
		if err != nil {
			return err
		}
		if last != nil {
			if err := in.compare(ctx, last, size); err != nil {
				return err
			}
		}
		next := in.ring.Next() // the size of the index, or a later one
		if next >= size {
			return nil
		}
		err = in.indexUpTo(ctx, next, size, func([]store.Entry) {})
		if err == nil {
			in.ring.Pass(size)
			in.others.indexed = size
			return nil
		}
		if grown, sizeErr := in.cfg.Index.Size(ctx); sizeErr != nil || grown <= next {
			return err
		}
		// Another process indexed some of it before: what remains is from there on.
	}
}

// compare holds what others indexed to the log: the last entry of the index, if the
// log is known so far.
func (in *Intake) compare(ctx context.Context, last *store.Entry, size uint64) error {
	if last.Index+1 == in.others.indexed || last.Index >= size {
		return nil
	}
	hash, err := in.cfg.Prover.LeafHash(ctx, last.Index, size)
	if err != nil {
		return err
	}
	if !bytes.Equal(hash, leaf.Hash(last.Text)) {
		return fmt.Errorf("%w: entry %d of the index is not that of the log", errContradiction, last.Index)
	}
	in.others.indexed = last.Index + 1
	return nil
}
