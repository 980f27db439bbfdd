package attest

import (
	"encoding/base64"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// FormatDSSE is the format of DSSE v1 envelopes.
const FormatDSSE = "dsse"

// Payload types of the DSSE envelopes that are logged.
const (
	TypeStatement   = "application/vnd.in-toto+json"
	TypeEnrolment   = "application/vnd.cairn.enrol.v1+json"
	TypeEndorsement = "application/vnd.cairn.endorse.v1+json"
	TypeRevocation  = "application/vnd.cairn.revoke.v1+json"

	// TypeOpenPGPKey is what a bare OpenPGP key is (RFC 3156, section 7).
	TypeOpenPGPKey = "application/pgp-keys"
)

// openDSSE reads a DSSE envelope.
func openDSSE(raw []byte, ring Keyring) (*Attestation, error) {
	var env dsse.Envelope
	if err := decode(raw, &env); err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "parsing DSSE envelope: %w", err)
	}
	switch env.PayloadType {
	case TypeStatement, TypeEnrolment, TypeEndorsement, TypeRevocation:
	default:
		return nil, reason.Errorf(reason.PayloadTypeUnknown, "payloadType %.80q is not one that is logged", env.PayloadType)
	}
	payload, err := env.DecodeB64Payload()
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding the envelope's payload: %w", err)
	}
	if n := len(env.Signatures); n == 0 {
		return nil, reason.Errorf(reason.SignatureMissing, "the envelope has no signature")
	} else if n > MaxKeys {
		return nil, reason.Errorf(reason.TooManyKeys, "envelope with %d signatures is over the limit of %d", n, MaxKeys)
	}
	a := &Attestation{Raw: raw}
	if env.PayloadType == TypeEnrolment {
		// An enrolment brings the only key that may sign it.
		if ring, err = a.openEnrolment(payload); err != nil {
			return nil, err
		}
	}
	a.Keys, err = verifyDSSE(&env, payload, ring)
	if a.Enrolment != nil && isReason(err, reason.KeyNotEnrolled) {
		return nil, reason.Errorf(reason.EnrolmentInvalid, "the enrolment is not signed by the key in it alone")
	}
	if err != nil {
		return nil, err
	}
	switch env.PayloadType {
	case TypeStatement:
		err = a.openStatement(payload, StatementV1)
	case TypeEndorsement:
		err = a.openEndorsement(payload)
	case TypeRevocation:
		err = a.openRevocation(payload)
	}
	if err != nil {
		return nil, err
	}
	a.Claim.Format = FormatDSSE
	return a, a.finish(payload)
}

// verifyDSSE attributes every signature to a key, and returns the keys by
// fingerprint, each once.
func verifyDSSE(env *dsse.Envelope, payload []byte, ring Keyring) ([]*PublicKey, error) {
	pae := dsse.PAE(env.PayloadType, payload)
	var keys []*PublicKey
	for i, s := range env.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding signature %d: %w", i, err)
		}
		key, err := attribute(func(k *PublicKey) bool { return k.Verify(pae, sig) }, s.KeyID, ring)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return distinct(keys), nil
}

// attribute finds the key that made a signature, which verifies with one key. The
// hint only orders the search.
func attribute(verifies func(*PublicKey) bool, hint string, ring Keyring) (*PublicKey, error) {
	fp := hintedFingerprint(hint)
	looked, known := ring.Lookup(fp)
	if known && verifies(looked) {
		return looked, nil
	}
	hinted := ring.Hinted(hint)
	for _, k := range hinted {
		if verifies(k) {
			return k, nil
		}
	}
	for _, k := range ring.Candidates() {
		if (!known || k != looked) && !slices.Contains(hinted, k) && verifies(k) {
			return k, nil
		}
	}
	switch {
	case known:
		return nil, reason.Errorf(reason.SignatureInvalid,
			"the signature with keyid %s does not verify", fp)
	case len(hinted) > 0:
		return nil, reason.Errorf(reason.SignatureInvalid,
			"the signature with keyid %.80q, which key %s has, does not verify", hint, hinted[0].Fingerprint)
	case fp != "":
		return nil, reason.Errorf(reason.KeyNotEnrolled,
			"key %s is not enrolled: enrol it with `cairn enrol --key KEY --operator URI`", fp)
	default:
		return nil, reason.Errorf(reason.KeyNotEnrolled,
			"no enrolled key made the signature with keyid %.80q: "+
				"set keyid to the key's fingerprint sha256:<hex of its SPKI DER>, "+
				"and enrol the key with `cairn enrol --key KEY --operator URI`", hint)
	}
}

func isReason(err error, r reason.Reason) bool {
	e, ok := reason.Of(err)
	return ok && e.Reason == r
}

// hintedFingerprint reads a keyid as a fingerprint, with or without its
// algorithm; empty if it is neither.
func hintedFingerprint(keyid string) leaf.Fingerprint {
	for _, f := range []leaf.Fingerprint{leaf.Fingerprint(keyid), leaf.Fingerprint("sha256:" + keyid)} {
		if f.Valid() {
			return f
		}
	}
	return ""
}

// decodeBase64 takes standard and URL-safe base64, as DSSE does.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err == nil {
		return b, nil
	}
	if b, urlErr := base64.URLEncoding.DecodeString(s); urlErr == nil {
		return b, nil
	}
	return nil, err
}

// soleKey is the Keyring of an envelope that only one key may have signed.
type soleKey struct{ key *PublicKey }

func (s soleKey) Lookup(f leaf.Fingerprint) (*PublicKey, bool) { return s.key, f == s.key.Fingerprint }
func (s soleKey) Hinted(keyID string) []*PublicKey             { return keyList{s.key}.Hinted(keyID) }
func (s soleKey) Candidates() []*PublicKey                     { return []*PublicKey{s.key} }

// NewKeyring returns a Keyring of the given keys.
func NewKeyring(keys ...*PublicKey) Keyring { return keyList(keys) }

type keyList []*PublicKey

func (l keyList) Lookup(f leaf.Fingerprint) (*PublicKey, bool) {
	i := slices.IndexFunc(l, func(k *PublicKey) bool { return k.Fingerprint == f })
	if i < 0 {
		return nil, false
	}
	return l[i], true
}

func (l keyList) Hinted(keyID string) []*PublicKey {
	var keys []*PublicKey
	for _, k := range l {
		if slices.Contains(k.KeyIDs(), keyID) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (l keyList) Candidates() []*PublicKey { return l }
