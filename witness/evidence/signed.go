package evidence

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// MaxNoteSize bounds a signed checkpoint, in bytes. C2SP signed-note wants room
// for at least 16 signatures, and one of a post-quantum key takes nearly 5 kB.
const MaxNoteSize = 96 << 10

// Errors of Open.
var (
	// ErrSignature is wrapped if none of the keys signed, or if a signature
	// that claims to be by one of them is wrong.
	ErrSignature = errors.New("no valid signature by a trusted key")
	// ErrMalformed is wrapped if the text is not a signed checkpoint.
	ErrMalformed = errors.New("malformed checkpoint")
)

// Signed is a checkpoint together with those of its signatures that verified.
type Signed struct {
	torchwood.Checkpoint
	// Sigs are in the order of key name and hash, one for each key, and their
	// base64 is canonical: lines that others added, or encoded in another way,
	// do not change what a Signed looks like.
	Sigs []note.Signature
}

// Open parses a signed checkpoint and verifies the signatures by keys. Lines by
// other keys are dropped. It fails unless at least one key signed, and if any
// of them is said to have signed and has not.
func Open(msg []byte, keys []note.Verifier) (Signed, error) {
	if len(msg) > MaxNoteSize {
		return Signed{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(msg), MaxNoteSize)
	}
	n, err := note.Open(msg, note.VerifierList(keys...))
	var unverified *note.UnverifiedNoteError
	var invalid *note.InvalidSignatureError
	switch {
	case errors.As(err, &unverified), errors.As(err, &invalid):
		return Signed{}, fmt.Errorf("%w: %w", ErrSignature, err)
	case err != nil:
		return Signed{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return newSigned(n.Text, n.Sigs)
}

// Tree returns the tree of a signed checkpoint without verifying who signed it:
// for checkpoints that are only to be compared, and whose signatures matter only
// if they differ.
func Tree(msg []byte) (tlog.Tree, error) {
	text, _, ok := bytes.Cut(msg, []byte("\n\n"))
	if !ok || len(msg) > MaxNoteSize {
		return tlog.Tree{}, ErrMalformed
	}
	c, err := parseText(string(text) + "\n")
	return c.Tree, err
}

// newSigned makes the canonical form of a checkpoint and its signatures.
func newSigned(text string, sigs []note.Signature) (Signed, error) {
	c, err := parseText(text)
	if err != nil {
		return Signed{}, err
	}
	s := Signed{Checkpoint: c}
	for _, sig := range sigs {
		raw, err := base64.StdEncoding.DecodeString(sig.Base64)
		if err != nil {
			return Signed{}, fmt.Errorf("%w: decoding signature: %w", ErrMalformed, err)
		}
		sig.Base64 = base64.StdEncoding.EncodeToString(raw)
		s.Sigs = append(s.Sigs, sig)
	}
	slices.SortFunc(s.Sigs, func(a, b note.Signature) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Hash, b.Hash))
	})
	return s, nil
}

// parseText parses what was signed. A tree has one text: a root in another
// base64 encoding of the same bytes is refused.
func parseText(text string) (torchwood.Checkpoint, error) {
	c, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if c.String() != text {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: its text is not canonical", ErrMalformed)
	}
	return c, nil
}

// Note returns the canonical note: the text and the verified signatures.
func (s Signed) Note() []byte {
	var b strings.Builder
	b.WriteString(s.Checkpoint.String())
	b.WriteByte('\n')
	for _, sig := range s.Sigs {
		fmt.Fprintf(&b, "— %s %s\n", sig.Name, sig.Base64)
	}
	return []byte(b.String())
}

// Only returns s with the signatures by keys alone, and whether there are any.
func (s Signed) Only(keys ...note.Verifier) (Signed, bool) {
	sigs := s.Sigs
	s.Sigs = nil
	for _, sig := range sigs {
		if slices.ContainsFunc(keys, func(v note.Verifier) bool { return v.Name() == sig.Name && v.KeyHash() == sig.Hash }) {
			s.Sigs = append(s.Sigs, sig)
		}
	}
	return s, len(s.Sigs) > 0
}

// KeyID is how signature lines name a key: its name, a plus sign, and its hash.
func KeyID(v note.Verifier) string { return fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()) }

// OriginHash is how C2SP tlog-witness names a log in a path.
func OriginHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// EmptyRoot is the root of the tree of size 0.
func EmptyRoot() tlog.Hash { return tlog.Hash(sha256.Sum256(nil)) }
