package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of what is asked of others.
const (
	maxRedirects = 5
	webAttempts  = 4
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// Web gets files over HTTP.
type Web struct {
	Client *http.Client // its redirect policy is replaced
	Agent  string       // names the program to whom it asks
	// Sleep waits before a file is asked for again.
	Sleep func(ctx context.Context, d time.Duration) error
}

// IsURL reports whether an argument names something on the web.
func IsURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// WebError says that something on the web was not had.
type WebError struct {
	URL string
	Err error
}

func (e *WebError) Error() string { return fmt.Sprintf("getting %s: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *WebError) Unwrap() error { return e.Err }

// Get gets what is at a URL. Errors are *WebError, and wrap fs.ErrNotExist if there
// is nothing, and ErrTooLarge if it is over limit bytes. What may pass is tried again.
func (w *Web) Get(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	var b []byte
	err := w.Stream(ctx, rawURL, func(r io.Reader) (err error) {
		b, err = readUpTo(r, limit)
		return err
	})
	return b, err
}

// Stream is Get for what need not be kept: read is called once for each attempt.
func (w *Web) Stream(ctx context.Context, rawURL string, read func(io.Reader) error) error {
	if u, err := url.Parse(rawURL); err != nil || !IsURL(rawURL) || u.Host == "" {
		return &WebError{rawURL, errors.New("it is no http(s) URL")}
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		wait, err := w.once(ctx, rawURL, read)
		if err == nil {
			return nil
		}
		if wait < 0 || wait > longestPause || attempt == webAttempts {
			return &WebError{rawURL, err}
		}
		if serr := w.Sleep(ctx, max(wait, pause)); serr != nil {
			return &WebError{rawURL, errors.Join(serr, err)}
		}
		pause *= 2
	}
}

// once makes one attempt. A negative duration says that another cannot help.
func (w *Web) once(ctx context.Context, rawURL string, read func(io.Reader) error) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return -1, err
	}
	if w.Agent != "" {
		req.Header.Set("User-Agent", w.Agent)
	}
	c := *w.Client
	c.CheckRedirect = checkRedirect
	resp, err := c.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return -1, ctx.Err()
		}
		var ue *url.Error // which repeats the URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone:
		return -1, fs.ErrNotExist
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode/100 == 5:
		seconds, _ := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16) // 0 if there is none
		return time.Duration(seconds) * time.Second, fmt.Errorf("the answer is %s", resp.Status)
	default:
		return -1, fmt.Errorf("the answer is %s", resp.Status)
	}
	if err := read(resp.Body); err != nil {
		if errors.Is(err, ErrTooLarge) {
			return -1, err
		}
		return 0, err
	}
	return 0, nil
}

// checkRedirect follows no redirect that gives up an encrypted connection.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("refusing the redirect to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("stopping after %d redirects", maxRedirects)
	}
	return nil
}
