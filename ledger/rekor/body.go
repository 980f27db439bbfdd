package rekor

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// body is what is read of an entry's body. Other members are ignored: the log has
// checked them, and signed the whole.
type body struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Raw        jsontext.Value `json:"spec"`
	spec       spec
}

// spec is what is read of the kinds that are known.
type spec struct {
	Data struct {
		Hash hash `json:"hash"`
	} `json:"data"`
	EnvelopeHash hash `json:"envelopeHash"`
	PayloadHash  hash `json:"payloadHash"`
	Content      struct {
		Hash        hash      `json:"hash"`
		PayloadHash hash      `json:"payloadHash"`
		Envelope    *envelope `json:"envelope"`
	} `json:"content"`
	Signature struct {
		Content   []byte `json:"content"`
		PublicKey struct {
			Content []byte `json:"content"`
		} `json:"publicKey"`
	} `json:"signature"`
}

// known are the kinds whose subjects are read.
var known = []string{"dsse", "hashedrekord", "intoto", "rekord"}

type hash struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

// envelope is the DSSE envelope of intoto 0.0.2, without its payload. Its
// signatures are base64 of what the envelope had, which is base64 itself.
type envelope struct {
	PayloadType string `json:"payloadType"`
	Signatures  []struct {
		KeyID string `json:"keyid"`
		Sig   []byte `json:"sig"`
	} `json:"signatures"`
}

// parseBody reads the parts of the body that are understood.
func (e *Entry) parseBody() (*body, error) {
	var b body
	if err := json.Unmarshal(e.Body, &b); err != nil {
		return nil, fmt.Errorf("parsing the body: %w", err)
	}
	if b.Kind == "" || b.APIVersion == "" {
		return nil, errors.New("the body names no kind and version")
	}
	if !slices.Contains(known, b.Kind) {
		return &b, nil
	}
	if err := json.Unmarshal(b.Raw, &b.spec); err != nil {
		return nil, fmt.Errorf("parsing the body of the %s entry: %w", b.Kind, err)
	}
	return &b, nil
}

// Kind returns the entry's kind and version, such as "hashedrekord 0.0.1".
func (e *Entry) Kind() (string, error) {
	b, err := e.parseBody()
	if err != nil {
		return "", err
	}
	return b.Kind + " " + b.APIVersion, nil
}

// subject is a digest that an entry is about.
type subject struct {
	name string
	hash hash
}

// subjects returns what the entry is about, by its kind. Of a kind that is not
// known that is nothing but the entry itself.
func (b *body) subjects() []subject {
	switch s := &b.spec; b.Kind {
	case "hashedrekord", "rekord":
		return []subject{{"artifact", s.Data.Hash}}
	case "dsse":
		return []subject{{"envelope", s.EnvelopeHash}, {"payload", s.PayloadHash}}
	case "intoto":
		return []subject{{"envelope", s.Content.Hash}, {"payload", s.Content.PayloadHash}}
	}
	return nil
}

// descriptors returns the subjects of the statement about the entry: the entry
// itself, by its leaf hash, and the digests that it is about.
func (e *Entry) descriptors(entryURL string) ([]attest.ResourceDescriptor, error) {
	b, err := e.parseBody()
	if err != nil {
		return nil, err
	}
	list := []attest.ResourceDescriptor{{Name: "rekor entry", URI: entryURL, Digest: map[string]string{"sha256": e.LeafHash()}}}
	for _, s := range b.subjects() {
		switch {
		case s.hash == hash{} && s.name == "payload", s.hash.Algorithm == "sha384":
			continue // intoto 0.0.1 may lack the one; Cairn does not look up the other
		case !leaf.Digest(s.hash.Algorithm + ":" + strings.ToLower(s.hash.Value)).Valid():
			return nil, fmt.Errorf("the %s of the %s entry has no valid digest: %.20q %.140q", s.name, b.Kind, s.hash.Algorithm, s.hash.Value)
		}
		list = append(list, attest.ResourceDescriptor{Name: s.name, Digest: map[string]string{s.hash.Algorithm: strings.ToLower(s.hash.Value)}})
	}
	return list, nil
}

// Envelope returns the DSSE envelope that an intoto entry was made of, with the
// payload that the log keeps beside the entry. It is nil if the entry does not
// have the signatures, as those of all other kinds. The payload must have the
// digest that the entry has, since no proof covers it.
func (e *Entry) Envelope(payload []byte) ([]byte, error) {
	b, err := e.parseBody()
	if err != nil {
		return nil, err
	}
	c := &b.spec.Content
	if len(payload) == 0 || b.Kind != "intoto" || c.Envelope == nil || len(c.Envelope.Signatures) == 0 {
		return nil, nil
	}
	if want := leaf.Digest(c.PayloadHash.Algorithm + ":" + c.PayloadHash.Value); leaf.SHA256(payload) != want {
		return nil, fmt.Errorf("the payload that the log keeps has the digest %s, and the entry's is %.140s", leaf.SHA256(payload), want)
	}
	env := dsse.Envelope{PayloadType: c.Envelope.PayloadType, Payload: base64.StdEncoding.EncodeToString(payload)}
	for _, s := range c.Envelope.Signatures {
		env.Signatures = append(env.Signatures, dsse.Signature{KeyID: s.KeyID, Sig: string(s.Sig)})
	}
	raw, err := json.Marshal(env)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope: %w", err)
	}
	return raw, nil
}

// Signed verifies that the entry is a hashedrekord that says that a key signed
// these very bytes, and returns the key.
func (e *Entry) Signed(content []byte) (*attest.PublicKey, error) {
	b, err := e.parseBody()
	if err != nil {
		return nil, err
	}
	if b.Kind != "hashedrekord" || b.APIVersion != "0.0.1" {
		return nil, fmt.Errorf("the entry is a %.40s %.20s, want hashedrekord 0.0.1", b.Kind, b.APIVersion)
	}
	if have, want := b.spec.Data.Hash.Algorithm+":"+b.spec.Data.Hash.Value, leaf.SHA256(content); have != string(want) {
		return nil, fmt.Errorf("the entry is about %.140s, want %s", have, want)
	}
	key, err := attest.ParsePublicKey(b.spec.Signature.PublicKey.Content)
	if err != nil {
		return nil, fmt.Errorf("reading the signer's key: %w", err)
	}
	if !key.Verify(content, b.spec.Signature.Content) {
		return nil, fmt.Errorf("the signature in the entry is not that of its key %s", key.Fingerprint)
	}
	return key, nil
}
