package audit

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/keys"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// ring is what the entries of the log did to keys, and what of it cannot be
// known because an entry cannot be read.
//
// Entries are added to it in their order, and looked up in any.
type ring struct {
	*keys.History

	mu sync.RWMutex
	// vague has the keys of entries that cannot be read, with the first of these.
	vague map[leaf.Fingerprint]uint64
	// lost is the first index of an entry that may have brought any key.
	lost *uint64

	uses sync.Map // *uses, by *attest.PublicKey
	// prepared is how many keys are.
	prepared atomic.Int32
}

// A key is prepared once it has signed so much that this pays, and only so many
// are: they take 1.3 MiB each.
const (
	prepareAfter = 512
	maxPrepared  = 16
)

type uses struct {
	n    atomic.Int32
	fast atomic.Pointer[attest.PublicKey] // prepared, for who signs much
}

// ready returns the key to verify with.
func (r *ring) ready(k *attest.PublicKey) *attest.PublicKey {
	v, ok := r.uses.Load(k)
	if !ok {
		v, _ = r.uses.LoadOrStore(k, new(uses))
	}
	u := v.(*uses)
	if fast := u.fast.Load(); fast != nil {
		return fast
	}
	if u.n.Add(1) == prepareAfter && r.prepared.Add(1) <= maxPrepared {
		u.fast.Store(k.Prepare())
	}
	return k
}

func newRing() *ring {
	return &ring{History: new(keys.History), vague: make(map[leaf.Fingerprint]uint64)}
}

// lose notes that an entry about a key cannot be read.
func (r *ring) lose(fp leaf.Fingerprint, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.vague[fp]; !ok {
		r.vague[fp] = index
	}
}

// loseAll notes that an entry cannot be read, and what it did to keys neither.
func (r *ring) loseAll(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost == nil {
		r.lost = &index
	}
}

// isVague reports whether what the entries before an index did to a key is not
// known.
func (r *ring) isVague(fp leaf.Fingerprint, index uint64) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	since, ok := r.vague[fp]
	return ok && since < index || r.lost != nil && *r.lost < index
}

// unknown reports whether a key of an entry is not known, and may have been
// brought by an entry that cannot be read.
func (r *ring) unknown(l *leaf.Leaf, index uint64) bool {
	if l.BringsKeys() {
		return false
	}
	for _, fp := range l.Keys {
		if _, ok := r.LookupAt(fp, index); !ok && r.isVague(fp, index) {
			return true
		}
	}
	return false
}

// allows says why the keys of an entry may not sign it, as far as is known.
func (r *ring) allows(l *leaf.Leaf, index uint64) error {
	err := r.Allows(l, index)
	var refused *keys.NotAllowed
	if errors.As(err, &refused) && refused.Standing != keys.Revoked && r.isVague(refused.Key, index) {
		return nil
	}
	return err
}

// at is the ring at an entry. It implements attest.Keyring.
type at struct {
	*ring
	index uint64
	leaf  *leaf.Leaf
}

// Lookup implements attest.Keyring.
func (v at) Lookup(fp leaf.Fingerprint) (*attest.PublicKey, bool) {
	k, ok := v.LookupAt(fp, v.index)
	if !ok {
		return nil, false
	}
	return v.ready(k), true
}

// Hinted implements attest.Keyring, among the few keys that matter.
func (v at) Hinted(keyID string) []*attest.PublicKey {
	return v.HintedAt(keyID, v.leaf.Keys, v.index)
}

// Candidates implements attest.Keyring: a signature without a key id can only
// be by a key that the leaf names.
func (v at) Candidates() []*attest.PublicKey {
	var list []*attest.PublicKey
	for _, fp := range v.leaf.Keys {
		if k, ok := v.Lookup(fp); ok {
			list = append(list, k)
		}
	}
	return list
}
