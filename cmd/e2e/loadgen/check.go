package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// errWrong is wrapped by what a check found wrong with an answer: the ledger
// may be fast, but it is not right.
var errWrong = errors.New("wrong answer")

// openCheckpoint checks a checkpoint's signature and origin, and its
// cosignatures if the ledger has a policy.
func (l *ledger) openCheckpoint(signed string) (torchwood.Checkpoint, error) {
	n, err := note.Open([]byte(signed), note.VerifierList(l.verifier))
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("%w: opening a checkpoint: %w", errWrong, err)
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		return c, fmt.Errorf("%w: parsing a checkpoint: %w", errWrong, err)
	}
	if c.Origin != l.Origin {
		return c, fmt.Errorf("%w: a checkpoint is of %q, not of %q", errWrong, c.Origin, l.Origin)
	}
	if l.policy != nil {
		if _, _, err := torchwood.VerifyCheckpoint([]byte(signed), l.policy); err != nil {
			return c, fmt.Errorf("%w: a checkpoint of size %d: %w", errWrong, c.N, err)
		}
	}
	return c, nil
}

// checkSubmissions checks sampled answers in full, against the attestations
// that were sent.
func (l *ledger) checkSubmissions(samples []sample, ring attest.Keyring, decode func([]byte) (*cairnv1.SubmitAttestationResponse, error)) error {
	for _, s := range samples {
		resp, err := decode(s.reply)
		if err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		if err := l.checkSubmission(resp, s.req.wire[s.req.body:], ring); err != nil {
			return fmt.Errorf("entry %d: %w", resp.GetIndex(), err)
		}
	}
	return nil
}

func (l *ledger) checkSubmission(resp *cairnv1.SubmitAttestationResponse, envelope []byte, ring attest.Keyring) error {
	att, err := attest.Open(envelope, ring)
	if err != nil {
		return fmt.Errorf("reading what was sent: %w", err)
	}
	if resp.GetLeaf() != string(att.Text) {
		return fmt.Errorf("%w: the leaf is not the one of the attestation", errWrong)
	}
	if !resp.GetCreated() {
		return fmt.Errorf("%w: a new attestation is said to be known", errWrong)
	}
	c, err := l.openCheckpoint(resp.GetCheckpoint())
	if err != nil {
		return err
	}
	return checkInclusion(resp.GetIndex(), c, leaf.Hash(att.Text), resp.GetInclusionProof())
}

func checkInclusion(index int64, c torchwood.Checkpoint, leafHash []byte, path [][]byte) error {
	if index < 0 || index >= c.N {
		return fmt.Errorf("%w: index %d is not in the tree of %d", errWrong, index, c.N)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(c.N), leafHash, path, c.Hash[:]); err != nil {
		return fmt.Errorf("%w: verifying the inclusion proof: %w", errWrong, err)
	}
	return nil
}

// maxProofChecks bounds the entries that are fetched to check proofs of them.
const maxProofChecks = 200

// checkProofs checks sampled inclusion proofs against the tree that they were
// asked for, and the leaves that the ledger gives for their indexes.
func (l *ledger) checkProofs(ctx context.Context, client cairnv1.LedgerServiceClient, samples []sample, tree torchwood.Checkpoint) error {
	checked := 0
	for _, s := range samples {
		if checked == maxProofChecks {
			break
		}
		checked++
		resp := &cairnv1.GetInclusionProofResponse{}
		if err := protojson.Unmarshal(s.reply, resp); err != nil {
			return fmt.Errorf("%w: parsing a proof: %w", errWrong, err)
		}
		if _, err := l.openCheckpoint(resp.GetCheckpoint()); err != nil {
			return err
		}
		asked := frameProof(l.host(), resp.GetIndex(), resp.GetSize())
		if resp.GetSize() != tree.N || !bytes.Equal(asked.wire, s.req.wire) {
			return fmt.Errorf("%w: the proof of %d in %d is not what was asked for", errWrong, resp.GetIndex(), resp.GetSize())
		}
		entry, err := client.GetEntry(ctx, &cairnv1.GetEntryRequest{Index: resp.GetIndex()})
		if err != nil {
			return fmt.Errorf("getting entry %d: %w", resp.GetIndex(), err)
		}
		hash := leaf.Hash([]byte(entry.GetEntry().GetLeaf()))
		if err := checkInclusion(resp.GetIndex(), tree, hash, resp.GetInclusionProof()); err != nil {
			return fmt.Errorf("entry %d: %w", resp.GetIndex(), err)
		}
	}
	if checked == 0 {
		return errors.New("no proof was answered")
	}
	return nil
}
