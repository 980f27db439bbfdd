package leaf

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is "sha256:" or "sha512:" and lower-case hex of the digest's length.
// Weaker algorithms identify nothing and are not digests here.
type Digest string

// ParseDigest checks that s is a Digest.
func ParseDigest(s string) (Digest, error) {
	if d := Digest(s); d.Valid() {
		return d, nil
	}
	return "", fmt.Errorf("invalid digest %.160q: want sha256:<64 hex> or sha512:<128 hex>, in lower case", s)
}

// Valid reports whether d is well-formed.
func (d Digest) Valid() bool {
	if h, ok := strings.CutPrefix(string(d), "sha512:"); ok {
		return isHex(h, 128)
	}
	return d.isSHA256()
}

func (d Digest) isSHA256() bool {
	h, ok := strings.CutPrefix(string(d), "sha256:")
	return ok && isHex(h, 64)
}

// Bytes returns the raw digest of a valid d.
func (d Digest) Bytes() []byte {
	_, h, _ := strings.Cut(string(d), ":")
	b, _ := hex.DecodeString(h)
	return b
}

// Hex returns the digest without its algorithm.
func (d Digest) Hex() string {
	_, h, _ := strings.Cut(string(d), ":")
	return h
}

// Fingerprint names a public key: "sha256:" and the SHA-256 of its SPKI DER,
// or "openpgp:" and the 40 or 64 hex digits of an OpenPGP fingerprint.
type Fingerprint string

// Valid reports whether f is well-formed.
func (f Fingerprint) Valid() bool {
	if h, ok := strings.CutPrefix(string(f), "openpgp:"); ok {
		return isHex(h, 40) || isHex(h, 64)
	}
	return Digest(f).isSHA256()
}

// OpenPGP reports whether f is the fingerprint of an OpenPGP key.
func (f Fingerprint) OpenPGP() bool { return strings.HasPrefix(string(f), "openpgp:") }

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
