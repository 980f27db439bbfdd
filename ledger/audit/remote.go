package audit

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/mirror"
	"github.com/cairnlog/cairn/ledger/reason"
	"github.com/cairnlog/cairn/ledger/store"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// atOnce is how many requests for attestations are under way at a time.
const atOnce = 16

// remote reads a log over HTTP: from a ledger, which serves attestations in its
// API, or from whatever serves a mirror's directory.
type remote struct {
	files  mirror.Files
	client *client.Client // nil of a mirror
}

// OpenURL opens a served log.
func OpenURL(ctx context.Context, url string, opts client.Options) (Copy, error) {
	c, err := client.New(url, opts)
	if err != nil {
		return Copy{}, err
	}
	r := &remote{files: mirror.Web(url, opts), client: c}
	_, err = c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	var unanswered *client.UnansweredError
	if err != nil && !errors.As(err, &unanswered) {
		return Copy{}, err
	}
	if err != nil {
		r.client = nil // what no ledger answers, a web server may
	}
	return Copy{Source: r, Place: url, Kind: Remote}, nil
}

// Read implements Source.
func (r *remote) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	b, err := r.files.Read(ctx, path, limit)
	if errors.Is(err, mirror.ErrTooLong) {
		return nil, &Damage{fmt.Sprintf("over the limit of %d bytes", limit)}
	}
	return b, err
}

// Attestations implements Source.
func (r *remote) Attestations(ctx context.Context, envelopes []leaf.Digest) ([][]byte, error) {
	raws := make([][]byte, len(envelopes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, e := range envelopes {
		g.Go(func() (err error) {
			raws[i], err = r.attestation(ctx, e)
			return err
		})
	}
	return raws, g.Wait()
}

func (r *remote) attestation(ctx context.Context, envelope leaf.Digest) ([]byte, error) {
	if r.client == nil {
		raw, err := r.Read(ctx, store.AttestationPath(envelope), attest.MaxEnvelope)
		if what, damaged := damageOf(err); damaged {
			return []byte("unreadable: " + what), nil
		}
		if isMissing(err) {
			return nil, nil
		}
		return raw, err
	}
	resp, err := r.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: envelope.Hex()})
	if reason.Is(err, reason.AttestationNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return resp.GetAttestation(), nil
}

// Files implements Source.
func (r *remote) Files(context.Context, func(File) error) error { return ErrUnlisted }

// Close implements Source.
func (r *remote) Close() error { return nil }
