// Package signer gives access to Ed25519 keys, all as a crypto.Signer: a key in
// a file, one that an ssh-agent holds, and one that a process of the operator's
// choice holds.
//
// Invariants:
//   - A key file that others may read is refused.
//   - An agent or a process that does not answer costs a bounded time.
//   - What an agent or process returns is checked to be a signature by the key
//     that was asked for.
package signer

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/internal/private"
)

// errWrong is what a signature that does not verify is reported as: faulty
// hardware, or a process that signs with another key.
var errWrong = errors.New("it returned a signature that does not verify")

// Key is a key with the name that it signs notes under.
type Key struct {
	Name   string
	Signer crypto.Signer
}

// ReadFile reads a key from a file in the encoding of note.GenerateKey:
// PRIVATE+KEY+<name>+<hash>+<base64 of 0x01 and the seed>. A file that others
// may read is refused.
func ReadFile(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("reading the key: %w", err)
	}
	if mode := info.Mode().Perm(); private.Exposed(path, mode) {
		return Key{}, fmt.Errorf("the key %s has mode %04o, so others may read it: chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("reading the key: %w", err)
	}
	k, err := parse(strings.TrimSpace(string(text)))
	if err != nil {
		return Key{}, fmt.Errorf("parsing the key %s: %w", path, err)
	}
	return k, nil
}

// CreateFile makes a new key and durably writes it to a file, which must not
// exist.
func CreateFile(path, name string) (Key, error) {
	return createFile(path, name, rand.Reader)
}

func createFile(path, name string, random io.Reader) (Key, error) {
	skey, _, err := note.GenerateKey(random, name)
	if err != nil {
		return Key{}, fmt.Errorf("generating a key for %q: %w", name, err)
	}
	// Parsed first: a name that no note can bear must not leave a file.
	k, err := parse(skey)
	if err != nil {
		return Key{}, fmt.Errorf("generating a key for %q: %w", name, err)
	}
	if err := writeNew(path, skey+"\n"); err != nil {
		return Key{}, fmt.Errorf("writing the key: %w", err)
	}
	return k, nil
}

// writeNew writes a file that did not exist. After a crash there may be an
// empty or partial one, which does not parse.
func writeNew(path, text string) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return dir.Sync()
}

func parse(skey string) (Key, error) {
	s, err := note.NewSigner(skey)
	if err != nil {
		return Key{}, err
	}
	// note.NewSigner accepted the text, but does not give the key away. The name
	// holds no plus sign, but the base64 may.
	fields := strings.SplitN(skey, "+", 5)
	material, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(material) != 1+ed25519.SeedSize {
		return Key{}, errors.New("the key does not end in an Ed25519 seed")
	}
	return Key{Name: s.Name(), Signer: ed25519.NewKeyFromSeed(material[1:])}, nil
}

// wantRaw refuses what is not plain Ed25519: these signers are given messages,
// not digests.
func wantRaw(opts crypto.SignerOpts) error {
	if opts.HashFunc() != crypto.Hash(0) {
		return errors.New("an Ed25519 key signs messages, not digests")
	}
	return nil
}
