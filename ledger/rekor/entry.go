// Package rekor reads Rekor v1 logs, verifies what they answer with rekor's own
// library, and adds entries to them. docs/formats/rekor-entry.md says what is
// read of an entry.
//
// Invariants:
//   - Nothing of an entry is believed before Entry.Verify, and that against a key
//     that the caller has pinned: no key is ever taken from the log itself.
//   - An Entry has one JSON text. ParseEntry refuses any other.
//   - Verifying needs no network, no clock and no trust root.
//   - What a server answers is bounded, and never leads to a panic.
package rekor

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/rekor/pkg/verify"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Limits of an entry.
const (
	MaxBody       = 512 << 10 // bytes; Cairn's attestation of the entry must fit into 1 MiB
	MaxCheckpoint = 4 << 10
	maxHashes     = 63 // of a tree whose size is an int64
	maxSignature  = 1 << 10
)

// Entry is an entry of a Rekor v1 log with the proof that it is logged, as the
// log answers with it. The members have the names and forms of Rekor's API; the
// UUID, there the name of the entry's member, is a member of its own.
type Entry struct {
	UUID           string       `json:"uuid"` // tree id and leaf hash, 80 hex digits
	Body           []byte       `json:"body"` // the canonical entry, which is the leaf
	IntegratedTime int64        `json:"integratedTime"`
	LogID          string       `json:"logID"`    // SHA-256 of the log's key
	LogIndex       int64        `json:"logIndex"` // over all shards of the log
	Verification   Verification `json:"verification"`
}

// Verification is what proves an entry.
type Verification struct {
	InclusionProof       InclusionProof `json:"inclusionProof"`
	SignedEntryTimestamp []byte         `json:"signedEntryTimestamp"`
}

// InclusionProof is that an entry is in the tree of a signed checkpoint. Its
// index is within one shard.
type InclusionProof struct {
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"hashes"`
	LogIndex   int64    `json:"logIndex"`
	RootHash   string   `json:"rootHash"`
	TreeSize   int64    `json:"treeSize"`
}

// ParseEntry reads the one text that Marshal writes of an entry.
func ParseEntry(text []byte) (*Entry, error) {
	var e Entry
	if err := json.Unmarshal(text, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("parsing Rekor entry: %w", err)
	}
	again, err := e.Marshal()
	if err != nil {
		return nil, fmt.Errorf("parsing Rekor entry: %w", err)
	}
	if !bytes.Equal(again, text) {
		return nil, errors.New("parsing Rekor entry: it is not in its one encoding")
	}
	return &e, nil
}

// Marshal returns the entry's one JSON text, or an error if its form is wrong.
func (e *Entry) Marshal() (jsontext.Value, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding Rekor entry: %w", err)
	}
	return text, nil
}

// check checks the form of everything that rekor's library takes for granted.
func (e *Entry) check() error {
	p := &e.Verification.InclusionProof
	switch {
	case !isHex(e.UUID, 80):
		return fmt.Errorf("uuid %.100q is not 80 lower-case hex digits, a tree id and a leaf hash", e.UUID)
	case len(e.Body) == 0 || len(e.Body) > MaxBody:
		return fmt.Errorf("the body has %d bytes, want 1 to %d", len(e.Body), MaxBody)
	case !isHex(e.LogID, 64):
		return fmt.Errorf("logID %.80q is not the SHA-256 of a key", e.LogID)
	case e.IntegratedTime < 0 || e.LogIndex < 0 || p.LogIndex < 0 || p.TreeSize <= p.LogIndex:
		return fmt.Errorf("index %d (%d of %d in its shard), time %d: one of them cannot be", e.LogIndex, p.LogIndex, p.TreeSize, e.IntegratedTime)
	case p.Hashes == nil || len(p.Hashes) > maxHashes:
		return fmt.Errorf("the inclusion proof has %d hashes, want a list of at most %d", len(p.Hashes), maxHashes)
	case !isHex(p.RootHash, 64):
		return fmt.Errorf("rootHash %.80q is no hash", p.RootHash)
	case len(p.Checkpoint) == 0 || len(p.Checkpoint) > MaxCheckpoint:
		return fmt.Errorf("the checkpoint has %d bytes, want 1 to %d", len(p.Checkpoint), MaxCheckpoint)
	}
	for _, h := range p.Hashes {
		if !isHex(h, 64) {
			return fmt.Errorf("the inclusion proof's %.80q is no hash", h)
		}
	}
	if n := len(e.Verification.SignedEntryTimestamp); n == 0 || n > maxSignature {
		return fmt.Errorf("the signed entry timestamp has %d bytes, want 1 to %d", n, maxSignature)
	}
	return nil
}

func isHex(s string, length int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(s) == length && hex.EncodeToString(b) == s
}

// LeafHash is the entry's leaf hash in the log's Merkle tree.
func (e *Entry) LeafHash() string {
	return hex.EncodeToString(rfc6962.DefaultHasher.HashLeaf(e.Body))
}

// Verify verifies that the log with this key has the entry: its inclusion in the
// tree of a checkpoint that the key signed, and the key's promise, the signed
// entry timestamp.
func (e *Entry) Verify(key *Key) error {
	if err := e.check(); err != nil {
		return err
	}
	if e.LogID != key.ID {
		return fmt.Errorf("the entry is of log %s, and the pinned key is that of log %s (each shard of a log may have a key of its own)", e.LogID, key.ID)
	}
	if want := e.LeafHash(); e.UUID[16:] != want {
		return fmt.Errorf("the body hashes to %s, and not to the UUID %s", want, e.UUID)
	}
	if err := verify.VerifyLogEntry(context.Background(), e.model(), key.verifier); err != nil {
		return fmt.Errorf("verifying with the pinned key of log %s: %w", key.ID, err)
	}
	return e.checkCheckpoint()
}

// checkCheckpoint checks what rekor's library does not look at in a checkpoint
// whose signature verified: that it is of the tree that the proof and the UUID
// name.
func (e *Entry) checkCheckpoint() error {
	var c util.SignedCheckpoint
	p := &e.Verification.InclusionProof
	if err := c.UnmarshalText([]byte(p.Checkpoint)); err != nil {
		return fmt.Errorf("reading the checkpoint: %w", err)
	}
	if c.Size != uint64(p.TreeSize) {
		return fmt.Errorf("the checkpoint is of size %d, and the inclusion proof of %d", c.Size, p.TreeSize)
	}
	host, id, ok := strings.Cut(c.Origin, " - ")
	// Neither the name before a signature nor a second copy of it is signed.
	if len(c.Signatures) != 1 || c.Signatures[0].Name != host || c.SignedNote.String() != p.Checkpoint {
		return errors.New("the checkpoint does not have one signature, by the host that its origin names")
	}
	tree, err := strconv.ParseInt(id, 10, 64)
	if !ok || err != nil || fmt.Sprintf("%016x", tree) != e.UUID[:16] {
		return fmt.Errorf("the UUID's tree %s is not that of the checkpoint %.80q", e.UUID[:16], c.Origin)
	}
	return nil
}

// model returns the entry as rekor's library has it.
func (e *Entry) model() *models.LogEntryAnon {
	p := e.Verification.InclusionProof
	return &models.LogEntryAnon{
		Body:           base64.StdEncoding.EncodeToString(e.Body),
		IntegratedTime: &e.IntegratedTime,
		LogID:          &e.LogID,
		LogIndex:       &e.LogIndex,
		Verification: &models.LogEntryAnonVerification{
			InclusionProof: &models.InclusionProof{
				Checkpoint: &p.Checkpoint, Hashes: p.Hashes, LogIndex: &p.LogIndex, RootHash: &p.RootHash, TreeSize: &p.TreeSize,
			},
			SignedEntryTimestamp: e.Verification.SignedEntryTimestamp,
		},
	}
}

// fromModel returns the entry that a log answered with.
func fromModel(uuid string, m *models.LogEntryAnon) (*Entry, error) {
	text, _ := m.Body.(string)
	body, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("decoding the body: %w", err)
	}
	v := m.Verification
	if v == nil || v.InclusionProof == nil || m.IntegratedTime == nil || m.LogID == nil || m.LogIndex == nil {
		return nil, errors.New("the entry comes without a proof")
	}
	p := v.InclusionProof
	if p.Checkpoint == nil || p.LogIndex == nil || p.RootHash == nil || p.TreeSize == nil {
		return nil, errors.New("the entry comes without a whole inclusion proof")
	}
	e := &Entry{
		UUID: uuid, Body: body, IntegratedTime: *m.IntegratedTime, LogID: *m.LogID, LogIndex: *m.LogIndex,
		Verification: Verification{
			InclusionProof: InclusionProof{
				Checkpoint: *p.Checkpoint, Hashes: p.Hashes, LogIndex: *p.LogIndex, RootHash: *p.RootHash, TreeSize: *p.TreeSize,
			},
			SignedEntryTimestamp: v.SignedEntryTimestamp,
		},
	}
	if e.Verification.InclusionProof.Hashes == nil {
		e.Verification.InclusionProof.Hashes = []string{} // of a tree of one entry
	}
	return e, e.check()
}
