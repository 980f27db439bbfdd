package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// batch writes files that become durable together: a power loss leaves each as
// it was, or whole, and after commit all are whole. They are written in a
// directory of their own, and then moved into their place: what a crash left is
// there alone. put may be called concurrently.
type batch struct {
	dir    string
	mu     sync.Mutex
	staged int      // files so far
	files  []staged // that are not in their place yet
	placed []string // that are
	dirs   map[string]bool
}

// staged is a file and where it belongs.
type staged struct{ from, to string }

// stagingDir is where files are written. It is emptied when a copy begins.
const stagingDir = indexDir + "/new"

func newBatch(dir string) *batch { return &batch{dir: dir, dirs: make(map[string]bool)} }

// put writes a file that commit moves into its place.
func (b *batch) put(path string, data []byte) error {
	f, err := b.stage(path, data)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, f)
	return nil
}

// putNow writes a file into its place at once. Until commit a power loss may
// leave it torn: it is for files that are looked at again if there was none.
func (b *batch) putNow(path string, data []byte) error {
	f, err := b.stage(path, data)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.placed = append(b.placed, f.to)
	return os.Rename(f.from, f.to)
}

// stage writes a file that belongs at a path, and makes the path's directories.
func (b *batch) stage(path string, data []byte) (staged, error) {
	if err := b.makeDirs(path); err != nil {
		return staged{}, err
	}
	b.mu.Lock()
	b.staged++
	n := b.staged
	b.mu.Unlock()
	f := staged{
		from: filepath.Join(b.dir, filepath.FromSlash(stagingDir), strconv.Itoa(n)),
		to:   filepath.Join(b.dir, filepath.FromSlash(path)),
	}
	return f, os.WriteFile(f.from, data, 0o644)
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
			sync(f.from)
		}
		for _, f := range b.placed {
			sync(f)
		}
	}, len(b.files)+len(b.placed))
	for _, f := range b.files {
		if err == nil {
			err = os.Rename(f.from, f.to)
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

// replace atomically and durably replaces a file, after what the batch holds.
func (b *batch) replace(path string, data []byte) error {
	if err := b.commit(); err != nil {
		return err
	}
	if err := b.put(path, data); err != nil {
		return fmt.Errorf("writing the copy: %w", err)
	}
	return b.commit()
}

// clearStaging makes the directory for files in the making, without those that
// an earlier run left.
func clearStaging(dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(stagingDir))
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o755)
}
