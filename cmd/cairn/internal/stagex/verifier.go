package stagex

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Ring verifies signatures by the keys of a keyring. It implements Verifier.
type Ring struct {
	keys map[leaf.Fingerprint]*attest.PublicKey
	ring attest.Keyring
}

// NewRing returns a Ring of OpenPGP keys, each a block of its own. Blocks of the
// same key are merged. Those that are no key that may sign are left out, and why
// is returned beside the ring.
func NewRing(blocks ...[]byte) (*Ring, []error) {
	r := &Ring{keys: make(map[leaf.Fingerprint]*attest.PublicKey)}
	var left []error
	for _, b := range blocks {
		k, err := attest.ParsePublicKey(b)
		if known := r.keys[fingerprint(k)]; err == nil && known != nil {
			k, err = known.Merge(k)
		}
		if err != nil {
			left = append(left, err)
			continue
		}
		r.keys[k.Fingerprint] = k
	}
	r.ring = attest.NewKeyring(slices.Collect(maps.Values(r.keys))...)
	return r, left
}

func fingerprint(k *attest.PublicKey) leaf.Fingerprint {
	if k == nil {
		return ""
	}
	return k.Fingerprint
}

// Fingerprints returns the keys of the ring, sorted.
func (r *Ring) Fingerprints() []leaf.Fingerprint {
	return slices.Sorted(maps.Keys(r.keys))
}

// Verify implements Verifier. Every signature of a message must verify. With a
// time, each must have been made by then and not have expired, and its key must
// be one that may sign at that time.
func (r *Ring) Verify(raw []byte, at time.Time) (*Signature, error) {
	att, err := attest.Open(raw, r.ring)
	if err != nil {
		return nil, err
	}
	if att.Claim.Format != attest.FormatSimpleSigning {
		return nil, reason.Errorf(reason.FormatUnknown, "what is signed is %s, and no image signature", att.Claim.Format)
	}
	subject := &att.Claim.Subjects[0]
	name, err := reference.ParseNormalizedNamed(subject.Name)
	if err != nil {
		return nil, fmt.Errorf("the name of what is signed: %w", err)
	}
	s := &Signature{Name: name.Name(), Digest: subject.Strong()[0]}
	for _, k := range att.Keys {
		s.Keys = append(s.Keys, k.Fingerprint)
	}
	if at.IsZero() {
		return s, nil
	}
	for _, made := range att.Signatures {
		if err := r.valid(&made, at); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// valid says why a signature does not count at a time.
func (r *Ring) valid(s *attest.SignatureInfo, at time.Time) error {
	when := at.UTC().Format(time.RFC3339)
	if s.Made.After(at) {
		return fmt.Errorf("%w: it was made at %s, after %s", ErrExpired, s.Made.Format(time.RFC3339), when)
	}
	if !s.Expires.IsZero() && !at.Before(s.Expires) {
		return fmt.Errorf("%w: it expired at %s", ErrExpired, s.Expires.Format(time.RFC3339))
	}
	if err := r.keys[s.Key].MaySignAt(s.Subkey, at); err != nil {
		return fmt.Errorf("%w: %s", ErrExpired, strings.TrimSuffix(err.Error(), "."))
	}
	return nil
}
