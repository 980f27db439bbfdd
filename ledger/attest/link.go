package attest

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"

	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
)

// metablock is how in-toto signed before DSSE: the signatures are of the canonical
// JSON of signed.
type metablock struct {
	Signatures []struct {
		KeyID string `json:"keyid"`
		Sig   string `json:"sig"` // hex
	} `json:"signatures"`
	Signed jsontext.Value `json:"signed"`
}

// link is in-toto's record of one step.
type link struct {
	Type        string                       `json:"_type"`
	Name        string                       `json:"name"`
	Materials   map[string]map[string]string `json:"materials"` // digests by file
	Products    map[string]map[string]string `json:"products"`
	Environment jsontext.Value               `json:"environment"`
	Byproducts  jsontext.Value               `json:"byproducts"`
	Command     jsontext.Value               `json:"command"`
}

const typeLink = "link"

// openLink reads an in-toto link, such as rebuilderd's workers and daemons sign.
func openLink(raw []byte, ring Keyring) (*Attestation, error) {
	var m metablock
	var l link
	if err := decode(raw, &m, json.RejectUnknownMembers(true)); err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "parsing in-toto link: %w", err)
	}
	signed, err := canonicalJSON(m.Signed)
	if err != nil {
		return nil, err
	}
	a := &Attestation{Raw: raw}
	if a.Keys, err = m.verify(signed, ring); err != nil {
		return nil, err
	}
	// As a part of raw, it has been searched for twins.
	if err := json.Unmarshal(m.Signed, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, reason.Errorf(reason.PredicateInvalid, "parsing what the link says: %w", err)
	}
	if err := a.readLink(&l); err != nil {
		return nil, err
	}
	return a, a.finish(signed)
}

// canonicalJSON returns OLPC's canonical JSON of a value, as in-toto signs it.
func canonicalJSON(v jsontext.Value) ([]byte, error) {
	// encoding/json takes a RawMessage as it is; of a Value it would make base64.
	text, err := cjson.EncodeCanonical(rawMessage(v))
	if err != nil {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "canonicalising the link: %w", err)
	}
	// Canonical JSON has no space between tokens, so these stand in strings. OLPC
	// has them as they are, and others, rebuilderd's library among them, escape
	// them: what was signed would depend on who reads it.
	if i := bytes.IndexFunc(text, func(r rune) bool { return r < ' ' }); i >= 0 {
		return nil, reason.Errorf(reason.EnvelopeMalformed, "the link has the control character %q in a string", text[i])
	}
	return text, nil
}

// rawMessage is JSON that encodes as itself.
type rawMessage []byte

// MarshalJSON implements encoding/json's Marshaler.
func (m rawMessage) MarshalJSON() ([]byte, error) { return m, nil }

// verify attributes every signature to a key.
func (m *metablock) verify(signed []byte, ring Keyring) ([]*PublicKey, error) {
	if n := len(m.Signatures); n == 0 {
		return nil, reason.Errorf(reason.SignatureMissing, "the link has no signature")
	} else if n > MaxKeys {
		return nil, reason.Errorf(reason.TooManyKeys, "link with %d signatures is over the limit of %d", n, MaxKeys)
	}
	var keys []*PublicKey
	for i, s := range m.Signatures {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil {
			return nil, reason.Errorf(reason.EnvelopeMalformed, "decoding signature %d of the link: %w", i, err)
		}
		key, err := attribute(func(k *PublicKey) bool { return k.Verify(signed, sig) }, s.KeyID, ring)
		if isReason(err, reason.KeyNotEnrolled) {
			// in-toto's key ids look like fingerprints, and are none.
			return nil, reason.Errorf(reason.KeyNotEnrolled,
				"no enrolled or endorsed key made the signature with the in-toto keyid %.80q: rebuilderd's keys are endorsed by somebody who is enrolled", s.KeyID)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return distinct(keys), nil
}

// readLink derives the claim. rebuilderd signs a link named "rebuild FILE" only if
// FILE came out as it is distributed; any other link is somebody's step of which
// nothing is known.
//
// What it calls materials are the .buildinfo, or the package itself, out of which
// the build's recipe was read. They are not what the package is made from: taken
// as that, a claim would seem to have an ancestry that is pinned by digests. So
// the claim names no materials.
func (a *Attestation) readLink(l *link) error {
	if l.Type != typeLink {
		return reason.Errorf(reason.PayloadTypeUnknown, "what is signed has the _type %.40q, want %q", l.Type, typeLink)
	}
	if len(l.Products) == 0 {
		return reason.Errorf(reason.SubjectMissing, "the link has no products")
	}
	if n := len(l.Products); n > MaxSubjects {
		return reason.Errorf(reason.TooManySubjects, "link with %d products is over the limit of %d", n, MaxSubjects)
	}
	if n := len(l.Materials); n > MaxMaterials {
		return reason.Errorf(reason.TooManyMaterials, "link with %d materials is over the limit of %d", n, MaxMaterials)
	}
	products, names, err := resources("product", fileResources(l.Products), true)
	if err != nil {
		return err
	}
	if _, _, err := resources("material", fileResources(l.Materials), false); err != nil {
		return err
	}
	a.names = names
	a.Claim = Claim{
		Kind: leaf.KindAttestation, Format: FormatLink, Claim: leaf.ClaimOther, Result: leaf.NoResult,
		PredicateType: typeLink, Subjects: products,
	}
	if file, ok := strings.CutPrefix(l.Name, "rebuild "); ok && len(products) == 1 && products[0].Name == file {
		a.Claim.Claim, a.Claim.Result, a.Claim.Obtained = leaf.ClaimReproduction, leaf.Identical, Built
		a.Claim.Outputs = slices.Clone(products)
	}
	return nil
}

// fileResources returns the files of a link, by name, those that are packages with
// their package URLs.
func fileResources(files map[string]map[string]string) []ResourceDescriptor {
	var ds []ResourceDescriptor
	for _, name := range slices.Sorted(maps.Keys(files)) {
		ds = append(ds, ResourceDescriptor{Name: name, URI: purlOfFile(name), Digest: files[name]})
	}
	return ds
}
