// Package client asks a ledger over its REST gateway.
//
// Its methods are those of the gRPC services cairn.v1.LedgerService and, in
// builds.go, cairn.v1.BuildService, with the same messages; docs/api.md describes
// both. What a ledger answers is not
// trusted: the functions of check.go hold an answer to the checkpoint it came
// with, and the checkpoint to a policy.
//
// Invariants:
//   - A refusal by the ledger is a *reason.Error. Everything else that keeps an
//     answer from being had is an *UnansweredError. An answer that contradicts
//     itself or the policy is a *MisbehaviourError.
//   - No answer is read beyond MaxAnswer bytes.
//   - A request goes to the host that was named, never to one it redirects to.
//   - A request is repeated only after a 503 or 429 that says when, a bounded
//     number of times; every call of the service may be repeated safely.
package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/reason"
)

// MaxAnswer is the most bytes of an answer that are read.
const MaxAnswer = 8 << 20

const (
	maxAttempts  = 4
	firstBackoff = 250 * time.Millisecond
	maxRedirects = 5
	// maxWait is the longest Retry-After that is waited for; a ledger that asks
	// for more is reported, with the time it asks for.
	maxWait = 30 * time.Second
)

// DefaultTimeout bounds one attempt of a call where Options does not.
const DefaultTimeout = time.Minute

// Options are what a Client may be given beside its URL. The zero value is
// right for most.
type Options struct {
	// HTTP carries the requests; http.DefaultTransport if nil. Its redirect
	// policy is replaced.
	HTTP *http.Client
	// Timeout bounds one attempt of every call but WatchCheckpoints.
	Timeout time.Duration
	// UserAgent names the program, such as "cairn/v1.2.0".
	UserAgent string
	// Token is sent with the calls that change the queue of builds, and with no
	// others.
	Token string
	// Mirror opens the mirror at the URL. It is called if what answers there is no
	// ledger, and wraps fs.ErrNotExist if it is no mirror either.
	Mirror func(ctx context.Context) (Answer, error)
	// Sleep waits before a call is repeated, and returns early with ctx's
	// error. It is there for tests.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Answer answers a request of the service in a ledger's place, with the message
// that the service answers it with. Its refusals are *reason.Error, as for what it
// cannot answer.
type Answer func(ctx context.Context, req proto.Message) (proto.Message, error)

// Client asks one ledger. It may be used concurrently.
type Client struct {
	name    string // if there is no URL
	open    func(context.Context) (Answer, error)
	mu      sync.Mutex // guards instead
	instead Answer     // of the ledger, once it is known that there is none

	base    *url.URL
	http    *http.Client
	timeout time.Duration
	agent   string
	token   string
	sleep   func(context.Context, time.Duration) error
}

// New returns a Client of the ledger whose API is under baseURL: "/v1/…" is
// appended to it.
func New(baseURL string, opts Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("parsing ledger URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("ledger URL %q is not of the form http(s)://host[:port][/path]", baseURL)
	}
	c := &Client{base: u, timeout: opts.Timeout, agent: opts.UserAgent, token: opts.Token, sleep: opts.Sleep, open: opts.Mirror}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	if c.sleep == nil {
		c.sleep = Sleep
	}
	h := http.Client{}
	if opts.HTTP != nil {
		h = *opts.HTTP
	}
	h.CheckRedirect = SameHost
	c.http = &h
	return c, nil
}

// NewLocal returns a Client that asks no ledger, but what answers in its place.
func NewLocal(name string, instead Answer) *Client { return &Client{name: name, instead: instead} }

// URL returns the ledger's URL, or the name of what answers in its place.
func (c *Client) URL() string {
	if c.base == nil {
		return c.name
	}
	return c.base.String()
}

// SameHost is a redirect policy that stays at one host. Following one elsewhere
// would let whoever controls an answer choose who is asked.
func SameHost(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
		return fmt.Errorf("refusing the redirect to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("stopping after %d redirects", maxRedirects)
	}
	return nil
}

// Sleep waits for d, or until ctx ends, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call is one request, as often as it is attempted.
type call struct {
	method string
	path   []string // elements below the base URL; see element
	query  url.Values
	body   []byte
	media  string // type of the body
	secret bool   // whether the token is sent
	req    proto.Message
}

func (c *Client) url(r *call) string {
	if c.base == nil {
		return c.name
	}
	u := c.base.JoinPath(r.path...)
	u.RawQuery = r.query.Encode()
	return u.String()
}

// do asks the ledger, or what is in its place.
func (c *Client) do(ctx context.Context, r *call, answer proto.Message) error {
	if local := c.local(); local != nil {
		return c.ask(ctx, local, r, answer)
	}
	err := c.attempts(ctx, r, answer)
	var foreign *foreignError
	if c.open == nil || !errors.As(err, &foreign) || foreign.status/100 != 4 {
		return err
	}
	local, merr := c.open(ctx)
	if errors.Is(merr, fs.ErrNotExist) {
		return err
	}
	if merr != nil {
		return &UnansweredError{URL: c.url(r), Err: fmt.Errorf("%w; as a mirror: %w", foreign, merr)}
	}
	c.mu.Lock()
	if c.instead == nil { // all answers are of one checkpoint
		c.instead = local
	}
	local = c.instead
	c.mu.Unlock()
	return c.ask(ctx, local, r, answer)
}

func (c *Client) local() Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.instead
}

// ask asks what is in the ledger's place.
func (c *Client) ask(ctx context.Context, local Answer, r *call, answer proto.Message) error {
	m, err := local(ctx, r.req)
	var misbehaved *MisbehaviourError
	if err != nil {
		if _, refused := reason.Of(err); refused || errors.As(err, &misbehaved) {
			return err
		}
		return &UnansweredError{URL: c.url(r), Err: err}
	}
	proto.Merge(answer, m)
	return nil
}

// attempts asks until there is an answer, and decodes it.
func (c *Client) attempts(ctx context.Context, r *call, answer proto.Message) error {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		retryAfter, err := c.once(ctx, r, answer)
		if err == nil || retryAfter <= 0 || retryAfter > maxWait || attempt == maxAttempts {
			return err
		}
		wait := max(retryAfter, backoff)
		wait += rand.N(wait / 4) // so that clients refused together do not return together
		backoff *= 2
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return err // the refusal says more than the deadline that would follow
		}
		if serr := c.sleep(ctx, wait); serr != nil {
			return &UnansweredError{URL: c.url(r), Err: errors.Join(serr, err)}
		}
	}
}

// once makes one attempt. A positive duration says when another may help.
func (c *Client) once(ctx context.Context, r *call, answer proto.Message) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return 0, &UnansweredError{URL: c.url(r), Err: fmt.Errorf("reading the answer: %w", err)}
	}
	if len(body) > MaxAnswer {
		return 0, &UnansweredError{URL: c.url(r), Err: fmt.Errorf("the answer is over the limit of %d bytes", MaxAnswer)}
	}
	if resp.StatusCode/100 != 2 {
		return refusal(c.url(r), resp, body)
	}
	// A newer ledger may say more than this client knows.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, answer); err != nil {
		return 0, &UnansweredError{URL: c.url(r), Err: fmt.Errorf("decoding the answer: %w", err)}
	}
	return 0, nil
}

func (c *Client) send(ctx context.Context, r *call) (*http.Response, error) {
	if local := c.local(); local != nil { // of streams alone
		_, err := local(ctx, r.req)
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r), bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	if r.media != "" {
		req.Header.Set("Content-Type", r.media)
	}
	if r.secret && c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Accept", "application/json")
	if c.agent != "" {
		req.Header.Set("User-Agent", c.agent)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// url.Error repeats the method and the URL, which UnansweredError gives.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, &UnansweredError{URL: req.URL.String(), Err: err}
	}
	return resp, nil
}

// element checks what becomes one element of a path. The things that the API
// addresses are hex, with an algorithm before it.
func element(what, s string) (string, error) {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != ':' {
			return "", reason.Errorf(reason.ArgumentInvalid, "invalid %s %.160q", what, s)
		}
	}
	if s == "" {
		return "", reason.Errorf(reason.ArgumentInvalid, "empty %s", what)
	}
	return s, nil
}
