package checkpoint

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Alias is a log under another name, for clients that take a log's origin from
// elsewhere, such as from its URL. It signs what was published, and so keeps what
// the Guard promises: it makes a checkpoint of no other tree, and of none earlier.
//
// It signs with the log's own Ed25519 key, under another name and thus another key
// id. A signature covers the text, whose first line is the origin: it is none of
// the log's checkpoints, nor the other way round. And whoever mixed the two up
// nevertheless would believe nothing wrong: both say the same of the same tree.
// Witnesses cosign the log's checkpoints alone.
type Alias struct {
	key   *Key
	logID [sha256.Size]byte

	mu     sync.Mutex
	of     *Published // what signed was made from
	signed []byte
}

// Alias returns the log of k under another name.
func (k *Key) Alias(name string) (*Alias, error) {
	public := k.private.Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(name, public)
	if err != nil {
		return nil, fmt.Errorf("naming the log %q: %w", name, err)
	}
	fields := strings.SplitN(strings.TrimPrefix(vkey, name+"+"), "+", 2)
	material := append([]byte{algEd25519}, k.private.Seed()...)
	key, err := parseKey("PRIVATE+KEY+" + name + "+" + fields[0] + "+" + base64.StdEncoding.EncodeToString(material))
	if err != nil {
		return nil, fmt.Errorf("naming the log %q: %w", name, err)
	}
	a := &Alias{key: key}
	// C2SP signed-note takes the first four bytes of this for the key id.
	a.logID = sha256.Sum256(append([]byte(name+"\n\x01"), public...))
	return a, nil
}

// Name is the origin of the checkpoints.
func (a *Alias) Name() string { return a.key.Signer.Name() }

// VKey is the verifier key of the checkpoints.
func (a *Alias) VKey() string { return a.key.VKey }

// LogID is the digest whose first four bytes are the key's id in a note.
func (a *Alias) LogID() []byte { return a.logID[:] }

// Checkpoint returns the signed checkpoint of a published tree. Where the log
// itself has the name, that is what was published, with its cosignatures.
func (a *Alias) Checkpoint(p *Published) ([]byte, error) {
	if p.Origin == a.Name() {
		return p.Signed, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of == p {
		return a.signed, nil
	}
	text := torchwood.Checkpoint{Origin: a.Name(), Tree: p.Tree}.String()
	signed, err := note.Sign(&note.Note{Text: text}, a.key.Signer)
	if err != nil {
		return nil, fmt.Errorf("signing the checkpoint of size %d as %s: %w", p.N, a.Name(), err)
	}
	a.of, a.signed = p, signed
	return signed, nil
}
