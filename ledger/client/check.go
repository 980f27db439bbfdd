package client

import (
	"bytes"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// MisbehaviourError says that a ledger's answer contradicts itself, what was
// asked, an earlier answer or the policy. It is never a reason to ask again.
type MisbehaviourError struct {
	Message string
	Err     error // may be nil
}

func (e *MisbehaviourError) Error() string {
	if e.Err == nil {
		return e.Message
	}
	return e.Message + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *MisbehaviourError) Unwrap() error { return e.Err }

// Misbehaved returns a *MisbehaviourError without a cause.
func Misbehaved(format string, args ...any) error {
	return &MisbehaviourError{Message: fmt.Sprintf(format, args...)}
}

// VerifyCheckpoint reads a signed checkpoint and checks it against pol. With a
// nil pol it is only read: then it commits nobody to anything.
func VerifyCheckpoint(signed string, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	if pol == nil {
		c, err := readCheckpoint(signed)
		if err != nil {
			return c, misbehaved("the checkpoint does not parse", err)
		}
		return c, nil
	}
	c, _, err := torchwood.VerifyCheckpoint([]byte(signed), pol)
	if err != nil {
		return torchwood.Checkpoint{}, misbehaved("the checkpoint does not satisfy the policy", err)
	}
	return c, nil
}

// readCheckpoint reads a signed note without its signatures.
func readCheckpoint(signed string) (torchwood.Checkpoint, error) {
	n, err := note.Open([]byte(signed), note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) {
		n, err = unverified.Note, nil
	}
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	return torchwood.ParseCheckpoint(n.Text)
}

// VerifySubmission checks that the entry in the answer to a submission is in
// the tree of the checkpoint it came with, and that checkpoint against pol,
// which may be nil as for VerifyCheckpoint.
func VerifySubmission(resp *cairnv1.SubmitAttestationResponse, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	return verifyEntry(resp.GetLeaf(), resp.GetIndex(), resp.GetInclusionProof(), resp.GetCheckpoint(), pol)
}

// VerifyEntry checks that an answer is the entry at index: that it is in the
// tree of the checkpoint it came with, and that checkpoint against pol, which
// may be nil as for VerifyCheckpoint.
func VerifyEntry(resp *cairnv1.GetEntryResponse, index int64, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	e := resp.GetEntry()
	if e.GetIndex() != index {
		return torchwood.Checkpoint{}, Misbehaved("asked for entry %d, the answer is entry %d", index, e.GetIndex())
	}
	l, err := leaf.Parse([]byte(e.GetLeaf()))
	if err != nil {
		return torchwood.Checkpoint{}, misbehaved("the leaf does not parse", err)
	}
	if e.GetEnvelope() != l.Envelope.Hex() {
		return torchwood.Checkpoint{}, Misbehaved("the answer's envelope %.80q is not the leaf's, %s", e.GetEnvelope(), l.Envelope)
	}
	return verifyEntry(e.GetLeaf(), index, resp.GetInclusionProof(), resp.GetCheckpoint(), pol)
}

func verifyEntry(text string, index int64, path [][]byte, signed string, pol torchwood.Policy) (torchwood.Checkpoint, error) {
	if _, err := leaf.Parse([]byte(text)); err != nil {
		return torchwood.Checkpoint{}, misbehaved("the leaf does not parse", err)
	}
	c, err := VerifyCheckpoint(signed, pol)
	if err != nil {
		return c, err
	}
	return c, VerifyInclusion(leaf.Hash([]byte(text)), index, path, c.Tree)
}

// VerifyInclusion checks that the leaf with hash is at index in tree.
func VerifyInclusion(hash []byte, index int64, path [][]byte, tree tlog.Tree) error {
	root, err := rootFrom(hash, index, tree.N, path)
	if err != nil {
		return misbehaved(fmt.Sprintf("the inclusion proof of entry %d is not one for size %d", index, tree.N), err)
	}
	if root != tree.Hash {
		return Misbehaved("the inclusion proof of entry %d does not lead to the root of size %d", index, tree.N)
	}
	return nil
}

// VerifyConsistency checks that the tree to extends the tree from.
func VerifyConsistency(from, to tlog.Tree, path [][]byte) error {
	if from.N > to.N {
		return Misbehaved("the log shrank from size %d to size %d", from.N, to.N)
	}
	if from.N < 0 {
		return Misbehaved("size %d is negative", from.N)
	}
	err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(from.N), uint64(to.N), path, from.Hash[:], to.Hash[:])
	if from.N == 0 && err == nil && from.Hash != emptyRoot() {
		err = errors.New("the root of size 0 is not that of an empty tree")
	}
	var mismatch proof.RootMismatchError
	switch {
	case errors.As(err, &mismatch):
		return Misbehaved("size %d does not extend size %d: the proof leads to other roots", to.N, from.N)
	case err != nil:
		return misbehaved(fmt.Sprintf("size %d does not extend size %d", to.N, from.N), err)
	}
	return nil
}

// RootAt computes the root of the tree of the given size from its last entry
// and the proof that it is in that tree. The root is only as good as these:
// hold it to a checkpoint with VerifyConsistency.
func RootAt(size int64, lastLeaf []byte, path [][]byte) (tlog.Tree, error) {
	if size == 0 {
		return tlog.Tree{Hash: emptyRoot()}, nil
	}
	root, err := rootFrom(leaf.Hash(lastLeaf), size-1, size, path)
	if err != nil {
		return tlog.Tree{}, misbehaved(fmt.Sprintf("the inclusion proof of entry %d is not one for size %d", size-1, size), err)
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

func rootFrom(hash []byte, index, size int64, path [][]byte) (tlog.Hash, error) {
	if index < 0 || size < 0 {
		return tlog.Hash{}, errors.New("negative index or size")
	}
	for _, h := range path {
		if len(h) != tlog.HashSize {
			return tlog.Hash{}, fmt.Errorf("a hash of %d bytes, want %d", len(h), tlog.HashSize)
		}
	}
	root, err := proof.RootFromInclusionProof(rfc6962.DefaultHasher, uint64(index), uint64(size), hash, path)
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.Hash(root), nil
}

func emptyRoot() tlog.Hash { return tlog.Hash(rfc6962.DefaultHasher.EmptyRoot()) }

// VerifyAttestation checks that an answer's bytes are those of its leaf: that
// they open with the keys it brings, and yield that leaf to the letter. It
// returns the attestation as it was opened here, so that nothing the ledger
// says about it needs to be believed.
func VerifyAttestation(resp *cairnv1.GetAttestationResponse) (*attest.Attestation, error) {
	a, err := open(resp.GetAttestation(), resp.GetKeys())
	if err != nil {
		return nil, err
	}
	if text := resp.GetEntry().GetLeaf(); text != string(a.Text) {
		return nil, Misbehaved("the attestation yields another leaf than that of entry %d", resp.GetEntry().GetIndex())
	}
	return a, nil
}

// VerifyLogged checks that a logged leaf stands for the attestation raw, which
// the given keys signed: it is raw's own leaf, or that of an earlier submission
// of the same payload by the same keys.
func VerifyLogged(raw []byte, keys []*cairnv1.Key, logged string) (*attest.Attestation, error) {
	l, err := leaf.Parse([]byte(logged))
	if err != nil {
		return nil, misbehaved("the leaf does not parse", err)
	}
	a, err := open(raw, keys)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(a.Text, []byte(logged)) {
		return a, nil
	}
	if a.Leaf.Identity() != l.Identity() {
		return nil, Misbehaved("the ledger logged something else than what was submitted")
	}
	// Same payload, same keys: only the envelope may differ.
	same := *a.Leaf
	same.Envelope = l.Envelope
	text, err := same.Marshal()
	if err != nil || string(text) != logged {
		return nil, Misbehaved("the leaf that the ledger logged does not follow from what was submitted")
	}
	return a, nil
}

func open(raw []byte, keys []*cairnv1.Key) (*attest.Attestation, error) {
	ring := make([]*attest.PublicKey, 0, len(keys))
	for _, k := range keys {
		p, err := attest.ParsePublicKey([]byte(k.GetPublicKey()))
		if err != nil {
			return nil, misbehaved("a key in the answer does not parse", err)
		}
		if string(p.Fingerprint) != k.GetFingerprint() {
			return nil, Misbehaved("the answer calls key %s %.80q", p.Fingerprint, k.GetFingerprint())
		}
		ring = append(ring, p)
	}
	a, err := attest.Open(raw, attest.NewKeyring(ring...))
	if err != nil {
		return nil, misbehaved("the attestation does not open with the keys in the answer", err)
	}
	return a, nil
}

func misbehaved(what string, err error) error { return &MisbehaviourError{Message: what, Err: err} }
