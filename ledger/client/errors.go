package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cairnlog/cairn/ledger/reason"
)

// UnansweredError says that no answer of the ledger was had: it could not be
// reached, did not answer in time, or something else answered in its place.
type UnansweredError struct {
	URL string
	Err error
}

func (e *UnansweredError) Error() string { return fmt.Sprintf("asking %s: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *UnansweredError) Unwrap() error { return e.Err }

// errorInfoType is the @type of google.rpc.ErrorInfo.
const errorInfoType = "type.googleapis.com/google.rpc.ErrorInfo"

// rpcStatus is a google.rpc.Status in JSON, as far as it is read.
type rpcStatus struct {
	Message string      `json:"message"`
	Details []rpcDetail `json:"details"`
}

type rpcDetail struct {
	Type   string `json:"@type"`
	Reason string `json:"reason"`
	Domain string `json:"domain"`
}

// refused returns the refusal that a status expresses, or nil if it is not
// one of a ledger.
func (s *rpcStatus) refused() *reason.Error {
	for _, d := range s.Details {
		if d.Type == errorInfoType && d.Domain == reason.Domain && d.Reason != "" {
			return &reason.Error{Reason: reason.Reason(d.Reason), Message: s.Message}
		}
	}
	return nil
}

// refusal turns an answer that is not a success into an error, and says when
// another attempt may help.
func refusal(url string, resp *http.Response, body []byte) (time.Duration, error) {
	var after time.Duration
	if resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests {
		after = retryAfter(resp.Header)
	}
	var s rpcStatus
	if err := json.Unmarshal(body, &s); err == nil {
		if e := s.refused(); e != nil {
			e.RetryAfter = after
			return after, e
		}
	}
	text := s.Message
	if text == "" {
		text = string(body[:min(len(body), 200)])
	}
	return after, &UnansweredError{URL: url, Err: &foreignError{resp.StatusCode, resp.Status, text}}
}

// foreignError says that an answer is not a ledger's.
type foreignError struct {
	status int
	line   string // of the status
	text   string
}

func (e *foreignError) Error() string {
	return fmt.Sprintf("the answer is %s, which is not a ledger's: %q", e.line, e.text)
}

// retryAfter reads Retry-After. A date counts from the answer's own Date, so
// that it does not depend on the clock here; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil || until.Before(now) {
		return 0
	}
	return until.Sub(now)
}
