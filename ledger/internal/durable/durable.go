// Package durable writes files so that they survive a power loss: WriteFile
// replaces a small one, CreateFile makes one, and a Batch writes many at the cost of few fsyncs.
//
// Invariant: after WriteFile returns nil, the file has the new content also
// after a crash; if it returns an error or the process dies, the file has the
// old content or the new, never a part of either. After an error the caller
// must not go on as if the old content were there: a failed fsync leaves the
// page cache and the disk in disagreement.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile atomically replaces path with data: temporary file, fsync, rename,
// fsync of the directory.
func WriteFile(path string, data []byte, perm os.FileMode) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening directory of %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	tmp := path + ".tmp"
	if err := writeSync(tmp, data, perm); err != nil {
		return fmt.Errorf("writing %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	// The directory was opened before the rename, so that an error of writing
	// it back is reported to this descriptor.
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing directory of %s: %w", path, err)
	}
	return nil
}

// CreateFile atomically makes path, which must not exist, with data: temporary file,
// fsync, link, fsync of the directory. Where it exists the error is fs.ErrExist, and
// it is as it was.
func CreateFile(path string, data []byte, perm os.FileMode) (err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("opening directory of %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	f, err := os.CreateTemp(dir.Name(), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(perm), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", f.Name(), err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("syncing directory of %s: %w", path, err)
	}
	return nil
}

func writeSync(path string, data []byte, perm os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
