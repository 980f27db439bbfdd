package gossip

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/cairnlog/cairn/witness"
	"github.com/cairnlog/cairn/witness/evidence"
)

const (
	// requestTimeout bounds one request to a peer or a log.
	requestTimeout = 5 * time.Second
	// resolveTimeout bounds all requests for one proof from tiles.
	resolveTimeout = 20 * time.Second
	// chainTimeout bounds all requests to peers for stored proofs.
	chainTimeout = time.Minute
	// maxRecords is how many records a page of a chain has, and maxPage its
	// size in bytes. The first record is given whatever its size.
	maxRecords = 64
	maxPage    = 256 << 10
	// maxList bounds a list of evidence.
	maxList = 64 << 10
)

// peer is another witness.
type peer struct {
	url string

	mu   sync.Mutex
	tags map[string]string // ETag of the latest checkpoint, by origin
}

// get requests a URL and returns at most limit bytes: more are an error.
func (n *Node) get(ctx context.Context, url string, limit int64) (status int, body []byte, err error) {
	status, body, _, err = n.do(ctx, http.MethodGet, url, nil, "", limit)
	return status, body, err
}

func (n *Node) do(ctx context.Context, method, url string, send []byte, tag string, limit int64) (status int, body []byte, newTag string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(send))
	if err != nil {
		return 0, nil, "", err
	}
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	resp, err := n.config.HTTP.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return 0, nil, "", fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	if int64(len(body)) > limit {
		return 0, nil, "", fmt.Errorf("the answer of %s is larger than %d bytes", url, limit)
	}
	return resp.StatusCode, body, resp.Header.Get("ETag"), nil
}

// statusError is an answer that was not expected.
type statusError struct {
	url    string
	status int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answered %d", e.url, e.status) }

// pullFrom asks a peer at intervals.
func (n *Node) pullFrom(ctx context.Context, p *peer) error {
	// The first time soon, but not all at once.
	pause := n.config.Random() * float64(n.config.Interval) / 10
	for wait(ctx, time.Duration(pause)) {
		for _, o := range n.order {
			n.pull(ctx, p, o)
		}
		pause = (0.8 + 0.4*n.config.Random()) * float64(n.config.Interval)
	}
	return nil
}

// pull asks a peer for all that it has of an origin. A peer that fails is
// counted, and asked again; of a state that fails, the daemon knows.
func (n *Node) pull(ctx context.Context, p *peer, o *origin) {
	for _, question := range []struct {
		what string
		ask  func(context.Context, *peer, *origin) error
	}{
		{"checkpoint", n.pullCheckpoint}, {"cosigned", n.pullSelf}, {"evidence", n.pullEvidence},
	} {
		err := question.ask(ctx, p, o)
		var status *statusError
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			err = nil // it has nothing, or is a witness of another make
		}
		n.metrics.asked(p, question.what, err, n.config.Now())
		if err != nil {
			n.logger.DebugContext(ctx, "asking a peer failed", "peer", p.url, "what", question.what, "origin", o.log.Origin, "err", err)
		}
	}
}

// pullCheckpoint asks for the peer's latest checkpoint, as anyone may.
func (n *Node) pullCheckpoint(ctx context.Context, p *peer, o *origin) error {
	u := p.url + "/" + evidence.OriginHash(o.log.Origin) + "/checkpoint"
	p.mu.Lock()
	tag := p.tags[o.log.Origin]
	p.mu.Unlock()
	status, msg, tag, err := n.do(ctx, http.MethodGet, u, nil, tag, evidence.MaxNoteSize)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotModified:
		return nil
	case status != http.StatusOK:
		return &statusError{u, status}
	}
	if err := n.observe(ctx, o, msg, p.url); err != nil {
		return fmt.Errorf("taking the checkpoint of %s: %w", p.url, err)
	}
	p.mu.Lock()
	p.tags[o.log.Origin] = tag
	p.mu.Unlock()
	return nil
}

// pullSelf asks for the largest checkpoint that the peer saw us cosign.
func (n *Node) pullSelf(ctx context.Context, p *peer, o *origin) error {
	u := p.url + "/gossip/v1/cosigned?" + url.Values{
		"origin-hash": {evidence.OriginHash(o.log.Origin)}, "witness": {n.selfID},
	}.Encode()
	status, msg, err := n.get(ctx, u, evidence.MaxNoteSize)
	switch {
	case err != nil:
		return err
	case status == http.StatusNoContent:
		return nil
	case status != http.StatusOK:
		return &statusError{u, status}
	}
	if err := n.observe(ctx, o, msg, p.url); err != nil {
		return fmt.Errorf("taking our own cosignature from %s: %w", p.url, err)
	}
	return nil
}

// pullEvidence asks for the evidence that the peer holds and we do not.
func (n *Node) pullEvidence(ctx context.Context, p *peer, o *origin) error {
	u := p.url + "/evidence?origin-hash=" + evidence.OriginHash(o.log.Origin)
	status, list, err := n.get(ctx, u, maxList)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return &statusError{u, status}
	}
	for line := range strings.Lines(string(list)) {
		hash, subject, err := parseListed(line)
		if err != nil {
			return fmt.Errorf("reading the evidence of %s: %w", p.url, err)
		}
		o.mu.Lock()
		have := o.knows(subject)
		o.mu.Unlock()
		if have {
			continue
		}
		u := p.url + "/evidence/" + hash
		status, text, err := n.get(ctx, u, evidence.MaxSize)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return &statusError{u, status}
		}
		e, err := evidence.Parse(text)
		if err != nil || e.Origin != o.log.Origin {
			return fmt.Errorf("reading the evidence of %s: %w", p.url, err)
		}
		if _, err := n.receive(ctx, o, e); err != nil {
			return fmt.Errorf("taking evidence from %s: %w", p.url, err)
		}
	}
	return nil
}

// parseListed parses a line of a list of evidence: hash, kind and subject.
func parseListed(line string) (hash string, subject [32]byte, err error) {
	f := strings.Fields(line)
	if len(f) != 3 || len(f[0]) != 64 {
		return "", subject, fmt.Errorf("line %.80q is not a hash, a kind and a subject", line)
	}
	b, err := hex.DecodeString(f[2])
	if err != nil || len(b) != len(subject) {
		return "", subject, fmt.Errorf("line %.80q is not a hash, a kind and a subject", line)
	}
	if _, err := hex.DecodeString(f[0]); err != nil {
		return "", subject, fmt.Errorf("line %.80q is not a hash, a kind and a subject", line)
	}
	return f[0], [32]byte(b), nil
}

// record is a checkpoint that a peer says it cosigned, and the proof that it
// says it checked. Its signatures are not verified: for the proof they do not
// matter.
type record struct {
	proof [][]byte
	tree  tlog.Tree
	note  []byte
}

// extends reports whether the record shows that its tree extends one, or is it.
func (r *record) extends(t tlog.Tree) bool {
	if r.tree == t {
		return true
	}
	return t.N > 0 && proof.VerifyConsistency(rfc6962.DefaultHasher,
		uint64(t.N), uint64(r.tree.N), r.proof, t.Hash[:], r.tree.Hash[:]) == nil
}

// records asks a peer for what it cosigned from one size to another, both
// included, smallest first.
func (n *Node) records(ctx context.Context, o *origin, p *peer, from, to int64) ([]*record, error) {
	u := p.url + "/gossip/v1/consistency?" + url.Values{
		"origin-hash": {evidence.OriginHash(o.log.Origin)}, "from": {fmt.Sprint(from)}, "to": {fmt.Sprint(to)},
	}.Encode()
	status, page, err := n.get(ctx, u, maxPage+2*witness.MaxRequest)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, &statusError{u, status}
	}
	var records []*record
	lines := bufio.NewScanner(bytes.NewReader(page))
	lines.Buffer(nil, len(page)+1)
	for lines.Scan() {
		if len(records) == maxRecords {
			return nil, fmt.Errorf("%s sent more than %d records", p.url, maxRecords)
		}
		body, err := base64.StdEncoding.Strict().DecodeString(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("decoding a record of %s: %w", p.url, err)
		}
		request, err := witness.ParseRequest(body)
		if err != nil {
			return nil, fmt.Errorf("parsing a record of %s: %w", p.url, err)
		}
		r := &record{note: request.Note}
		for _, h := range request.Proof {
			r.proof = append(r.proof, h[:])
		}
		if r.tree, err = evidence.Tree(request.Note); err != nil {
			return nil, fmt.Errorf("reading a record of %s: %w", p.url, err)
		}
		records = append(records, r)
	}
	return records, lines.Err()
}
