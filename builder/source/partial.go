package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// partial is a file on its way into the store. Its content is hashed as it is
// written. One process has it at a time, by a lock on the file itself.
type partial struct {
	store *Store
	sum   string // wanted
	f     *os.File
	h     hash.Hash
	n     int64
	// limit is how many bytes the file may have; 0 for any number.
	limit int64
	// resumed says that a server was asked to go on from what was there.
	resumed bool
	// from and validator are the URL that what is there came from, and what its
	// server called the version; empty if it came from elsewhere, or earlier.
	from, validator string
	// total is the size that was announced; 0 if none was.
	total int64
	// done says that the store has the file, and there is nothing left to do.
	done bool
	// wrote is told n and total after each write.
	wrote func(n, total int64)
}

// partial opens the partial file of a sum, after whoever else fetches it has
// done so. What it has so far is hashed.
func (s *Store) partial(ctx context.Context, sum string) (*partial, error) {
	if !hexSum.MatchString(sum) {
		return nil, ours("sha256 %q is not 64 lower-case hex digits", sum)
	}
	path := filepath.Join(s.dir, "partial", sum)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
		if err != nil {
			return nil, ours("opening a partial file: %w", err)
		}
		current, err := lockFile(ctx, f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		p := &partial{store: s, sum: sum, f: f, h: sha256.New()}
		if s.Has(sum) {
			// Whoever had the lock has stored it. If the name is there it is ours.
			p.done = true
			return p, nil
		}
		if !current {
			if err := f.Close(); err != nil {
				return nil, ours("closing a partial file: %w", err)
			}
			continue
		}
		if p.n, err = io.CopyBuffer(p.h, contextReader{ctx, f}, make([]byte, 1<<18)); err != nil {
			return nil, errors.Join(ours("hashing what is there of %s: %w", path, err), f.Close())
		}
		return p, nil
	}
}

// lockFile waits for the lock of a file. It reports whether the file's name is
// still its own.
func lockFile(ctx context.Context, f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return false, ours("locking %s: %w", f.Name(), err)
		}
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for another process to fetch %s: %w", filepath.Base(f.Name()), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return named(f)
}

// named reports whether a file still has the name that it was opened by.
func named(f *os.File) (bool, error) {
	have, err := f.Stat()
	if err != nil {
		return false, ours("looking at %s: %w", f.Name(), err)
	}
	is, err := os.Lstat(f.Name())
	return err == nil && os.SameFile(have, is), nil
}

func (p *partial) Write(b []byte) (int, error) {
	if p.limit > 0 && p.n+int64(len(b)) > p.limit {
		return 0, &TooLarge{Size: p.n + int64(len(b)), Limit: p.limit}
	}
	n, err := p.store.write(p.f, b)
	p.h.Write(b[:n])
	p.n += int64(n)
	if err != nil {
		return n, ours("writing to the source store: %w", err)
	}
	if p.wrote != nil {
		p.wrote(p.n, p.total)
	}
	return n, nil
}

// reset discards what is there.
func (p *partial) reset() error {
	if err := p.f.Truncate(0); err != nil {
		return ours("discarding a partial file: %w", err)
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return ours("discarding a partial file: %w", err)
	}
	p.h.Reset()
	p.n, p.resumed, p.from, p.validator = 0, false, "", ""
	return nil
}

// commit stores the file, if it has the wanted hash. If it has another, what is
// there is discarded.
func (p *partial) commit() error {
	if got := hex.EncodeToString(p.h.Sum(nil)); got != p.sum {
		wrong := &WrongHash{Want: p.sum, Got: got, Size: p.n}
		if err := p.reset(); err != nil {
			return err
		}
		return wrong
	}
	if err := p.publish(); err != nil {
		return ours("storing a source: %w", err)
	}
	p.done = true
	return nil
}

// publish gives the file its name, durably.
func (p *partial) publish() error {
	to := p.store.Path(p.sum)
	root := filepath.Dir(filepath.Dir(to))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := seal(p.f.Name()); err != nil {
		return err
	}
	if err := p.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(p.f.Name(), to); err != nil {
		return err
	}
	return errors.Join(syncDir(filepath.Dir(to)), syncDir(root))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close gives the lock back. What is there is kept for the next time, unless it
// is nothing.
func (p *partial) close() {
	if ok, err := named(p.f); err == nil && ok && p.n == 0 {
		_ = os.Remove(p.f.Name()) // only tidiness
	}
	_ = p.f.Close() // what was to be kept has been synced
}
