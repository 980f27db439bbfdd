package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
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
		raw, err := s.Read(ctx, attestationPath(envelope), attest.MaxEnvelope)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return raw, err
	}
	resp, err := s.ledger.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: envelope.Hex()})
	if e, ok := reason.Of(err); ok && e.Reason == reason.AttestationNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resp.GetAttestation(), nil
}
