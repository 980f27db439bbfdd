package attest

import (
	"net/url"

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

// Revocation ends a key's use. Its payload, of type TypeRevocation, is
//
//	{"key": "<fingerprint>", "reason": "<text>"}
//
// Entries before it stay valid at their time.
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
	a.Enrolment = &Enrolment{Key: key, Operator: p.Operator, URL: p.URL}
	a.Claim = Claim{
		Kind:          leaf.KindEnrol,
		Claim:         leaf.ClaimOther,
		Result:        leaf.NoResult,
		PredicateType: TypeEnrolment,
		Subjects:      []Resource{keyResource(key.Fingerprint)},
		Operator:      p.Operator,
	}
	return soleKey{key}, nil
}

func checkURI(member, s string) error {
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || len(s) > maxURI {
		return reason.Errorf(reason.EnrolmentInvalid,
			"%s %.80q of the enrolment is not an absolute URI of at most %d bytes", member, s, maxURI)
	}
	return nil
}

// openRevocation reads the payload of a revocation whose signatures verified.
// Until keys can be endorsed in the log, only the key itself may revoke it.
func (a *Attestation) openRevocation(payload []byte) error {
	var p revocationJSON
	if err := decode(payload, &p, json.RejectUnknownMembers(true)); err != nil {
		return reason.Errorf(reason.RevocationInvalid, "parsing revocation: %w", err)
	}
	fp := leaf.Fingerprint(p.Key)
	if !fp.Valid() {
		return reason.Errorf(reason.RevocationInvalid, "key %.80q of the revocation is not a fingerprint", p.Key)
	}
	for _, k := range a.Keys {
		if k.Fingerprint != fp {
			return reason.Errorf(reason.RevokerNotAuthorised, "key %s may not revoke key %s", k.Fingerprint, fp)
		}
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

// Revoke returns the signed revocation of the signer's own key.
func Revoke(s *Signer, why string) ([]byte, error) {
	return s.signJSON(TypeRevocation, revocationJSON{Key: string(s.Public.Fingerprint), Reason: why})
}
