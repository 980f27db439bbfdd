package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-json-experiment/json"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// The JSON of containers-signature(5), "simple signing".
type payload struct {
	Critical critical `json:"critical"`
	Optional optional `json:"optional"`
}

type critical struct {
	Identity struct {
		Reference string `json:"docker-reference"`
	} `json:"identity"`
	Image struct {
		Digest string `json:"docker-manifest-digest"`
	} `json:"image"`
	Type string `json:"type"`
}

type optional struct {
	Creator   string `json:"creator"`
	Timestamp int64  `json:"timestamp"`
}

const (
	payloadType = "atomic container signature"
	creator     = "cairn gate v1"
)

// MaxSignature bounds a signature.
const MaxSignature = 64 << 10

// Sign returns the signature that containers/image wants of an image: an OpenPGP
// signed message. It expires after valid, unless that is 0. Whoever calls it has
// an accepting Decision.
//
// The reference has the digest as its tag: the gate says nothing of tags.
func (k *Key) Sign(img Image, now time.Time, valid time.Duration) ([]byte, error) {
	if k.entity.PrivateKey == nil {
		return nil, errors.New("signing with a public key")
	}
	if valid < 0 || valid > math.MaxUint32*time.Second || valid%time.Second != 0 {
		return nil, fmt.Errorf("a signature cannot be valid for %s: want whole seconds", valid)
	}
	p := payload{Optional: optional{creator, now.Unix()}}
	p.Critical.Type = payloadType
	p.Critical.Image.Digest = string(img.Digest)
	p.Critical.Identity.Reference = img.String()
	text, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encoding the signature of %s: %w", img, err)
	}
	config := packetConfig(now)
	config.SigLifetimeSecs = uint32(valid / time.Second)
	var b bytes.Buffer
	w, err := openpgp.Sign(&b, k.entity, &openpgp.FileHints{IsBinary: true}, config)
	if err == nil {
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", img, err)
	}
	return b.Bytes(), nil
}

// Verify returns the image that a signature by this key is about. A signature
// that has expired is an error, but see Made.
func (k *Key) Verify(signature []byte, now time.Time) (Image, error) {
	text, expired, err := k.open(signature, now)
	if err != nil {
		return Image{}, err
	}
	if expired != nil {
		return Image{}, expired
	}
	return parsePayload(text)
}

// Made reports whether a signature was made by this key, also if it has expired.
func (k *Key) Made(signature []byte, now time.Time) bool {
	_, _, err := k.open(signature, now)
	return err == nil
}

// open returns what was signed by this key, and an error on its own if that was
// too long ago.
func (k *Key) open(signature []byte, now time.Time) (text []byte, expired, err error) {
	if len(signature) > MaxSignature {
		return nil, nil, fmt.Errorf("signature of %d bytes is over the limit of %d", len(signature), MaxSignature)
	}
	if err := checkShape(signature); err != nil {
		return nil, nil, fmt.Errorf("parsing a signature: %w", err)
	}
	text, by, err := attest.OpenSigned(signature, attest.NewKeyring(k.public))
	if err != nil {
		return nil, nil, fmt.Errorf("verifying a signature: %w", err)
	}
	if err := k.public.MaySignAt(by[0].Subkey, now); err != nil {
		return nil, nil, fmt.Errorf("verifying a signature: %w", err)
	}
	// Expiry is looked at last: what is said to have expired did verify.
	if e := by[0].Expires; by[0].Made.After(now) || !e.IsZero() && !now.Before(e) {
		return text, errors.New("the signature has expired"), nil
	}
	return text, nil, nil
}

// The types of the packets of a signed message (RFC 9580, section 5).
const (
	tagSignature = 2
	tagOnePass   = 4
	tagLiteral   = 11
)

// checkShape checks that a signature is what Sign makes: one literal message and
// one signature of it, announced before it. It looks at nothing but the types of
// the packets. Package openpgp must not parse a stranger's signature: it believes
// the lengths in it, and indexes into what is empty.
func checkShape(signature []byte) error {
	packets := packet.NewOpaqueReader(bytes.NewReader(signature))
	for _, want := range []byte{tagOnePass, tagLiteral, tagSignature} {
		p, err := packets.Next()
		if err != nil {
			return fmt.Errorf("it is not a signed message: %w", err)
		}
		if p.Tag != want {
			return fmt.Errorf("it has a packet of type %d where one of type %d should be", p.Tag, want)
		}
	}
	if _, err := packets.Next(); !errors.Is(err, io.EOF) {
		return errors.New("it goes on after the signature")
	}
	return nil
}

// parsePayload reads what was signed, strictly: duplicate and unknown members
// are errors.
func parsePayload(text []byte) (Image, error) {
	var p payload
	if err := json.Unmarshal(text, &p, json.RejectUnknownMembers(true)); err != nil {
		return Image{}, fmt.Errorf("parsing a signature's payload: %w", err)
	}
	if p.Critical.Type != payloadType {
		return Image{}, fmt.Errorf("a payload of type %.60q is no container signature", p.Critical.Type)
	}
	img, _, err := ParseImage(p.Critical.Identity.Reference)
	if err != nil {
		return Image{}, err
	}
	if img.Digest == "" || leaf.Digest(p.Critical.Image.Digest) != img.Digest {
		return Image{}, errors.New("the payload names two digests")
	}
	return img, nil
}
