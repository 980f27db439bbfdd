package audit

import (
	"bytes"
	"context"
	"errors"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// fetch gets the attestations of each batch, and takes in what changes the keys:
// in the order of the log, before anybody verifies with them. Without
// signatures, only what brings keys is fetched: the query index is made of it.
func (a *auditor) fetch(ctx context.Context, in <-chan *batch, out chan<- *batch) error {
	for b := range in {
		if err := a.fetchBatch(ctx, b); err != nil {
			return err
		}
		a.changeKeys(b)
		if a.terms != nil {
			a.terms.take(b)
		}
		if a.rows != nil {
			if err := a.rows.check(ctx, b); err != nil {
				return err
			}
		}
		if a.o.NoSignatures {
			continue
		}
		if err := send(ctx, out, b); err != nil {
			return err
		}
	}
	return nil
}

func (a *auditor) fetchBatch(ctx context.Context, b *batch) error {
	b.raws = make([][]byte, len(b.leaves))
	var wanted []leaf.Digest
	var places []int
	for i, l := range b.leaves {
		if l != nil && (!a.o.NoSignatures || bringsKey(l)) {
			wanted, places = append(wanted, l.Envelope), append(places, i)
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	raws, err := a.Attestations(ctx, wanted)
	if what, damaged := damageOf(err); damaged {
		// Once: what is missing because of it is not a finding of its own.
		if !a.unreadable.Load() {
			a.find(Corrupt, "attestations-unreadable", "the attestations", "%s", what)
		}
		a.unreadable.Store(true)
		raws, err = make([][]byte, len(wanted)), nil
	}
	if errors.Is(err, ErrNoAttestations) {
		if !a.unreadable.Load() {
			a.find(Incomplete, "attestations-missing", "the attestations", "this copy of the log has none; --no-signatures leaves them out")
		}
		a.unreadable.Store(true)
		raws, err = make([][]byte, len(wanted)), nil
	}
	if err != nil {
		return err
	}
	for i, raw := range raws {
		b.raws[places[i]] = raw
	}
	return nil
}

// ErrNoAttestations is returned by a source that has no attestations at all.
var ErrNoAttestations = errors.New("the source has no attestations")

// bringsKey reports whether an entry does to keys what its leaf does not say.
func bringsKey(l *leaf.Leaf) bool {
	return l.Kind == leaf.KindEnrol || l.Kind == leaf.KindEndorse || l.Kind == leaf.KindRevoke && l.Keys[0].OpenPGP()
}

// changeKeys replays what a batch does to keys.
func (a *auditor) changeKeys(b *batch) {
	for i, l := range b.leaves {
		index := b.start + uint64(i)
		if l == nil {
			a.ring.loseAll(index)
			continue
		}
		e := keys.EventOfLeaf(l, index)
		if e == nil {
			continue
		}
		if bringsKey(l) {
			att := a.open(b, i)
			if att == nil {
				a.ring.lose(e.Key, index)
				continue
			}
			e = keys.EventOf(att, index)
		}
		a.changeKey(e)
	}
}

// changeKey replays what an entry does to a key. If its signer may not sign at
// all, open finds that.
func (a *auditor) changeKey(e *keys.Event) {
	_, err := a.ring.Apply(e)
	if err == nil || a.ring.isVague(e.Key, e.Index) || a.ring.isVague(e.By, e.Index) {
		return
	}
	if r, ok := reason.Of(err); !bringsNothing(e) || ok && r.Reason == reason.RevokerNotAuthorised {
		a.find(Attestation, "key-unauthorised", entry(e.Index), "%v", err)
	}
}

// bringsNothing reports whether an event was known from a leaf alone.
func bringsNothing(e *keys.Event) bool { return e.Public == nil }

// checkAttestations verifies a batch's attestations, but those that were
// verified when their keys were taken in.
func (a *auditor) checkAttestations(b *batch) {
	for i, l := range b.leaves {
		if l != nil && !bringsKey(l) {
			a.open(b, i)
		}
	}
}

// open verifies the attestation of an entry: that its bytes are those logged,
// that keys of that time signed it, and that the leaf follows from it. It
// returns nil, after a finding, if not.
func (a *auditor) open(b *batch, i int) *attest.Attestation {
	l, index, raw := b.leaves[i], b.start+uint64(i), b.raws[i]
	where := entry(index)
	if raw == nil {
		// Here an entry that withdraws the attestation would excuse it, once
		// there are such entries.
		if !a.unreadable.Load() {
			a.find(Incomplete, "attestation-missing", where, "attestation %s is not there", l.Envelope)
		}
		return nil
	}
	a.report.Counts.Attestations.Add(1)
	att, err := attest.Open(raw, at{a.ring, index, l})
	switch {
	case err != nil && leaf.SHA256(raw) != l.Envelope, err == nil && att.Leaf.Envelope != l.Envelope:
		a.find(Corrupt, "attestation-bytes", where, "the bytes stored as attestation %s are others", l.Envelope)
	case err != nil && a.ring.unknown(l, index):
		a.find(Incomplete, "attestation-unchecked", where, "a key's enrolment cannot be read")
	case err != nil:
		a.find(Attestation, "attestation-refused", where, "%v", err)
	case !bytes.Equal(att.Text, b.texts[i]):
		a.find(Attestation, "leaf-differs", where, "another leaf follows from the attestation than is logged")
	default:
		if err := a.ring.allows(l, index); err != nil {
			a.find(Attestation, "key-revoked", where, "%v", err)
			return nil
		}
		a.checkCertificate(att, where)
		return att
	}
	return nil
}

// checkCertificate asks who issued the certificate that an attestation brings.
func (a *auditor) checkCertificate(att *attest.Attestation, where string) {
	if !att.Certified() {
		return
	}
	a.report.Counts.Certificates.Add(1)
	if a.o.Certificate == nil {
		a.unasked.Add(1)
		return
	}
	if err := a.o.Certificate(att); err != nil {
		a.find(Attestation, "certificate-untrusted", where, "%v", err)
	}
}
