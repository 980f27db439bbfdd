package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// files writes a bucket that is a directory. fileblob would do, did it sync: a file
// that is renamed but not yet written is empty after a power loss, and then passes
// for an object.
type files struct {
	dir string

	mu     sync.Mutex
	making string // this process's own directory below makingDir
	unlock func()
	puts   int // so far
}

// writers is how many files are written at a time: it takes processors and not the
// disk, which works at the end.
const writers = 4

func (f *files) put(ctx context.Context, objects []Object) error {
	err := f.write(ctx, objects)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &missingError{err}
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("an object is where a directory is to be: %v", err) // nothing that is not there
	}
	return err
}

func (f *files) write(ctx context.Context, objects []Object) (err error) {
	making, err := f.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Join(f.dir, making))) }()
	batch := durable.NewBatch(f.dir, making)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, o := range objects {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if o.Once {
				_, err := os.Lstat(filepath.Join(f.dir, filepath.FromSlash(o.Key)))
				if err == nil {
					// Another Put may not have synced its name yet.
					return batch.Keep(o.Key)
				}
				if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			return batch.Put(o.Key, o.Bytes)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return batch.Commit()
}

// begin makes a directory for the files of one Put, relative to f.dir.
func (f *files) begin() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unlock == nil {
		if err := f.claim(); err != nil {
			return "", err
		}
	}
	f.puts++
	making := f.making + "/" + strconv.Itoa(f.puts)
	return making, os.Mkdir(filepath.Join(f.dir, making), 0o755)
}

// claim takes the first directory below makingDir that no other process has, and
// removes what one that was killed left there.
func (f *files) claim() error {
	// Not MkdirAll: a bucket's directory that is gone is not made anew.
	for _, dir := range []string{"index", makingDir} {
		if err := os.Mkdir(filepath.Join(f.dir, dir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for n := 1; n <= maxProcesses; n++ {
		making := makingDir + "/" + strconv.Itoa(n)
		unlock, err := durable.Lock(filepath.Join(f.dir, making+".lock"))
		if errors.Is(err, durable.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		if err := durable.ClearMaking(f.dir, making); err != nil {
			unlock()
			return err
		}
		f.making, f.unlock = making, unlock
		return nil
	}
	return fmt.Errorf("%d processes write to it already", maxProcesses)
}

// maxProcesses is how many processes may write to one directory.
const maxProcesses = 1024

func (f *files) list(ctx context.Context, prefix string, each func(key string, size int64) error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	root := filepath.Join(f.dir, filepath.FromSlash(prefix))
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, fs.ErrNotExist) && path != f.dir {
			return nil // deleted meanwhile, or nothing has the prefix
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.dir, path)
		if err != nil {
			return err
		}
		key := filepath.ToSlash(rel)
		switch {
		case e.IsDir() && key == makingDir:
			return fs.SkipDir
		case !e.Type().IsRegular(), key+"/" == prefix:
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(key, info.Size())
	})
}

func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unlock != nil {
		f.unlock()
		f.unlock = nil
	}
}
