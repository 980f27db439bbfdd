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
	dir    string
	mu     sync.Mutex
	files  []string // that are written beside their place
	placed []string // that are in their place
	dirs   map[string]bool
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

// putNow writes a file into its place at once. Until commit a power loss may
// leave it torn: it is for files that are looked at again if there was none.
func (b *batch) putNow(path string, data []byte) error {
	full := filepath.Join(b.dir, filepath.FromSlash(path))
	if err := b.makeDirs(path); err != nil {
		return err
	}
	if err := os.WriteFile(full+unsynced, data, 0o644); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.placed = append(b.placed, full)
	return os.Rename(full+unsynced, full)
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

// commit makes all durable. What was put is in its place only then.
func (b *batch) commit() error {
	err := b.sync(func(sync func(path string)) {
		for _, f := range b.files {
			sync(f + unsynced)
		}
		for _, f := range b.placed {
			sync(f)
		}
	}, len(b.files)+len(b.placed))
	for _, f := range b.files {
		if err == nil {
			err = os.Rename(f+unsynced, f)
		}
	}
	if err == nil {
		err = b.sync(func(sync func(path string)) {
			for d := range b.dirs {
				sync(d)
			}
		}, len(b.dirs))
	}
	if err != nil {
		return fmt.Errorf("writing the copy: %w", err)
	}
	b.files, b.placed, b.dirs = nil, nil, make(map[string]bool)
	return nil
}

// manyFiles is how many files are better synced with all that the file system has
// to write than one by one.
const manyFiles = 64

// sync makes n files durable, which each gives to its argument.
func (b *batch) sync(each func(sync func(path string)), n int) error {
	if n > manyFiles {
		if err := syncFileSystem(b.dir); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	var g errgroup.Group
	g.SetLimit(atOnce)
	each(func(path string) { g.Go(func() error { return syncFile(path) }) })
	return g.Wait()
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
