package query

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// LatestOf returns what gives the checkpoint that was published last, for a Service.
func LatestOf(board *checkpoint.Board) func() (*checkpoint.Published, error) {
	return func() (*checkpoint.Published, error) {
		p := board.Latest()
		if p == nil {
			return nil, &reason.Error{Reason: reason.NothingPublished, Message: "no checkpoint is published yet", RetryAfter: time.Second}
		}
		return p, nil
	}
}

// Answer answers a request of the service with the message that it is answered
// with: what a client is given that asks no ledger. It reads, and does nothing else.
func (s *Service) Answer(ctx context.Context, req proto.Message) (proto.Message, error) {
	switch r := req.(type) {
	case *cairnv1.GetAttestationRequest:
		return message(s.GetAttestation(ctx, r))
	case *cairnv1.ListAttestationsRequest:
		return message(s.ListAttestations(ctx, r))
	case *cairnv1.GetArtifactRequest:
		return message(s.GetArtifact(ctx, r))
	case *cairnv1.GetKeyRequest:
		return message(s.GetKey(ctx, r))
	case *cairnv1.GetCheckpointRequest:
		return message(s.GetCheckpoint(ctx, r))
	case *cairnv1.GetEntryRequest:
		return message(s.GetEntry(ctx, r))
	case *cairnv1.GetInclusionProofRequest:
		return message(s.GetInclusionProof(ctx, r))
	case *cairnv1.GetConsistencyProofRequest:
		return message(s.GetConsistencyProof(ctx, r))
	}
	return nil, reason.Errorf(reason.MirrorOnly, "a mirror of a ledger answers no %s", req.ProtoReflect().Descriptor().Name())
}

// message keeps a nil answer from being a message.
func message[M proto.Message](m M, err error) (proto.Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}
