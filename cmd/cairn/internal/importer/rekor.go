package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cairnlog/cairn/cmd/internal/cmdline"
	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/rekor"
)

// Rekor is entries of a Rekor v1 log. Of each it yields a statement that the log
// has it, with the proof, which the importer signs; and where the log keeps the
// whole attestation, that attestation as it was signed.
type Rekor struct {
	Log    *rekor.Client
	Key    *rekor.Key // of the log, pinned
	IDs    []string   // indexes and UUIDs
	Signer *attest.Signer
	// Logged returns the importer's statement about the entry with a leaf hash, if
	// the ledger has one: a log proves an entry with another tree each time, so a
	// new statement would be another attestation. It may be nil.
	Logged func(ctx context.Context, leafHash leaf.Digest) ([]byte, error)
}

// String implements Source.
func (r *Rekor) String() string { return "rekor " + r.Log.URL() }

// Items implements Source.
func (r *Rekor) Items(ctx context.Context, done func(name string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, id := range r.IDs {
			item := Item{Name: "entry " + id, Group: "entries"}
			if done(item.Name) {
				if !yield(item, nil) {
					return
				}
				continue
			}
			f, err := r.Log.Get(ctx, id)
			if refusal := refused(err); refusal != nil {
				item.Err = refusal
			} else if err != nil {
				yield(item, err)
				return
			}
			if item.Err == nil {
				if item.Raw, err = r.statement(ctx, f.Entry); err != nil {
					yield(item, err)
					return
				}
			}
			if !yield(item, nil) || item.Err == nil && !r.attestation(f, yield) {
				return
			}
		}
	}
}

// refused returns the refusal of one entry, and nil for an error that concerns
// all of them, or none.
func refused(err error) error {
	var unproven *rekor.UnprovenError
	switch {
	case errors.As(err, &unproven):
		return reason.Errorf(cmdline.RekorUnproven, "%w", err)
	case errors.Is(err, rekor.ErrNotFound):
		return reason.Errorf(cmdline.NothingFound, "%w", err)
	}
	return nil
}

// statement returns the importer's statement about an entry: the one that is
// logged, or a new one.
func (r *Rekor) statement(ctx context.Context, e *rekor.Entry) ([]byte, error) {
	if r.Logged != nil {
		raw, err := r.Logged(ctx, leaf.Digest("sha256:"+e.LeafHash()))
		if err != nil || raw != nil {
			return raw, err
		}
	}
	st, err := e.Statement(r.Log.URL(), r.Key)
	if err != nil {
		return nil, err
	}
	raw, err := r.Signer.Sign(st)
	if err != nil {
		return nil, fmt.Errorf("signing the statement about entry %d: %w", e.LogIndex, err)
	}
	return raw, nil
}

// attestation yields the attestation that a log keeps of an entry, if there is a
// whole one. It reports whether to go on.
func (r *Rekor) attestation(f *rekor.Found, yield func(Item, error) bool) bool {
	raw, err := f.Envelope(f.Payload)
	if raw == nil && err == nil {
		return true
	}
	item := Item{Name: fmt.Sprintf("attestation of entry %d", f.LogIndex), Group: "attestations", Raw: raw}
	if err != nil {
		item.Err = reason.Errorf(cmdline.RekorUnproven, "%w", err)
	}
	return yield(item, nil)
}
