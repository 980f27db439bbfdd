package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Source is what is copied: a ledger, or another mirror.
type Source struct {
	Files
	ledger *client.Client // nil of a mirror
}

// IsPath reports whether a ledger's name is a directory's rather than a URL.
func IsPath(name string) bool {
	return !strings.HasPrefix(name, "http://") && !strings.HasPrefix(name, "https://")
}

// OpenSource finds out whether a name is that of a ledger, of a mirror that a web
// server serves, or of a mirror's directory.
func OpenSource(ctx context.Context, name string, opts client.Options) (*Source, error) {
	if IsPath(name) {
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("opening the mirror: %w", err)
		}
		return &Source{Files: Dir(name)}, nil
	}
	mirror := false
	files := Web(name, opts)
	opts.Mirror = func(ctx context.Context) (client.Answer, error) {
		answer, err := Open(ctx, files)
		mirror = err == nil
		return answer, err
	}
	c, err := client.New(name, opts)
	if err != nil {
		return nil, err
	}
	if _, err := c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{}); err != nil {
		return nil, err
	}
	if mirror {
		c = nil
	}
	return &Source{Files: files, ledger: c}, nil
}

// attestation returns the bytes of an attestation, or nil if the source does not
// hold them.
func (s *Source) attestation(ctx context.Context, envelope leaf.Digest) ([]byte, error) {
	if s.ledger == nil {
		raw, err := s.Read(ctx, store.AttestationPath(envelope), attest.MaxEnvelope)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return raw, err
	}
	resp, err := s.ledger.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resp.GetAttestation(), nil
}

// Entries calls each with the leaves of a tree, as text, from an index on. They are
// verified by the source's tiles, and none is left out. The tree must have been
// verified.
func (s *Source) Entries(ctx context.Context, tree tlog.Tree, from int64, each func(index int64, entry []byte) error) error {
	torch, err := torchwood.NewClient(tiles{s})
	if err != nil {
		return err
	}
	next := from
	for i, entry := range torch.AllEntries(ctx, tree, from) {
		if err := each(i, entry); err != nil {
			return err
		}
		next = i + 1
	}
	if err := torch.Err(); err != nil {
		return unread("getting entries", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if next < tree.N {
		return client.Misbehaved("the source gave %d of %d entries", next, tree.N)
	}
	return nil
}

// unread says what it means that the source could not be read: that it was not
// reached, or that what it gave is not what its checkpoint says.
func unread(doing string, err error) error {
	var unanswered *client.UnansweredError
	var path *fs.PathError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &unanswered):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.As(err, &path):
		return &client.UnansweredError{URL: "the source", Err: fmt.Errorf("%s: %w", doing, err)}
	}
	return &client.MisbehaviourError{Message: doing + ": what the source gave is not what its checkpoint says", Err: err}
}
