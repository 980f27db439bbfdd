package rekor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-openapi/runtime"
	httptransport "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	generated "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/cairnlog/cairn/ledger/attest"
	"github.com/cairnlog/cairn/ledger/leaf"
)

// maxAnswer bounds an answer: an entry has its body, and perhaps an attestation
// of at most 100 KiB, in base64.
const maxAnswer = 2 << 20

// ErrNotFound is wrapped where the log has no such entry.
var ErrNotFound = errors.New("the log has no such entry")

// UnansweredError says that the log did not answer, or refused what was asked.
type UnansweredError struct{ Err error }

func (e *UnansweredError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// UnprovenError says that what the log answered is not proven by the pinned key,
// or is not what was asked for.
type UnprovenError struct{ Err error }

func (e *UnprovenError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnprovenError) Unwrap() error { return e.Err }

// Client asks one Rekor v1 log, and returns nothing that the pinned key does not
// prove.
type Client struct {
	key   *Key
	url   string
	rekor *generated.Rekor
}

// Options say how to ask.
type Options struct {
	Timeout   time.Duration // of each request; none if 0
	UserAgent string
}

// NewClient returns a client of the log at a URL, whose key was pinned.
func NewClient(rawURL string, key *Key, o Options) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not the http or https URL of a Rekor log", rawURL)
	}
	base := strings.TrimSuffix(u.String(), "/")
	basePath := u.Path
	if basePath == "" {
		basePath = generated.DefaultBasePath
	}
	// As rekor's own client package makes it, but for that package's transport,
	// which takes in answers of any length.
	rt := httptransport.NewWithClient(u.Host, basePath, []string{u.Scheme}, &http.Client{
		Transport: &bounded{next: http.DefaultTransport, timeout: o.Timeout, userAgent: o.UserAgent},
	})
	rt.Consumers[runtime.JSONMime] = runtime.JSONConsumer()
	rt.Producers[runtime.JSONMime] = runtime.JSONProducer()
	return &Client{key: key, url: base, rekor: generated.New(rt, strfmt.Default)}, nil
}

// URL is where the log is.
func (c *Client) URL() string { return c.url }

// bounded cuts answers off, in bytes and in time.
type bounded struct {
	next      http.RoundTripper
	timeout   time.Duration
	userAgent string
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	cancel := func() {}
	ctx := r.Context()
	if b.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, b.timeout)
	}
	r = r.Clone(ctx)
	r.Header.Set("User-Agent", b.userAgent)
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer, cancel: cancel}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left   int
	cancel func()
}

// Read implements io.Reader. What is longer is an error, and not a shorter answer.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer is over the limit of %d bytes", maxAnswer)
	}
	return n, err
}

func (b *boundedBody) Close() error {
	err := b.ReadCloser.Close()
	b.cancel()
	return err
}

// Found is an entry that a log has, verified.
type Found struct {
	*Entry
	// Payload is what the log keeps beside an intoto entry, if it does. No proof
	// covers it.
	Payload []byte
}

// IsID reports whether Get takes s for the name of an entry.
func IsID(s string) bool {
	index, uuid := parseID(s)
	return index >= 0 || uuid != ""
}

// parseID reads an index or a UUID. The index is negative if it is neither.
func parseID(id string) (index int64, uuid string) {
	if _, err := hex.DecodeString(id); err == nil && (len(id) == 64 || len(id) == 80) {
		return -1, strings.ToLower(id)
	}
	index, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(index, 10) != id {
		return -1, ""
	}
	return index, ""
}

// Get returns the entry that an index or a UUID names: the entry's own of 64 hex
// digits, or with that of its shard of 80.
func (c *Client) Get(ctx context.Context, id string) (*Found, error) {
	index, uuid := parseID(id)
	switch {
	case uuid != "":
		return c.byUUID(ctx, uuid)
	case index < 0:
		return nil, fmt.Errorf("%.100q is neither an index nor a UUID of 64 or 80 hex digits", id)
	}
	params := entries.NewGetLogEntryByIndexParams()
	params.SetLogIndex(index)
	resp, err := c.rekor.Entries.GetLogEntryByIndexContext(ctx, params)
	if err != nil {
		return nil, c.unanswered(ctx, fmt.Sprintf("asking for entry %d", index), err)
	}
	f, err := c.verified(resp.GetPayload())
	if err == nil && f.LogIndex != index {
		err = &UnprovenError{fmt.Errorf("asked %s for entry %d, the answer is entry %d", c.url, index, f.LogIndex)}
	}
	return f, err
}

func (c *Client) byUUID(ctx context.Context, id string) (*Found, error) {
	params := entries.NewGetLogEntryByUUIDParams()
	params.SetEntryUUID(id)
	resp, err := c.rekor.Entries.GetLogEntryByUUIDContext(ctx, params)
	if err != nil {
		return nil, c.unanswered(ctx, "asking for entry "+id, err)
	}
	f, err := c.verified(resp.GetPayload())
	if err == nil && !strings.HasSuffix(f.UUID, id) {
		err = &UnprovenError{fmt.Errorf("asked %s for entry %s, the answer is entry %s", c.url, id, f.UUID)}
	}
	return f, err
}

// verified returns the one entry of an answer, if its proof verifies.
func (c *Client) verified(answer models.LogEntry) (*Found, error) {
	if len(answer) != 1 {
		return nil, &UnprovenError{fmt.Errorf("%s answered with %d entries, want one", c.url, len(answer))}
	}
	for uuid, m := range answer {
		e, err := fromModel(uuid, &m)
		if err == nil {
			err = e.Verify(c.key)
		}
		if err != nil {
			return nil, &UnprovenError{fmt.Errorf("the entry that %s shows is not proven: %w", c.url, err)}
		}
		f := &Found{Entry: e}
		if m.Attestation != nil {
			f.Payload = m.Attestation.Data
		}
		return f, nil
	}
	panic("unreachable")
}

// Add logs as a hashedrekord 0.0.1 that a key signed content, and returns the
// entry. The log gets the digest alone. The key must be ECDSA P-256: the log has
// no content to verify a plain Ed25519 signature with.
func (c *Client) Add(ctx context.Context, content []byte, signature []byte, signer *attest.PublicKey) (*Entry, error) {
	version, algorithm, digest := "0.0.1", "sha256", leaf.SHA256(content).Hex()
	proposed := &models.Hashedrekord{
		APIVersion: &version,
		Spec: models.HashedrekordV001Schema{
			Data: &models.HashedrekordV001SchemaData{Hash: &models.HashedrekordV001SchemaDataHash{Algorithm: &algorithm, Value: &digest}},
			Signature: &models.HashedrekordV001SchemaSignature{
				Content:   signature,
				PublicKey: &models.HashedrekordV001SchemaSignaturePublicKey{Content: []byte(signer.PEM)},
			},
		},
	}
	params := entries.NewCreateLogEntryParams()
	params.SetProposedEntry(proposed)
	var f *Found
	resp, err := c.rekor.Entries.CreateLogEntryContext(ctx, params)
	var conflict *entries.CreateLogEntryConflict
	switch {
	case errors.As(err, &conflict): // the same signature was logged before
		f, err = c.byUUID(ctx, path.Base(string(conflict.Location)))
	case err != nil:
		return nil, c.unanswered(ctx, "logging", err)
	default:
		f, err = c.verified(resp.GetPayload())
	}
	if err != nil {
		return nil, err
	}
	if key, err := f.Signed(content); err != nil {
		return nil, &UnprovenError{fmt.Errorf("%s logged something else than was asked: %w", c.url, err)}
	} else if key.Fingerprint != signer.Fingerprint {
		return nil, &UnprovenError{fmt.Errorf("%s logged the key %s, want %s", c.url, key.Fingerprint, signer.Fingerprint)}
	}
	return f.Entry, nil
}

// unanswered says what went wrong, in the words of the log if it has some.
func (c *Client) unanswered(ctx context.Context, doing string, err error) error {
	doing += " of " + c.url
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", doing, cause)
	}
	var byIndex *entries.GetLogEntryByIndexNotFound
	var byUUID *entries.GetLogEntryByUUIDNotFound
	if errors.As(err, &byIndex) || errors.As(err, &byUUID) {
		return fmt.Errorf("%s: %w", doing, ErrNotFound)
	}
	if said := saidBy(err); said != "" {
		err = errors.New(said)
	}
	return &UnansweredError{fmt.Errorf("%s: %w", doing, err)}
}

// saidBy returns the message that a log refuses with.
func saidBy(err error) string {
	var answer interface{ GetPayload() *models.Error }
	if errors.As(err, &answer) && answer.GetPayload() != nil {
		return fmt.Sprintf("the log says %d: %.400s", answer.GetPayload().Code, answer.GetPayload().Message)
	}
	var api *runtime.APIError
	if errors.As(err, &api) {
		return fmt.Sprintf("the log answers with status %d", api.Code)
	}
	return ""
}
