// Package stagextest makes maintainers, and trees that they signed, for tests. What
// it makes of the same seed is the same every time.
package stagextest

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Made is when keys are made.
var Made = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Signer is an OpenPGP key that signs images.
type Signer struct {
	// Expiry is how long signatures are good; for ever if it is zero.
	Expiry time.Duration

	entity *openpgp.Entity
	random io.Reader
}

// New returns the signer of a seed, whose key expires after a lifetime, or never
// if that is zero.
func New(t testing.TB, seed uint64, lifetime time.Duration) *Signer {
	t.Helper()
	s := &Signer{random: chaCha(seed)}
	c := s.config(Made)
	c.Algorithm = packet.PubKeyAlgoEdDSA
	c.KeyLifetimeSecs = uint32(lifetime / time.Second)
	var err error
	if s.entity, err = openpgp.NewEntity(fmt.Sprintf("Signer %d", seed), "", fmt.Sprintf("signer-%d@example.com", seed), c); err != nil {
		t.Fatal(err)
	}
	return s
}

func chaCha(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func (s *Signer) config(at time.Time) *packet.Config {
	return &packet.Config{
		Rand: s.random, Time: func() time.Time { return at }, DefaultHash: crypto.SHA512,
		SigLifetimeSecs: uint32(s.Expiry / time.Second),
	}
}

// Fingerprint returns the primary key's.
func (s *Signer) Fingerprint() leaf.Fingerprint {
	return leaf.Fingerprint("openpgp:" + hex.EncodeToString(s.entity.PrimaryKey.Fingerprint))
}

// Public returns the public key in ASCII armor.
func (s *Signer) Public(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), '\n')
}

// Sign returns a document signed inline, compressed as gpg does it.
func (s *Signer) Sign(t testing.TB, document []byte, at time.Time) []byte {
	t.Helper()
	return compress(t, s.message(t, document, at))
}

// SignOther returns a message with a document in the place of the one that was
// signed.
func (s *Signer) SignOther(t testing.TB, document []byte, at time.Time) []byte {
	t.Helper()
	signed := bytes.ToUpper(document) // as long as the other
	return compress(t, bytes.Replace(s.message(t, signed, at), signed, document, 1))
}

func (s *Signer) message(t testing.TB, document []byte, at time.Time) []byte {
	t.Helper()
	var message bytes.Buffer
	w, err := openpgp.Sign(&message, s.entity, nil, s.config(at))
	if err == nil {
		_, err = w.Write(document)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return message.Bytes()
}

func compress(t testing.TB, message []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := packet.SerializeCompressed(noClose{&b}, packet.CompressionZIP, nil)
	if err == nil {
		_, err = w.Write(message)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Detach returns a detached signature of a document, in ASCII armor or not.
func (s *Signer) Detach(t testing.TB, document []byte, at time.Time, armored bool) []byte {
	t.Helper()
	var b bytes.Buffer
	sign := openpgp.DetachSign
	if armored {
		sign = openpgp.ArmoredDetachSign
	}
	if err := sign(&b, s.entity, bytes.NewReader(document), s.config(at)); err != nil {
		t.Fatal(err)
	}
	if armored {
		b.WriteByte('\n')
	}
	return b.Bytes()
}

type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }

// Payload is what StageX's maintainers sign of an image.
func Payload(name string, d leaf.Digest) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"stagex/%s:1.0"},"image":{"docker-manifest-digest":"%s"},"type":"atomic container signature"},"optional":{}}`, name, d)
}

// OlderPayload is what they signed until May 2025.
func OlderPayload(name string, d leaf.Digest) []byte {
	return fmt.Appendf(nil, `[{"critical":{"identity":{"docker-reference":"stagex/%s"},"image":{"docker-manifest-digest":"%s"},"type":"pgp container image signature"},"optional":null}]`, name, d.Hex())
}

// Digest is that of the n-th image.
func Digest(n int) leaf.Digest { return leaf.SHA256(fmt.Appendf(nil, "image %d", n)) }

// Name is that of the n-th image.
func Name(n int) string { return fmt.Sprintf("core-image-%04d", n) }

// Tree is a tree that is being made in a directory.
type Tree struct {
	Dir    string
	t      testing.TB
	signed map[leaf.Digest]int // files
}

// NewTree makes a tree of n images that nobody signed.
func NewTree(t testing.TB, n int) *Tree {
	t.Helper()
	tree := &Tree{Dir: t.TempDir(), t: t, signed: make(map[leaf.Digest]int)}
	var digests strings.Builder
	for i := range n {
		fmt.Fprintf(&digests, "%s %s\n", Digest(i).Hex(), Name(i))
	}
	tree.Write("digests/core.txt", []byte(digests.String()))
	return tree
}

// Write writes a file of the tree.
func (tree *Tree) Write(name string, b []byte) {
	tree.t.Helper()
	path := filepath.Join(tree.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tree.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		tree.t.Fatal(err)
	}
}

// Add adds a file to the signatures of the n-th image.
func (tree *Tree) Add(n int, raw []byte) {
	tree.t.Helper()
	d := Digest(n)
	tree.signed[d]++
	tree.Write(fmt.Sprintf("signatures/stagex/%s@sha256=%s/signature-%d", Name(n), d.Hex(), tree.signed[d]), raw)
}

// Maintainers writes MAINTAINERS, with the keys of each person, and the keyring
// with these and further keys.
func (tree *Tree) Maintainers(persons map[string][]*Signer, further ...*Signer) {
	tree.t.Helper()
	var text strings.Builder
	var ring []byte
	for person, keys := range persons {
		for i, k := range keys {
			fmt.Fprintf(&text, "[keys.%s.key%d]\nid = %q\n\n", person, i, strings.ToUpper(strings.TrimPrefix(string(k.Fingerprint()), "openpgp:")))
			ring = append(ring, k.Public(tree.t)...)
		}
	}
	for _, k := range further {
		ring = append(ring, k.Public(tree.t)...)
	}
	tree.Write("MAINTAINERS", []byte(text.String()))
	tree.Write("signatures/stagex-keyring.pgp", ring)
}
