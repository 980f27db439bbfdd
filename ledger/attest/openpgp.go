package attest

import (
	"bytes"
	"slices"
	"strings"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// document is a format of what people sign with OpenPGP: inline, as cleartext, or
// followed by detached signatures in ASCII armor.
type document struct {
	format string
	// is tells the document from its first bytes; payload is what was signed.
	is func(payload []byte) bool
	// read derives the claim: it sets a.Claim and a.names.
	read func(a *Attestation, payload []byte) error
}

// documents are tried in this order.
var documents = []document{
	{FormatSimpleSigning, isSimpleSigning, (*Attestation).readSimpleSigning},
	{FormatBuildinfo, isBuildinfo, (*Attestation).readBuildinfo},
	{FormatArchBuildinfo, isArchBuildinfo, (*Attestation).readArchBuildinfo},
	{FormatBuildcompare, isBuildcompare, (*Attestation).readBuildcompare},
	{FormatSHA256Sums, isSHA256Sums, (*Attestation).readSHA256Sums},
}

// isOpenPGPKey reports whether raw begins as a transferable public key, in ASCII
// armor or not; secret keys are told, too, so as to refuse them by name.
func isOpenPGPKey(raw []byte) bool {
	if beginsArmor(raw, armorPublicKey) || beginsArmor(raw, armorSecretKey) {
		return true
	}
	tag, ok := firstTag(raw)
	return ok && (tag == tagPublicKey || tag == tagSecretKey)
}

// isOpenPGP reports whether raw is an OpenPGP message, or holds a cleartext or
// detached signature.
func isOpenPGP(raw []byte) bool {
	if beginsArmor(raw, armorMessage) || beginsArmor(raw, armorCleartext) {
		return true
	}
	tag, ok := firstTag(raw)
	return ok && bytes.IndexByte(messageTags, tag) >= 0 || detachedAt(raw) >= 0
}

// messageTags are the types of packet that a message can begin with, also an
// encrypted one, so as to refuse it by name.
var messageTags = []byte{tagSignature, tagOnePass, tagCompressed, tagLiteral, 1, 3, 9, 18, 20}

// firstTag returns the type of the packet that raw begins with, unless it begins
// as text does.
func firstTag(raw []byte) (tag byte, ok bool) {
	switch {
	case len(raw) == 0 || raw[0]&0x80 == 0:
		return 0, false
	case raw[0]&0x40 == 0:
		return raw[0] & 0x3f >> 2, true
	}
	return raw[0] & 0x3f, true
}

// openOpenPGPKey reads a key that is its own enrolment, or its own revocation if
// its owner revoked it.
func openOpenPGPKey(raw []byte, _ Keyring) (*Attestation, error) {
	key, err := parsePGPPublicKey(raw)
	if err != nil {
		return nil, err
	}
	k := key.key.(*pgpKey)
	a := &Attestation{Raw: raw, Keys: []*PublicKey{key}}
	a.Claim = Claim{
		Kind:          leaf.KindEnrol,
		Format:        FormatOpenPGPKey,
		Claim:         leaf.ClaimOther,
		Result:        leaf.NoResult,
		PredicateType: TypeOpenPGPKey,
		Subjects:      []Resource{{Name: string(key.Fingerprint), Digests: map[string]string{"sha256": key.Digest().Hex()}}},
	}
	if r := k.revocation(); r != nil {
		a.Claim.Kind = leaf.KindRevoke
		a.Revocation = &Revocation{Key: key.Fingerprint, Reason: strings.ToValidUTF8(r.RevocationReasonText, "\uFFFD")}
	} else {
		a.Claim.Operator = "openpgp4fpr:" + strings.ToUpper(strings.TrimPrefix(string(key.Fingerprint), "openpgp:"))
		a.Enrolment = &Enrolment{Key: key, Operator: a.Claim.Operator}
	}
	return a, a.finish(k.bytes())
}

// openOpenPGP reads a signed document.
func openOpenPGP(raw []byte, ring Keyring) (*Attestation, error) {
	s, err := readSigned(raw)
	if err != nil {
		return nil, err
	}
	a := &Attestation{Raw: raw}
	if a.Keys, a.Signatures, err = s.verify(ring); err != nil {
		return nil, err
	}
	text := s.text()
	i := slices.IndexFunc(documents, func(d document) bool { return d.is(text) })
	if i < 0 {
		var known []string
		for _, d := range documents {
			known = append(known, d.format)
		}
		return nil, reason.Errorf(reason.FormatUnknown, "what OpenPGP signed begins with %.40q, which is none of the known documents: %s",
			text, strings.Join(known, ", "))
	}
	if err := documents[i].read(a, text); err != nil {
		return nil, err
	}
	a.Claim.Kind, a.Claim.Format = leaf.KindAttestation, documents[i].format
	return a, a.finish(s.payload())
}

// OpenSigned verifies the signatures of an OpenPGP message, a cleartext signature,
// or a document followed by armored detached signatures, with keys from ring. It
// returns the document, whatever it is, and who signed it, once for each signature.
func OpenSigned(raw []byte, ring Keyring) (text []byte, signatures []SignatureInfo, err error) {
	s, err := readOpenPGP(raw)
	if err != nil {
		return nil, nil, err
	}
	if _, signatures, err = s.verify(ring); err != nil {
		return nil, nil, err
	}
	return s.text(), signatures, nil
}

// PeekSigned is OpenSigned without keys, so that nothing is verified: issuers are
// the key ids of who is to have signed, in 16 lower-case hex digits.
func PeekSigned(raw []byte) (text []byte, issuers []string, err error) {
	s, err := readOpenPGP(raw)
	if err != nil {
		return nil, nil, err
	}
	for _, sig := range s.sigs {
		issuers = append(issuers, sig.keyID)
	}
	return s.text(), issuers, nil
}

func readOpenPGP(raw []byte) (*signed, error) {
	if len(raw) > MaxEnvelope {
		return nil, reason.Errorf(reason.EnvelopeTooLarge, "signed document of %d bytes is over the limit of %d", len(raw), MaxEnvelope)
	}
	if !isOpenPGP(bytes.TrimLeft(raw, blanks)) {
		return nil, reason.Errorf(reason.SignatureMissing, "no OpenPGP signature found")
	}
	return readSigned(raw)
}
