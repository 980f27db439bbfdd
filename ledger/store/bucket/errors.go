package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
	"golang.org/x/sys/unix"
	"google.golang.org/api/googleapi"

	"github.com/cairnlog/cairn/ledger/reason"
)

// retryAfter is when a request to a store that was unavailable is worth a retry.
const retryAfter = time.Second

// missingError is that there is no such bucket.
type missingError struct{ err error }

func (e *missingError) Error() string { return e.err.Error() }
func (e *missingError) Unwrap() error { return e.err }

// answer is what a store answered with an error: the HTTP status, or 0, and the
// store's own code for it, or "".
type answer struct {
	status int
	code   string
}

// statusOf returns what a store answered. The codes of gocloud.dev do not do: they
// call most of what S3 says unknown, and a lack of permission at GCS not found.
func statusOf(err error) answer {
	var a answer
	var s3Code smithy.APIError
	if errors.As(err, &s3Code) {
		a.code = s3Code.ErrorCode()
	}
	var s3 *awshttp.ResponseError
	var gcs *googleapi.Error
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &s3):
		a.status = s3.HTTPStatusCode()
	case errors.As(err, &gcs):
		a.status = gcs.Code
	case errors.As(err, &azure):
		a.status, a.code = azure.StatusCode, azure.ErrorCode
	}
	return a
}

// explain makes of a driver's error what the package promises, or returns nil. ctx
// is the caller's: its end is no failure of the store.
func (b *Bucket) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	// What net/http says begins with the URL, which may have a signature in it.
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var large *tooLargeError
	a := statusOf(err)
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%s: %w", what, err)
	case isMissingBucket(a, err):
		return fmt.Errorf("%s: there is no such bucket: create it, or correct its URL: %w", what, err)
	case isDenied(a, err):
		return fmt.Errorf("%s: the store refuses it: check the credentials, and that they may list, read, write and delete objects there: %w", what, err)
	case isTransient(a, err):
		e := reason.Errorf(reason.StorageUnavailable, "%s: the store is unavailable: %w", what, err).(*reason.Error)
		e.RetryAfter = retryAfter
		return e
	case isAbsent(a, err):
		return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isAbsent is for an object. S3's redirection to another region is none of it.
func isAbsent(a answer, err error) bool {
	return (a.status == 0 || a.status == http.StatusNotFound) && gcerrors.Code(err) == gcerrors.NotFound ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

func isMissingBucket(a answer, err error) bool {
	var missing *missingError
	return errors.As(err, &missing) || errors.Is(err, storage.ErrBucketNotExist) ||
		a.code == "NoSuchBucket" || a.code == "ContainerNotFound"
}

func isDenied(a answer, err error) bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden ||
		a.code == "AccessDenied" || gcerrors.Code(err) == gcerrors.PermissionDenied ||
		errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}

// transientStatus are those below 500 that a retry may mend. 409 is how S3 answers
// to one of two conditional writes at once.
var transientStatus = []int{http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests}

func isTransient(a answer, err error) bool {
	if a.status != 0 {
		return a.status >= 500 && a.status != http.StatusNotImplemented || slices.Contains(transientStatus, a.status) ||
			a.code == "RequestTimeout" || a.code == "SlowDown"
	}
	switch gcerrors.Code(err) {
	case gcerrors.ResourceExhausted, gcerrors.DeadlineExceeded, gcerrors.Internal:
		return true
	case gcerrors.NotFound, gcerrors.FailedPrecondition, gcerrors.InvalidArgument, gcerrors.Unimplemented:
		return false
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return !slices.Contains([]unix.Errno{unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.EEXIST, unix.EINVAL, unix.ENAMETOOLONG}, errno)
	}
	var network net.Error
	var quota ratelimit.QuotaExceededError
	return errors.As(err, &network) || errors.As(err, &quota) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
