package source

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects = 10
	// progressed is how many bytes an attempt brings for it not to count.
	progressed = 1 << 20
	firstWait  = time.Second
	maxWait    = time.Minute
)

// httpMirror is a file of a web server.
type httpMirror struct{ url *url.URL }

func parseHTTP(s string) (mirror, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Opaque != "" {
		return nil, fmt.Errorf("%q names no host", s)
	}
	u.Fragment, u.RawFragment = "", ""
	return httpMirror{u}, nil
}

func (m httpMirror) String() string { return m.url.String() }

func checkRedirect(_ *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	return nil
}

// passing is a failure that may pass.
type passing struct {
	err  error
	wait time.Duration // that the server asked for
}

func (e *passing) Error() string { return e.err.Error() }
func (e *passing) Unwrap() error { return e.err }

// get asks until the server has given all of it, or fails for good. It waits
// between attempts, twice as long each time.
func (m httpMirror) get(ctx context.Context, r *run, _ *Wanted, p *partial) error {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		before := p.n
		err := m.once(ctx, r, p)
		var again *passing
		if !errors.As(err, &again) || isOurs(err) {
			return err
		}
		if p.n-before >= progressed {
			attempt, wait = 1, firstWait
		}
		if attempt >= cmp.Or(r.Attempts, 5) {
			return fmt.Errorf("%w (tried %d times)", err, attempt)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(wait, min(again.wait, maxWait))):
		}
		wait = min(2*wait, maxWait)
	}
}

// once makes one request, for what p does not have yet.
func (m httpMirror) once(ctx context.Context, r *run, p *partial) (err error) {
	stall := cmp.Or(r.Stall, time.Minute)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(stall, func() {
		cancel(&passing{err: fmt.Errorf("no byte for %v", stall)})
	})
	defer alarm.Stop()
	defer func() {
		var stalled *passing
		if cause := context.Cause(ctx); err != nil && errors.As(cause, &stalled) {
			err = stalled
		}
	}()

	req, err := m.request(ctx, r, p)
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return mayPass(err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if done, err := m.begin(resp, p); done || err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			alarm.Reset(stall)
			if _, err := p.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			// It was there a moment ago.
			return &passing{err: err}
		}
	}
}

func (m httpMirror) request(ctx context.Context, r *run, p *partial) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", cmp.Or(r.UserAgent, "cairn-builder"))
	// The bytes of the file are wanted, not a representation of them.
	req.Header.Set("Accept-Encoding", "identity")
	if p.n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.n))
		// Without a validator of this mirror the hash finds out what does not fit.
		if p.from == m.url.String() && p.validator != "" {
			req.Header.Set("If-Range", p.validator)
		}
	}
	return req, nil
}

// begin looks at the answer, and makes p fit what follows. It reports whether
// nothing does.
func (m httpMirror) begin(resp *http.Response, p *partial) (done bool, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		if p.n > 0 {
			if err := p.reset(); err != nil {
				return false, err
			}
		}
		p.total = max(resp.ContentLength, 0)
	case http.StatusPartialContent:
		first, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || first != p.n {
			have := p.n
			return false, errors.Join(p.reset(), &passing{err: fmt.Errorf(
				"asked for bytes from %d on, got the range %q", have, resp.Header.Get("Content-Range"))})
		}
		p.resumed, p.total = true, total
	case http.StatusRequestedRangeNotSatisfiable:
		if p.n == 0 {
			return false, errors.New(resp.Status)
		}
		if resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", p.n) {
			p.resumed = true
			return true, nil // all of it was there
		}
		return false, errors.Join(p.reset(), &passing{err: errors.New(resp.Status)})
	default:
		return false, badStatus(resp)
	}
	p.from, p.validator = m.url.String(), validator(resp.Header)
	if p.limit > 0 && p.total > p.limit {
		return false, &TooLarge{Size: p.total, Limit: p.limit}
	}
	return false, nil
}

// contentRange reads "bytes first-last/total", RFC 9110 section 14.4.
func contentRange(s string) (first, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, size, _ := strings.Cut(s, "/")
	from, _, ok := strings.Cut(span, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if !ok || err != nil {
		return 0, 0, false
	}
	total, err = strconv.ParseInt(size, 10, 64)
	if err != nil {
		total = 0 // "*"
	}
	return first, total, true
}

// validator is what If-Range may hold, RFC 9110 section 13.1.5: a strong entity
// tag, or else a date.
func validator(h http.Header) string {
	if tag := h.Get("Etag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

func badStatus(resp *http.Response) error {
	err := errors.New(resp.Status)
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &passing{err: err, wait: time.Duration(max(0, min(seconds, 3600))) * time.Second}
	}
	return err
}

// mayPass says which failures of a connection are worth another attempt: those
// that say nothing about the server's name, its certificate or the file.
func mayPass(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // it repeats the URL
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &cert):
		return err
	case errors.As(err, &op) && op.Op == "dial" && !op.Timeout() && !errors.As(err, &dns):
		return err
	case errors.As(err, &op), errors.As(err, &dns), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &passing{err: err}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &passing{err: err}
	}
	return err
}
