// Package pgptest makes OpenPGP keys for tests, which say different things of
// themselves over time, and what they sign.
package pgptest

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Made is when keys are made.
var Made = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Key is an OpenPGP key with its owner. Time passes with each of its acts, by an
// hour.
type Key struct {
	testing.TB
	entity *openpgp.Entity
	now    time.Time
}

// New returns a new key.
func New(t testing.TB, name string) *Key {
	t.Helper()
	k := &Key{TB: t, now: Made}
	c := k.config()
	c.Algorithm = packet.PubKeyAlgoEdDSA
	var err error
	if k.entity, err = openpgp.NewEntity(name, "", "", c); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *Key) config() *packet.Config {
	k.now = k.now.Add(time.Hour)
	at := k.now
	return &packet.Config{Time: func() time.Time { return at }, DefaultHash: crypto.SHA512}
}

// Fingerprint returns the key's.
func (k *Key) Fingerprint() leaf.Fingerprint {
	return leaf.Fingerprint("openpgp:" + hex.EncodeToString(k.entity.PrimaryKey.Fingerprint))
}

// Public returns the key as it is now, not in armor.
func (k *Key) Public() []byte {
	k.Helper()
	var b bytes.Buffer
	if err := k.entity.Serialize(&b); err != nil {
		k.Fatal(err)
	}
	return b.Bytes()
}

// Lives has the owner say how long the key lives from when it was made.
func (k *Key) Lives(lifetime time.Duration) {
	k.Helper()
	seconds := uint32(lifetime / time.Second)
	for _, id := range k.entity.Identities {
		s := id.SelfSignature
		s.CreationTime, s.KeyLifetimeSecs = k.config().Now(), &seconds
		if err := s.SignUserId(id.UserId.Id, k.entity.PrimaryKey, k.entity.PrivateKey, k.config()); err != nil {
			k.Fatal(err)
		}
	}
}

// AddUserID adds a user id.
func (k *Key) AddUserID(id string) {
	k.Helper()
	if err := k.entity.AddUserId(id, "", "", k.config()); err != nil {
		k.Fatal(err)
	}
}

// AddSubkey adds a subkey, which signs from then on.
func (k *Key) AddSubkey() {
	k.Helper()
	c := k.config()
	c.Algorithm = packet.PubKeyAlgoEdDSA
	if err := k.entity.AddSigningSubkey(c); err != nil {
		k.Fatal(err)
	}
}

// Shares adds the newest subkey of another key, whose owner agrees.
func (k *Key) Shares(other *Key) {
	k.Helper()
	sub := other.entity.Subkeys[len(other.entity.Subkeys)-1]
	sig, back := *sub.Sig, *sub.Sig.EmbeddedSignature
	err := back.CrossSignKey(sub.PublicKey, k.entity.PrimaryKey, sub.PrivateKey, k.config())
	sig.EmbeddedSignature, sig.CreationTime = &back, k.config().Now()
	sig.IssuerKeyId, sig.IssuerFingerprint = &k.entity.PrimaryKey.KeyId, k.entity.PrimaryKey.Fingerprint
	if err = errors.Join(err, sig.SignKey(sub.PublicKey, k.entity.PrivateKey, k.config())); err != nil {
		k.Fatal(err)
	}
	sub.Sig = &sig
	k.entity.Subkeys = append(k.entity.Subkeys, sub)
}

// RevokeSubkeys revokes the subkeys that sign, as compromised.
func (k *Key) RevokeSubkeys() {
	k.Helper()
	for i := range k.entity.Subkeys {
		s := &k.entity.Subkeys[i]
		if s.Sig.FlagSign && len(s.Revocations) == 0 {
			if err := k.entity.RevokeSubkey(s, packet.KeyCompromised, "", k.config()); err != nil {
				k.Fatal(err)
			}
		}
	}
}

// Revoke revokes the key, as compromised.
func (k *Key) Revoke() {
	k.Helper()
	if err := k.entity.RevokeKey(packet.KeyCompromised, "", k.config()); err != nil {
		k.Fatal(err)
	}
}

// Sign returns a document that is followed by its signature: by the newest subkey
// that signs, or else the primary key, whether or not it still may.
func (k *Key) Sign(document []byte) []byte {
	k.Helper()
	by := k.entity.PrivateKey
	for _, s := range k.entity.Subkeys {
		if s.Sig.FlagSign {
			by = s.PrivateKey
		}
	}
	c := k.config()
	sig := &packet.Signature{Version: by.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: by.PubKeyAlgo,
		Hash: c.Hash(), CreationTime: c.Now(), IssuerKeyId: &by.KeyId, IssuerFingerprint: by.Fingerprint}
	b := bytes.NewBuffer(bytes.Clone(document))
	h := c.Hash().New()
	h.Write(document)
	err := sig.Sign(h, by, c)
	w, armorErr := armor.Encode(b, openpgp.SignatureType, nil)
	if err = errors.Join(err, armorErr); err == nil {
		err = errors.Join(sig.Serialize(w), w.Close())
	}
	if err != nil {
		k.Fatal(err)
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// Buildinfo is a .buildinfo about an artifact.
func Buildinfo(artifact leaf.Digest, version int) []byte {
	return fmt.Appendf(nil, "Format: 1.0\nSource: app\nArchitecture: all\nVersion: %d\nChecksums-Sha256:\n %s 792 app_%[1]d_all.deb\n"+
		"Build-Origin: Debian\nBuild-Architecture: amd64\nInstalled-Build-Depends:\n dpkg (= 1)\n", version, artifact.Hex())
}
