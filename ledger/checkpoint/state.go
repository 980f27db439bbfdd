package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// FileState is a State in a file. It must stand outside the log's directory,
// or a restored copy of that would roll it back too. A lock file beside it
// keeps a second process out.
type FileState struct {
	path string
	lock *os.File
}

// OpenFileState opens the state at path and locks it until Close.
func OpenFileState(path string) (*FileState, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock of %s: %w", path, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is in use by another process: only one may sign for a log", path)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &FileState{path: path, lock: lock}, nil
}

// Load implements State.
func (s *FileState) Load(context.Context) ([]byte, error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// Swap implements State.
func (s *FileState) Swap(ctx context.Context, old, text []byte) error {
	now, err := s.Load(ctx)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return fmt.Errorf("%w: %s changed while it was locked", ErrRollback, s.path)
	}
	return durable.WriteFile(s.path, text, 0o600)
}

// Close implements State.
func (s *FileState) Close() error { return s.lock.Close() }
