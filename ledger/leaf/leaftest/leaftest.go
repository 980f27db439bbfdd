// Package leaftest makes entries for tests that have no use for a client of
// Rekor's. Everything is a function of the arguments.
package leaftest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// P256 returns the ECDSA P-256 key of a name.
func P256(tb testing.TB, name string) *ecdsa.PrivateKey {
	tb.Helper()
	seed := sha256.Sum256([]byte(name))
	seed[0] = 0 // below the order of the curve
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// HashedRekord returns the Rekor entry for an artifact that the key of a name
// signed.
func HashedRekord(tb testing.TB, name, artifact string) []byte {
	tb.Helper()
	key := P256(tb, name)
	digest := sha256.Sum256([]byte(artifact))
	sig, err := key.Sign(nil, digest[:], crypto.SHA256) // as RFC 6979 says
	if err != nil {
		tb.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	e := leaf.HashedRekord{
		Digest: leaf.SHA256([]byte(artifact)), Signature: sig,
		KeyDetails: "PKIX_ECDSA_P256_SHA_256", Verifier: spki,
	}
	text, err := e.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}
