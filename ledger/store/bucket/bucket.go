// Package bucket keeps objects, which are bytes under a path, in an object store
// (S3, Google Cloud Storage, Azure Blob Storage) or in a directory.
//
// A directory is for one machine, or for several that mount the same one. It holds
// the objects as files of the same paths, so that a web server can serve it and
// `cairn audit` can read it; but for index/new, which is for files in the making.
//
// Invariants:
//   - What a Put that returned nil was given is durable: in a directory, also after
//     a power loss.
//   - An object is replaced as a whole: no reader, and no crash, shows a part of it.
//   - An error that a retry may mend is a *reason.Error with StorageUnavailable;
//     any other is not mended by waiting. No error shows what of the bucket's URL
//     may be secret.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/cairnlog/cairn/ledger/engine"
)

const (
	// atOnce bounds the requests under way of one Bucket: an object store takes
	// tens of milliseconds for each, whatever its size.
	atOnce = 64
	// patience is how long one request may take with its retries. A store that does
	// not answer at all is unavailable.
	patience = 30 * time.Second
)

// Bucket is an open bucket. Its methods may be called concurrently.
type Bucket struct {
	name  string // without secrets
	b     *blob.Bucket
	files *files // of a directory, else nil
	slots *semaphore.Weighted

	patience time.Duration
}

// Object is what Put stores. It is engine's, so that a Bucket is an engine.Bucket.
type Object = engine.Object

var _ engine.Bucket = (*Bucket)(nil)

// New returns a Bucket over one that was opened otherwise. name is for errors.
func New(b *blob.Bucket, name string) *Bucket {
	return &Bucket{name: name, b: b, slots: semaphore.NewWeighted(atOnce), patience: patience}
}

// String returns the bucket's URL without what may be secret in it.
func (b *Bucket) String() string { return b.name }

// Get returns the bytes of an object. The error wraps fs.ErrNotExist if there is
// none. One of more than limit bytes is not read.
func (b *Bucket) Get(ctx context.Context, key string, limit int64) ([]byte, error) {
	var data []byte
	err := b.do(ctx, "reading", key, func(ctx context.Context) error {
		r, err := b.b.NewReader(ctx, key, nil)
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		if r.Size() > limit {
			return &tooLargeError{limit}
		}
		data, err = io.ReadAll(io.LimitReader(r, limit+1))
		if err == nil && int64(len(data)) > limit {
			err = &tooLargeError{limit}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Exists reports whether there is an object.
func (b *Bucket) Exists(ctx context.Context, key string) (bool, error) {
	err := b.do(ctx, "looking for", key, func(ctx context.Context) error {
		_, err := b.b.Attributes(ctx, key)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Put durably stores all of objects, whose keys must differ. After an error, some
// may be stored and others not; storing them again is safe.
func (b *Bucket) Put(ctx context.Context, objects []Object) error {
	seen := make(map[string]bool, len(objects))
	for _, o := range objects {
		if err := CheckKey(o.Key); err != nil {
			return fmt.Errorf("writing to %s: %w", b.name, err)
		}
		if seen[o.Key] {
			return fmt.Errorf("writing to %s: object %s is given twice", b.name, o.Key)
		}
		seen[o.Key] = true
	}
	if b.files != nil {
		if err := b.files.put(ctx, objects); err != nil {
			return b.explain(ctx, fmt.Sprintf("writing %d objects to %s", len(objects), b.name), err)
		}
		return nil
	}
	return each(ctx, objects, func(ctx context.Context, o Object) error {
		return b.do(ctx, "writing", o.Key, func(ctx context.Context) error { return b.put(ctx, o) })
	})
}

// PutOnce is Put of objects that never change, by their keys.
func (b *Bucket) PutOnce(ctx context.Context, objects map[string][]byte) error {
	list := make([]Object, 0, len(objects))
	for key, data := range objects {
		list = append(list, Object{Key: key, Bytes: data, Once: true})
	}
	return b.Put(ctx, list)
}

// put stores an object in an object store, which makes it durable and visible at
// once.
func (b *Bucket) put(ctx context.Context, o Object) error {
	opts := &blob.WriterOptions{ContentType: o.ContentType, CacheControl: o.CacheControl, IfNotExist: o.Once}
	if opts.ContentType == "" {
		opts.ContentType = "application/octet-stream"
	}
	err := b.b.Upload(ctx, o.Key, bytes.NewReader(o.Bytes), opts)
	if o.Once && gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return nil // it is there
	}
	return err
}

// Delete removes objects, those that are there. That they are gone need not outlive
// a power loss.
func (b *Bucket) Delete(ctx context.Context, keys []string) error {
	return each(ctx, keys, func(ctx context.Context, key string) error {
		err := b.do(ctx, "deleting", key, func(ctx context.Context) error { return b.b.Delete(ctx, key) })
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// List calls each with the key and size of every object below a prefix, which is
// empty or ends with a slash. It ends with the first error of each, which it
// returns. What is written meanwhile may be listed or not.
func (b *Bucket) List(ctx context.Context, prefix string, each func(key string, size int64) error) error {
	if prefix != "" {
		dir, slash := strings.CutSuffix(prefix, "/")
		if err := CheckKey(dir); err != nil || !slash {
			return fmt.Errorf("listing %s: %q is no prefix of keys: %w", b.name, prefix, errors.Join(err, errNoSlash(slash)))
		}
	}
	what := fmt.Sprintf("listing %s below %q", b.name, prefix)
	if b.files != nil {
		return b.explain(ctx, what, b.files.list(ctx, prefix, each))
	}
	for token := blob.FirstPageToken; len(token) > 0; {
		var page []*blob.ListObject
		err := b.request(ctx, func(ctx context.Context) (err error) {
			page, token, err = b.b.ListPage(ctx, token, 1000, &blob.ListOptions{Prefix: prefix})
			return err
		})
		if err != nil {
			return b.explain(ctx, what, err)
		}
		for _, o := range page {
			if err := each(o.Key, o.Size); err != nil {
				return err
			}
		}
	}
	return nil
}

func errNoSlash(slash bool) error {
	if slash {
		return nil
	}
	return errors.New("it does not end with a slash")
}

// Close releases the bucket.
func (b *Bucket) Close() error {
	err := b.b.Close()
	if b.files != nil {
		b.files.close()
	}
	return err
}

// do runs one request about one object, and says of its error what was done.
func (b *Bucket) do(ctx context.Context, doing, key string, f func(ctx context.Context) error) error {
	what := fmt.Sprintf("%s object %s of %s", doing, key, b.name)
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return b.explain(ctx, what, b.request(ctx, f))
}

// request runs one request when there is a slot for it.
func (b *Bucket) request(ctx context.Context, f func(ctx context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // not every driver looks
	}
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer b.slots.Release(1)
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	return f(ctx)
}

// each calls f for all of list, some at a time, until one fails.
func each[T any](ctx context.Context, list []T, f func(ctx context.Context, item T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, item := range list {
		g.Go(func() error { return f(ctx, item) })
	}
	return g.Wait()
}

// tooLargeError is that an object has more bytes than were asked for.
type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("it is over the limit of %d bytes", e.limit)
}
