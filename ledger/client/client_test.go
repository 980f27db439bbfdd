package client_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/cairnlog/cairn/ledger/client"
	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// serve returns a client of a ledger that answers as h does. It does not wait
// before it asks again; the waits are recorded.
func serve(t *testing.T, h http.HandlerFunc) (*client.Client, *[]time.Duration) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	var waits []time.Duration
	c, err := client.New(srv.URL, client.Options{
		HTTP:      srv.Client(),
		UserAgent: "test/1",
		Sleep: func(ctx context.Context, d time.Duration) error {
			waits = append(waits, d)
			return ctx.Err()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, &waits
}

func answerWith(status int, header, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if k, v, ok := strings.Cut(header, ": "); ok {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

const refusedBody = `{"code":9,"message":"key is not enrolled","details":[
	{"@type":"type.googleapis.com/google.rpc.RetryInfo"},
	{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"KEY_NOT_ENROLLED","domain":"cairnlog.github.io"}]}`

const overloadedBody = `{"code":14,"message":"queue is full","details":[
	{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"OVERLOADED","domain":"cairnlog.github.io"}]}`

func TestNewRefusesURLs(t *testing.T) {
	for _, u := range []string{
		"", "ledger.example", "ftp://ledger.example", "http://", "http:ledger", "http://a@ledger.example",
		"http://ledger.example/?x=1", "http://ledger.example/#x", "http://[::1", "/v1",
	} {
		if _, err := client.New(u, client.Options{}); err == nil {
			t.Errorf("New(%q) succeeded", u)
		}
	}
}

// request is a call, and how it must be put on the wire.
type request struct {
	want string
	call func(context.Context, *client.Client) (proto.Message, error)
}

func requests() []request {
	digest := "sha256:" + strings.Repeat("ab", 32)
	zero := int64(0)
	return []request{
		{"POST /base/v1/attestations?wait=sequenced {raw}", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: []byte("{raw}"), Wait: "sequenced"})
		}},
		{"POST /base/v1/attestations {raw}", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.SubmitAttestation(ctx, &cairnv1.SubmitAttestationRequest{Attestation: []byte("{raw}")})
		}},
		{"GET /base/v1/attestations/" + digest + " ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetAttestation(ctx, &cairnv1.GetAttestationRequest{Envelope: digest})
		}},
		{"GET /base/v1/attestations?digest=" + strings.Replace(digest, ":", "%3A", 1) + "&page_size=7&page_token=next ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.ListAttestations(ctx, &cairnv1.ListAttestationsRequest{Digest: digest, PageSize: 7, PageToken: "next"})
		}},
		{"GET /base/v1/attestations?name=pkg%3Adeb%2Fhello ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.ListAttestations(ctx, &cairnv1.ListAttestationsRequest{Name: "pkg:deb/hello"})
		}},
		{"GET /base/v1/artifacts/" + digest + " ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetArtifact(ctx, &cairnv1.GetArtifactRequest{Digest: digest})
		}},
		{"GET /base/v1/keys/" + digest + " ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetKey(ctx, &cairnv1.GetKeyRequest{Fingerprint: digest})
		}},
		{"GET /base/v1/log/checkpoint ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
		}},
		{"GET /base/v1/log/entries/0 ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetEntry(ctx, &cairnv1.GetEntryRequest{})
		}},
		{"GET /base/v1/log/proofs/inclusion?index=0&size=9 ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetInclusionProof(ctx, &cairnv1.GetInclusionProofRequest{Index: &zero, Size: 9})
		}},
		{"GET /base/v1/log/proofs/consistency?from=3 ", func(ctx context.Context, c *client.Client) (proto.Message, error) {
			return c.GetConsistencyProof(ctx, &cairnv1.GetConsistencyProofRequest{From: 3})
		}},
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range requests() {
		t.Run(tt.want, func(t *testing.T) {
			var got string
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := make([]byte, r.ContentLength)
				_, _ = r.Body.Read(body)
				got = r.Method + " " + r.URL.RequestURI() + " " + string(body)
				_, _ = w.Write([]byte(`{"fieldOfALaterVersion": 1}`))
			}))
			defer srv.Close()
			c, err := client.New(srv.URL+"/base/", client.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tt.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("sent %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPathsCannotBeEscaped(t *testing.T) {
	c, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) })
	for _, s := range []string{"", "..", "../keys/x", "a/b", "a?b", "a%2fb", "sha256:\n"} {
		_, err := c.GetAttestation(t.Context(), &cairnv1.GetAttestationRequest{Envelope: s})
		if e, ok := reason.Of(err); !ok || e.Reason != reason.ArgumentInvalid {
			t.Errorf("GetAttestation(%q): %v, want %s", s, err, reason.ArgumentInvalid)
		}
	}
}

func TestRefusalIsAReason(t *testing.T) {
	c, waits := serve(t, answerWith(400, "Retry-After: 1", refusedBody))
	_, err := c.SubmitAttestation(t.Context(), &cairnv1.SubmitAttestationRequest{})
	e, ok := reason.Of(err)
	if !ok {
		t.Fatalf("error %v is no *reason.Error", err)
	}
	want := &reason.Error{Reason: reason.KeyNotEnrolled, Message: "key is not enrolled"}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	if len(*waits) > 0 {
		t.Errorf("asked again after a refusal that is none of time: %v", *waits)
	}
}

func TestOtherAnswersAreNoRefusals(t *testing.T) {
	tests := []struct {
		name string
		h    http.HandlerFunc
		want string // in the message
	}{
		{"proxy page", answerWith(502, "", "<html>bad gateway</html>"), "502 Bad Gateway"},
		{"unknown path", answerWith(404, "", `{"code":5,"message":"Not Found","details":[]}`), `"Not Found"`},
		{"another domain", answerWith(400, "", strings.Replace(refusedBody, "cairnlog", "elsewhere", 1)), "not a ledger's"},
		{"not JSON", answerWith(200, "", "<html>hello</html>"), "decoding the answer"},
		{"wrong JSON", answerWith(200, "", `{"checkpoint":7}`), "decoding the answer"},
		{"empty", answerWith(200, "", ""), "decoding the answer"},
		{"too large", answerWith(200, "", strings.Repeat(" ", client.MaxAnswer+1)), "over the limit of 8388608 bytes"},
		{"cut short", answerWith(200, "Content-Length: 100", "{}"), "reading the answer"},
		{"redirect elsewhere", answerWith(302, "Location: http://elsewhere.example/", ""), "refusing the redirect to http://elsewhere.example"},
		{"redirect for ever", answerWith(302, "Location: /", ""), "stopping after 5 redirects"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, tt.h)
			resp, err := c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
			var u *client.UnansweredError
			if !errors.As(err, &u) {
				t.Fatalf("answer %v, error %v, want an *UnansweredError", resp, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q lacks %q", err, tt.want)
			}
			if n := strings.Count(err.Error(), "http://127.0.0.1"); n != 1 {
				t.Errorf("error %q names the ledger %d times", err, n)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	c, err := client.New(srv.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
	var u *client.UnansweredError
	if !errors.As(err, &u) {
		t.Errorf("error %v, want an *UnansweredError", err)
	}
}

func TestAskingAgain(t *testing.T) {
	tests := []struct {
		name           string
		status         int
		header, body   string
		refusals       int // before the ledger answers
		wantAsked      int
		wantLeastWaits []time.Duration
		wantReason     reason.Reason
	}{
		{"503 then an answer", 503, "Retry-After: 2", overloadedBody, 2, 3, []time.Duration{2 * time.Second, 2 * time.Second}, ""},
		{"429 then an answer", 429, "Retry-After: 1", overloadedBody, 1, 2, []time.Duration{time.Second}, ""},
		{"503 without an ErrorInfo", 503, "Retry-After: 1", "busy", 1, 2, []time.Duration{time.Second}, ""},
		{"for ever", 503, "Retry-After: 1", overloadedBody, 99, 4, []time.Duration{time.Second, time.Second, time.Second}, "OVERLOADED"},
		{"no Retry-After", 503, "", overloadedBody, 99, 1, nil, "OVERLOADED"},
		{"longer than is waited for", 503, "Retry-After: 3600", overloadedBody, 99, 1, nil, "OVERLOADED"},
		{"nonsense", 503, "Retry-After: soon", overloadedBody, 99, 1, nil, "OVERLOADED"},
		{"not one to repeat", 500, "Retry-After: 1", overloadedBody, 99, 1, nil, "OVERLOADED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			c, waits := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if asked++; asked <= tt.refusals {
					answerWith(tt.status, tt.header, tt.body)(w, r)
					return
				}
				_, _ = w.Write([]byte(`{}`))
			})
			_, err := c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
			if e, ok := reason.Of(err); ok != (tt.wantReason != "") || ok && e.Reason != tt.wantReason {
				t.Errorf("error %v, want reason %q", err, tt.wantReason)
			}
			if asked != tt.wantAsked || len(*waits) != len(tt.wantLeastWaits) {
				t.Fatalf("asked %d times with waits %v, want %d with at least %v", asked, *waits, tt.wantAsked, tt.wantLeastWaits)
			}
			for i, least := range tt.wantLeastWaits {
				if got := (*waits)[i]; got < least || got > least*5/4 {
					t.Errorf("wait %d is %s, want %s to a quarter more", i, got, least)
				}
			}
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	asked := 0
	c, waits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 1 {
			// Years off the clock here: only the distance between the two counts.
			w.Header().Set("Date", "Thu, 01 Jan 2015 00:00:00 GMT")
			answerWith(503, "Retry-After: Thu, 01 Jan 2015 00:00:08 GMT", overloadedBody)(w, r)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	if _, err := c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(*waits) != 1 || (*waits)[0] < 8*time.Second || (*waits)[0] > 10*time.Second {
		t.Errorf("waits %v, want one of 8 s to 10 s", *waits)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, waits := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answerWith(503, "Retry-After: 1", overloadedBody)(w, r)
	})
	cancelled, err := client.New(c.URL(), client.Options{Sleep: func(ctx context.Context, _ time.Duration) error {
		cancel()
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = cancelled.GetCheckpoint(ctx, &cairnv1.GetCheckpointRequest{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want it to be of the context", err)
	}

	// A deadline that would pass while waiting is not waited for.
	short, cancelShort := context.WithTimeout(t.Context(), time.Second/2)
	defer cancelShort()
	_, err = c.GetCheckpoint(short, &cairnv1.GetCheckpointRequest{})
	if e, ok := reason.Of(err); !ok || e.Reason != reason.Overloaded || e.RetryAfter != time.Second {
		t.Errorf("error %v, want the refusal with its Retry-After", err)
	}
	if len(*waits) != 0 {
		t.Errorf("waited %v", *waits)
	}
}

func TestTimeoutBoundsAnAttempt(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	c, err := client.New(srv.URL, client.Options{Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
	var u *client.UnansweredError
	if !errors.As(err, &u) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want an *UnansweredError for a deadline", err)
	}
}

func TestWatchCheckpoints(t *testing.T) {
	tests := []struct {
		name, body string
		wantSizes  []int64
		wantError  string
	}{
		{"two and the end", `{"result":{"checkpoint":"a","size":"1"}}` + "\n\n" + `{"result":{"size":"2","new":true}}` + "\n", []int64{1, 2}, "the stream ended"},
		{"a refusal", `{"result":{"size":"1"}}` + "\n" + `{"error":` + strings.ReplaceAll(overloadedBody, "\n", "") + "}\n", []int64{1}, "queue is full"},
		{"another error", `{"error":{"message":"boom"}}`, nil, `the stream broke: "boom"`},
		{"not JSON", "<html>", nil, "decoding the stream"},
		{"neither", "{}", nil, "decoding the stream"},
		{"a line without end", `{"result":"` + strings.Repeat("x", client.MaxAnswer), nil, "token too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v1/log/checkpoints:watch" {
					t.Errorf("asked for %s", r.URL)
				}
				_, _ = w.Write([]byte(tt.body))
			})
			var sizes []int64
			var last error
			for m, err := range c.WatchCheckpoints(t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
				if last != nil {
					t.Fatal("something follows an error")
				}
				if last = err; err == nil {
					sizes = append(sizes, m.GetSize())
				}
			}
			if diff := cmp.Diff(tt.wantSizes, sizes); diff != "" {
				t.Errorf("sizes (-want +got):\n%s", diff)
			}
			if last == nil || !strings.Contains(last.Error(), tt.wantError) {
				t.Errorf("error %v lacks %q", last, tt.wantError)
			}
		})
	}
}

func TestWatchCheckpointsStops(t *testing.T) {
	gone := make(chan struct{})
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"result":{"size":"1"}}` + "\n"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	for range c.WatchCheckpoints(t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
		break
	}
	<-gone // the ledger notices that nobody reads
}

func TestWatchCheckpointsRefused(t *testing.T) {
	c, _ := serve(t, answerWith(503, "Retry-After: 1", overloadedBody))
	for _, err := range c.WatchCheckpoints(t.Context(), &cairnv1.WatchCheckpointsRequest{}) {
		if e, ok := reason.Of(err); !ok || e.Reason != reason.Overloaded {
			t.Errorf("error %v, want %s", err, reason.Overloaded)
		}
	}
}

// TestMirrorInALedgersPlace has what answers be no ledger.
func TestMirrorInALedgersPlace(t *testing.T) {
	answer := func(_ context.Context, req proto.Message) (proto.Message, error) {
		if _, ok := req.(*cairnv1.GetCheckpointRequest); !ok {
			return nil, reason.Errorf(reason.MirrorOnly, "not here")
		}
		return &cairnv1.GetCheckpointResponse{Origin: "log.example/mirrored"}, nil
	}
	for _, tt := range []struct {
		name   string
		status int
		body   string
		open   error
		opened bool
		want   string // of the error
	}{
		{"a web server without the API", 404, "no such page", nil, true, ""},
		{"a web server that forbids", 403, "", nil, true, ""},
		{"no mirror either", 404, "no such page", fs.ErrNotExist, true, "which is not a ledger's"},
		{"a mirror that is damaged", 404, "no such page", errors.New("no index"), true, "as a mirror: no index"},
		{"a web server that fails", 502, "bad gateway", nil, false, "which is not a ledger's"},
		{"a ledger that refuses", 400, refusedBody, nil, false, "key is not enrolled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, opened := 0, 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer srv.Close()
			c, err := client.New(srv.URL, client.Options{Mirror: func(context.Context) (client.Answer, error) {
				opened++
				return answer, tt.open
			}})
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.GetCheckpoint(t.Context(), &cairnv1.GetCheckpointRequest{})
			if (opened == 1) != tt.opened {
				t.Errorf("the mirror was opened %d times", opened)
			}
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || resp.GetOrigin() != "log.example/mirrored" {
				t.Errorf("answer %v, %v", resp, err)
			}
			_, err = c.GetEntry(t.Context(), &cairnv1.GetEntryRequest{})
			if e, ok := reason.Of(err); !ok || e.Reason != reason.MirrorOnly || asked != 1 || opened != 1 {
				t.Errorf("error %v; asked %d times, opened %d times", err, asked, opened)
			}
		})
	}
}
