package keys

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Bounds of what is tried on one signature: about 2 ms of work.
const (
	maxCandidates = 32 // keys whose signatures name no key
	maxHinted     = 32 // keys of one key id
)

// History is what the entries of a log did to keys, in log order. The zero
// History is that of an empty log. It implements attest.Keyring with the keys of
// the present, of which Candidates has the latest.
type History struct {
	mu     sync.RWMutex
	next   uint64 // index of the first entry that was not taken in
	keys   map[leaf.Fingerprint]*record
	hinted map[string][]*record // by key id, the first maxHinted of each
	latest []*attest.PublicKey  // the last maxCandidates, oldest first
	// presentOnly says that LookupAt is not asked for what keys were.
	presentOnly bool
}

var _ attest.Keyring = (*History)(nil)

// record is what is known of one key.
type record struct {
	public *attest.PublicKey // the last of versions
	state
	fp       leaf.Fingerprint
	versions []version // ascending, at least one
	spans    []span    // when it might sign, ascending
	ended    uint64    // of revoked: the index
	row      Key
	// order is the endorsements, oldest first, with some that do not stand.
	order []Endorsement
}

// version is a key as it was known from the entry behind an index on.
type version struct {
	index  uint64
	public *attest.PublicKey
}

// span is the entries behind from, up to and with to.
type span struct {
	from, to uint64
	over     bool
}

// Change is what is to be written down of an entry's doing, beside the entry.
type Change struct {
	Key Key // as it is now
	// Endorsed is an endorsement that stands now; Withdrawn is the endorser of one
	// that does not any more, and Ended says that none of the key does.
	Endorsed  *Endorsement
	Withdrawn leaf.Fingerprint
	Ended     bool
}

// Restore returns the history of a log of some size, of which the present state
// of each key is known, and the endorsements that stand. It is right about the
// entries from size on.
func Restore(size uint64, list []Key, standing []Endorsement) (*History, error) {
	h := &History{next: size}
	if err := h.restoreKeys(list); err != nil {
		return nil, err
	}
	return h, h.restoreEndorsements(standing)
}

// Reset makes h what Restore returns.
func (h *History) Reset(size uint64, list []Key, standing []Endorsement) error {
	other, err := Restore(size, list, standing)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next, h.keys, h.hinted, h.latest = other.next, other.keys, other.hinted, other.latest
	return nil
}

// Next returns the least index of an entry that Apply does not pass over.
func (h *History) Next() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.next
}

func (h *History) restoreKeys(list []Key) error {
	list = slices.SortedFunc(slices.Values(list), func(a, b Key) int { return cmp.Compare(a.Enrolled, b.Enrolled) })
	for _, k := range list {
		public, err := attest.ParsePublicKey([]byte(k.PEM))
		if err != nil {
			return fmt.Errorf("key %s: %w", k.Fingerprint, err)
		}
		if public.Fingerprint != k.Fingerprint {
			return fmt.Errorf("key %s: it is key %s", k.Fingerprint, public.Fingerprint)
		}
		r := &record{state: *on(nil), fp: k.Fingerprint, row: k}
		r.enrolled = k.Endorser == ""
		r.revoked = k.Revoked != nil && !k.Withdrawn
		s := span{from: k.Enrolled}
		if k.Revoked != nil {
			s.to, s.over, r.ended = *k.Revoked, true, *k.Revoked
		}
		r.spans = []span{s}
		h.add(r)
		h.learn(r, public, k.Enrolled)
	}
	return nil
}

func (h *History) restoreEndorsements(standing []Endorsement) error {
	standing = slices.SortedFunc(slices.Values(standing), func(a, b Endorsement) int { return cmp.Compare(a.Index, b.Index) })
	for _, e := range standing {
		r := h.keys[e.Key]
		if r == nil || r.enrolled || r.revoked || r.by[e.Endorser] != 0 {
			return fmt.Errorf("the endorsement of key %s by key %s at %d: it cannot stand", e.Key, e.Endorser, e.Index)
		}
		r.by[e.Endorser] = e.Index + 1
		r.standing++
		r.order = append(r.order, e)
	}
	for fp, r := range h.keys {
		if r.usable() != (r.row.Revoked == nil) {
			return fmt.Errorf("key %s: its endorsements are missing, or it has some too many", fp)
		}
	}
	return nil
}

func (h *History) add(r *record) {
	if h.keys == nil {
		h.keys, h.hinted = make(map[leaf.Fingerprint]*record), make(map[string][]*record)
	}
	h.keys[r.fp] = r
}

// Apply takes the next entry in that does something to a key. An entry that it
// already took in is passed over. An entry that may not do what it says changes
// nothing, and the error says why.
func (h *History) Apply(e *Event) (*Change, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.Index < h.next {
		return nil, nil
	}
	h.next = e.Index + 1
	r := h.keys[e.Key]
	if r == nil && e.Public == nil {
		return nil, reason.Errorf(reason.KeyNotEnrolled, "key %s is not enrolled", e.Key)
	}
	if r == nil {
		r = &record{state: *on(nil), fp: e.Key}
	}
	by := &r.state
	if e.By != e.Key {
		by = h.stateOf(e.By)
	}
	public, err := e.merge(r.public)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", e.Index, err)
	}
	could, again := r.usable(), e.Kind == leaf.KindEnrol && e.Key.OpenPGP() && r.enrolled && public == r.public
	if err := r.take(e, by); err != nil {
		return nil, err
	}
	if again {
		// Anybody may submit a copy of the key: that it has is no news of it.
		return &Change{Key: r.row}, nil
	}
	if h.keys[e.Key] == nil {
		h.add(r)
	}
	h.learn(r, public, e.Index)
	return r.change(e, could), nil
}

// stateOf and publicOf implement view. h.mu must be held.
func (h *History) stateOf(fp leaf.Fingerprint) *state {
	if r := h.keys[fp]; r != nil {
		return &r.state
	}
	return nil
}

func (h *History) publicOf(fp leaf.Fingerprint) *attest.PublicKey {
	if r := h.keys[fp]; r != nil {
		return r.public
	}
	return nil
}

// merge returns what is known of a key together with what the entry brings of it;
// either may be nil. It is known itself if that knew as much.
//
// A key that is too large to learn anything more may still revoke itself: the
// revocation needs no place in the key, since the entry says it.
func (e *Event) merge(known *attest.PublicKey) (*attest.PublicKey, error) {
	if known == nil {
		return e.Public, nil
	}
	if e.Public == nil {
		return known, nil
	}
	merged, err := known.Merge(e.Public)
	switch {
	case err != nil && e.Kind == leaf.KindRevoke && e.By == e.Key, err == nil && merged.PEM == known.PEM:
		return known, nil
	case err != nil:
		return nil, reason.Errorf(reason.EnrolmentInvalid, "adding to key %s: %w", e.Key, err)
	}
	return merged, nil
}

// learn notes what is known of a key from an index on.
func (h *History) learn(r *record, public *attest.PublicKey, index uint64) {
	if public == r.public {
		return
	}
	if len(r.versions) == 0 && !r.fp.OpenPGP() {
		// Candidates hands the slice out, so it is replaced, never changed.
		from := max(0, len(h.latest)+1-maxCandidates)
		h.latest = append(slices.Clone(h.latest[from:]), public)
	}
	r.public = public
	if h.presentOnly {
		r.versions = nil
	}
	r.versions = append(r.versions, version{index, public})
	for _, id := range public.KeyIDs() {
		if list := h.hinted[id]; !slices.Contains(list, r) && len(list) < maxHinted {
			h.hinted[id] = append(list, r)
		}
	}
}

// change brings what is shown of a key up to date.
func (r *record) change(e *Event, could bool) *Change {
	c, was := &Change{}, r.row
	switch self := e.By == e.Key; {
	case e.Kind == leaf.KindEndorse && r.by[e.By] == e.Index+1:
		c.Endorsed = &Endorsement{e.Key, e.By, e.Index, e.Operator, e.URL}
		r.order = append(r.order, *c.Endorsed)
	case e.Kind == leaf.KindEnrol:
		c.Ended = true
		r.order = nil
		r.row.Operator, r.row.URL, r.row.Enrolled, r.row.Endorser = e.Operator, e.URL, e.Index, ""
	case e.Kind == leaf.KindRevoke && self:
		c.Ended = true
		r.ended = e.Index
		if len(r.spans) == 0 { // nothing else is known of it
			r.row.Enrolled, r.row.Operator = e.Index, e.Operator
		}
	case e.Kind == leaf.KindRevoke:
		c.Withdrawn = e.By
	}
	switch can := r.usable(); {
	case can && !could:
		r.spans = append(r.spans, span{from: e.Index})
	case could && !can:
		last := &r.spans[len(r.spans)-1]
		last.to, last.over = e.Index, true
	}
	r.update()
	if !was.Equal(&r.row) {
		r.row.Changed = e.Index
	}
	c.Key = r.row
	return c
}

// update makes the row of what the record has.
func (r *record) update() {
	if o := r.oldest(); !r.enrolled && o != nil {
		r.row.Operator, r.row.URL, r.row.Enrolled, r.row.Endorser = o.Operator, o.URL, o.Index, o.Endorser
	}
	r.row.Fingerprint, r.row.Revoked, r.row.Withdrawn = r.fp, nil, false
	r.row.PEM = r.public.PEM
	switch n := len(r.spans); {
	case r.revoked:
		ended := r.ended
		r.row.Revoked = &ended
	case n > 0 && r.spans[n-1].over:
		to := r.spans[n-1].to
		r.row.Revoked, r.row.Withdrawn = &to, true
	}
}

// oldest returns the oldest endorsement that stands, or nil.
func (r *record) oldest() *Endorsement {
	for len(r.order) > 0 {
		if o := &r.order[0]; r.by[o.Endorser] == o.Index+1 {
			return o
		}
		r.order = r.order[1:]
	}
	return nil
}

// Equal reports whether two keys are the same in all respects.
func (k *Key) Equal(other *Key) bool {
	a, b := *k, *other
	a.Revoked, b.Revoked = nil, nil
	return a == b && (k.Revoked == nil) == (other.Revoked == nil) && (k.Revoked == nil || *k.Revoked == *other.Revoked)
}

// Key returns a key as it is at present.
func (h *History) Key(fp leaf.Fingerprint) (*Key, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.keys[fp]
	if r == nil {
		return nil, false
	}
	row := r.row
	return &row, true
}

// Snapshot returns what Restore takes, sorted.
func (h *History) Snapshot() ([]Key, []Endorsement) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var list []Key
	var standing []Endorsement
	for _, fp := range slices.Sorted(maps.Keys(h.keys)) {
		r := h.keys[fp]
		list = append(list, r.row)
		for _, o := range r.order {
			if r.by[o.Endorser] == o.Index+1 && !r.revoked {
				standing = append(standing, o)
			}
		}
	}
	return list, standing
}

// Count returns the number of keys.
func (h *History) Count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.keys)
}

// Of returns a Keyring of those keys alone that signed the entry with this leaf. An
// entry must be opened again with these: others may have come between, and a
// signature that names no key is by who is found first.
func (h *History) Of(l *leaf.Leaf) attest.Keyring {
	var list []*attest.PublicKey
	for _, fp := range l.Keys {
		if k, ok := h.Lookup(fp); ok {
			list = append(list, k)
		}
	}
	return attest.NewKeyring(list...)
}

// Lookup implements attest.Keyring. Keys that may not sign any more are found
// too: their signatures still verify, and who asks refuses them for what they are.
func (h *History) Lookup(fp leaf.Fingerprint) (*attest.PublicKey, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r := h.keys[fp]; r != nil {
		return r.public, true
	}
	return nil, false
}

// Hinted implements attest.Keyring.
func (h *History) Hinted(keyID string) []*attest.PublicKey {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var list []*attest.PublicKey
	for _, r := range h.hinted[keyID] {
		list = append(list, r.public)
	}
	return list
}

// Candidates implements attest.Keyring. OpenPGP keys are none: what they sign
// names them.
func (h *History) Candidates() []*attest.PublicKey {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.latest
}

// at returns a key as the entries before an index made it known, or nil.
func (r *record) at(index uint64) *attest.PublicKey {
	n := sort.Search(len(r.versions), func(i int) bool { return r.versions[i].index >= index })
	if n == 0 {
		return nil
	}
	return r.versions[n-1].public
}

// LookupAt returns a key as the entries before an index made it known.
func (h *History) LookupAt(fp leaf.Fingerprint, index uint64) (*attest.PublicKey, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r := h.keys[fp]; r != nil {
		public := r.at(index)
		return public, public != nil
	}
	return nil, false
}
