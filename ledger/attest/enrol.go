package attest

import (
	"net/url"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// Enrolment brings a key into the log. Its payload, of type TypeEnrolment, is
//
//	{"publicKey": "<PKIX PEM>", "operator": "<URI>", "url": "<URI>"}
//
// signed by that very key. Operator and URL are claims; the policy of whoever
// verifies decides what to believe.
type Enrolment struct {
	Key      *PublicKey
	Operator string
	URL      string // may be empty
}

// A key that cannot enrol itself is endorsed: the same payload, of type
// TypeEndorsement, signed by one other key.

// Revocation ends a key's use. Its payload, of type TypeRevocation, is
//
//	{"key": "<fingerprint>", "reason": "<text>"}
//
// signed by that key or by one that endorsed it. Entries before it stay valid at
// their time. Whether the signer may revoke the key is for who knows the entries
// before it: package keys.
type Revocation struct {
	Key    leaf.Fingerprint
	Reason string // may be empty
}

type enrolmentJSON struct {
	PublicKey string `json:"publicKey"`
	Operator  string `json:"operator"`
	URL       string `json:"url,omitempty"`
}

type revocationJSON struct {
	Key    string `json:"key"`
	Reason string `json:"reason,omitempty"`
}

const maxURI = 2048

// openEnrolment reads the payload and returns the only key that may sign it.
func (a *Attestation) openEnrolment(payload []byte) (Keyring, error) {
	e, err := parseEnrolment(payload)
	if err != nil {
		return nil, err
	}
	a.Enrolment = e
	a.Claim = e.claim(leaf.KindEnrol, TypeEnrolment)
	return soleKey{e.Key}, nil
}

// openEndorsement reads the payload of an endorsement whose signatures verified.
func (a *Attestation) openEndorsement(payload []byte) error {
	e, err := parseEnrolment(payload)
	switch {
	case err != nil:
		return err
	case len(a.Keys) != 1:
		return reason.Errorf(reason.EnrolmentInvalid, "an endorsement is signed by one key, this one by %d", len(a.Keys))
	case a.Keys[0].Fingerprint == e.Key.Fingerprint:
		return reason.Errorf(reason.EnrolmentInvalid, "key %s endorses itself: enrol it instead", e.Key.Fingerprint)
	case e.Key.Fingerprint.OpenPGP():
		return reason.Errorf(reason.EnrolmentInvalid, "key %s is an OpenPGP key, which enrols itself: submit its public key block", e.Key.Fingerprint)
	}
	a.Endorsement = e
	a.Claim = e.claim(leaf.KindEndorse, TypeEndorsement)
	return nil
}

func parseEnrolment(payload []byte) (*Enrolment, error) {
	var p enrolmentJSON
	if err := decode(payload, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, reason.Errorf(reason.EnrolmentInvalid, "parsing enrolment: %w", err)
	}
	key, err := ParsePublicKey([]byte(p.PublicKey))
	if err != nil {
		return nil, err
	}
	if err := checkURI("operator", p.Operator); err != nil {
		return nil, err
	}
	if p.URL != "" {
		if err := checkURI("url", p.URL); err != nil {
			return nil, err
		}
	}
	return &Enrolment{Key: key, Operator: p.Operator, URL: p.URL}, nil
}

func (e *Enrolment) claim(kind leaf.Kind, payloadType string) Claim {
	return Claim{
		Kind:          kind,
		Claim:         leaf.ClaimOther,
		Result:        leaf.NoResult,
		PredicateType: payloadType,
		Subjects:      []Resource{keyResource(e.Key.Fingerprint)},
		Operator:      e.Operator,
	}
}

func checkURI(member, s string) error {
	u, err := url.Parse(s)
	// url.Parse looks at no fragment. What a database takes for the end of a text must
	// not come so far.
	if err != nil || !u.IsAbs() || len(s) > maxURI || strings.ContainsFunc(s, unicode.IsControl) {
		return reason.Errorf(reason.EnrolmentInvalid,
			"%s %.80q of the enrolment is not an absolute URI of at most %d bytes without control characters", member, s, maxURI)
	}
	return nil
}

// openRevocation reads the payload of a revocation whose signatures verified.
func (a *Attestation) openRevocation(payload []byte) error {
	var p revocationJSON
	if err := decode(payload, &p, json.RejectUnknownMembers(true)); err != nil {
		return reason.Errorf(reason.RevocationInvalid, "parsing revocation: %w", err)
	}
	fp := leaf.Fingerprint(p.Key)
	if !fp.Valid() {
		return reason.Errorf(reason.RevocationInvalid, "key %.80q of the revocation is not a fingerprint", p.Key)
	}
	if fp.OpenPGP() {
		return reason.Errorf(reason.RevocationInvalid, "key %s is an OpenPGP key: submit its public key block with its revocation", fp)
	}
	if len(a.Keys) != 1 {
		return reason.Errorf(reason.RevokerNotAuthorised, "a revocation is signed by one key, this one by %d", len(a.Keys))
	}
	a.Revocation = &Revocation{Key: fp, Reason: p.Reason}
	a.Claim = Claim{
		Kind:          leaf.KindRevoke,
		Claim:         leaf.ClaimOther,
		Result:        leaf.NoResult,
		PredicateType: TypeRevocation,
		Subjects:      []Resource{keyResource(fp)},
	}
	return nil
}

// keyResource makes a key a subject: its digest is that of its SPKI DER.
func keyResource(f leaf.Fingerprint) Resource {
	return Resource{Name: string(f), Digests: map[string]string{"sha256": leaf.Digest(f).Hex()}}
}

// Enrol returns the signed enrolment of a key. url may be empty.
func Enrol(s *Signer, operator, url string) ([]byte, error) {
	return s.signJSON(TypeEnrolment, enrolmentJSON{PublicKey: s.Public.PEM, Operator: operator, URL: url})
}

// Endorse returns the signer's endorsement of another key. url may be empty.
func Endorse(s *Signer, key *PublicKey, operator, url string) ([]byte, error) {
	return s.signJSON(TypeEndorsement, enrolmentJSON{PublicKey: key.PEM, Operator: operator, URL: url})
}

// Revoke returns the signed revocation of the signer's own key.
func Revoke(s *Signer, why string) ([]byte, error) { return RevokeOf(s, s.Public.Fingerprint, why) }

// RevokeOf returns the signer's revocation of a key that it endorsed.
func RevokeOf(s *Signer, key leaf.Fingerprint, why string) ([]byte, error) {
	return s.signJSON(TypeRevocation, revocationJSON{Key: string(key), Reason: why})
}
