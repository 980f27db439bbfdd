package checkpoint

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/internal/private"
	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// Key is a log's Ed25519 signing key; its name is the log's origin.
type Key struct {
	Signer   note.Signer
	Verifier note.Verifier
	VKey     string // the verifier's encoding, as in C2SP signed-note

	private ed25519.PrivateKey
}

// algEd25519 is the first byte of an Ed25519 key in a note's encodings.
const algEd25519 = 1

// ReadKey reads the key in a file, in the encoding of note.GenerateKey. A file
// that others may read is refused.
func ReadKey(path string) (*Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	if mode := info.Mode().Perm(); private.Exposed(path, mode) {
		return nil, fmt.Errorf("the log's key %s has mode %04o, so others may read it: chmod 600 it", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	k, err := parseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("parsing the log's key %s: %w", path, err)
	}
	return k, nil
}

// CreateKey makes a key for a log and durably writes it to a file, which must not
// exist: whoever replaces a log's key loses the log.
func CreateKey(path, origin string) (*Key, error) {
	skey, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("generating the log's key: %w", err)
	}
	k, err := parseKey(skey)
	if err != nil {
		return nil, fmt.Errorf("generating the log's key for origin %q: %w", origin, err)
	}
	return k, durable.CreateFile(path, []byte(skey+"\n"), 0o600)
}

func parseKey(skey string) (*Key, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	// note.NewSigner accepted the text, but does not give the public key away:
	// PRIVATE+KEY+<name>+<hash>+<base64 of algorithm and seed>. The name holds
	// no plus sign, but the base64 may.
	fields := strings.SplitN(skey, "+", 5)
	material, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(material) != 1+ed25519.SeedSize {
		return nil, errors.New("the key does not end in an Ed25519 seed")
	}
	private := ed25519.NewKeyFromSeed(material[1:])
	vkey, err := note.NewEd25519VerifierKey(signer.Name(), private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	return &Key{Signer: signer, Verifier: verifier, VKey: vkey, private: private}, nil
}
