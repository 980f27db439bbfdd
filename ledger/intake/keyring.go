package intake

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/store"
)

// loadKeys makes the history that of an index.
func loadKeys(ctx context.Context, h *keys.History, index store.Index) error {
	size, err := index.Size(ctx)
	if err != nil {
		return err
	}
	list, standing, err := index.Keys(ctx)
	if err != nil {
		return err
	}
	if err := h.Reset(size, list, standing); err != nil {
		return fmt.Errorf("the keys of the index: %w", err)
	}
	return nil
}

// admit refuses what may not follow the entries that were admitted before, and
// takes what it does to keys into account. It is called in the order in which
// entries are appended.
func (in *Intake) admit(att *attest.Attestation) error {
	stale, err := in.ring.Admit(att)
	if err != nil || !stale {
		return err
	}
	// Between its arrival and now a key of it got known better: what the key
	// signed must hold by that, since it will be audited so.
	newest := make([]*attest.PublicKey, 0, len(att.Keys))
	for _, k := range att.Keys {
		newest = append(newest, in.ring.Newest(k.Fingerprint))
	}
	again, err := attest.Open(att.Raw, attest.NewKeyring(newest...))
	if err == nil && !bytes.Equal(again.Text, att.Text) {
		err = fmt.Errorf("%w: an attestation opened twice yields two leaves", errContradiction)
	}
	return err
}
