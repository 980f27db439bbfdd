package attest

import (
	"time"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// MaySignAt says why the part of an OpenPGP key with a fingerprint, the primary
// key or a subkey of it, may not have signed at a time; nil if it may. It is for
// those who ask as of a time of their own: Open judges a signature as of when it
// was made.
func (k *PublicKey) MaySignAt(part leaf.Fingerprint, at time.Time) error {
	pgp, ok := k.key.(*pgpKey)
	if !ok {
		return nil // other keys do not say until when they are good
	}
	for _, p := range pgp.parts {
		if p.key != nil && pgpFingerprint(p.key) == part {
			return pgp.checkAt(p, at)
		}
	}
	return reason.Errorf(reason.KeyNotEnrolled, "OpenPGP key %s has no part %s", k.Fingerprint, part)
}
