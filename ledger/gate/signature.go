package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-json-experiment/json"

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
	md, err := openpgp.ReadMessage(bytes.NewReader(signature), openpgp.EntityList{k.entity}, nil, packetConfig(now))
	if err != nil {
		return nil, nil, fmt.Errorf("parsing a signature: %w", err)
	}
	if !md.IsSigned || md.IsEncrypted || md.SignedBy == nil {
		return nil, nil, errors.New("it is not signed by the gate's key")
	}
	if text, err = io.ReadAll(io.LimitReader(md.UnverifiedBody, MaxSignature+1)); err != nil {
		return nil, nil, fmt.Errorf("reading a signature: %w", err)
	}
	if len(text) > MaxSignature {
		return nil, nil, fmt.Errorf("what is signed is over the limit of %d bytes", MaxSignature)
	}
	if md.Signature == nil {
		return nil, nil, fmt.Errorf("verifying a signature: %w", errors.Join(errors.New("it does not verify"), md.SignatureError))
	}
	if md.SignatureError != nil {
		// Expiry is looked at last: what is said to have expired did verify.
		if errors.Is(md.SignatureError, pgperrors.ErrSignatureExpired) {
			return text, errors.New("the signature has expired"), nil
		}
		return nil, nil, fmt.Errorf("verifying a signature: %w", md.SignatureError)
	}
	return text, nil, nil
}

// checkShape checks that a signature is what Sign makes: one literal message and
// one signature that says who made it. Package openpgp takes much more, and
// takes for granted that a signature names its issuer.
func checkShape(signature []byte) error {
	var shape []string
	packets := packet.NewReader(bytes.NewReader(signature))
	for {
		p, err := packets.Next()
		switch {
		case errors.Is(err, io.EOF):
			if got := strings.Join(shape, ", "); got != "one-pass, literal, signature" {
				return fmt.Errorf("it is not a signed message: %s", got)
			}
			return nil
		case err != nil:
			return err
		case len(shape) == 3:
			return errors.New("it goes on after the signature")
		}
		switch p := p.(type) {
		case *packet.OnePassSignature:
			shape = append(shape, "one-pass")
		case *packet.LiteralData:
			shape = append(shape, "literal")
			if _, err := io.Copy(io.Discard, p.Body); err != nil {
				return err
			}
		case *packet.Signature:
			if p.IssuerKeyId == nil {
				return errors.New("the signature does not say who made it")
			}
			shape = append(shape, "signature")
		default:
			return fmt.Errorf("it has an unexpected packet %T", p)
		}
	}
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
