package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/aws"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
)

// schemes are the kinds of bucket, as users read of them.
const schemes = "s3://NAME, gs://NAME, azblob://NAME or file:///DIRECTORY"

// Open opens the bucket that a URL names, and looks whether it can be listed. The
// URLs are those of gocloud.dev/blob:
//
//	s3://NAME?region=…&endpoint=https://…&use_path_style=true
//	gs://NAME
//	azblob://CONTAINER?storage_account=…
//	file:///DIRECTORY
//
// Credentials come from where the store's own tools take them, which is the
// environment or files. A bucket, and a directory, must be there.
func Open(ctx context.Context, bucketURL string) (*Bucket, error) {
	u, err := url.Parse(bucketURL)
	if err == nil {
		_, err = url.ParseQuery(u.RawQuery)
	}
	if err != nil {
		// The error of url.Parse has the whole URL in it.
		return nil, errors.New("opening a bucket: its URL does not parse: want " + schemes)
	}
	name := redact(u)
	if u.User != nil {
		return nil, fmt.Errorf("opening bucket %s: credentials do not belong in its URL: give them in the environment", name)
	}
	b := New(nil, name)
	switch u.Scheme {
	case s3blob.Scheme:
		b.b, err = openS3(ctx, u)
	case gcsblob.Scheme, azureblob.Scheme:
		b.b, err = blob.OpenBucket(ctx, bucketURL)
	case fileblob.Scheme:
		b.b, b.files, err = openFiles(u)
	default:
		return nil, fmt.Errorf("opening bucket %s: it is of no known kind: want %s", name, schemes)
	}
	if err != nil {
		return nil, b.explain(ctx, "opening bucket "+name, hide(err, u))
	}
	if err := b.probe(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// CheckURL reports whether Open knows a kind of bucket by such a URL. It asks
// nothing of the bucket.
func CheckURL(bucketURL string) error {
	u, err := url.Parse(bucketURL)
	if err != nil {
		return errors.New("the URL does not parse: want " + schemes)
	}
	switch u.Scheme {
	case s3blob.Scheme, gcsblob.Scheme, azureblob.Scheme, fileblob.Scheme:
		return nil
	}
	return fmt.Errorf("%s is of no known kind: want %s", redact(u), schemes)
}

// probe asks for one object, so that a missing bucket or permission is an error at
// the start, and not of the first submission.
func (b *Bucket) probe(ctx context.Context) error {
	if b.files != nil {
		return nil
	}
	err := b.request(ctx, func(ctx context.Context) error {
		_, _, err := b.b.ListPage(ctx, blob.FirstPageToken, 1, nil)
		return err
	})
	if gcerrors.Code(err) == gcerrors.NotFound && statusOf(err).code == "" {
		err = &missingError{err}
	}
	return b.explain(ctx, "opening bucket "+b.name+" with the credentials of the environment", err)
}

// redact returns a bucket's URL with those parameters alone that are known to be
// no secrets.
func redact(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	kept := make(url.Values)
	for k, v := range u.Query() {
		if k == "region" || k == "storage_account" {
			kept[k] = v
		}
		if e, err := url.Parse(strings.Join(v, "")); k == "endpoint" && err == nil && e.User == nil {
			kept.Set(k, (&url.URL{Scheme: e.Scheme, Host: e.Host}).String())
		}
	}
	shown.RawQuery, _ = url.QueryUnescape(kept.Encode())
	return shown.String()
}

// hide removes a bucket's URL from an error of opening it.
func hide(err error, u *url.URL) error {
	text := err.Error()
	clean := text
	for _, secret := range []string{u.String(), u.RawQuery} {
		if secret != "" {
			clean = strings.ReplaceAll(clean, secret, redact(u))
		}
	}
	for k, values := range u.Query() {
		for _, v := range values {
			if v != "" && k != "region" && k != "storage_account" && k != "endpoint" {
				clean = strings.ReplaceAll(clean, v, "…")
			}
		}
	}
	if clean == text {
		return err
	}
	return errors.New(clean)
}

// openS3 opens a bucket as s3blob's own opener does, but with as many idle
// connections as there are requests at once: with the default of ten, most
// requests would begin with a handshake.
func openS3(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	q := u.Query()
	pathStyle, err := cutBool(q, "use_path_style")
	if err != nil {
		return nil, err
	}
	cfg, err := aws.V2ConfigFromURLParams(ctx, q)
	if err != nil {
		return nil, err
	}
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = atOnce, atOnce
	})
	cfg.Logger = logging.Nop{} // it would write to stderr
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = pathStyle })
	return s3blob.OpenBucket(ctx, client, u.Host, nil)
}

// cutBool removes a parameter from q and returns what it says.
func cutBool(q url.Values, name string) (bool, error) {
	text := q.Get(name)
	q.Del(name)
	if text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("parameter %s is not true or false", name)
	}
	return v, nil
}

// openFiles opens a directory. It is read with fileblob; writing, which is more
// than fileblob promises, is done by files.
func openFiles(u *url.URL) (*blob.Bucket, *files, error) {
	if u.Host != "" || !filepath.IsAbs(u.Path) || u.RawQuery != "" {
		return nil, nil, errors.New("a directory is named by its absolute path alone: file:///DIRECTORY")
	}
	dir := filepath.Clean(filepath.FromSlash(u.Path))
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{Metadata: fileblob.MetadataDontWrite})
	if errors.Is(err, fs.ErrNotExist) {
		err = &missingError{err}
	}
	if err != nil {
		return nil, nil, err
	}
	return b, &files{dir: dir}, nil
}
