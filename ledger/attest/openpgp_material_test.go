package attest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	pgpecdsa "github.com/ProtonMail/go-crypto/openpgp/ecdsa"
	pgped25519 "github.com/ProtonMail/go-crypto/openpgp/ed25519"
	"github.com/ProtonMail/go-crypto/openpgp/ed448"
	"github.com/ProtonMail/go-crypto/openpgp/eddsa"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// pkixOf returns an OpenPGP private key's public half as the standard library has it.
func pkixOf(t *testing.T, key any) crypto.PublicKey {
	t.Helper()
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k.Public()
	case *eddsa.PrivateKey:
		return ed25519.NewKeyFromSeed(k.D).Public()
	case *pgped25519.PrivateKey:
		return ed25519.NewKeyFromSeed(k.Seed()).Public()
	case *pgpecdsa.PrivateKey:
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.D.FillBytes(make([]byte, 32)))
		if err != nil {
			t.Fatal(err)
		}
		return private.Public()
	}
	t.Fatalf("a key of type %T", key)
	return nil
}

// Keys that PKIX has a form for, and the standard library has not, are told from
// others and are the same whenever the OpenPGP key was made.
func TestOpenPGPKeyMaterialEd448(t *testing.T) {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEd448, V6Keys: true, Time: func() time.Time { return time.Unix(1700000000, 0) }}
	entity, err := openpgp.NewEntity("a", "", "", config)
	if err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	if err := entity.Serialize(&block); err != nil {
		t.Fatal(err)
	}
	key := mustOpen(t, block.Bytes(), attest.NewKeyring()).Keys[0]
	// As `openssl pkey -pubout -outform DER` begins.
	der := append([]byte{0x30, 0x43, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71, 3, 0x3a, 0}, entity.PrimaryKey.PublicKey.(*ed448.PublicKey).Point...)
	if got, want := key.SPKIs(), []leaf.Fingerprint{leaf.Fingerprint(leaf.SHA256(der))}; len(der) != 69 || !slices.Equal(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// Key material has one name, whatever form the key has: or else its owner would count
// twice.
func TestOpenPGPKeyMaterial(t *testing.T) {
	at := func() time.Time { return time.Unix(1700000000, 0) }
	for name, config := range map[string]*packet.Config{
		"EdDSA":     {Algorithm: packet.PubKeyAlgoEdDSA, Time: at},
		"Ed25519":   {Algorithm: packet.PubKeyAlgoEd25519, Time: at},
		"version 6": {Algorithm: packet.PubKeyAlgoEd25519, V6Keys: true, Time: at},
		"ECDSA":     {Algorithm: packet.PubKeyAlgoECDSA, Curve: packet.CurveNistP256, Time: at},
		"RSA":       {Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048, Time: at},
	} {
		entity, err := openpgp.NewEntity("a", "", "", config)
		if err != nil {
			t.Fatal(err)
		}
		if err := entity.AddSigningSubkey(config); err != nil {
			t.Fatal(err)
		}
		var block bytes.Buffer
		if err := entity.Serialize(&block); err != nil {
			t.Fatal(err)
		}
		key := mustOpen(t, block.Bytes(), attest.NewKeyring()).Keys[0]
		var want []leaf.Fingerprint
		for _, private := range []any{entity.PrivateKey.PrivateKey, entity.Subkeys[len(entity.Subkeys)-1].PrivateKey.PrivateKey} {
			der, err := x509.MarshalPKIXPublicKey(pkixOf(t, private))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, leaf.Fingerprint(leaf.SHA256(der)))
		}
		slices.Sort(want)
		if got := key.SPKIs(); !slices.Equal(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
