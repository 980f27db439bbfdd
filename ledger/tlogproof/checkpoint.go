package tlogproof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxCheckpointText bounds the text of a checkpoint, as x/mod bounds notes.
const maxCheckpointText = 1_000_000

// Checkpoint is the text of a C2SP tlog-checkpoint: what its signatures are of.
//
//	<origin>
//	<size, decimal>
//	<root hash, base64>
//	<extension lines>         none is empty
type Checkpoint struct {
	Origin string // not empty
	tlog.Tree
	// Extension is empty, or lines that each end in a newline.
	Extension string
}

// ParseCheckpoint reads the text of a checkpoint, without its signatures. What
// it accepts is written by String as it was read.
func ParseCheckpoint(text string) (Checkpoint, error) {
	bad := func(what string) (Checkpoint, error) {
		return Checkpoint{}, fmt.Errorf("malformed checkpoint: %s", what)
	}
	if len(text) > maxCheckpointText {
		return bad(fmt.Sprintf("%d bytes are over the limit of %d", len(text), maxCheckpointText))
	}
	if strings.Count(text, "\n") < 3 || !strings.HasSuffix(text, "\n") {
		return bad("it is not at least three lines that each end in a newline")
	}
	lines := strings.SplitN(text, "\n", 4)
	c := Checkpoint{Origin: lines[0], Extension: lines[3]}
	if c.Origin == "" {
		return bad("it has no origin")
	}
	var err error
	// The decimal must be the canonical one: "+7" and "07" are no sizes.
	if c.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.N < 0 || strconv.FormatInt(c.N, 10) != lines[1] {
		return bad(fmt.Sprintf("invalid size %.40q", lines[1]))
	}
	root, err := decodeCanonical([]byte(lines[2]))
	if err != nil || len(root) != tlog.HashSize {
		return bad(fmt.Sprintf("invalid root hash %.80q", lines[2]))
	}
	c.Hash = tlog.Hash(root)
	if strings.HasPrefix(c.Extension, "\n") || strings.Contains(c.Extension, "\n\n") {
		return bad("an extension line is empty")
	}
	return c, nil
}

// Open reads a signed checkpoint, and returns the signatures by known keys, which
// it verifies; one that does not verify is an error. That nobody known signed it
// is none: who must have signed is the caller's to say. known may be nil.
func Open(signed []byte, known note.Verifiers) (Checkpoint, []note.Signature, error) {
	n, err := note.Open(signed, known)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return Checkpoint{}, nil, err
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	return c, n.Sigs, nil
}

// String returns the text.
func (c Checkpoint) String() string {
	return fmt.Sprintf("%s\n%d\n%s\n%s", c.Origin, c.N, base64.StdEncoding.EncodeToString(c.Hash[:]), c.Extension)
}

// decodeCanonical decodes standard base64 and refuses all spellings but one.
// Comparing is what refuses: the decoder ignores carriage returns, even if it
// is strict, and what it could not decode is not written as s again.
func decodeCanonical(s []byte) ([]byte, error) {
	b, _ := base64.StdEncoding.DecodeString(string(s))
	if base64.StdEncoding.EncodeToString(b) != string(s) {
		return nil, errors.New("not canonical base64")
	}
	return b, nil
}
