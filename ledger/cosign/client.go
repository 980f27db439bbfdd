package cosign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/cairnlog/cairn/internal/observe"
	"github.com/cairnlog/cairn/ledger/policy"
)

// Bounds of what a witness may make the ledger read.
const (
	maxResponse = 64 << 10
	maxHeader   = 16 << 10
)

// errConflict is a witness's 409 or 422: it saw another tree than the ledger
// thinks. size is what it says it cosigned last, or unknownSize.
type errConflict struct {
	status int
	size   int64
}

const unknownSize = -1

func (e *errConflict) Error() string {
	if e.size == unknownSize {
		return fmt.Sprintf("the witness refused with %d: it cosigned another tree", e.status)
	}
	return fmt.Sprintf("the witness refused with %d: it cosigned size %d last", e.status, e.size)
}

// newHTTPClient returns a client that is bounded in what it reads and goes
// nowhere but where it is sent: a witness must not make the ledger ask others.
func newHTTPClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DisableCompression = true
	t.MaxResponseHeaderBytes = maxHeader
	t.MaxIdleConnsPerHost = 4
	t.IdleConnTimeout = time.Minute
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// peer speaks C2SP tlog-witness with one witness.
type peer struct {
	witness policy.Witness
	client  *http.Client
}

// addCheckpoint asks for a cosignature of a checkpoint that has only the log's
// signatures. It returns the witness's verified cosignature line.
func (p *peer) addCheckpoint(ctx context.Context, old int64, proof [][]byte, signed []byte) (note.Signature, error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		body.WriteString(base64.StdEncoding.EncodeToString(h) + "\n")
	}
	body.WriteByte('\n')
	body.Write(signed)
	url := strings.TrimSuffix(p.witness.URL, "/") + "/add-checkpoint"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &body)
	if err != nil {
		return note.Signature{}, err
	}
	observe.Inject(ctx, req.Header)
	status, header, answer, err := p.do(req)
	if err != nil {
		return note.Signature{}, err
	}
	switch status {
	case http.StatusOK:
		return p.cosignature(signed, answer)
	case http.StatusConflict:
		return note.Signature{}, &errConflict{status, conflictSize(header, answer)}
	case http.StatusUnprocessableEntity:
		return note.Signature{}, &errConflict{status, unknownSize}
	}
	return note.Signature{}, fmt.Errorf("the witness answered %d: %.200q", status, answer)
}

// conflictSize reads the size that a 409 tells. Before version 1.0.0 of the
// specification had a Content-Type, any body could be one.
func conflictSize(header http.Header, body []byte) int64 {
	text := strings.TrimSuffix(string(body), "\n")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != text {
		return unknownSize
	}
	if ct := header.Get("Content-Type"); ct != "text/x.tlog.size" {
		return unknownSize
	}
	return size
}

// cosignature returns the witness's valid signature among the lines that it
// answered. Other lines are ignored, as the specification wants.
func (p *peer) cosignature(signed, lines []byte) (note.Signature, error) {
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		return note.Signature{}, errors.New("the checkpoint is not a signed note")
	}
	alone := append(append(bytes.Clone(text), "\n\n"...), lines...)
	n, err := note.Open(alone, note.VerifierList(p.witness.Verifier))
	if err != nil {
		return note.Signature{}, fmt.Errorf("the witness's answer has no valid cosignature of its own: %w", err)
	}
	if at, err := torchwood.CosignatureTimestamp(n.Sigs[0]); err != nil || at <= 0 {
		return note.Signature{}, errors.New("the witness's cosignature has no timestamp")
	}
	return n.Sigs[0], nil
}

// checkpoint asks for the latest checkpoint that the witness cosigned for an
// origin. Not every witness serves it.
func (p *peer) checkpoint(ctx context.Context, origin string) ([]byte, error) {
	sum := sha256.Sum256([]byte(origin))
	url := strings.TrimSuffix(p.witness.URL, "/") + "/" + hex.EncodeToString(sum[:]) + "/checkpoint"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	status, _, body, err := p.do(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the witness answered %d", status)
	}
	return body, nil
}

func (p *peer) do(req *http.Request) (status int, header http.Header, body []byte, err error) {
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("asking the witness: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("reading the witness's answer: %w", err)
	}
	if len(body) > maxResponse {
		return 0, nil, nil, fmt.Errorf("the witness's answer is over the limit of %d bytes", maxResponse)
	}
	return resp.StatusCode, resp.Header, body, nil
}
