// Package query answers the questions that a log's readers have, from its tiles,
// its index and its attestations: the reading half of cairn.v1.LedgerService. The
// ledger's server answers with it, and so does a mirror.
//
// Invariants:
//   - Only what the checkpoint covers is told, whatever storage already holds.
//   - What is read from storage is held to the log before it is told: an
//     attestation must open with its entry's keys and yield its leaf.
//   - Every refusal is a *reason.Error, and the size of an answer is bounded.
package query

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/engine"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Service implements the reads of cairnv1.LedgerServiceServer; the other methods
// are unimplemented. Its fields are set before the first call.
type Service struct {
	cairnv1.UnimplementedLedgerServiceServer
	// Latest returns the checkpoint that an answer is made from, or why there is
	// none.
	Latest func() (*checkpoint.Published, error)
	// Refresh has Latest return at least what any process has published by now; nil
	// if no other process publishes.
	Refresh func(context.Context) error
	Prover  *engine.Prover
	Blobs   store.Blobs
	Index   store.Index
	// Keys has the enrolled keys. It may be slower to learn of one than Index.
	Keys interface {
		Lookup(leaf.Fingerprint) (*attest.PublicKey, bool)
	}
	// Learn has Keys know what Index does by now; nil if it always does.
	Learn func(context.Context) error
	// Patience is how long GetArtifact reads attestations before it answers with
	// those that it has; 0 for maxReading.
	Patience time.Duration

	pasts pasts
}

// GetAttestation implements cairnv1.LedgerServiceServer.
func (s *Service) GetAttestation(ctx context.Context, req *cairnv1.GetAttestationRequest) (*cairnv1.GetAttestationResponse, error) {
	return asOf(ctx, s, func(latest *checkpoint.Published) (*cairnv1.GetAttestationResponse, error) {
		return s.getAttestation(ctx, req, latest)
	})
}

func (s *Service) getAttestation(ctx context.Context, req *cairnv1.GetAttestationRequest, latest *checkpoint.Published) (*cairnv1.GetAttestationResponse, error) {
	digest, err := parseSHA256("envelope", req.GetEnvelope())
	if err != nil {
		return nil, err
	}
	found, err := s.Index.Find(ctx, store.EnvelopeTerm(digest), 0, 1)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 || found[0] >= uint64(latest.N) {
		return nil, reason.Errorf(reason.AttestationNotFound, "no attestation %s is logged", digest)
	}
	entries, err := s.Index.Entries(ctx, found)
	if err != nil {
		return nil, err
	}
	att, err := s.open(ctx, &entries[0])
	if err != nil {
		return nil, err
	}
	resp := &cairnv1.GetAttestationResponse{
		Attestation: att.Raw,
		Entry:       protoEntry(&entries[0], digest),
		Claim:       protoClaim(att),
		Checkpoint:  string(latest.Signed),
	}
	keys, err := s.enrolled(ctx, att)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		resp.Keys = append(resp.Keys, ProtoKey(k))
	}
	return resp, nil
}

// enrolled returns the keys of an attestation that are enrolled: all of them, but
// of those that it brings itself. They are as they verify it.
func (s *Service) enrolled(ctx context.Context, att *attest.Attestation) ([]*store.Key, error) {
	keys := make([]*store.Key, 0, len(att.Keys))
	for _, k := range att.Keys {
		key, err := s.Index.Key(ctx, k.Fingerprint)
		switch {
		case err == nil:
			as := *key
			as.PEM = k.PEM
			keys = append(keys, &as)
		case !errors.Is(err, store.ErrNotFound) || !att.Leaf.BringsKeys():
			return nil, err
		}
	}
	return keys, nil
}

// open reads an entry's attestation back from the store. The log says which
// keys signed it and what it comes to; what the store holds must agree.
func (s *Service) open(ctx context.Context, e *store.Entry) (*attest.Attestation, error) {
	l, err := leaf.Parse(e.Text)
	if err != nil {
		return nil, err
	}
	raw, err := s.Blobs.Get(ctx, l.Envelope)
	if errors.Is(err, store.ErrNotFound) {
		return nil, reason.Errorf(reason.AttestationNotFound, "the bytes of attestation %s are not held here", l.Envelope)
	}
	if err != nil {
		return nil, err
	}
	keys := s.known(l)
	att, err := attest.Open(raw, attest.NewKeyring(keys...))
	if _, refused := reason.Of(err); refused && s.Learn != nil {
		if err := s.Learn(ctx); err != nil {
			return nil, err
		}
		keys = s.known(l)
		att, err = attest.Open(raw, attest.NewKeyring(keys...))
	}
	if reason.Is(err, reason.KeyNotValid) {
		if err := s.remember(ctx, keys, e.Index); err != nil {
			return nil, err
		}
		att, err = attest.Open(raw, attest.NewKeyring(keys...))
	}
	if err != nil {
		return nil, reason.Errorf(reason.InternalError, "reading attestation %s back: %w", l.Envelope, err)
	}
	if !bytes.Equal(att.Text, e.Text) {
		return nil, reason.Errorf(reason.InternalError, "the bytes held of attestation %s are not what entry %d logs", l.Envelope, e.Index)
	}
	return att, nil
}

// known returns those of an entry's keys that Keys has.
func (s *Service) known(l *leaf.Leaf) []*attest.PublicKey {
	var keys []*attest.PublicKey
	for _, fp := range l.Keys {
		if k, ok := s.Keys.Lookup(fp); ok {
			keys = append(keys, k)
		}
	}
	return keys
}

// remember makes OpenPGP keys what they were before an entry.
func (s *Service) remember(ctx context.Context, list []*attest.PublicKey, index uint64) error {
	for i, k := range list {
		if !k.Fingerprint.OpenPGP() {
			continue
		}
		was, err := s.asOf(ctx, k, index)
		if err != nil {
			return err
		}
		list[i] = was
	}
	return nil
}

// GetKey implements cairnv1.LedgerServiceServer.
func (s *Service) GetKey(ctx context.Context, req *cairnv1.GetKeyRequest) (*cairnv1.GetKeyResponse, error) {
	return asOf(ctx, s, func(latest *checkpoint.Published) (*cairnv1.GetKeyResponse, error) { return s.getKey(ctx, req, latest) })
}

func (s *Service) getKey(ctx context.Context, req *cairnv1.GetKeyRequest, latest *checkpoint.Published) (*cairnv1.GetKeyResponse, error) {
	fp, err := parseFingerprint(req.GetFingerprint())
	if err != nil {
		return nil, err
	}
	key, err := s.Index.Key(ctx, fp)
	if errors.Is(err, store.ErrNotFound) || (err == nil && key.Enrolled >= uint64(latest.N)) {
		return nil, reason.Errorf(reason.KeyNotFound, "key %s is not enrolled", fp)
	}
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetKeyResponse{Key: ProtoKey(key), Checkpoint: string(latest.Signed)}, nil
}

// GetCheckpoint implements cairnv1.LedgerServiceServer.
func (s *Service) GetCheckpoint(context.Context, *cairnv1.GetCheckpointRequest) (*cairnv1.GetCheckpointResponse, error) {
	latest, err := s.Latest()
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetCheckpointResponse{
		Checkpoint: string(latest.Signed),
		Origin:     latest.Origin,
		Size:       latest.N,
		RootHash:   latest.Hash[:],
	}, nil
}

// GetEntry implements cairnv1.LedgerServiceServer.
func (s *Service) GetEntry(ctx context.Context, req *cairnv1.GetEntryRequest) (*cairnv1.GetEntryResponse, error) {
	return asOf(ctx, s, func(latest *checkpoint.Published) (*cairnv1.GetEntryResponse, error) {
		return s.getEntry(ctx, req, latest)
	})
}

func (s *Service) getEntry(ctx context.Context, req *cairnv1.GetEntryRequest, latest *checkpoint.Published) (*cairnv1.GetEntryResponse, error) {
	index := req.GetIndex()
	if index < 0 || index >= latest.N {
		return nil, reason.Errorf(reason.EntryNotFound, "entry %d is not in the published log of %d entries", index, latest.N)
	}
	entries, err := s.Index.Entries(ctx, []uint64{uint64(index)})
	if err != nil {
		return nil, err
	}
	entry, err := entryOf(&entries[0])
	if err != nil {
		return nil, err
	}
	proof, err := s.Prover.Inclusion(ctx, uint64(index), uint64(latest.N), uint64(latest.N))
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetEntryResponse{Entry: entry, Checkpoint: string(latest.Signed), InclusionProof: proof}, nil
}

// GetInclusionProof implements cairnv1.LedgerServiceServer.
func (s *Service) GetInclusionProof(ctx context.Context, req *cairnv1.GetInclusionProofRequest) (*cairnv1.GetInclusionProofResponse, error) {
	return asOf(ctx, s, func(latest *checkpoint.Published) (*cairnv1.GetInclusionProofResponse, error) {
		return s.getInclusionProof(ctx, req, latest)
	})
}

func (s *Service) getInclusionProof(ctx context.Context, req *cairnv1.GetInclusionProofRequest, latest *checkpoint.Published) (*cairnv1.GetInclusionProofResponse, error) {
	size, err := sizeWithin("size", req.GetSize(), latest)
	if err != nil {
		return nil, err
	}
	index, err := s.proofIndex(ctx, req, size)
	if err != nil {
		return nil, err
	}
	proof, err := s.Prover.Inclusion(ctx, index, size, uint64(latest.N))
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetInclusionProofResponse{
		Index: int64(index), Size: int64(size), InclusionProof: proof, Checkpoint: string(latest.Signed),
	}, nil
}

// proofIndex returns the index that a request names, directly or by leaf hash.
func (s *Service) proofIndex(ctx context.Context, req *cairnv1.GetInclusionProofRequest, size uint64) (uint64, error) {
	if (req.Index == nil) == (req.GetLeafHash() == "") {
		return 0, reason.Errorf(reason.ArgumentInvalid, "give either index or leaf_hash")
	}
	if req.Index != nil {
		if i := req.GetIndex(); i >= 0 && uint64(i) < size {
			return uint64(i), nil
		}
		return 0, reason.Errorf(reason.SizeOutOfRange, "index %d is not in the tree of size %d", req.GetIndex(), size)
	}
	hash, err := parseSHA256("leaf_hash", req.GetLeafHash())
	if err != nil {
		return 0, err
	}
	found, err := s.Index.Find(ctx, store.LeafTerm(hash.Bytes()), 0, 1)
	if err != nil {
		return 0, err
	}
	if len(found) == 0 || found[0] >= size {
		return 0, reason.Errorf(reason.EntryNotFound, "no entry with leaf hash %s is in the tree of size %d", hash.Hex(), size)
	}
	return found[0], nil
}

// GetConsistencyProof implements cairnv1.LedgerServiceServer.
func (s *Service) GetConsistencyProof(ctx context.Context, req *cairnv1.GetConsistencyProofRequest) (*cairnv1.GetConsistencyProofResponse, error) {
	return asOf(ctx, s, func(latest *checkpoint.Published) (*cairnv1.GetConsistencyProofResponse, error) {
		return s.getConsistencyProof(ctx, req, latest)
	})
}

func (s *Service) getConsistencyProof(ctx context.Context, req *cairnv1.GetConsistencyProofRequest, latest *checkpoint.Published) (*cairnv1.GetConsistencyProofResponse, error) {
	to, err := sizeWithin("to", req.GetTo(), latest)
	if err != nil {
		return nil, err
	}
	from := req.GetFrom()
	if from < 0 || uint64(from) > to {
		return nil, reason.Errorf(reason.SizeOutOfRange, "from %d is not between 0 and %d", from, to)
	}
	proof, err := s.Prover.Consistency(ctx, uint64(from), to, uint64(latest.N))
	if err != nil {
		return nil, err
	}
	return &cairnv1.GetConsistencyProofResponse{
		ConsistencyProof: proof, From: from, To: int64(to), Checkpoint: string(latest.Signed),
	}, nil
}

// sizeWithin returns a requested tree size, or the published one for 0.
func sizeWithin(what string, size int64, latest *checkpoint.Published) (uint64, error) {
	if size == 0 {
		return uint64(latest.N), nil
	}
	if size < 0 || size > latest.N {
		return 0, reason.Errorf(reason.SizeOutOfRange, "%s %d is not between 1 and the published size %d", what, size, latest.N)
	}
	return uint64(size), nil
}
