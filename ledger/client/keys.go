package client

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// signingKey is a key that signed an entry.
type signingKey struct {
	told *cairnv1.Key // as the ledger tells, which proves nothing
	// signed is the entries that were read of it, but those by which it enrolled
	// or revoked itself; of them, done are proven to be by a key that might sign.
	signed []int64
	done   int
	// brought is the entry that tells of its operator, as the log proves.
	brought *Logged
}

// sign notes an entry that the key signed.
func (k *signingKey) sign(l *Logged) {
	if e := keys.EventOfLeaf(l.Leaf, 0); e == nil || e.By != e.Key {
		k.signed = append(k.signed, l.Index)
	}
}

func (k *signingKey) fingerprint() leaf.Fingerprint { return leaf.Fingerprint(k.told.GetFingerprint()) }

// operator returns whom the key's enrolment, or endorsement, names.
func (k *signingKey) operator() string { return k.brought.Claim.Operator }

// carried is a key that came with an entry, and that the ledger knows of all the
// same.
type carried struct {
	told  *cairnv1.Key
	index int64 // of the entry
}

// carry notes the keys of a certificate. What else brings its keys counts for
// nothing, whatever became of them.
func (r *reader) carry(a *attest.Attestation, index int64, keys []*cairnv1.Key) {
	if !a.Certified() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.carried = append(r.carried, carried{k, index})
	}
}

// readCarried gets what shows that an entry came with a key whose endorsements were
// withdrawn before: it proves that the key signed, and counts for nothing.
func (r *reader) readCarried(ctx context.Context) error {
	r.mu.Lock()
	list := r.carried
	r.carried = nil
	r.mu.Unlock()
	for _, c := range list {
		events, err := r.about(ctx, c.told)
		if err != nil {
			return err
		}
		for _, index := range keys.Withdrawal(events, uint64(c.index)) {
			if _, err := r.at(ctx, int64(index)); err != nil {
				return err
			}
		}
	}
	return nil
}

// readKeys gets the enrolments of the keys that signed what was read, their
// endorsements with the keys that signed these, and what ended them. The ledger's
// word is not enough: these are entries like any other.
func (r *reader) readKeys(ctx context.Context) error {
	for {
		if err := r.readCarried(ctx); err != nil {
			return err
		}
		r.mu.Lock()
		var wanted []*signingKey
		for _, k := range r.keys {
			if k.brought == nil || k.done < len(k.signed) {
				wanted = append(wanted, k)
			}
		}
		r.mu.Unlock()
		if len(wanted) == 0 {
			return nil
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(readers)
		for _, k := range wanted {
			g.Go(func() error { return r.readKey(gctx, k) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

func (r *reader) readKey(ctx context.Context, k *signingKey) error {
	r.mu.Lock()
	signed := slices.Sorted(slices.Values(k.signed))
	r.mu.Unlock()
	grounds, err := r.grounds(ctx, k, signed)
	if err != nil {
		return err
	}
	var brought *Logged
	for _, index := range grounds {
		l, err := r.at(ctx, index)
		if err != nil {
			return err
		}
		e := keys.EventOfLeaf(l.Leaf, 0)
		if e == nil || e.Key != k.fingerprint() {
			what := "enrolment"
			if k.told.RevokedIndex != nil && index == k.told.GetRevokedIndex() {
				what = "revocation"
			}
			return Misbehaved("entry %d is not the %s of key %s", index, what, k.fingerprint())
		}
		if e.Kind != leaf.KindRevoke && (brought == nil || index == k.told.GetEnrolledIndex()) {
			brought = l
		}
	}
	if brought == nil {
		return Misbehaved("entry %d is not the enrolment of key %s", k.told.GetEnrolledIndex(), k.fingerprint())
	}
	r.mu.Lock()
	k.brought, k.done = brought, len(signed)
	r.mu.Unlock()
	return nil
}

// grounds returns the entries that show that a key might sign some, and when it
// might not any more.
func (r *reader) grounds(ctx context.Context, k *signingKey, signed []int64) ([]int64, error) {
	enrolled := k.told.GetEnrolledIndex()
	ended := k.told.RevokedIndex != nil && k.told.GetRevokedIndex() < r.checkpoint.N
	grounds := []int64{}
	if enrolled < r.checkpoint.N {
		grounds = append(grounds, enrolled)
	}
	if ended {
		grounds = append(grounds, k.told.GetRevokedIndex())
	}
	if enrolled < r.checkpoint.N && (len(signed) == 0 ||
		enrolled < signed[0] && (!ended || k.told.GetRevokedIndex() >= signed[len(signed)-1])) {
		return grounds, nil
	}
	// A key may be enrolled again, and endorsed by many, and the ledger tells of
	// one entry. What was signed before, or after another end, rests on others.
	events, err := r.about(ctx, k.told)
	if err != nil {
		return nil, err
	}
	if len(signed) == 0 {
		signed = []int64{r.checkpoint.N}
	}
	for _, index := range signed {
		of := keys.Grounds(events, uint64(index))
		if len(of) == 0 {
			return nil, Misbehaved("key %s signed an entry, and the tree of size %d has no enrolment of it before", k.fingerprint(), r.checkpoint.N)
		}
		for _, i := range of {
			grounds = append(grounds, int64(i))
		}
	}
	slices.Sort(grounds)
	return slices.Compact(grounds), nil
}

// about returns what the log's entries do to a key, by their leaves.
func (r *reader) about(ctx context.Context, k *cairnv1.Key) ([]*keys.Event, error) {
	fp := leaf.Fingerprint(k.GetFingerprint())
	public, err := attest.ParsePublicKey([]byte(k.GetPublicKey()))
	if err != nil || public.Fingerprint != fp {
		return nil, Misbehaved("what it tells of key %s is no such key: %v", fp, err)
	}
	var events []*keys.Event
	_, err = r.list(ctx, &cairnv1.ListAttestationsRequest{Digest: string(public.Digest())}, func(e *cairnv1.Entry) bool {
		if l, err := leaf.Parse([]byte(e.GetLeaf())); err == nil {
			if event := keys.EventOfLeaf(l, uint64(e.GetIndex())); event != nil && event.Key == fp {
				events = append(events, event)
			}
		}
		return false
	})
	return events, err
}
