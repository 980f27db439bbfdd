package rekor

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
)

// Key is the public key of a Rekor log, or of one of its shards.
type Key struct {
	ID       string // the log's id: SHA-256 of the key, in hex
	PEM      string
	verifier signature.Verifier
}

// ParseKey reads the one PKIX PEM block in text.
func ParseKey(text []byte) (*Key, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("parsing the log's key: no PEM block PUBLIC KEY found")
	}
	if extra, _ := pem.Decode(rest); extra != nil {
		return nil, errors.New("parsing the log's key: more than one PEM block found: give that of the shard")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing the log's key: %w", err)
	}
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("parsing the log's key: %w", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the log's key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &Key{
		ID:       hex.EncodeToString(sum[:]),
		PEM:      string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		verifier: verifier,
	}, nil
}
