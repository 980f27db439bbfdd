package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/leaf"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// atOnce is how many requests for attestations are under way at a time.
const atOnce = 16

// remote reads a log over HTTP: from a ledger, which serves attestations in its
// API, or from whatever serves a mirror's directory.
type remote struct {
	base   string
	http   *http.Client
	client *client.Client
	mirror bool
}

// OpenURL opens a served log.
func OpenURL(ctx context.Context, url string, opts client.Options) (Copy, error) {
	c, err := client.New(url, opts)
	if err != nil {
		return Copy{}, err
	}
	h := http.Client{Timeout: opts.Timeout, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		return fmt.Errorf("refusing the redirect to %s://%s", req.URL.Scheme, req.URL.Host)
	}}
	r := &remote{base: strings.TrimSuffix(url, "/"), http: &h, client: c}
	_, err = c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	var unanswered *client.UnansweredError
	if err != nil && !errors.As(err, &unanswered) {
		return Copy{}, err
	}
	r.mirror = err != nil // what no ledger answers, a web server may
	return Copy{Source: r, Place: url, Kind: Remote}, nil
}

// Read implements Source.
func (r *remote) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	url := r.base + "/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, &client.UnansweredError{URL: url, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	default:
		return nil, &client.UnansweredError{URL: url, Err: fmt.Errorf("status %s", resp.Status)}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, &client.UnansweredError{URL: url, Err: fmt.Errorf("reading the answer: %w", err)}
	}
	if int64(len(b)) > limit {
		return nil, &Damage{fmt.Sprintf("over the limit of %d bytes", limit)}
	}
	return b, nil
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
	if r.mirror {
		raw, err := r.Read(ctx, attestationPath(envelope), attest.MaxEnvelope)
		if what, damaged := damageOf(err); damaged {
			return []byte("unreadable: " + what), nil
		}
		if isMissing(err) {
			return nil, nil
		}
		return raw, err
	}
	resp, err := r.client.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: envelope.Hex()})
	if e, ok := reason.Of(err); ok && e.Reason == reason.AttestationNotFound {
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
func (r *remote) Close() error {
	r.http.CloseIdleConnections()
	return nil
}
