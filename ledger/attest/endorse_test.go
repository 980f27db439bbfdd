package attest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

func TestEndorse(t *testing.T) {
	s, builder := ed25519Signer(t, "alice"), p256Signer(t, "builder")
	raw, err := attest.Endorse(s, builder.Public, "https://builder.example", "https://builder.example/key")
	if err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, raw, ringOf(s))
	if a.Endorsement == nil || a.Endorsement.Key.Fingerprint != builder.Public.Fingerprint ||
		a.Endorsement.Operator != "https://builder.example" || a.Endorsement.URL != "https://builder.example/key" {
		t.Errorf("the endorsement is %+v", a.Endorsement)
	}
	if a.Enrolment != nil || a.Revocation != nil || a.Statement != nil {
		t.Error("it is something else, too")
	}
	want := &leaf.Leaf{
		Kind: leaf.KindEndorse, Format: "dsse", Envelope: leaf.SHA256(raw), Payload: a.Leaf.Payload,
		Claim: leaf.ClaimOther, Result: leaf.NoResult,
		Keys: []leaf.Fingerprint{s.Public.Fingerprint}, Subjects: []leaf.Digest{leaf.Digest(builder.Public.Fingerprint)},
	}
	if d := cmp.Diff(want, a.Leaf); d != "" {
		t.Errorf("leaf (-want +got):\n%s", d)
	}
	if a.Claim.Operator != "https://builder.example" || a.Claim.PredicateType != attest.TypeEndorsement {
		t.Errorf("%+v", a.Claim)
	}
}

func TestEndorseRefuses(t *testing.T) {
	s, other, builder := ed25519Signer(t, "alice"), p256Signer(t, "bob"), p256Signer(t, "builder")
	good := enrolment(t, builder.Public.PEM, "https://builder.example", "")
	for _, tt := range []struct {
		name, payload string
		signers       []*attest.Signer
		want          reason.Reason
		message       string
	}{
		{"not JSON", "x", []*attest.Signer{s}, reason.EnrolmentInvalid, "parsing"},
		{"no operator", enrolment(t, builder.Public.PEM, "", ""), []*attest.Signer{s}, reason.EnrolmentInvalid, `operator ""`},
		{"a control character in a fragment", enrolment(t, builder.Public.PEM, "https://x.example/#\x00", ""), []*attest.Signer{s}, reason.EnrolmentInvalid, "control characters"},
		{"a relative url", enrolment(t, builder.Public.PEM, "urn:x", "/x"), []*attest.Signer{s}, reason.EnrolmentInvalid, `url "/x"`},
		{"no key", enrolment(t, "", "urn:x", ""), []*attest.Signer{s}, reason.KeyUnsupported, "no PEM block"},
		{"the signer's own key", enrolment(t, s.Public.PEM, "urn:x", ""), []*attest.Signer{s}, reason.EnrolmentInvalid, "endorses itself"},
		{"two signers", good, []*attest.Signer{s, other}, reason.EnrolmentInvalid, "signed by one key, this one by 2"},
		{"signed by the key alone", good, []*attest.Signer{builder}, reason.KeyNotEnrolled, "is not enrolled"},
		{"signed by the key, too", good, []*attest.Signer{s, builder}, reason.KeyNotEnrolled, "is not enrolled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, seal(t, attest.TypeEndorsement, tt.payload, tt.signers...).text(t), ringOf(s, other), tt.want, tt.message)
		})
	}
}

// Whether another key may revoke a key is not in the bytes; package keys knows.
func TestRevokeOf(t *testing.T) {
	s, builder := ed25519Signer(t, "alice"), p256Signer(t, "builder")
	raw, err := attest.RevokeOf(s, builder.Public.Fingerprint, "gone")
	if err != nil {
		t.Fatal(err)
	}
	a := mustOpen(t, raw, ringOf(s))
	if d := cmp.Diff(&attest.Revocation{Key: builder.Public.Fingerprint, Reason: "gone"}, a.Revocation); d != "" {
		t.Error(d)
	}
	if a.Leaf.Keys[0] != s.Public.Fingerprint || a.Leaf.Subjects[0] != leaf.Digest(builder.Public.Fingerprint) {
		t.Errorf("the leaf is of key %s about %s", a.Leaf.Keys, a.Leaf.Subjects)
	}
}

// idRing has a key by one of its other key ids alone.
type idRing struct {
	attest.Keyring
	id  string
	key *attest.PublicKey
}

func (r idRing) Hinted(keyID string) []*attest.PublicKey {
	if keyID != r.id {
		return nil
	}
	return []*attest.PublicKey{r.key}
}

func TestKeysAreFoundByOtherKeyIDs(t *testing.T) {
	s, other := ed25519Signer(t, "alice"), p256Signer(t, "bob")
	e := seal(t, attest.TypeRevocation, `{"key":"`+string(s.Public.Fingerprint)+`"}`, s)
	e.Signatures[0].KeyID = "alice's key"
	mustOpen(t, e.text(t), idRing{attest.NewKeyring(), "alice's key", s.Public})
	refused(t, e.text(t), idRing{attest.NewKeyring(), "another", s.Public}, reason.KeyNotEnrolled, "no enrolled key")
	refused(t, e.text(t), idRing{attest.NewKeyring(), "alice's key", other.Public}, reason.SignatureInvalid, "does not verify")
}
