// Package tlogproof reads, writes and verifies C2SP tlog-proof files, which say
// that an entry is in a log, and parses the checkpoints in them.
//
// Invariants:
//   - Parse accepts one text for each Proof and foreign extra, and
//     ParseCheckpoint one for each Checkpoint: there is no second spelling of a
//     number or of base64.
//   - Parse verifies nothing. Whoever uses a Proof verifies its checkpoint's
//     signatures, then inclusion in that checkpoint's tree.
//   - Everything is bounded, and nothing panics or fails to return.
//
// The package does no I/O, and links nothing that could: a verifier depends on
// it.
package tlogproof

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/leaf"
)

// Limits of a proof file.
const (
	MaxSize   = 4 << 20 // bytes: leaf.MaxKeys OpenPGP keys of the largest size fit
	MaxHashes = 63      // of a tree whose size is an int64
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

// extra is the JSON of a proof's extra line. Members that a later version
// adds are ignored, as they are hints too.
type extra struct {
	Leaf string   `json:"leaf,omitempty"`
	Keys []string `json:"keys,omitempty"`
}

const header = "c2sp.org/tlog-proof@v1"

// Marshal returns the proof file, or an error if Parse would refuse it.
func (p *Proof) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("writing tlog-proof: %w", err)
	}
	b := []byte(header + "\n")
	if len(p.Leaf) > 0 || len(p.Keys) > 0 {
		x, err := json.Marshal(extra{Leaf: string(p.Leaf), Keys: p.Keys})
		if err != nil {
			return nil, fmt.Errorf("writing tlog-proof: encoding its extra: %w", err)
		}
		b = fmt.Appendf(b, "extra %s\n", base64.StdEncoding.EncodeToString(x))
	}
	b = fmt.Appendf(b, "index %d\n", p.Index)
	for _, h := range p.Path {
		b = fmt.Appendf(b, "%s\n", base64.StdEncoding.EncodeToString(h))
	}
	b = append(append(b, '\n'), p.Checkpoint...)
	if len(b) > MaxSize {
		return nil, fmt.Errorf("writing tlog-proof: %d bytes are over the limit of %d", len(b), MaxSize)
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
	if len(p.Path) > MaxHashes {
		return fmt.Errorf("%d hashes are over the limit of %d", len(p.Path), MaxHashes)
	}
	for i, h := range p.Path {
		if len(h) != tlog.HashSize {
			return fmt.Errorf("hash %d has %d bytes, want %d", i, len(h), tlog.HashSize)
		}
	}
	return checkUnverified(p.Checkpoint)
}

// Parse reads a proof file. It accepts proofs of other logs too: if the
// extra is absent or not Cairn's, Leaf and Keys are nil. It verifies nothing.
func Parse(b []byte) (*Proof, error) {
	p, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("parsing tlog-proof: %w", err)
	}
	return p, nil
}

func parse(b []byte) (*Proof, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", len(b), MaxSize)
	}
	l := lines{rest: b}
	if line, ok := l.next(); !ok || string(line) != header {
		return nil, fmt.Errorf("the first line is not %q", header)
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
		if len(p.Path) == MaxHashes {
			return nil, fmt.Errorf("more than %d hashes", MaxHashes)
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
	var x extra
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

// VerifyInclusion verifies that an entry of these bytes is at the proof's index
// of tree, which must be that of the verified checkpoint.
//
// It does not use tlog.CheckRecord, which does not return if the size is above
// 2^62.
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
	_, err = ParseCheckpoint(unverified.Note.Text)
	return err
}

// lines takes lines that end in a newline from the front of rest.
type lines struct{ rest []byte }

func (l *lines) next() ([]byte, bool) {
	line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
	if !ok {
		return nil, false
	}
	l.rest = rest
	return line, true
}
