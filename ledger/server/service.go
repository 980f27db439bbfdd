// Package server serves a ledger: LedgerService over gRPC, the same over REST
// through a gateway, and the log's tiles as plain HTTP.
//
// Invariants:
//   - REST requests reach the service through an in-process gRPC channel, with
//     the interceptors of the gRPC server: what applies to one applies to both.
//   - Every error carries an ErrorInfo with a reason of package reason.
//   - Only what the published checkpoint covers is served, whatever storage
//     already holds: what is not published may still change in a crash.
//   - Memory and time of a request are bounded: sizes are limited before
//     parsing, and every unary request has a deadline.
package server

import (
	"context"
	"strconv"
	"time"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/intake"
	"github.com/cairnlog/cairn/ledger/query"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// publicationPatience is how long a submitter waits for a checkpoint before it
// is told to come back for the proof.
const publicationPatience = 20 * time.Second

// service implements cairnv1.LedgerServiceServer.
type service struct {
	*query.Service // the reads
	intake         *intake.Intake
	board          *checkpoint.Board
	closing        <-chan struct{} // closed when the server shuts down
}

// SubmitAttestation implements cairnv1.LedgerServiceServer.
func (s *service) SubmitAttestation(ctx context.Context, req *cairnv1.SubmitAttestationRequest) (*cairnv1.SubmitAttestationResponse, error) {
	wait := req.GetWait()
	if wait != "" && wait != "published" && wait != "sequenced" {
		return nil, reason.Errorf(reason.ArgumentInvalid, "wait %.40q is neither published nor sequenced", wait)
	}
	r, err := s.intake.Submit(ctx, req.GetAttestation(), remoteAddress(ctx))
	if err != nil {
		return nil, err
	}
	return s.submitted(ctx, r, wait)
}

// submitted returns the answer to a submission, once there is what is waited for.
func (s *service) submitted(ctx context.Context, r *intake.Result, wait string) (*cairnv1.SubmitAttestationResponse, error) {
	resp := &cairnv1.SubmitAttestationResponse{Index: int64(r.Index), Leaf: string(r.Leaf), Created: r.Created}
	if wait == "sequenced" {
		return resp, nil
	}
	published, err := s.awaitPublication(ctx, r.Index)
	if err != nil {
		return nil, err
	}
	resp.Checkpoint = string(published.Signed)
	resp.InclusionProof, err = s.Prover.Inclusion(ctx, r.Index, uint64(published.N), uint64(published.N))
	return resp, err
}

func (s *service) awaitPublication(ctx context.Context, index uint64) (*checkpoint.Published, error) {
	waitCtx, cancel := context.WithTimeout(ctx, publicationPatience)
	defer cancel()
	published, err := s.board.Wait(waitCtx, index+1)
	if err != nil {
		return nil, &reason.Error{
			Reason:     reason.PublicationDelayed,
			Message:    "the entry is durable at index " + strconv.FormatUint(index, 10) + ", but not yet published",
			RetryAfter: 5 * time.Second,
			Cause:      err,
		}
	}
	return published, nil
}

// WatchCheckpoints implements cairnv1.LedgerServiceServer.
func (s *service) WatchCheckpoints(_ *cairnv1.WatchCheckpointsRequest, stream cairnv1.LedgerService_WatchCheckpointsServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	var seen *checkpoint.Published
	for {
		latest, err := s.board.After(ctx, seen)
		if err != nil {
			return reason.Errorf(reason.ShuttingDown, "the stream ended: %w", err)
		}
		seen = latest
		if err := stream.Send(&cairnv1.WatchCheckpointsResponse{Checkpoint: string(latest.Signed), Size: latest.N}); err != nil {
			return err
		}
	}
}
