package attest

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// A signature is judged at the time at which it says that it was made, never by a
// clock, so that the judgement is the same for ever. What the key says of itself
// is read from its newest signature, as gpg does: it may have been made later, as
// an expiry is extended.

// SignatureInfo says who made an OpenPGP signature, and when.
type SignatureInfo struct {
	Key     leaf.Fingerprint // the primary key
	Subkey  leaf.Fingerprint // what made it: the primary key, or a subkey of it
	Made    time.Time        // in the signer's words, in UTC
	Expires time.Time        // in the signer's words, in UTC; zero if it does not
}

// selfSignatures are the signatures over the key and its user ids that say what
// the primary key may do, and until when. Those of version 6 say it over the key
// (RFC 9580, section 10.1.1).
func (k *pgpKey) selfSignatures() []*pgpSignature { return k.selfSignaturesAt(time.Time{}) }

// selfSignaturesAt are those that count at a time; all of them at the zero time.
func (k *pgpKey) selfSignaturesAt(at time.Time) []*pgpSignature {
	var sigs []*pgpSignature
	for i, p := range k.parts {
		if i > 0 && (p.key != nil || k.primary().key.Version == 6 || !at.IsZero() && p.disowned(at)) {
			continue
		}
		for _, s := range p.sigs {
			isStatement := s.SigType != packet.SigTypeKeyRevocation && s.SigType != packet.SigTypeCertificationRevocation
			if isStatement && (at.IsZero() || !s.expired(at)) {
				sigs = append(sigs, s)
			}
		}
	}
	return sigs
}

// disowned reports whether the owner had revoked a user id at a time, and not
// certified it again since.
func (p *pgpPart) disowned(at time.Time) bool {
	var revoked, certified time.Time
	for _, s := range p.sigs {
		switch {
		case s.SigType != packet.SigTypeCertificationRevocation:
			certified = later(certified, s.CreationTime)
		case !s.CreationTime.After(at):
			revoked = later(revoked, s.CreationTime)
		}
	}
	return !revoked.IsZero() && !certified.After(revoked)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// newest returns the signatures that were made last, all in the same second.
func newest(sigs []*pgpSignature) []*pgpSignature {
	if len(sigs) == 0 {
		return nil
	}
	last := slices.MaxFunc(sigs, func(a, b *pgpSignature) int { return a.CreationTime.Compare(b.CreationTime) }).CreationTime
	return slices.DeleteFunc(slices.Clone(sigs), func(s *pgpSignature) bool { return !s.CreationTime.Equal(last) })
}

// keyExpiry returns when a key ends, by the strictest of its newest statements;
// zero if it does not.
func keyExpiry(key *packet.PublicKey, statements []*pgpSignature) time.Time {
	var end time.Time
	for _, s := range statements {
		if e := lifetime(key.CreationTime, s.KeyLifetimeSecs); !e.IsZero() && (end.IsZero() || e.Before(end)) {
			end = e
		}
	}
	return end
}

// revocation returns the primary key's revocation that counts most, if any: that
// which counts from the beginning, or else the first.
func (k *pgpKey) revocation() *pgpSignature {
	return firstRevocation(k.primary(), packet.SigTypeKeyRevocation)
}

func firstRevocation(p *pgpPart, kind packet.SignatureType) *pgpSignature {
	var revocations []*pgpSignature
	for _, s := range p.sigs {
		if s.SigType == kind {
			revocations = append(revocations, s)
		}
	}
	if len(revocations) == 0 {
		return nil
	}
	return slices.MinFunc(revocations, func(a, b *pgpSignature) int {
		return cmp.Or(a.revokedFrom().Compare(b.revokedFrom()), a.CreationTime.Compare(b.CreationTime))
	})
}

// revokedFrom returns from when on a revocation counts: always, unless the owner
// says that the key was in good hands (RFC 9580, section 5.2.3.31).
func (s *pgpSignature) revokedFrom() time.Time {
	if r := s.RevocationReason; r != nil && (*r == packet.KeySuperseded || *r == packet.KeyRetired) {
		return s.CreationTime
	}
	return time.Time{}
}

// signers are the parts that may sign at some time.
func (k *pgpKey) signers() []*pgpPart {
	var parts []*pgpPart
	for _, p := range k.parts {
		if p.key != nil && (p.key.IsSubkey || maySign(newest(k.selfSignatures()), true)) {
			parts = append(parts, p)
		}
	}
	return parts
}

// maySign reads the key flags; a primary key without any may sign.
func maySign(statements []*pgpSignature, unstated bool) bool {
	for _, s := range statements {
		if s.FlagsValid {
			if !s.FlagSign {
				return false
			}
			unstated = true
		}
	}
	return unstated
}

// checkAt says why a part of the key may not have signed at a time.
func (k *pgpKey) checkAt(p *pgpPart, at time.Time) error {
	statements := newest(k.selfSignaturesAt(at))
	primary := k.primary()
	if len(statements) == 0 {
		return errNotValid(primary, "has no user id or statement of its own that counts", at)
	}
	if err := checkSpan(primary, k.revocation(), statements, at); err != nil {
		return err
	}
	if p != primary {
		statements = newest(slices.DeleteFunc(slices.Clone(p.sigs), func(s *pgpSignature) bool {
			return s.SigType != packet.SigTypeSubkeyBinding || s.expired(at)
		}))
		if err := checkSpan(p, firstRevocation(p, packet.SigTypeSubkeyRevocation), statements, at); err != nil {
			return err
		}
	}
	if !maySign(statements, p == primary) {
		return errNotValid(p, "may not sign: it is for other uses", at)
	}
	return nil
}

// checkSpan checks that a time is in the life of a key.
func checkSpan(p *pgpPart, revocation *pgpSignature, statements []*pgpSignature, at time.Time) error {
	if at.Before(p.key.CreationTime) {
		return errNotValid(p, "was made only at "+stamp(p.key.CreationTime), at)
	}
	if end := keyExpiry(p.key, statements); !end.IsZero() && !at.Before(end) {
		return errNotValid(p, "expired at "+stamp(end)+"; if its owner has extended that, enrol the key as it is now", at)
	}
	if revocation != nil {
		from := revocation.revokedFrom()
		if from.IsZero() {
			return errNotValid(p, "is revoked as of always, as it may have been in other hands", at)
		}
		if !at.Before(from) {
			return errNotValid(p, "was revoked at "+stamp(from), at)
		}
	}
	return nil
}

func errNotValid(p *pgpPart, why string, at time.Time) error {
	return reason.Errorf(reason.KeyNotValid, "OpenPGP key %X, with which something was signed at %s, %s",
		p.key.Fingerprint, stamp(at), why)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// verify checks that k made s over data, and might do so then.
func (k *pgpKey) verify(s *pgpSignature, data []byte) (*SignatureInfo, error) {
	for _, p := range k.parts {
		if p.key == nil || !s.issuedBy(p.key) {
			continue
		}
		if !s.verify(p.key, data) {
			return nil, reason.Errorf(reason.SignatureInvalid, "the OpenPGP signature of %s does not verify", s.issuer())
		}
		if err := k.checkAt(p, s.CreationTime); err != nil {
			return nil, err
		}
		return &SignatureInfo{
			Key:     pgpFingerprint(k.primary().key),
			Subkey:  pgpFingerprint(p.key),
			Made:    s.CreationTime.UTC(),
			Expires: s.expires(),
		}, nil
	}
	return nil, reason.Errorf(reason.KeyNotEnrolled, "the OpenPGP key %s is enrolled without what signed this (%s): enrol it as it is now",
		strings.ToUpper(hex.EncodeToString(k.primary().key.Fingerprint)), s.issuer())
}
