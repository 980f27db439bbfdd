package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cairnlog/cairn/ledger/internal/durable"
)

// batch writes files that become durable together: a power loss leaves each as
// it was, or whole, and after commit all are whole. put may be called
// concurrently.
type batch struct {
	dir   string
	mu    sync.Mutex
	files []string // that are written beside their place
	dirs  map[string]bool
}

func newBatch(dir string) *batch { return &batch{dir: dir, dirs: make(map[string]bool)} }

const unsynced = ".new" // behind the name of a file that is not in its place yet

func (b *batch) put(path string, data []byte) error {
	full := filepath.Join(b.dir, filepath.FromSlash(path))
	if err := b.makeDirs(path); err != nil {
		return err
	}
	if err := os.WriteFile(full+unsynced, data, 0o644); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, full)
	return nil
}

// makeDirs makes the directories that lead to a path, and remembers those that
// change.
func (b *batch) makeDirs(path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	dir := b.dir
	for _, name := range strings.Split(path, "/") {
		b.dirs[dir] = true
		dir = filepath.Join(dir, name)
		if dir == filepath.Join(b.dir, filepath.FromSlash(path)) {
			return nil
		}
		if b.dirs[dir] {
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// commit makes all durable. Nothing of the batch is in its place before.
func (b *batch) commit() error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, f := range b.files {
		g.Go(func() error { return syncFile(f + unsynced) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("writing the copy: %w", err)
	}
	for _, f := range b.files {
		if err := os.Rename(f+unsynced, f); err != nil {
			return fmt.Errorf("writing the copy: %w", err)
		}
	}
	for d := range b.dirs {
		if err := syncFile(d); err != nil {
			return fmt.Errorf("writing the copy: %w", err)
		}
	}
	b.files, b.dirs = nil, make(map[string]bool)
	return nil
}

// syncFile makes a file's data durable, or a directory's names.
func syncFile(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// replace atomically and durably replaces a file whose directory is there.
func replace(dir, path string, data []byte) error {
	if err := durable.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), data, 0o644); err != nil {
		return fmt.Errorf("writing the copy: %w", err)
	}
	return nil
}
