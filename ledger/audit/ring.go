package audit

import (
	"sync"
	"sync/atomic"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/store"
)

// ring is the keys that the log enrolled and revoked, with the entries that did
// so. The rules are intake.Keyring's; but that one is of the present, and this
// one of every index: an entry may be signed by the keys enrolled before it and
// not revoked before it.
//
// Entries are added to it in their order, and looked up in any.
type ring struct {
	mu   sync.RWMutex
	keys map[leaf.Fingerprint]*enrolled
	// lost is the first index of an entry that may have enrolled anything.
	lost *uint64
	// prepared is how many keys are.
	prepared atomic.Int32
}

// A key is prepared once it has signed so much that this pays, and only so many
// are: they take 1.3 MiB each.
const (
	prepareAfter = 512
	maxPrepared  = 16
)

type enrolled struct {
	key   *attest.PublicKey // nil if its enrolment cannot be read
	first uint64
	row   store.Key // what the query index has of it
	// vague says that an enrolment of it cannot be read, so that row is not known.
	vague bool

	uses atomic.Int32
	fast atomic.Pointer[attest.PublicKey] // prepared, for who signs much
}

// ready returns the key to verify with.
func (r *ring) ready(e *enrolled) *attest.PublicKey {
	if fast := e.fast.Load(); fast != nil {
		return fast
	}
	if e.uses.Add(1) == prepareAfter && r.prepared.Add(1) <= maxPrepared {
		e.fast.Store(e.key.Prepare())
	}
	return e.key
}

func newRing() *ring { return &ring{keys: make(map[leaf.Fingerprint]*enrolled)} }

func (r *ring) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.keys)
}

// enrol adds the key of a verified enrolment.
func (r *ring) enrol(e *attest.Enrolment, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := store.Key{Fingerprint: e.Key.Fingerprint, PEM: e.Key.PEM, Operator: e.Operator, URL: e.URL, Enrolled: index}
	had := r.keys[row.Fingerprint]
	if had == nil {
		r.keys[row.Fingerprint] = &enrolled{key: e.Key, first: index, row: row}
		return
	}
	row.Revoked = had.row.Revoked
	had.row = row
	if had.key == nil {
		had.key = e.Key
	}
}

// lose notes that the enrolment of a key cannot be read.
func (r *ring) lose(fp leaf.Fingerprint, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[fp] == nil {
		r.keys[fp] = &enrolled{first: index, row: store.Key{Fingerprint: fp, Enrolled: index}}
	}
	r.keys[fp].vague = true
}

// loseAll notes that an entry cannot be read, and what it enrolled neither.
func (r *ring) loseAll(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost == nil {
		r.lost = &index
	}
}

func (r *ring) revoke(fp leaf.Fingerprint, index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.keys[fp]; e != nil && e.row.Revoked == nil {
		e.row.Revoked = &index
	}
}

// unknown reports whether a key of an entry may have been enrolled by an entry
// that cannot be read.
func (r *ring) unknown(l *leaf.Leaf, index uint64) bool {
	if l.BringsKeys() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, fp := range l.Keys {
		e := r.keys[fp]
		if e == nil && r.lost != nil && *r.lost < index || e != nil && e.key == nil && e.first < index {
			return true
		}
	}
	return false
}

// revoked returns the first key of an entry that was revoked before it.
func (r *ring) revoked(l *leaf.Leaf, index uint64) (leaf.Fingerprint, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, fp := range l.Keys {
		if e := r.keys[fp]; e != nil && e.row.Revoked != nil && *e.row.Revoked < index {
			return fp, true
		}
	}
	return "", false
}

// at is the ring at an entry. It implements attest.Keyring.
type at struct {
	*ring
	index uint64
	leaf  *leaf.Leaf
}

// Lookup implements attest.Keyring.
func (v at) Lookup(fp leaf.Fingerprint) (*attest.PublicKey, bool) {
	v.mu.RLock()
	e := v.keys[fp]
	v.mu.RUnlock()
	if e == nil || e.key == nil || e.first >= v.index {
		return nil, false
	}
	return v.ready(e), true
}

// Hinted implements attest.Keyring. Candidates has the few keys that matter.
func (v at) Hinted(string) []*attest.PublicKey { return nil }

// Candidates implements attest.Keyring: a signature without a key id can only
// be by a key that the leaf names.
func (v at) Candidates() []*attest.PublicKey {
	var keys []*attest.PublicKey
	for _, fp := range v.leaf.Keys {
		if k, ok := v.Lookup(fp); ok {
			keys = append(keys, k)
		}
	}
	return keys
}
