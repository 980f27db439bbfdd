package policy

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Signature types of C2SP signed-note.
const (
	algEd25519       = 0x01
	algCosignatureV1 = 0x04
	algMLDSA44       = 0x06
)

func hint(alg byte) string {
	switch alg {
	case algEd25519:
		return " (that of a log)"
	case algCosignatureV1:
		return " (that of a witness)"
	case algMLDSA44:
		return " (ML-DSA-44, not supported yet)"
	}
	return ""
}

// vkey is a signed-note verifier key: <name>+<id in hex>+<base64 of type and
// public key>. The libraries check the id against the rest.
type vkey struct {
	name string
	id   uint32
	alg  byte
	pub  []byte
}

func parseVKey(s string) (*vkey, error) {
	name, rest, _ := strings.Cut(s, "+")
	id16, key64, ok := strings.Cut(rest, "+")
	id, err := strconv.ParseUint(id16, 16, 32)
	if !ok || err != nil || len(id16) != 8 {
		return nil, fmt.Errorf("malformed vkey %.120q: want <name>+<8 hex digits>+<base64>", s)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if err != nil || len(key) < 2 {
		return nil, fmt.Errorf("malformed vkey %.120q: its last part is not base64 of a key", s)
	}
	return &vkey{name: name, id: uint32(id), alg: key[0], pub: key[1:]}, nil
}

// String returns the one spelling of the key: its id in lower case.
func (k *vkey) String() string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.id, base64.StdEncoding.EncodeToString(append([]byte{k.alg}, k.pub...)))
}

// logVerifier returns the verifier of a log's key.
func (k *vkey) logVerifier() (note.Verifier, error) {
	if k.alg != algEd25519 {
		return nil, fmt.Errorf("log key %q is of type %#02x%s, want an Ed25519 key of type 0x01", k.name, k.alg, hint(k.alg))
	}
	v, err := note.NewVerifier(k.String())
	if err != nil {
		return nil, fmt.Errorf("reading log key: %w", err)
	}
	return v, nil
}

// witnessVerifier returns the verifier of a witness's key. The library would
// also take a log's key for a witness's, and does not look at the id.
func (k *vkey) witnessVerifier() (note.Verifier, error) {
	if k.alg != algCosignatureV1 {
		return nil, fmt.Errorf("witness key %q is of type %#02x%s, want a cosignature/v1 key of type 0x04", k.name, k.alg, hint(k.alg))
	}
	v, err := formats.NewVerifierForCosignatureV1(k.String())
	if err != nil {
		return nil, fmt.Errorf("reading witness key: %w", err)
	}
	if v.KeyHash() != k.id {
		return nil, errors.New("reading witness key: invalid verifier hash")
	}
	return v, nil
}

// fingerprint returns what a rebuilder line would call the key, which must be
// an Ed25519 key.
func (k *vkey) fingerprint() (leaf.Fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(k.pub))
	if err != nil {
		return "", fmt.Errorf("encoding key %q: %w", k.name, err)
	}
	return leaf.Fingerprint(leaf.SHA256(der)), nil
}
