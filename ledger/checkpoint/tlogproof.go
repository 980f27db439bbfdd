package checkpoint

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"filippo.io/torchwood"
	"github.com/go-json-experiment/json"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Limits of a proof file.
const (
	MaxProofSize   = 1 << 20 // bytes
	MaxProofHashes = 63      // of a tree whose size is an int64
)

// Proof is a C2SP tlog-proof: that an entry is in a log.
//
//	c2sp.org/tlog-proof@v1
//	extra <base64>            optional
//	index <decimal>
//	<base64 hash>             0..63, from the leaf's sibling upwards
//
//	<signed checkpoint>
//
// Cairn's extra is JSON, {"leaf": "<leaf text>", "keys": ["<PKIX PEM>", ...]}.
// Nothing authenticates it: Leaf is worth something only once inclusion is
// verified, and a key only if its fingerprint is in such a leaf.
type Proof struct {
	Index      int64
	Leaf       []byte   // nil if the proof has no extra, or one that is not Cairn's
	Keys       []string // PKIX PEM of the keys in the leaf
	Path       [][]byte // 32 bytes each
	Checkpoint []byte   // signed note
}

// proofExtra is the JSON of a proof's extra line. Members that a later version
// adds are ignored, as they are hints too.
type proofExtra struct {
	Leaf string   `json:"leaf,omitempty"`
	Keys []string `json:"keys,omitempty"`
}

const proofHeader = "c2sp.org/tlog-proof@v1"

// Marshal returns the proof file, or an error if ParseProof would refuse it.
func (p *Proof) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("writing tlog-proof: %w", err)
	}
	path := make(tlog.RecordProof, len(p.Path))
	for i, h := range p.Path {
		path[i] = tlog.Hash(h)
	}
	var b []byte
	if len(p.Leaf) == 0 && len(p.Keys) == 0 {
		b = torchwood.FormatProof(p.Index, path, p.Checkpoint)
	} else {
		x, err := json.Marshal(proofExtra{Leaf: string(p.Leaf), Keys: p.Keys})
		if err != nil {
			return nil, fmt.Errorf("writing tlog-proof: encoding its extra: %w", err)
		}
		b = torchwood.FormatProofWithExtraData(p.Index, x, path, p.Checkpoint)
	}
	if len(b) > MaxProofSize {
		return nil, fmt.Errorf("writing tlog-proof: %d bytes are over the limit of %d", len(b), MaxProofSize)
	}
	return b, nil
}

func (p *Proof) check() error {
	if p.Index < 0 {
		return fmt.Errorf("negative index %d", p.Index)
	}
	if len(p.Leaf) > leaf.MaxSize || !utf8.Valid(p.Leaf) {
		return fmt.Errorf("leaf of %d bytes is not text of at most %d", len(p.Leaf), leaf.MaxSize)
	}
	if len(p.Keys) > leaf.MaxKeys {
		return fmt.Errorf("%d keys are over the limit of %d", len(p.Keys), leaf.MaxKeys)
	}
	if len(p.Path) > MaxProofHashes {
		return fmt.Errorf("%d hashes are over the limit of %d", len(p.Path), MaxProofHashes)
	}
	for i, h := range p.Path {
		if len(h) != tlog.HashSize {
			return fmt.Errorf("hash %d has %d bytes, want %d", i, len(h), tlog.HashSize)
		}
	}
	return checkUnverified(p.Checkpoint)
}

// ParseProof reads a proof file. It accepts proofs of other logs too: if the
// extra is absent or not Cairn's, Leaf and Keys are nil. It verifies nothing.
func ParseProof(b []byte) (*Proof, error) {
	p, err := parseProof(b)
	if err != nil {
		return nil, fmt.Errorf("parsing tlog-proof: %w", err)
	}
	return p, nil
}

func parseProof(b []byte) (*Proof, error) {
	if len(b) > MaxProofSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(b), MaxProofSize)
	}
	l := proofLines{rest: b}
	if line, ok := l.next(); !ok || string(line) != proofHeader {
		return nil, fmt.Errorf("the first line is not %q", proofHeader)
	}
	p := new(Proof)
	line, _ := l.next()
	if x, found := bytes.CutPrefix(line, []byte("extra ")); found {
		if err := p.setExtra(x); err != nil {
			return nil, err
		}
		line, _ = l.next()
	}
	digits, found := bytes.CutPrefix(line, []byte("index "))
	if !found {
		return nil, errors.New("no index line")
	}
	var err error
	// The decimal must be the canonical one: "+7" and "07" name no index.
	if p.Index, err = strconv.ParseInt(string(digits), 10, 64); err != nil || strconv.FormatInt(p.Index, 10) != string(digits) {
		return nil, fmt.Errorf("invalid index %.40q", digits)
	}
	for {
		line, ok := l.next()
		if !ok {
			return nil, errors.New("no empty line after the hashes")
		}
		if len(line) == 0 {
			break
		}
		if len(p.Path) == MaxProofHashes {
			return nil, fmt.Errorf("more than %d hashes", MaxProofHashes)
		}
		h, err := decodeCanonical(line)
		if err != nil || len(h) != tlog.HashSize {
			return nil, fmt.Errorf("invalid hash %.80q", line)
		}
		p.Path = append(p.Path, h)
	}
	p.Checkpoint = bytes.Clone(l.rest)
	return p, p.check()
}

// setExtra reads Cairn's hints. An extra that is not JSON of their form, or is
// over their limits, is another application's business.
func (p *Proof) setExtra(b64 []byte) error {
	b, err := decodeCanonical(b64)
	if err != nil {
		return fmt.Errorf("invalid extra: %w", err)
	}
	var x proofExtra
	if json.Unmarshal(b, &x) != nil || len(x.Leaf) > leaf.MaxSize || len(x.Keys) > leaf.MaxKeys {
		return nil
	}
	if x.Leaf != "" {
		p.Leaf = []byte(x.Leaf)
	}
	if len(x.Keys) > 0 {
		p.Keys = x.Keys
	}
	return nil
}

// VerifyProof verifies that an entry of these bytes is in the log at the
// proof's index, in a checkpoint that pol accepts, and returns the checkpoint.
// The proof's own Leaf plays no part.
func VerifyProof(b []byte, entry []byte, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	p, err := ParseProof(b)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	c, _, err := torchwood.VerifyCheckpoint(p.Checkpoint, pol)
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("verifying the proof's checkpoint: %w", err)
	}
	if err := p.VerifyInclusion(c.Tree, entry); err != nil {
		return torchwood.Checkpoint{}, err
	}
	return c, nil
}

// VerifyInclusion verifies that an entry of these bytes is at the proof's index
// of tree, which must be that of the verified checkpoint.
//
// It does not use tlog.CheckRecord, and so not torchwood.VerifyProof, because
// these do not return if the size is above 2^62.
func (p *Proof) VerifyInclusion(tree tlog.Tree, entry []byte) error {
	if p.Index < 0 || p.Index >= tree.N {
		return fmt.Errorf("index %d is not in a tree of size %d", p.Index, tree.N)
	}
	hash := rfc6962.DefaultHasher.HashLeaf(entry)
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.Index), uint64(tree.N), hash, p.Path, tree.Hash[:])
	if err != nil {
		return fmt.Errorf("the entry is not at index %d of the tree of size %d: %w", p.Index, tree.N, err)
	}
	return nil
}

// checkUnverified checks that signed is a signed checkpoint, whoever signed it.
func checkUnverified(signed []byte) error {
	_, err := note.Open(signed, nil)
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return errors.New("the checkpoint is not a signed note")
	}
	if _, err := torchwood.ParseCheckpoint(unverified.Note.Text); err != nil {
		return fmt.Errorf("parsing the checkpoint: %w", err)
	}
	return nil
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

// proofLines takes lines that end in a newline from the front of rest.
type proofLines struct{ rest []byte }

func (l *proofLines) next() ([]byte, bool) {
	line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
	if !ok {
		return nil, false
	}
	l.rest = rest
	return line, true
}
