package gate

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// Key is a gate's OpenPGP key. It signs if it was read from a secret key.
type Key struct {
	entity *openpgp.Entity
	public *attest.PublicKey // verifies
}

// rsaBits is the size of generated keys. They are RSA because every build of
// containers/image verifies it: the one without GnuPG knows no Ed25519.
const rsaBits = 3072

func packetConfig(now time.Time) *packet.Config {
	no := false
	return &packet.Config{
		Time: func() time.Time { return now }, Algorithm: packet.PubKeyAlgoRSA, RSABits: rsaBits, DefaultHash: crypto.SHA256,
		// A notation with a salt is of use only against faulty hardware.
		NonDeterministicSignaturesViaNotation: &no,
	}
}

// GenerateKey makes a key, and returns it armored.
func GenerateKey(now time.Time) (secret, public []byte, err error) {
	e, err := openpgp.NewEntity("Cairn gate", "", "", packetConfig(now))
	if err != nil {
		return nil, nil, fmt.Errorf("making an OpenPGP key: %w", err)
	}
	e.Subkeys = nil // they are for encryption
	if secret, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, nil) }); err != nil {
		return nil, nil, err
	}
	public, err = (&Key{entity: e}).Public()
	return secret, public, err
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		return nil, fmt.Errorf("encoding an OpenPGP key: %w", err)
	}
	if err = errors.Join(write(w), w.Close()); err != nil {
		return nil, fmt.Errorf("encoding an OpenPGP key: %w", err)
	}
	return append(b.Bytes(), '\n'), nil
}

// Public returns the armored public key.
func (k *Key) Public() ([]byte, error) { return armored(openpgp.PublicKeyType, k.entity.Serialize) }

// keyring returns the public key as policy.json has it.
func (k *Key) keyring() ([]byte, error) {
	var b bytes.Buffer
	if err := k.entity.Serialize(&b); err != nil {
		return nil, fmt.Errorf("encoding an OpenPGP key: %w", err)
	}
	return b.Bytes(), nil
}

// Fingerprint returns the name of the key.
func (k *Key) Fingerprint() leaf.Fingerprint {
	return leaf.Fingerprint("openpgp:" + hex.EncodeToString(k.entity.PrimaryKey.Fingerprint))
}

// ReadPublicKey reads an armored or binary OpenPGP key, which must be the only
// one, and not a secret one: it is to be handed around.
func ReadPublicKey(b []byte) (*Key, error) {
	k, err := readKey(b)
	if err != nil {
		return nil, err
	}
	if k.entity.PrivateKey != nil {
		return nil, errors.New("it is a secret key; its public key is wanted")
	}
	return k, nil
}

// ReadSecretKey reads an armored or binary OpenPGP secret key, which must be the
// only one, without a passphrase, and able to sign at a time.
func ReadSecretKey(b []byte, now time.Time) (*Key, error) {
	k, err := readKey(b)
	if err != nil {
		return nil, err
	}
	if k.entity.PrivateKey == nil {
		return nil, errors.New("it is a public key; its secret key is wanted")
	}
	signing, ok := k.entity.SigningKey(now)
	if !ok {
		return nil, errors.New("it has expired, is revoked or may not sign")
	}
	if signing.PrivateKey == nil || signing.PrivateKey.Encrypted {
		return nil, errors.New("it is protected by a passphrase, which nobody is there to enter")
	}
	return k, nil
}

func readKey(b []byte) (*Key, error) {
	read := openpgp.ReadKeyRing
	if bytes.Contains(b, []byte("-----BEGIN PGP ")) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := read(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("parsing an OpenPGP key: %w", err)
	}
	if len(entities) != 1 {
		return nil, fmt.Errorf("%d OpenPGP keys, want one", len(entities))
	}
	k := &Key{entity: entities[0]}
	public, err := k.Public()
	if err == nil {
		k.public, err = attest.ParsePublicKey(public)
	}
	if err != nil {
		return nil, fmt.Errorf("parsing an OpenPGP key: %w", err)
	}
	return k, nil
}
