package client

import (
	"context"
	"fmt"

	"filippo.io/torchwood"

	"github.com/cairnlog/cairn/ledger/leaf"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Submission is an attestation that is proven to be in the tree of a published
// checkpoint.
type Submission struct {
	Answer     *cairnv1.SubmitAttestationResponse
	Checkpoint torchwood.Checkpoint
	// Leaf is the entry's: that of the attestation, or of an earlier one with the
	// same payload and keys in other bytes.
	Leaf *leaf.Leaf
	Keys []*cairnv1.Key // that signed
}

// Submit logs an attestation and waits until that is published. It verifies
// that what the ledger logged is what was submitted, under the keys that signed
// it, that the entry is in the checkpoint's tree, and the checkpoint against pol,
// which may be nil as for VerifyCheckpoint. Without keys, it asks the ledger for
// those of the entry; that they open the attestation is verified.
func (c *Client) Submit(ctx context.Context, raw []byte, keys []*cairnv1.Key, pol torchwood.Policy) (*Submission, error) {
	resp, err := c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: raw})
	if err != nil {
		return nil, err
	}
	s := &Submission{Answer: resp, Keys: keys}
	if s.Checkpoint, err = VerifySubmission(resp, pol); err != nil {
		return nil, err
	}
	if s.Leaf, err = leaf.Parse([]byte(resp.GetLeaf())); err != nil {
		return nil, misbehaved("the leaf does not parse", err)
	}
	if len(keys) == 0 {
		if s.Keys, err = c.keysOf(ctx, s, pol); err != nil {
			return nil, fmt.Errorf("getting back what was logged at index %d: %w", resp.GetIndex(), err)
		}
	}
	if _, err := VerifyLogged(raw, s.Keys, resp.GetLeaf()); err != nil {
		return nil, err
	}
	return s, nil
}

// keysOf returns the keys that signed what was logged, in its own bytes.
func (c *Client) keysOf(ctx context.Context, s *Submission, pol torchwood.Policy) ([]*cairnv1.Key, error) {
	resp, err := c.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: s.Leaf.Envelope.Hex()})
	if err != nil {
		return nil, err
	}
	latest, err := VerifyCheckpoint(resp.GetCheckpoint(), pol)
	if err != nil {
		return nil, err
	}
	if latest.Origin != s.Checkpoint.Origin {
		return nil, Misbehaved("the ledger answers of log %q, and of log %q before", latest.Origin, s.Checkpoint.Origin)
	}
	att, err := VerifyAttestation(resp)
	if err != nil {
		return nil, err
	}
	if att.Leaf.Envelope != s.Leaf.Envelope {
		return nil, Misbehaved("asked for attestation %s, the answer is %s", s.Leaf.Envelope, att.Leaf.Envelope)
	}
	return resp.GetKeys(), nil
}
