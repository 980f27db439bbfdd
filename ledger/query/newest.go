package query

import (
	"context"
	"slices"

	"github.com/cairnlog/cairn/ledger/checkpoint"
	"github.com/cairnlog/cairn/ledger/reason"
)

// asOf answers from the latest checkpoint. If that does not cover what is asked
// for, it looks whether another process published one that does: who was told of an
// entry there may ask for it here.
func asOf[A any](ctx context.Context, s *Service, answer func(*checkpoint.Published) (A, error)) (A, error) {
	var a A
	latest, err := s.Latest()
	if err == nil {
		a, err = answer(latest)
	}
	if s.Refresh == nil || !mayBeLater(err) {
		return a, err
	}
	if err := s.Refresh(ctx); err != nil {
		return a, err
	}
	newest, failed := s.Latest()
	if failed != nil || newest == latest {
		return a, err
	}
	return answer(newest)
}

// mayBeLater reports whether an answer may be another by a later checkpoint.
func mayBeLater(err error) bool {
	r, ok := reason.Of(err)
	if !ok {
		return false
	}
	switch r.Reason {
	case reason.EntryNotFound, reason.AttestationNotFound, reason.KeyNotFound, reason.SizeOutOfRange, reason.NothingPublished:
		return true
	}
	return false
}

// published returns those of the entries found in the index that a checkpoint
// covers, all of them up to it, and the checkpoint. The index may hold later
// entries: some that are not published yet, and some that another process published
// just now.
func (s *Service) published(ctx context.Context, find func() ([]uint64, error)) ([]uint64, *checkpoint.Published, error) {
	// In this order: what a checkpoint covers was in the index before.
	latest, unpublished := s.Latest()
	found, err := find()
	if err != nil {
		return nil, nil, err
	}
	if later := unpublished != nil || len(found) > 0 && found[len(found)-1] >= uint64(latest.N); later && s.Refresh != nil {
		if err := s.Refresh(ctx); err != nil {
			return nil, nil, err
		}
		latest, unpublished = s.Latest()
		if found, err = find(); err != nil {
			return nil, nil, err
		}
	}
	if unpublished != nil {
		return nil, nil, unpublished
	}
	end, _ := slices.BinarySearch(found, uint64(latest.N))
	return found[:end], latest, nil
}
