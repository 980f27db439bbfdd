package witnesstest

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/witness"
)

// Cosigner is a witness that cosigns whatever it is given, at any time.
type Cosigner struct {
	key      ed25519.PrivateKey
	verifier *torchwood.CosignatureVerifier
}

// NewCosigner returns the cosigner of name with the key of seed.
func NewCosigner(name, seed string) *Cosigner {
	key := Key(seed)
	v, err := witness.NewVerifier(name, key)
	if err != nil {
		panic(err) // a bad name in a test
	}
	return &Cosigner{key, v}
}

// Key returns the signing key.
func (c *Cosigner) Key() crypto.Signer { return c.key }

// Verifier returns the verifier of the cosignatures.
func (c *Cosigner) Verifier() *torchwood.CosignatureVerifier { return c.verifier }

// Cosign returns a note with a cosignature of a time.
func (c *Cosigner) Cosign(signed []byte, at int64) []byte {
	text, _, _ := strings.Cut(string(signed), "\n\n")
	sig := binary.BigEndian.AppendUint32(nil, c.verifier.KeyHash())
	sig = binary.BigEndian.AppendUint64(sig, uint64(at))
	sig = append(sig, ed25519.Sign(c.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))...)
	return fmt.Appendf([]byte(string(signed)), "— %s %s\n", c.verifier.Name(), base64.StdEncoding.EncodeToString(sig))
}
