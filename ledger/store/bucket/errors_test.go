package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"golang.org/x/sys/unix"
	"google.golang.org/api/googleapi"

	"github.com/cairnlog/cairn/ledger/reason"
)

// kind is what a caller can tell of an error.
type kind string

const (
	none        kind = "no error"
	absent      kind = "the object is absent"
	unavailable kind = "try again"
	missing     kind = "there is no such bucket"
	denied      kind = "check the credentials"
	other       kind = "another error"
)

func kindOf(err error) kind {
	e, refused := reason.Of(err)
	switch {
	case err == nil:
		return none
	case refused && e.Reason == reason.StorageUnavailable && e.RetryAfter > 0:
		return unavailable
	case refused:
		return "refused for " + kind(e.Reason)
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(err.Error(), fs.ErrNotExist.Error()):
		return absent
	case strings.Contains(err.Error(), string(missing)):
		return missing
	case strings.Contains(err.Error(), string(denied)):
		return denied
	}
	return other
}

// TestS3Answers has an S3 that answers all requests alike. The tests mostly wait
// for retries, so all run at once.
func TestS3Answers(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	run := func(name string, f func(t *testing.T)) { wg.Go(func() { t.Run(name, f) }) }
	for _, test := range []struct {
		status         int
		code           string
		get, put, once kind
	}{
		{404, "NoSuchKey", absent, absent, absent},
		{404, "NoSuchBucket", missing, missing, missing},
		{403, "AccessDenied", denied, denied, denied},
		{403, "SignatureDoesNotMatch", denied, denied, denied},
		{401, "", denied, denied, denied},
		{301, "PermanentRedirect", other, other, other},
		{400, "InvalidRequest", other, other, other},
		{409, "ConditionalRequestConflict", unavailable, unavailable, unavailable},
		{412, "PreconditionFailed", other, other, none},
		{429, "TooManyRequests", unavailable, unavailable, unavailable},
		{500, "InternalError", unavailable, unavailable, unavailable},
		{501, "NotImplemented", other, other, other},
		{502, "", unavailable, unavailable, unavailable},
		{503, "SlowDown", unavailable, unavailable, unavailable},
	} {
		run(fmt.Sprintf("%d %s", test.status, test.code), func(t *testing.T) {
			b := openAnswering(t, func(w http.ResponseWriter) {
				w.WriteHeader(test.status)
				if test.code != "" {
					_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", test.code)
				}
			})
			wantKinds(t, b, test.get, test.put, test.once)
		})
	}
	run("the connection breaks", func(t *testing.T) {
		b := openAnswering(t, func(http.ResponseWriter) { panic(http.ErrAbortHandler) })
		wantKinds(t, b, unavailable, unavailable, unavailable)
	})
	run("the answer breaks off", func(t *testing.T) {
		b := openAnswering(t, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "10")
			_, _ = fmt.Fprint(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		_, err := b.Get(t.Context(), "a", 100)
		if got := kindOf(err); got != unavailable {
			t.Errorf("Get: %v, want %s", err, unavailable)
		}
	})
}

func wantKinds(t *testing.T, b *Bucket, get, put, once kind) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := b.Get(t.Context(), "a", 100); kindOf(err) != get {
			t.Errorf("Get: %v, want %s", err, get)
		}
	})
	for _, test := range []struct {
		o    Object
		want kind
	}{{Object{Key: "a"}, put}, {Object{Key: "a", Once: true}, once}} {
		wg.Go(func() {
			if err := b.Put(t.Context(), []Object{test.o}); kindOf(err) != test.want {
				t.Errorf("Put with Once %v: %v, want %s", test.o.Once, err, test.want)
			}
		})
	}
}

// openAnswering opens an S3 bucket that is empty at first, and then answers as
// given.
func openAnswering(t *testing.T, answer func(http.ResponseWriter)) *Bucket {
	t.Helper()
	opened := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-opened:
			answer(w)
		default:
			_, _ = fmt.Fprint(w, `<ListBucketResult><Name>b</Name><KeyCount>0</KeyCount></ListBucketResult>`)
		}
	}))
	t.Cleanup(s.Close)
	q := url.Values{"region": {"us-east-1"}, "endpoint": {s.URL}, "use_path_style": {"true"}, "anonymous": {"true"}}
	b, err := Open(t.Context(), "s3://b?"+q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	close(opened)
	return b
}

// A store that takes a request and never answers is unavailable.
func TestHungStore(t *testing.T) {
	hung := make(chan struct{})
	b := openAnswering(t, func(http.ResponseWriter) { <-hung })
	defer close(hung)
	b.patience = 50 * time.Millisecond
	wantKinds(t, b, unavailable, unavailable, unavailable)
}

// TestExplain has the errors of what no test here starts.
func TestExplain(t *testing.T) {
	path := func(err error) error { return &fs.PathError{Op: "open", Path: "/bucket/a", Err: err} }
	for _, test := range []struct {
		name string
		err  error
		want kind
	}{
		{"nothing", nil, none},
		{"GCS: 403", &googleapi.Error{Code: 403}, denied},
		{"GCS: 429", &googleapi.Error{Code: 429}, unavailable},
		{"GCS: 503", &googleapi.Error{Code: 503}, unavailable},
		{"GCS: 400", &googleapi.Error{Code: 400}, other},
		{"Azure: no container", &azcore.ResponseError{StatusCode: 404, ErrorCode: "ContainerNotFound"}, missing},
		{"Azure: 403", &azcore.ResponseError{StatusCode: 403, ErrorCode: "AuthorizationFailure"}, denied},
		{"Azure: busy", &azcore.ResponseError{StatusCode: 503, ErrorCode: "ServerBusy"}, unavailable},
		{"no such host", &url.Error{Op: "Get", URL: "https://a/b?sig=hunter2", Err: path(unix.ECONNREFUSED)}, unavailable},
		{"a full disk", path(unix.ENOSPC), unavailable},
		{"a broken disk", path(unix.EIO), unavailable},
		{"a mode", path(unix.EACCES), denied},
		{"a read-only file system", path(unix.EROFS), denied},
		{"no file", path(unix.ENOENT), absent},
		{"a file on the way", path(unix.ENOTDIR), absent},
		{"a directory", path(unix.EISDIR), other},
		{"a time-out", os.ErrDeadlineExceeded, unavailable},
		{"what nobody knows", errors.New("what"), other},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := (&Bucket{name: "s3://b"}).explain(context.Background(), "reading object a", test.err)
			if got := kindOf(err); got != test.want {
				t.Errorf("%v is %s, want %s", err, got, test.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "reading object a")) {
				t.Errorf("the error shows a secret, or not what was done: %v", err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	// Without them, credentials would be looked for on the network.
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ url, want string }{
		{"", "want s3://"},
		{"/var/lib/cairn", "want s3://"},
		{"http://example.com/hunter2?hunter2=1", "want s3://"},
		{"mem://", "want s3://"},
		{"s3://hunter2:hunter2@b?region=r", "credentials do not belong in its URL"},
		{"s3://b?%zz=hunter2", "does not parse"},
		{"s3://b\n?hunter2", "does not parse"},
		{"s3://b?region=r", "the credentials of the environment"},
		{"s3://b?region=r&secret=hunter2", "unknown query parameter"},
		{"s3://b?region=r&use_path_style=hunter2", "use_path_style is not true or false"},
		{"gs://b?secret=hunter2", "invalid query parameter"},
		{"azblob://b?storage_account=a&secret=hunter2", "secret"},
		{"file://" + dir + "/missing", "there is no such bucket: create it"},
		{"file://" + dir + "/file", "is not a directory"},
		{"file://" + dir + "?metadata=hunter2", "absolute path alone"},
		{"file://host/dir", "absolute path alone"},
		{"file:relative", "absolute path alone"},
	} {
		b, err := Open(t.Context(), test.url)
		if err == nil {
			_ = b.Close()
			t.Errorf("%q was opened", test.url)
			continue
		}
		text := strings.ReplaceAll(err.Error(), "http://example.com/hunter2", "")
		if _, refused := reason.Of(err); refused || !strings.Contains(text, test.want) || strings.Contains(text, "hunter2") {
			t.Errorf("%q: %v; want %q, and no secret", test.url, err, test.want)
		}
	}
}

func TestName(t *testing.T) {
	u, err := url.Parse("s3://b?region=r&endpoint=https%3A%2F%2Fhunter2:hunter2@s3.example&anonymous=true&profile=hunter2")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := redact(u), "s3://b?region=r"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	u.RawQuery = "region=r&endpoint=https%3A%2F%2Fs3.example%3A9000%2F%3Fhunter2"
	if got, want := redact(u), "s3://b?endpoint=https://s3.example:9000&region=r"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
