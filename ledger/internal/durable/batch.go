package durable

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

// atOnce is how many files are synced at a time.
const atOnce = 16

// Batch writes files below a directory that become durable together: a power
// loss leaves each as it was, or whole, and after Commit all are whole. They are
// written in a directory of their own, and then moved into their place: what a
// crash left is there alone. Put and PutNow may be called concurrently. Paths are
// relative to the directory, with slashes.
type Batch struct {
	dir    string
	making string // path of the directory for files in the making
	mu     sync.Mutex
	root   *os.File // dir, open since before anything was written
	staged int      // files so far
	files  []staged // that are not in their place yet
	placed []string // that are
	dirs   map[string]bool
}

// staged is a file and where it belongs.
type staged struct{ from, to string }

// NewBatch returns a Batch of files below dir. Files are made in the directory
// at the path making, which must be there: see ClearMaking.
func NewBatch(dir, making string) *Batch {
	return &Batch{dir: dir, making: making, dirs: make(map[string]bool)}
}

// Put writes a file that Commit moves into its place.
func (b *Batch) Put(path string, data []byte) error {
	f, err := b.stage(path, data)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files = append(b.files, f)
	return nil
}

// PutNow writes a file into its place at once. Until Commit a power loss may
// leave it torn: it is for files that are looked at again if there was none.
func (b *Batch) PutNow(path string, data []byte) error {
	f, err := b.stage(path, data)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.placed = append(b.placed, f.to)
	return os.Rename(f.from, f.to)
}

// Keep makes the name of a file that is in its place already as durable as those
// of the batch: whoever put it there may not have come to that.
func (b *Batch) Keep(path string) error { return b.makeDirs(path) }

// stage writes a file that belongs at a path, and makes the path's directories.
func (b *Batch) stage(path string, data []byte) (staged, error) {
	if err := b.makeDirs(path); err != nil {
		return staged{}, err
	}
	n, err := b.begin()
	if err != nil {
		return staged{}, err
	}
	f := staged{
		from: filepath.Join(b.dir, filepath.FromSlash(b.making), strconv.Itoa(n)),
		to:   filepath.Join(b.dir, filepath.FromSlash(path)),
	}
	return f, os.WriteFile(f.from, data, 0o644)
}

// begin returns the number of the next file. It sees to it that the directory is
// open before the file is written: an error of writing it back is told to whoever
// syncs a file system, but once for each descriptor, and to none that was opened
// after somebody was told.
func (b *Batch) begin() (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.root == nil {
		if b.root, err = os.Open(b.dir); err != nil {
			return 0, err
		}
	}
	b.staged++
	return b.staged, nil
}

// makeDirs makes the directories that lead to a path, and remembers those that
// change.
func (b *Batch) makeDirs(path string) error {
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

// Commit makes all durable. What was Put is in its place only then.
func (b *Batch) Commit() error {
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
		return fmt.Errorf("writing below %s: %w", b.dir, err)
	}
	b.files, b.placed, b.dirs = nil, nil, make(map[string]bool)
	return b.close()
}

func (b *Batch) close() error {
	if b.root == nil {
		return nil
	}
	err := b.root.Close()
	b.root = nil
	return err
}

// manyFiles is how many files are better synced with all that the file system has
// to write than one by one.
const manyFiles = 64

// sync makes n files durable, which each gives to its argument.
func (b *Batch) sync(each func(sync func(path string)), n int) error {
	if n > manyFiles && b.root != nil {
		if err := syncFileSystem(b.root); !errors.Is(err, errors.ErrUnsupported) {
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

// Replace atomically and durably replaces a file, after what the batch holds.
func (b *Batch) Replace(path string, data []byte) error {
	if err := b.Commit(); err != nil {
		return err
	}
	if err := b.Put(path, data); err != nil {
		return fmt.Errorf("writing below %s: %w", b.dir, err)
	}
	return b.Commit()
}

// ClearMaking makes the directory for files in the making, without those that
// an earlier run left.
func ClearMaking(dir, making string) error {
	path := filepath.Join(dir, filepath.FromSlash(making))
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o755)
}
