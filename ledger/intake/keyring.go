package intake

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
)

// maxCandidates bounds how many keys are tried on a signature whose key id does
// not help: about 2 ms of work.
const maxCandidates = 32

// Keyring is the enrolled keys, in memory. It implements attest.Keyring.
type Keyring struct {
	mu     sync.RWMutex
	keys   map[leaf.Fingerprint]*enrolled
	hinted map[string][]*attest.PublicKey // by key id
	latest []*attest.PublicKey            // the last maxCandidates enrolled, oldest first
}

type enrolled struct {
	key     *attest.PublicKey
	revoked bool
}

func newKeyring(ctx context.Context, index store.Index) (*Keyring, error) {
	keys, err := index.Keys(ctx)
	if err != nil {
		return nil, err
	}
	r := &Keyring{keys: make(map[leaf.Fingerprint]*enrolled, len(keys)), hinted: make(map[string][]*attest.PublicKey)}
	for i := range keys {
		if err := r.enrol(&keys[i]); err != nil {
			return nil, err
		}
		if keys[i].Revoked != nil {
			r.revoke(keys[i].Fingerprint)
		}
	}
	return r, nil
}

// Lookup implements attest.Keyring. Revoked keys are found too: their
// signatures still verify, and admit refuses them for what they are.
func (r *Keyring) Lookup(fp leaf.Fingerprint) (*attest.PublicKey, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.keys[fp]
	if !ok {
		return nil, false
	}
	return e.key, true
}

// Hinted implements attest.Keyring.
func (r *Keyring) Hinted(keyID string) []*attest.PublicKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hinted[keyID]
}

// Candidates implements attest.Keyring.
func (r *Keyring) Candidates() []*attest.PublicKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.latest
}

func (r *Keyring) enrol(k *store.Key) error {
	key, err := attest.ParsePublicKey([]byte(k.PEM))
	if err != nil {
		return fmt.Errorf("key %s of the index: %w", k.Fingerprint, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.keys[key.Fingerprint]; ok {
		return nil
	}
	r.keys[key.Fingerprint] = &enrolled{key: key}
	for _, id := range key.KeyIDs() {
		r.hinted[id] = append(slices.Clip(r.hinted[id]), key)
	}
	// Candidates hands the slice out, so it is replaced, never changed.
	from := max(0, len(r.latest)+1-maxCandidates)
	r.latest = append(append([]*attest.PublicKey(nil), r.latest[from:]...), key)
	return nil
}

func (r *Keyring) revoke(fp leaf.Fingerprint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.keys[fp]; ok {
		e.revoked = true
	}
}

// admit refuses attestations by revoked keys, and takes a revocation into
// account. It is called in the order in which entries are appended.
func (r *Keyring) admit(att *attest.Attestation) error {
	r.mu.RLock()
	for _, k := range att.Keys {
		if e, ok := r.keys[k.Fingerprint]; ok && e.revoked {
			r.mu.RUnlock()
			return reason.Errorf(reason.KeyRevoked, "key %s was revoked", k.Fingerprint)
		}
	}
	r.mu.RUnlock()
	if att.Revocation != nil {
		r.revoke(att.Revocation.Key)
	}
	return nil
}

// apply takes an indexed entry into account.
func (r *Keyring) apply(e *store.Entry) error {
	if e.Enrols != nil {
		return r.enrol(e.Enrols)
	}
	if e.Revokes != "" {
		r.revoke(e.Revokes)
	}
	return nil
}
